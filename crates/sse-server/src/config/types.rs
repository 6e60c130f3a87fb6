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

/// A secret's file, without the line's end behind it.
pub(super) fn read_secret(path: &str) -> Result<String, Wrong> {
    /// Far above any token; a wrong path such as a device must not fill the memory.
    const SECRET_BYTES_MAX: u64 = 64 * 1024;
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut text))
        // Without the path: a secret that happens to begin with @ would show.
        .map_err(|error| Wrong::because(format!("reading the file it names: {error}")))?;
    Ok(text.trim().to_owned())
}
