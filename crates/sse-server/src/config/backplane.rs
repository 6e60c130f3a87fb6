//! Where the engine is that several nodes share, and what it is called there.

use super::value::{Notation, Scalar, Wrong};
use crate::backplane::Address;

/// The engine's address. Printed without credentials.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BackplaneUrl(Address);

impl BackplaneUrl {
    /// The address, read.
    pub(crate) fn address(&self) -> &Address {
        &self.0
    }
}

impl Scalar for BackplaneUrl {
    const NAME: &'static str = "URL";
    const EXPECTS: &'static str =
        "an address such as redis://127.0.0.1:6379 or nats://127.0.0.1:4222, several nodes with commas";
    const NOTATION: Notation = Notation::Secret;

    fn parse(text: &str) -> Result<Self, Wrong> {
        let text = match text.strip_prefix('@') {
            Some(path) => super::types::read_secret(path)?,
            None => text.to_owned(),
        };
        Address::parse(&text).map(Self).map_err(|fault| Wrong::because(fault.to_string()))
    }

    fn text(&self) -> String {
        String::new()
    }
}

/// A name in an engine: of its stream, and what other names begin with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamName(Box<str>);

impl StreamName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scalar for StreamName {
    const NAME: &'static str = "NAME";
    const EXPECTS: &'static str = "letters, digits, - and _, at most 64";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if text.is_empty() || text.len() > 64 || !is_plain {
            return Err(Wrong::default());
        }
        Ok(Self(text.into()))
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}
