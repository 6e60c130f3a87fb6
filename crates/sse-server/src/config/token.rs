//! Settings about tokens: keys, algorithms, claims, and where tokens may stand.

use std::fmt;

use super::types::read_secret;
use super::value::{Notation, Scalar, Wrong};
use super::web::WebOrigin;
use super::words::words;

words! {
    /// How tokens are signed. Fixed per key: what a token itself says only has to agree.
    pub enum JwtAlg ("HS256|HS384|HS512|RS256|RS384|RS512|PS256|PS384|PS512|ES256|ES384|ES512|EdDSA") {
        /// A shared secret, HMAC with SHA-256.
        Hs256 = "HS256",
        /// A shared secret, HMAC with SHA-384.
        Hs384 = "HS384",
        /// A shared secret, HMAC with SHA-512.
        Hs512 = "HS512",
        /// RSA (PKCS #1 1.5) with SHA-256.
        Rs256 = "RS256",
        /// RSA (PKCS #1 1.5) with SHA-384.
        Rs384 = "RS384",
        /// RSA (PKCS #1 1.5) with SHA-512.
        Rs512 = "RS512",
        /// RSA (PSS) with SHA-256.
        Ps256 = "PS256",
        /// RSA (PSS) with SHA-384.
        Ps384 = "PS384",
        /// RSA (PSS) with SHA-512.
        Ps512 = "PS512",
        /// ECDSA on P-256.
        Es256 = "ES256",
        /// ECDSA on P-384.
        Es384 = "ES384",
        /// ECDSA on P-521.
        Es512 = "ES512",
        /// Ed25519.
        EdDsa = "EdDSA",
    }
}

impl JwtAlg {
    /// Whether whoever can check a token can also make one.
    pub fn is_shared_secret(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

/// A secret or a public key in PEM, which is never printed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct JwtKey(Box<str>);

impl JwtKey {
    /// The key itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for JwtKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JwtKey(hidden)")
    }
}

impl Scalar for JwtKey {
    const NAME: &'static str = "KEY";
    const EXPECTS: &'static str = "a secret or a public key in PEM, or @FILE to read it from a file";
    const NOTATION: Notation = Notation::Secret;

    fn parse(text: &str) -> Result<Self, Wrong> {
        let key = match text.strip_prefix('@') {
            Some(path) => read_secret(path)?,
            None => text.to_owned(),
        };
        // PEM has lines; other control characters are a mistake.
        if key.is_empty() || key.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
            return Err(Wrong::default());
        }
        Ok(Self(key.into()))
    }

    fn text(&self) -> String {
        String::new()
    }
}

/// Where a set of keys is to be had.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JwksUrl(Box<str>);

impl JwksUrl {
    /// The address as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scalar for JwksUrl {
    const NAME: &'static str = "URL";
    const EXPECTS: &'static str = "an address such as https://id.example.com/jwks.json or file:///etc/sse/jwks.json";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let rest = ["https://", "http://", "file:///"].iter().find_map(|scheme| text.strip_prefix(scheme));
        if rest.is_none_or(str::is_empty) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Wrong::default());
        }
        let authority = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
        if authority.contains('@') {
            return Err(Wrong::because("a user and password in it would be printed"));
        }
        Ok(Self(text.into()))
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

/// Claims that every token must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequiredClaims {
    /// `exp`: when it ends.
    pub exp: bool,
    /// `aud`: whom it is for.
    pub aud: bool,
    /// `iss`: who made it.
    pub iss: bool,
}

impl Scalar for RequiredClaims {
    const NAME: &'static str = "CLAIMS";
    const EXPECTS: &'static str = "exp, aud and iss, parted by commas";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let mut claims = Self::default();
        for name in text.split(',') {
            match name.trim() {
                "exp" => claims.exp = true,
                "aud" => claims.aud = true,
                "iss" => claims.iss = true,
                _ => return Err(Wrong::default()),
            }
        }
        Ok(claims)
    }

    fn text(&self) -> String {
        let names = [("exp", self.exp), ("aud", self.aud), ("iss", self.iss)];
        names.into_iter().filter(|(_, is_wanted)| *is_wanted).map(|(name, _)| name).collect::<Vec<_>>().join(",")
    }
}

