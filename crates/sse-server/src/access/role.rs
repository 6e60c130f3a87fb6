//! What publishers', or subscribers', tokens are checked with.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::claims::{ClaimRules, Parts};
use super::jwks::{Jwks, KeySet};
use super::key::VerifyKey;
use super::selectors::SelectorCache;
use super::{AccessError, Token};
use crate::config::{Config, JwksUrl, JwtAlg, JwtKey};
use crate::signals::Signals;

/// Bytes of tokens that are remembered, by an estimate. A signature costs 10 to 100 us to check, a look here less than one.
const CACHE_BYTES_MAX: u64 = 16 << 20;
/// Tokens that are remembered, about.
const CACHE_TOKENS: usize = 16 * 1024;

/// One role's keys, and the tokens they were found good for.
pub(crate) struct Role {
    keys: Keys,
    checked: Cache<Box<str>, Checked, Weight>,
}

enum Keys {
    One(VerifyKey),
    Set(Box<Jwks>),
}

/// A token whose signature and claims are good under a set of keys; its times are looked at again.
#[derive(Clone)]
struct Checked {
    token: Arc<Token>,
    keys: Option<Arc<KeySet>>,
}

impl Role {
    /// The publishers' role, if there is a key for it.
    ///
    /// # Errors
    /// When a key is none, or https cannot be had.
    pub(crate) fn publisher(config: &Config, signals: &Signals) -> io::Result<Option<Self>> {
        let (key, alg) = (config.publisher_jwt_key.as_ref(), config.publisher_jwt_alg);
        let url = config.publisher_jwks_url.as_ref();
        Self::new("publisher", key, alg, url, config.jwks_refresh_interval, signals)
    }

    /// The subscribers' role, if there is a key for it.
    ///
    /// # Errors
    /// As [`Role::publisher`].
    pub(crate) fn subscriber(config: &Config, signals: &Signals) -> io::Result<Option<Self>> {
        let (key, alg) = (config.subscriber_jwt_key.as_ref(), config.subscriber_jwt_alg);
        let url = config.subscriber_jwks_url.as_ref();
        Self::new("subscriber", key, alg, url, config.jwks_refresh_interval, signals)
    }

    fn new(
        name: &'static str,
        key: Option<&JwtKey>,
        alg: JwtAlg,
        url: Option<&JwksUrl>,
        refresh_interval: Duration,
        signals: &Signals,
    ) -> io::Result<Option<Self>> {
        let keys = match (url, key) {
            (Some(url), _) => {
                Keys::Set(Box::new(Jwks::new(name, url.clone(), alg, refresh_interval, signals.clone())?))
            }
            (None, Some(key)) => Keys::One(VerifyKey::parse(alg, key.reveal()).map_err(io::Error::other)?),
            (None, None) => return Ok(None),
        };
        Ok(Some(Self { keys, checked: Cache::with_weighter(CACHE_TOKENS, CACHE_BYTES_MAX, Weight) }))
    }

    /// Keeps the set of keys fresh, for as long as it is polled.
    pub(crate) async fn run(&self) {
        match &self.keys {
            Keys::One(_) => std::future::pending().await,
            Keys::Set(jwks) => jwks.run().await,
        }
    }

    /// Checks a token.
    ///
    /// # Errors
    /// [`AccessError::Invalid`] whatever is wrong with it, [`AccessError::NoKeys`] while there is nothing to check it with.
    pub(crate) async fn check(
        &self,
        text: &str,
        rules: &ClaimRules,
        selectors: &SelectorCache,
        now: SystemTime,
    ) -> Result<Arc<Token>, AccessError> {
        let token = match self.known(text) {
            Some(token) => token,
            None => self.verify(text, rules, selectors).await?,
        };
        if token.is_current(now) { Ok(token) } else { Err(AccessError::Invalid) }
    }

    /// The token, if it was checked before under the keys there are now.
    fn known(&self, text: &str) -> Option<Arc<Token>> {
        let Checked { token, keys } = self.checked.get(text)?;
        let is_same = match (&self.keys, keys) {
            (Keys::One(_), None) => true,
            (Keys::Set(jwks), Some(keys)) => jwks.keys().is_some_and(|now| Arc::ptr_eq(&now, &keys)),
            _ => false,
        };
        is_same.then_some(token)
    }

    async fn verify(
        &self,
        text: &str,
        rules: &ClaimRules,
        selectors: &SelectorCache,
    ) -> Result<Arc<Token>, AccessError> {
        let parts = Parts::split(text).ok_or(AccessError::Invalid)?;
        let header = parts.header().ok_or(AccessError::Invalid)?;
        let (alg, kid) = (header.alg.as_str(), header.kid.as_deref());
        let verifies = |key: &VerifyKey| key.verifies(parts.signed.as_bytes(), parts.signature);
        let (is_good, keys) = match &self.keys {
            Keys::One(key) => (key.is_for(alg) && verifies(key), None),
            Keys::Set(jwks) => {
                let keys = with_key(jwks, alg, kid).await.ok_or(AccessError::NoKeys)?;
                let is_good = keys.candidates(alg, kid).any(verifies);
                (is_good, Some(keys))
            }
        };
        let claims = if is_good { parts.claims() } else { None };
        let token = claims.and_then(|claims| rules.token(claims, selectors)).ok_or(AccessError::Invalid)?;
        let token = Arc::new(token);
        self.checked.insert(text.into(), Checked { token: token.clone(), keys });
        Ok(token)
    }
}

/// The set, fetched again if it has no key for this header.
async fn with_key(jwks: &Jwks, alg: &str, kid: Option<&str>) -> Option<Arc<KeySet>> {
    let keys = jwks.keys();
    if keys.as_ref().is_none_or(|keys| keys.candidates(alg, kid).next().is_none()) {
        jwks.look_again().await;
        return jwks.keys();
    }
    keys
}

/// What a remembered token takes, about.
#[derive(Clone)]
struct Weight;

impl Weighter<Box<str>, Checked> for Weight {
    fn weight(&self, text: &Box<str>, checked: &Checked) -> u64 {
        /// A selector shares its compiled form, but not its place.
        const SELECTOR_BYTES: usize = 48;
        let token = &checked.token;
        let selectors =
            token.publish.as_ref().map_or(0, |all| all.len()) + token.subscribe.as_ref().map_or(0, |all| all.len());
        // The payload is a part of the text, and as values several times as large.
        (text.len() * 6 + selectors * SELECTOR_BYTES + 512) as u64
    }
}

impl std::fmt::Debug for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Role")
    }
}
