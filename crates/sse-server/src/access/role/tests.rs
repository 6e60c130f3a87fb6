//! What a role remembers, and what it forgets when settings or keys are others.

use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::config::Command;

const NOW: u64 = 1_700_000_000;
const SECRET: &str = "a secret of these tests that is long enough";

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn config(args: &[String]) -> Config {
    let args = std::iter::once("sse-server".to_owned()).chain(args.iter().cloned());
    match Config::load(args.map(Into::into), &|_| None, &[]) {
        Ok(Command::Serve(config)) => *config,
        other => panic!("{other:?}"),
    }
}

/// A set of keys in a file.
struct KeyFile {
    dir: tempfile::TempDir,
    pair: Ed25519KeyPair,
}

impl KeyFile {
    fn new() -> Self {
        let file = Self { dir: tempfile::tempdir().unwrap(), pair: Ed25519KeyPair::generate().unwrap() };
        file.write(&file.pair);
        file
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("keys.json")
    }

    fn write(&self, pair: &Ed25519KeyPair) {
        let x = base64(pair.public_key().as_ref());
        let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x }] });
        std::fs::write(self.path(), set.to_string()).unwrap();
    }

    fn arg(&self, role: &str) -> String {
        format!("--{role}-jwks-url=file://{}", self.path().display())
    }

    fn token(&self, claims: &Value) -> String {
        let signed = format!("{}.{}", base64(br#"{"alg":"EdDSA"}"#), base64(claims.to_string().as_bytes()));
        let signature = self.pair.sign(signed.as_bytes());
        format!("{signed}.{}", base64(signature.as_ref()))
    }
}

fn base64(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn publisher(args: &[String], before: Option<&Arc<Role>>) -> Option<Arc<Role>> {
    Role::publisher(&config(args), &Signals::new(), before).unwrap()
}

async fn check(role: &Role, token: &str) -> Result<Arc<Token>, AccessError> {
    role.check(token, &SelectorCache::new(), now()).await
}

#[tokio::test]
async fn a_token_is_remembered_until_the_keys_are_others() {
    let file = KeyFile::new();
    let role = publisher(&[file.arg("publisher")], None).unwrap();
    assert!(role.lacks_keys());
    role.fetch_first().await.unwrap();
    assert!(!role.lacks_keys());
    let token = file.token(&json!({ "exp": NOW + 60 }));
    let first = check(&role, &token).await.unwrap();
    assert!(Arc::ptr_eq(&first, &check(&role, &token).await.unwrap()), "it was checked before");
    role.fetch_first().await.unwrap();
    assert!(Arc::ptr_eq(&first, &role.known(&token).unwrap()), "the set is the same");
    file.write(&Ed25519KeyPair::generate().unwrap());
    role.fetch_first().await.unwrap();
    assert!(role.known(&token).is_none());
    assert_eq!(check(&role, &token).await.unwrap_err(), AccessError::Invalid);
}

#[tokio::test]
async fn a_remembered_token_ends_in_its_time() {
    let file = KeyFile::new();
    let role = publisher(&[file.arg("publisher")], None).unwrap();
    role.fetch_first().await.unwrap();
    let token = file.token(&json!({ "exp": NOW + 60 }));
    assert!(check(&role, &token).await.is_ok());
    let late = now() + Duration::from_secs(60) + super::super::claims::LEEWAY;
    assert_eq!(role.check(&token, &SelectorCache::new(), late).await.unwrap_err(), AccessError::Invalid);
}

#[tokio::test]
async fn a_secret_signs_with_its_algorithm_only() {
    let role = publisher(&[format!("--publisher-jwt-key={SECRET}")], None).unwrap();
    let token = |alg: &str, secret: &str| {
        let header = json!({ "alg": alg }).to_string();
        let signed = format!("{}.{}", base64(header.as_bytes()), base64(b"{}"));
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let signature = hmac::sign(&key, signed.as_bytes());
        format!("{signed}.{}", base64(signature.as_ref()))
    };
    let good = token("HS256", SECRET);
    let first = check(&role, &good).await.unwrap();
    assert!(Arc::ptr_eq(&first, &role.known(&good).unwrap()), "it was checked before");
    for forged in [token("HS256", "another"), token("HS384", SECRET), token("none", SECRET), format!("{good}A")] {
        assert_eq!(check(&role, &forged).await.unwrap_err(), AccessError::Invalid, "{forged}");
        assert!(role.known(&forged).is_none());
    }
}

#[test]
fn the_same_settings_are_the_same_role() {
    let secret = |role: &str| format!("--{role}-jwt-key={SECRET}");
    let (publishers, subscribers) = ([secret("publisher")], [secret("subscriber")]);
    assert!(publisher(&subscribers, None).is_none());
    let role = publisher(&publishers, None).unwrap();
    assert!(Arc::ptr_eq(&role, &publisher(&publishers, Some(&role)).unwrap()));
    let stricter = [publishers[0].clone(), "--jwt-require=exp".to_owned()];
    assert!(!Arc::ptr_eq(&role, &publisher(&stricter, Some(&role)).unwrap()));
    assert!(!role.lacks_keys() && role.name() == "publisher");
    let others = Role::subscriber(&config(&subscribers), &Signals::new(), None).unwrap().unwrap();
    assert!(others.name() == "subscriber" && !others.has_set_of(&others), "a secret is no set");
}

#[tokio::test]
async fn a_set_of_keys_goes_on_under_other_rules() {
    let (file, other) = (KeyFile::new(), KeyFile::new());
    let role = publisher(&[file.arg("publisher")], None).unwrap();
    role.fetch_first().await.unwrap();
    let token = file.token(&json!({}));
    assert!(check(&role, &token).await.is_ok());
    let with = |arg: &str| publisher(&[file.arg("publisher"), arg.to_owned()], Some(&role)).unwrap();
    let stricter = with("--jwt-require=exp");
    assert!(stricter.has_set_of(&role) && role.has_set_of(&stricter) && !stricter.lacks_keys());
    assert_eq!(check(&stricter, &token).await.unwrap_err(), AccessError::Invalid, "it is checked again");
    for arg in ["--jwks-refresh-interval=7s", "--publisher-jwt-alg=RS512"] {
        assert!(!with(arg).has_set_of(&role), "{arg}");
    }
    let elsewhere = publisher(&[other.arg("publisher")], Some(&role)).unwrap();
    assert!(!elsewhere.has_set_of(&role) && elsewhere.lacks_keys());
}

#[tokio::test]
async fn without_a_set_nothing_can_be_checked() {
    let file = KeyFile::new();
    std::fs::remove_file(file.path()).unwrap();
    let role = publisher(&[file.arg("publisher")], None).unwrap();
    assert!(role.fetch_first().await.is_err());
    let running = async { role.run().await };
    let checked = async { check(&role, &file.token(&json!({}))).await };
    tokio::select! {
        () = running => panic!("it runs for as long as it is polled"),
        checked = checked => assert_eq!(checked.unwrap_err(), AccessError::NoKeys),
    }
}

#[tokio::test]
async fn a_key_that_is_new_in_the_set_is_looked_for() {
    let file = KeyFile::new();
    let (old, new) = (Ed25519KeyPair::generate().unwrap(), &file.pair);
    file.write(&old);
    let role = publisher(&[file.arg("publisher")], None).unwrap();
    role.fetch_first().await.unwrap();
    // The set names its keys from now on, so that it can be seen that one is missing.
    let x = base64(new.public_key().as_ref());
    let set = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": "b" }] });
    std::fs::write(file.path(), set.to_string()).unwrap();
    let signed = format!("{}.{}", base64(br#"{"alg":"EdDSA","kid":"b"}"#), base64(b"{}"));
    let token = format!("{signed}.{}", base64(new.sign(signed.as_bytes()).as_ref()));
    let checked = async { check(&role, &token).await };
    tokio::select! {
        () = role.run() => panic!("it runs for as long as it is polled"),
        checked = checked => assert!(checked.is_ok()),
    }
}

#[test]
fn a_token_weighs_its_text_and_its_selectors() {
    let selector = || sse_hub::Selector::parse("a").unwrap();
    let weight = |text: &str, publish: usize, subscribe: usize| {
        let some = |count: usize| std::iter::repeat_with(selector).take(count);
        let (publish, subscribe) = (Some(some(publish).collect()), Some(some(subscribe).collect()));
        let token = Arc::new(Token { publish, subscribe, ..Token::default() });
        Weight.weight(&text.into(), &Checked { token, keys: None })
    };
    assert_eq!(weight("", 0, 0), 512);
    assert_eq!(weight("0123456789", 0, 0), 512 + 60);
    assert_eq!(weight("0123456789", 3, 2), 512 + 60 + 5 * 48);
}

#[test]
fn a_role_is_not_shown() {
    let role = publisher(&[format!("--publisher-jwt-key={SECRET}")], None);
    assert_eq!(format!("{role:?}"), "Some(Role)");
}
