//! The URL of a command line, taken apart.

use std::fmt;

use anyhow::{Context, anyhow, bail, ensure};
use hyper::Uri;
use hyper::header::HeaderValue;
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::{HiddenText, Scalar, Secret};

/// What people type into a URL as it is and HTTP wants encoded. `%` is not among it: what is encoded stays.
const TYPED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`').add(b'{').add(b'|').add(b'}');

/// Where a command's requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// A name or an address, IPv6 without its brackets.
    host: String,
    port: u16,
    /// The path and query.
    path: String,
    /// The `Authorization` field.
    authorization: Option<HeaderValue>,
}

impl Target {
    /// Reads a URL; without a scheme it is `http`, as for curl.
    pub(super) fn parse(url: &str) -> anyhow::Result<Self> {
        let shown = url.escape_debug();
        let whole = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let encoded = utf8_percent_encode(&whole, TYPED).to_string();
        let uri: Uri = encoded.parse().with_context(|| format!("`{shown}` is no URL"))?;
        match uri.scheme_str() {
            Some("http") => (),
            Some("https") => bail!("`{shown}`: https is not there yet, only http is"),
            scheme => bail!("`{shown}`: the scheme is {}, only http is there", scheme.unwrap_or("missing")),
        }
        let authority = uri.authority().with_context(|| format!("`{shown}` names no host"))?;
        ensure!(!authority.as_str().contains('@'), "`{shown}`: a user or password in a URL is not there yet");
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        ensure!(!host.is_empty(), "`{shown}` names no host");
        let has_port = authority.as_str().len() > authority.host().len();
        let port = match authority.port_u16() {
            Some(port) => port,
            None if has_port => bail!("`{shown}`: the port is no number up to 65535"),
            None => 80,
        };
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        Ok(Self { host, port, path: format!("{}{query}", uri.path()), authorization: None })
    }

    /// The same with this token, or the one in the file that `@FILE` names.
    pub(super) fn with_token(self, token: Option<&HiddenText>) -> anyhow::Result<Self> {
        let Some(token) = token else { return Ok(self) };
        let token = Secret::parse(&token.0).map_err(|wrong| {
            let hint = wrong.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            anyhow!("--token: expected {}{hint}", Secret::EXPECTS)
        })?;
        let field = HeaderValue::try_from(format!("Bearer {}", token.reveal()));
        let mut field = field.ok().context("--token cannot stand in a header")?;
        field.set_sensitive(true);
        Ok(Self { authorization: Some(field), ..self })
    }

    /// The `Authorization` field, if there is a token.
    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// The same server at this path, below its own.
    pub(super) fn below(&self, path: &str) -> Self {
        let own = self.path.split('?').next().unwrap_or("").trim_end_matches('/');
        Self { path: format!("{own}{path}"), ..self.clone() }
    }

    /// The same with one more pair in its query.
    pub(super) fn with_query(&self, name: &str, value: &str) -> Self {
        let separator = if self.path.contains('?') { '&' } else { '?' };
        let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
        Self { path: format!("{}{separator}{name}={value}", self.path), ..self.clone() }
    }

    pub(super) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// The request's target.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The `Host` field.
    pub(super) fn host_field(&self) -> anyhow::Result<HeaderValue> {
        HeaderValue::try_from(self.authority()).context("the host cannot stand in a header")
    }

    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == 80 { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, expected: Result<&str, &str>) {
        match (Target::parse(url), expected) {
            (Ok(target), Ok(expected)) => assert_eq!(target.to_string(), expected, "{url}"),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{url}: {error:#}"),
            (result, _) => panic!("{url}: {result:?}"),
        }
    }

    #[test]
    fn urls_are_taken_as_typed() {
        check("http://localhost:8080/events/news", Ok("http://localhost:8080/events/news"));
        check("localhost:8080/events/news", Ok("http://localhost:8080/events/news"));
        check("HTTP://[::1]:99/events/a?topic=b#c", Ok("http://[::1]:99/events/a?topic=b"));
        check("http://h:80/events/a b/é%20", Ok("http://h/events/a%20b/%C3%A9%20"));
        check("h?match=/orders/{id}", Ok("http://h/?match=/orders/%7Bid%7D"));
        assert_eq!(Target::parse("[::1]:7/x").unwrap().address(), ("::1", 7));
        assert_eq!(Target::parse("h").unwrap().address(), ("h", 80));
    }

    #[test]
    fn what_cannot_be_followed_is_named() {
        check("https://h/events/a", Err("https is not there yet"));
        check("ftp://h/a", Err("the scheme is ftp"));
        check("http://me:secret@h/a", Err("user or password"));
        check("http://h:99999/a", Err("port"));
        check("http://h:/a", Err("port"));
        check("http://:8080/a", Err("no "));
        check("/events/news", Err("no URL"));
        check("", Err("no URL"));
        check("http://a\u{1b}b/", Err("\\u{1b}"));
    }

    #[test]
    fn a_query_grows() {
        let target = Target::parse("h/events/a").unwrap().with_query("type", "a&b é").with_query("id", "1");
        assert_eq!(target.path(), "/events/a?type=a%26b%20%C3%A9&id=1");
    }
}
