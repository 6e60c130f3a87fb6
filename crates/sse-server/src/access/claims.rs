//! What stands in a token, and whether it counts.
//!
//! The library checks signatures and reads keys. Headers and claims are read here, because what it lets pass by default is
//! too much: `crit`, any `typ`, times of other JSON types, texts where lists belong.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use sse_hub::Selector;

use super::Token;
use super::selectors::SelectorCache;
use crate::config::{Config, RequiredClaims};

/// How far the clocks of token makers may be off.
pub(crate) const LEEWAY: Duration = Duration::from_secs(30);
/// Selectors in one token.
const SELECTORS_MAX: usize = 1000;
/// Bytes of a token: heads of requests are bounded as well, this is what of them may be spent on one.
pub(crate) const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// A token's three parts, none of them believed yet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    /// Header and claims, which is what was signed.
    pub(crate) signed: &'a str,
    pub(crate) signature: &'a str,
}

/// What a token says of its own signature.
#[derive(Debug, Deserialize)]
pub(crate) struct Header {
    pub(crate) alg: String,
    #[serde(default, deserialize_with = "present")]
    pub(crate) kid: Option<String>,
    #[serde(default, deserialize_with = "present")]
    typ: Option<String>,
    /// Extensions that must be understood (RFC 7515, 4.1.11): none is.
    #[serde(default, deserialize_with = "present")]
    crit: Option<Value>,
}

impl<'a> Parts<'a> {
    /// The parts of a compact signed token (RFC 7515, 7.1).
    pub(crate) fn split(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.').filter(|_| token.len() <= TOKEN_BYTES_MAX)?;
        let (header, claims) = signed.split_once('.')?;
        (!claims.contains('.')).then_some(Self { header, claims, signed, signature })
    }

    /// The header, if it asks for nothing that is not done here.
    pub(crate) fn header(&self) -> Option<Header> {
        let header: Header = decode(self.header)?;
        // Another kind of token, such as one for logging out, must not pass for one that grants (RFC 8725, 3.11).
        let is_kind = |typ: &str| {
            let typ = typ.to_ascii_lowercase();
            matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
        };
        let is_plain = header.crit.is_none() && header.typ.as_deref().is_none_or(is_kind);
        is_plain.then_some(header)
    }

    /// The claims. Only to be asked for once the signature is checked.
    pub(crate) fn claims(&self) -> Option<Claims> {
        decode(self.claims)
    }
}

fn decode<T: serde::de::DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// The claims that mean something here; a wrong type in one of them makes the whole unreadable.
#[derive(Debug, Deserialize)]
pub(crate) struct Claims {
    #[serde(default, deserialize_with = "present")]
    exp: Option<Time>,
    #[serde(default, deserialize_with = "present")]
    nbf: Option<Time>,
    /// Read for its type only.
    #[serde(default, deserialize_with = "present")]
    #[expect(dead_code, reason = "it must be a time, whichever")]
    iat: Option<Time>,
    #[serde(default, deserialize_with = "present")]
    iss: Option<String>,
    #[serde(default, deserialize_with = "present")]
    aud: Option<Audience>,
    #[serde(default, deserialize_with = "present")]
    sub: Option<String>,
    #[serde(default, deserialize_with = "present")]
    jti: Option<String>,
    mercure: Option<Mercure>,
    #[serde(rename = "https://mercure.rocks/")]
    namespaced: Option<Mercure>,
}

/// `mercure`, or its namespaced form.
#[derive(Debug, Default, Deserialize)]
struct Mercure {
    publish: Option<Vec<String>>,
    subscribe: Option<Vec<String>>,
    payload: Option<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// A claim that is there has its type: `null` is not the same as nothing.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Seconds since 1970 (RFC 7519, 2), with or without a fraction.
#[derive(Debug, Clone, Copy)]
struct Time(SystemTime);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// As good as never, and no clock overflows.
        const SECONDS_MAX: f64 = 1e11;
        let seconds = f64::deserialize(deserializer)?;
        if !(0.0..f64::INFINITY).contains(&seconds) {
            return Err(serde::de::Error::custom("not a time"));
        }
        Ok(Self(UNIX_EPOCH + Duration::from_secs_f64(seconds.min(SECONDS_MAX))))
    }
}

/// What is asked of claims.
#[derive(Debug, PartialEq)]
pub(crate) struct ClaimRules {
    require: RequiredClaims,
    issuer: Option<String>,
    audience: Option<String>,
}

impl ClaimRules {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            require: config.jwt_require.unwrap_or_default(),
            issuer: config.jwt_issuer.as_ref().map(|text| text.as_str().to_owned()),
            audience: config.jwt_audience.as_ref().map(|text| text.as_str().to_owned()),
        }
    }

    /// The token these claims make, unless they break a rule that no time changes.
    pub(crate) fn token(&self, claims: Claims, selectors: &SelectorCache) -> Option<Token> {
        let Claims { exp, nbf, iss, aud, sub, jti, mercure, namespaced, .. } = claims;
        let RequiredClaims { exp: needs_exp, aud: needs_aud, iss: needs_iss } = self.require;
        if (needs_exp && exp.is_none()) || (needs_aud && aud.is_none()) || (needs_iss && iss.is_none()) {
            return None;
        }
        if self.issuer.is_some() && self.issuer != iss {
            return None;
        }
        if !self.audience.as_ref().is_none_or(|wanted| aud.is_some_and(|aud| aud.names(wanted))) {
            return None;
        }
        let Mercure { publish, subscribe, payload } = namespaced.or(mercure).unwrap_or_default();
        if publish.as_ref().map_or(0, Vec::len) + subscribe.as_ref().map_or(0, Vec::len) > SELECTORS_MAX {
            return None;
        }
        Some(Token {
            id: jti.map(Into::into),
            subject: sub.map(Into::into),
            expires_at: exp.map(|time| time.0),
            not_before: nbf.map(|time| time.0),
            publish: compile(publish, selectors)?.map(Into::into),
            subscribe: compile(subscribe, selectors)?.map(Into::into),
            payload,
        })
    }
}

/// The selectors, in one order, so that equal sets are equal. `None` if one of them is no selector.
fn compile(texts: Option<Vec<String>>, selectors: &SelectorCache) -> Option<Option<Vec<Selector>>> {
    let Some(mut texts) = texts else { return Some(None) };
    texts.sort_unstable();
    texts.dedup();
    texts.iter().map(|text| selectors.compile(text)).collect::<Option<_>>().map(Some)
}

impl Audience {
    fn names(&self, wanted: &str) -> bool {
        match self {
            Self::One(one) => one == wanted,
            Self::Several(several) => several.iter().any(|one| one == wanted),
        }
    }
}

impl Token {
    /// Whether it counts at this time, the clocks being a little off.
    pub(crate) fn is_current(&self, now: SystemTime) -> bool {
        let is_over = self.expires_at.is_some_and(|exp| exp + LEEWAY <= now);
        let is_early = self.not_before.is_some_and(|nbf| nbf > now + LEEWAY);
        !is_over && !is_early
    }
}

#[cfg(test)]
mod tests;
