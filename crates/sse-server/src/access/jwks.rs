//! A set of public keys that is fetched, and fetched again: at its interval, and for a key it does not have.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::fetch::{FetchError, Fetcher};
use super::key::VerifyKey;
use crate::config::{JwksUrl, JwtAlg};
use crate::signals::Signals;

/// Fetches start at least this far apart, whatever tokens ask for: a flood of unknown keys is no flood of fetches.
const FETCH_GAP: Duration = Duration::from_secs(30);
/// Until there is a first set it is tried again sooner, then ever later.
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
/// How long a request waits for a fetch that may have its key.
const PATIENCE: Duration = Duration::from_secs(6);
/// Keys of one set.
const KEYS_MAX: usize = 100;

/// The keys of a set that check signatures.
#[derive(Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<VerifyKey>,
}

/// A set and where it comes from.
#[derive(Debug)]
pub(crate) struct Jwks {
    role: &'static str,
    url: JwksUrl,
    rsa_alg: JwtAlg,
    refresh_interval: Duration,
    fetcher: Fetcher,
    signals: Signals,
    /// Told of every fetch that has ended.
    state: watch::Sender<State>,
    /// When the next fetch may start.
    next_from: Mutex<Instant>,
    wanted: Notify,
}

#[derive(Debug, Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    fetches: u64,
}

impl Jwks {
    /// # Errors
    /// When the system's certificates cannot be had, which https needs.
    pub(crate) fn new(
        role: &'static str,
        url: JwksUrl,
        rsa_alg: JwtAlg,
        refresh_interval: Duration,
        signals: Signals,
    ) -> std::io::Result<Self> {
        Ok(Self {
            role,
            fetcher: Fetcher::new(&url)?,
            url,
            rsa_alg,
            refresh_interval,
            signals,
            state: watch::Sender::default(),
            next_from: Mutex::new(Instant::now()),
            wanted: Notify::new(),
        })
    }

    /// The newest set that could be had.
    pub(crate) fn keys(&self) -> Option<Arc<KeySet>> {
        self.state.borrow().keys.clone()
    }

    /// Has the set fetched again for a key it lacks, and waits for it if that may be done now. Later requests for unknown
    /// keys do not wait, until the next fetch is due.
    pub(crate) async fn look_again(&self) {
        let mut state = self.state.subscribe();
        let fetches = state.borrow_and_update().fetches;
        self.wanted.notify_one();
        if *self.next_from.lock() <= Instant::now() {
            // Without an answer in time the set is what it was.
            let _ = tokio::time::timeout(PATIENCE, state.wait_for(|state| state.fetches > fetches)).await;
        }
    }

    /// Fetches for as long as it is polled.
    pub(crate) async fn run(&self) {
        let gap = FETCH_GAP.min(self.refresh_interval);
        let mut backoff = FIRST_BACKOFF.min(gap);
        loop {
            let started = Instant::now();
            let is_good = self.fetch().await.is_ok();
            let next_from = if is_good || self.keys().is_some() { started + gap } else { Instant::now() + backoff };
            backoff = (backoff * 2).min(gap);
            *self.next_from.lock() = next_from;
            self.state.send_modify(|state| state.fetches += 1);
            let refresh_at = if is_good { started + self.refresh_interval } else { next_from };
            tokio::time::sleep_until(next_from).await;
            tokio::select! {
                () = tokio::time::sleep_until(refresh_at) => (),
                () = self.wanted.notified() => (),
            }
        }
    }

    /// A set that cannot be had leaves the one there is.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub(crate) async fn fetch(&self) -> Result<(), FetchError> {
        let fetched = self.fetcher.fetch().await.and_then(|bytes| KeySet::parse(&bytes, self.rsa_alg));
        match fetched {
            Ok(keys) => {
                self.signals.jwks_fetched(self.role, "ok");
                self.state.send_modify(|state| {
                    // An unchanged set keeps its identity, and with it the tokens that are remembered.
                    if state.keys.as_ref().is_none_or(|known| **known != keys) {
                        tracing::info!(role = self.role, keys = keys.keys.len(), "keys for tokens fetched");
                        state.keys = Some(Arc::new(keys));
                    }
                });
                Ok(())
            }
            Err(error) => {
                self.signals.jwks_fetched(self.role, error.as_str());
                let url = self.url.as_str();
                tracing::warn!(role = self.role, url, %error, "cannot fetch the keys for tokens");
                Err(error)
            }
        }
    }
}

impl KeySet {
    pub(super) fn parse(bytes: &[u8], rsa_alg: JwtAlg) -> Result<Self, FetchError> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let document: Document = serde_json::from_slice(bytes).map_err(|_| FetchError::Malformed)?;
        // Keys of kinds that are not known here may stand among the others (RFC 7517, 5).
        let read = |key: &Value| {
            let said = key.get("alg").map(|alg| alg.as_str().unwrap_or(""));
            VerifyKey::from_jwk(&Jwk::deserialize(key).ok()?, said, rsa_alg)
        };
        let keys: Vec<VerifyKey> = document.keys.iter().take(KEYS_MAX).filter_map(read).collect();
        if keys.is_empty() { Err(FetchError::NoKeys) } else { Ok(Self { keys }) }
    }

    /// The keys that a token with this header may be signed with.
    pub(crate) fn candidates<'a>(&'a self, alg: &'a str, kid: Option<&'a str>) -> impl Iterator<Item = &'a VerifyKey> {
        self.keys.iter().filter(move |key| key.is_for(alg) && kid.is_none_or(|kid| key.id() == Some(kid)))
    }
}

impl PartialEq for KeySet {
    fn eq(&self, other: &Self) -> bool {
        self.keys == other.keys
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn algs(keys: Value) -> Result<Vec<String>, String> {
        let document = serde_json::to_vec(&json!({ "keys": keys })).unwrap();
        let set = KeySet::parse(&document, JwtAlg::Hs256).map_err(|error| error.to_string())?;
        Ok(set.keys.iter().map(|key| format!("{key:?}")).collect())
    }

    #[test]
    fn only_public_keys_for_signatures_count() {
        let good = json!({ "kty": "OKP", "crv": "Ed25519", "x": X, "kid": "a" });
        assert_eq!(algs(json!([good])).unwrap().len(), 1);
        for other in [
            json!({ "kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA", "alg": "HS256" }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": X, "use": "enc" }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": X, "key_ops": ["sign"] }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": X, "alg": "HS256" }),
            json!({ "kty": "OKP", "crv": "X448", "x": X }),
            json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "RSA-OAEP" }),
            json!({ "kty": "future" }),
            json!(1),
        ] {
            assert!(algs(json!([other])).is_err(), "{other}");
            assert_eq!(algs(json!([other, good])).unwrap().len(), 1, "{other}");
        }
        for malformed in [&b"[]"[..], b"{}", b"", b"{\"keys\":{}}", b"\xff"] {
            assert!(KeySet::parse(malformed, JwtAlg::Rs256).is_err());
        }
    }

    #[test]
    fn an_algorithm_is_fixed_per_key() {
        let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": X, "kid": "a" }] });
        let set = KeySet::parse(&serde_json::to_vec(&set).unwrap(), JwtAlg::Rs256).unwrap();
        let count = |alg, kid| set.candidates(alg, kid).count();
        assert_eq!((count("EdDSA", Some("a")), count("EdDSA", None)), (1, 1));
        assert_eq!((count("EdDSA", Some("b")), count("HS256", Some("a")), count("none", None)), (0, 0, 0));
    }
}