/// A claim's text, compared byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClaimText(Box<str>);

impl ClaimText {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scalar for ClaimText {
    const NAME: &'static str = "TEXT";
    const EXPECTS: &'static str = "a text without control characters, such as https://id.example.com";

    fn parse(text: &str) -> Result<Self, Wrong> {
        if text.is_empty() || text.chars().any(char::is_control) {
            return Err(Wrong::default());
        }
        Ok(Self(text.into()))
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

/// A cookie's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CookieName(Box<str>);

impl CookieName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Scalar for CookieName {
    const NAME: &'static str = "NAME";
    const EXPECTS: &'static str = "a cookie's name such as mercureAuthorization";

    fn parse(text: &str) -> Result<Self, Wrong> {
        // A token of RFC 9110, 5.6.2.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if text.is_empty() || !text.bytes().all(allowed) {
            return Err(Wrong::default());
        }
        Ok(Self(text.into()))
    }

    fn text(&self) -> String {
        self.0.to_string()
    }
}

/// Origins whose pages may publish.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OriginPattern {
    /// One, or all.
    Plain(WebOrigin),
    /// Those that begin and end so, with a label or more between: `https://*.example.com`.
    Wildcard {
        /// Up to the asterisk, in lower case.
        before: Box<str>,
        /// Behind it, in lower case.
        after: Box<str>,
    },
}

impl OriginPattern {
    /// Whether an `Origin` field's value is among them.
    pub fn matches(&self, origin: &str) -> bool {
        let origin = origin.to_ascii_lowercase();
        match self {
            Self::Plain(WebOrigin::Any) => true,
            Self::Plain(WebOrigin::Exact(exact)) => **exact == *origin,
            Self::Wildcard { before, after } => {
                let between = origin.strip_prefix(&**before).and_then(|rest| rest.strip_suffix(&**after));
                // Whole labels only, so that neither a port nor another authority fits in.
                let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                between.is_some_and(|between| !between.is_empty() && between.bytes().all(fits))
            }
        }
    }
}

impl Scalar for OriginPattern {
    const NAME: &'static str = "ORIGIN";
    const EXPECTS: &'static str = "an origin such as https://app.example.com or https://*.example.com, or *";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let Some((before, after)) = text.split_once('*').filter(|_| text != "*") else {
            return WebOrigin::parse(text).map(Self::Plain);
        };
        // `https://*example.com` would let anybody's evilexample.com in.
        if !before.ends_with("://") || !after.starts_with('.') {
            return Err(Wrong::because("the * stands for whole labels, right behind the scheme"));
        }
        WebOrigin::parse(&format!("{before}x{after}"))?;
        Ok(Self::Wildcard { before: before.to_ascii_lowercase().into(), after: after.to_ascii_lowercase().into() })
    }

    fn text(&self) -> String {
        match self {
            Self::Plain(origin) => origin.text(),
            Self::Wildcard { before, after } => format!("{before}*{after}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_whole_labels() {
        let matches = |pattern: &str, origin: &str| {
            let pattern = OriginPattern::parse(pattern).unwrap();
            assert_eq!(OriginPattern::parse(&pattern.text()), Ok(pattern.clone()));
            pattern.matches(origin)
        };
        for (pattern, origin, expected) in [
            ("*", "https://a.test", true),
            ("https://a.test", "https://A.test", true),
            ("https://a.test", "https://b.a.test", false),
            ("https://*.a.test", "https://b.a.test", true),
            ("https://*.a.test", "https://c.b.a.test", true),
            ("https://*.a.test", "https://a.test", false),
            ("https://*.a.test", "https://.a.test", false),
            ("https://*.a.test", "http://b.a.test", false),
            ("https://*.a.test", "https://evil.test:1.a.test", false),
            ("https://*.a.test", "https://evil.test/b.a.test", false),
            ("https://*.a.test", "https://b.a.test.evil.test", false),
            ("https://*.a.test", "null", false),
        ] {
            assert_eq!(matches(pattern, origin), expected, "{pattern} {origin}");
        }
        for wrong in ["https://*a.test", "https://a.*.test", "*.a.test", "https://*.*.test", "https://*.a.test/", ""] {
            assert!(OriginPattern::parse(wrong).is_err(), "{wrong}");
        }
    }
}
