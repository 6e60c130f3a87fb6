//! The types of settings, and how each is written.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::value::{Notation, Scalar, Wrong};

impl Scalar for bool {
    const NAME: &'static str = "on|off";
    const EXPECTS: &'static str = "on or off";
    const NOTATION: Notation = Notation::Switch;

    fn parse(text: &str) -> Result<Self, Wrong> {
        match text {
            "on" | "true" => Ok(true),
            "off" | "false" => Ok(false),
            _ => Err(Wrong::default()),
        }
    }

    fn text(&self) -> String {
        if *self { "on" } else { "off" }.to_owned()
    }
}

impl Scalar for NonZeroUsize {
    const NAME: &'static str = "COUNT";
    const EXPECTS: &'static str = "a whole number from 1";
    const NOTATION: Notation = Notation::Number;

    fn parse(text: &str) -> Result<Self, Wrong> {
        let digits = text.replace('_', "");
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Wrong::default());
        }
        digits.parse().map_err(|_| Wrong::default())
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Scalar for SocketAddr {
    const NAME: &'static str = "ADDR";
    const EXPECTS: &'static str = "an address and port such as 127.0.0.1:8080 or [::1]:8080";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if let Ok(address) = text.parse() {
            return Ok(address);
        }
        let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
        match (host, port.parse::<u16>()) {
            ("localhost", Ok(port)) => Ok(Self::from((Ipv4Addr::LOCALHOST, port))),
            ("" | "*", Ok(port)) => {
                Err(Wrong::because(format!("127.0.0.1:{port} is for this machine, 0.0.0.0:{port} for every network")))
            }
            _ if text.parse::<IpAddr>().is_ok() => Err(Wrong::because("the port is missing")),
            _ => Err(Wrong::default()),
        }
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Scalar for PathBuf {
    const NAME: &'static str = "FILE";
    const EXPECTS: &'static str = "a file name";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() || text.contains('\0') {
            return Err(Wrong::default());
        }
        Ok(Self::from(text))
    }

    fn text(&self) -> String {
        OsStr::to_string_lossy(self.as_os_str()).into_owned()
    }
}

/// A share between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Ratio(f64);

impl Ratio {
    /// The share, from 0 to 1.
    pub fn get(self) -> f64 {
        self.0
    }
}

impl Scalar for Ratio {
    const NAME: &'static str = "RATIO";
    const EXPECTS: &'static str = "a number from 0 to 1 such as 0.25";
    const NOTATION: Notation = Notation::Number;

    fn parse(text: &str) -> Result<Self, Wrong> {
        match text.parse() {
            // NaN is in no range; the sum turns a negative zero into a plain one.
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self(share + 0.0)),
            _ => Err(Wrong::default()),
        }
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret(Box<str>);

impl Secret {
    /// The secret itself, to compare with.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl Scalar for Secret {
    const NAME: &'static str = "SECRET";
    const EXPECTS: &'static str = "printable ASCII without spaces, or @FILE to read it from a file";
    const NOTATION: Notation = Notation::Secret;

    fn parse(text: &str) -> Result<Self, Wrong> {
        let secret = match text.strip_prefix('@') {
            Some(path) => read_secret(path)?,
            None => text.to_owned(),
        };
        // What a header can carry: anything else could never be presented.
        if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Wrong::default());
        }
        Ok(Self(secret.into()))
    }

    fn text(&self) -> String {
        String::new()
    }
}

fn read_secret(path: &str) -> Result<String, Wrong> {
    /// Far above any token; a wrong path such as a device must not fill the memory.
    const SECRET_BYTES_MAX: u64 = 64 * 1024;
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut text))
        .map_err(|error| Wrong::because(format!("reading {path}: {error}")))?;
    Ok(text.trim().to_owned())
}

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

/// Declares an enum whose values are words.
macro_rules! words {
    (
        $(#[$doc:meta])*
        pub enum $name:ident ($placeholder:literal) { $( $(#[$word_doc:meta])* $variant:ident = $word:literal, )+ }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $( $(#[$word_doc])* $variant, )+ }

        impl $name {
            /// The word in the settings.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }
        }

        impl Scalar for $name {
            const NAME: &'static str = $placeholder;
            const EXPECTS: &'static str = concat!("one of ", $placeholder);

            fn parse(text: &str) -> Result<Self, Wrong> {
                match text { $( $word => Ok(Self::$variant), )+ _ => Err(Wrong::default()) }
            }

            fn text(&self) -> String {
                self.as_str().to_owned()
            }
        }
    };
}

words! {
    /// What happens to a subscriber past its lag bound.
    pub enum SlowPolicy ("evict|skip|latest") {
        /// Close it; the client resumes by id.
        Evict = "evict",
        /// Jump to the newest event, with a gap event.
        Skip = "skip",
        /// Keep the newest event of each topic only.
        Latest = "latest",
    }
}

words! {
    /// How a full or draining server answers an `EventSource`.
    pub enum BusyReply ("stream|503") {
        /// 200, a jittered `retry:`, `event: sse.reconnect`, the end: a browser comes back by itself.
        Stream = "stream",
        /// 503 with `Retry-After`: a native `EventSource` then gives up for good.
        Unavailable = "503",
    }
}

words! {
    /// How log lines are written.
    pub enum LogFormat ("text|json") {
        /// For people.
        Text = "text",
        /// One JSON object per line.
        Json = "json",
    }
}

words! {
    /// The least severe log line that is written.
    pub enum LogLevel ("error|warn|info|debug|trace") {
        /// What failed.
        Error = "error",
        /// And what will need attention.
        Warn = "warn",
        /// And one line per connect and disconnect.
        Info = "info",
        /// And heartbeats.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

words! {
    /// A ready-made set of bounds for topics of one kind.
    pub enum Preset ("low-frequency|default|bursty|realtime") {
        /// A lag of 16 frames: news, notifications.
        LowFrequency = "low-frequency",
        /// The bounds of the whole server.
        Default = "default",
        /// A lag of 512 frames: many events at once, then quiet.
        Bursty = "bursty",
        /// `slow-policy` `latest`: positions, prices, anything an older value of which is worthless.
        Realtime = "realtime",
    }
}
