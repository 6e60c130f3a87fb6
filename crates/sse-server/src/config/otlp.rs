//! Where traces are sent, and in whose name.

use super::value::{Scalar, Wrong};

/// A collector's address, to which the path of what is sent is added.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OtlpEndpoint(Box<str>);

impl OtlpEndpoint {
    /// Where traces go.
    pub fn traces(&self) -> String {
        format!("{}/v1/traces", self.0.trim_end_matches('/'))
    }
}

impl Scalar for OtlpEndpoint {
    const NAME: &'static str = "URL";
    const EXPECTS: &'static str = "an address such as http://127.0.0.1:4318";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let rest = ["https://", "http://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let authority = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
        if authority.contains('@') {
            return Err(Wrong::because("a user and password in it would be printed"));
        }
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte));
        if authority.is_empty() || !is_plain || text.parse::<hyper::Uri>().is_err() {
            return Err(Wrong::default());
        }
        if authority.ends_with(":4317") {
            return Err(Wrong::because(
                "4317 is for gRPC, and traces are sent by HTTP, for which collectors have 4318",
            ));
        }
        Ok(Self(text.into()))
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

/// What a server is called among others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceName(Box<str>);

impl ServiceName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scalar for ServiceName {
    const NAME: &'static str = "NAME";
    const EXPECTS: &'static str = "a name of up to 255 bytes without control characters";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let is_name = !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control);
        if is_name { Ok(Self(text.into())) } else { Err(Wrong::default()) }
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_added() {
        for text in ["http://127.0.0.1:4318", "http://127.0.0.1:4318/"] {
            assert_eq!(OtlpEndpoint::parse(text).unwrap().traces(), "http://127.0.0.1:4318/v1/traces");
        }
        assert_eq!(OtlpEndpoint::parse("https://a.test/otlp").unwrap().traces(), "https://a.test/otlp/v1/traces");
        for wrong in [
            "a.test:4318",
            "file:///x",
            "http://",
            "http://u:p@a.test",
            "http://a.test?x",
            "http://a.test:4317",
            "http://a b",
        ] {
            assert!(OtlpEndpoint::parse(wrong).is_err(), "{wrong}");
        }
    }
}
