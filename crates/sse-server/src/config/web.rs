//! Names that browsers send: hosts and origins.

use std::net::IpAddr;

use super::value::{Scalar, Wrong};

/// A host name or address without a port, in lower case, as a `Host` header may name this server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName(Box<str>);

impl HostName {
    /// The name in lower case; an IPv6 address is without brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scalar for HostName {
    const NAME: &'static str = "HOST";
    const EXPECTS: &'static str = "a host name such as events.example.com, without scheme or port";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let name = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text).to_ascii_lowercase();
        let label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if name.parse::<IpAddr>().is_ok() || (name.len() <= 253 && name.split('.').all(label)) {
            return Ok(Self(name.into()));
        }
        Err(Wrong::default())
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

/// A browser's origin that may read streams, or all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WebOrigin {
    /// `*`: any page may read what needs no credentials.
    Any,
    /// Exactly this `Origin` header, in lower case.
    Exact(Box<str>),
}

impl Scalar for WebOrigin {
    const NAME: &'static str = "ORIGIN";
    const EXPECTS: &'static str = "an origin such as https://app.example.com, or *";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let origin = text.to_ascii_lowercase();
        let Some((scheme @ ("http" | "https"), authority)) = origin.split_once("://") else {
            return Err(Wrong::because("it begins with http:// or https://"));
        };
        let (host, port) = split_port(authority);
        if authority.contains('/') {
            return Err(Wrong::because("an origin has no path, not even a slash at its end"));
        }
        if matches!((scheme, port), ("http", Some("80")) | ("https", Some("443"))) {
            return Err(Wrong::because("browsers leave the usual port out"));
        }
        if HostName::parse(host).is_err() || port.is_some_and(|port| port.parse::<u16>().is_err()) {
            return Err(Wrong::default());
        }
        Ok(Self::Exact(origin.into()))
    }

    fn text(&self) -> String {
        match self {
            Self::Any => "*".to_owned(),
            Self::Exact(origin) => origin.to_string(),
        }
    }
}

/// Splits `host:port`; the colons inside an IPv6 address's brackets are not the port's.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}
