//! What publishers', or subscribers', tokens are checked with.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::claims::{ClaimRules, Parts};
use super::fetch::FetchError;
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
    settings: RoleSettings,
    keys: Keys,
    checked: Cache<Box<str>, Checked, Weight>,
}

enum Keys {
    One(VerifyKey),
    Set(Arc<Jwks>),
}

/// All that a role depends on: while that is the same, so is what tokens are worth.
#[derive(Debug, PartialEq)]
struct RoleSettings {
    name: &'static str,
    key: Option<JwtKey>,
    alg: JwtAlg,
    url: Option<JwksUrl>,
    refresh_interval: Duration,
    rules: ClaimRules,
}

impl RoleSettings {
    /// With what both roles have in common.
    fn new(name: &'static str, key: Option<JwtKey>, alg: JwtAlg, url: Option<JwksUrl>, config: &Config) -> Self {
        let (refresh_interval, rules) = (config.jwks_refresh_interval, ClaimRules::new(config));
        Self { name, key, alg, url, refresh_interval, rules }
    }
}

/// A token whose signature and claims are good under a set of keys; its times are looked at again.
#[derive(Clone)]
struct Checked {
    token: Arc<Token>,
    keys: Option<Arc<KeySet>>,
}

impl Role {
    /// The publishers' role, if there is a key for it; the one before if nothing has changed.
    ///
    /// # Errors
    /// When a key is none, or https cannot be had.
    pub(crate) fn publisher(
        config: &Config,
        signals: &Signals,
        before: Option<&Arc<Self>>,
    ) -> io::Result<Option<Arc<Self>>> {
        let (key, url) = (config.publisher_jwt_key.clone(), config.publisher_jwks_url.clone());
        let settings = RoleSettings::new("publisher", key, config.publisher_jwt_alg, url, config);
        Self::new(settings, signals, before)
    }

    /// The subscribers' role, likewise.
    ///
    /// # Errors
    /// As [`Role::publisher`].
    pub(crate) fn subscriber(
        config: &Config,
        signals: &Signals,
        before: Option<&Arc<Self>>,
    ) -> io::Result<Option<Arc<Self>>> {
        let (key, url) = (config.subscriber_jwt_key.clone(), config.subscriber_jwks_url.clone());
        let settings = RoleSettings::new("subscriber", key, config.subscriber_jwt_alg, url, config);
        Self::new(settings, signals, before)
    }

    fn new(settings: RoleSettings, signals: &Signals, before: Option<&Arc<Self>>) -> io::Result<Option<Arc<Self>>> {
        if let Some(same) = before.filter(|before| before.settings == settings) {
            return Ok(Some(same.clone()));
        }
        let keys = match (&settings.url, &settings.key) {
            (Some(url), _) => Keys::Set(match before.and_then(|before| before.set_of(&settings)) {
                Some(jwks) => jwks,
                None => {
                    let (name, alg, refresh) = (settings.name, settings.alg, settings.refresh_interval);
                    Arc::new(Jwks::new(name, url.clone(), alg, refresh, signals.clone())?)
                }
            }),
            (None, Some(key)) => Keys::One(VerifyKey::parse(settings.alg, key.reveal()).map_err(io::Error::other)?),
            (None, None) => return Ok(None),
        };
        // Tokens that others' keys and rules were found good for are checked again.
        let checked = Cache::with_weighter(CACHE_TOKENS, CACHE_BYTES_MAX, Weight);
        Ok(Some(Arc::new(Self { settings, keys, checked })))
    }

    /// The set of keys, if it would be the same for these settings.
    fn set_of(&self, settings: &RoleSettings) -> Option<Arc<Jwks>> {
        let Keys::Set(jwks) = &self.keys else { return None };
        let of = |settings: &RoleSettings| (settings.url.clone(), settings.alg, settings.refresh_interval);
        (of(&self.settings) == of(settings)).then(|| jwks.clone())
    }

    /// Whose role it is.
    pub(crate) fn name(&self) -> &'static str {
        self.settings.name
    }

    /// Whether its set of keys could not be had yet.
    pub(crate) fn lacks_keys(&self) -> bool {
        matches!(&self.keys, Keys::Set(jwks) if jwks.keys().is_none())
    }

    /// Whether they share a set of keys.
    pub(crate) fn has_set_of(&self, other: &Self) -> bool {
        matches!((&self.keys, &other.keys), (Keys::Set(jwks), Keys::Set(others)) if Arc::ptr_eq(jwks, others))
    }

    /// Fetches its set of keys, if it has one.
    ///
    /// # Errors
    /// When it cannot be had.
    pub(crate) async fn fetch_first(&self) -> Result<(), FetchError> {
        match &self.keys {
            Keys::Set(jwks) => jwks.fetch().await,
            Keys::One(_) => Ok(()),
        }
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
        selectors: &SelectorCache,
        now: SystemTime,
    ) -> Result<Arc<Token>, AccessError> {
        let token = match self.known(text) {
            Some(token) => token,
            None => self.verify(text, selectors).await?,
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

    async fn verify(&self, text: &str, selectors: &SelectorCache) -> Result<Arc<Token>, AccessError> {
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
        let token =
            claims.and_then(|claims| self.settings.rules.token(claims, selectors)).ok_or(AccessError::Invalid)?;
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

#[cfg(test)]
mod tests;
