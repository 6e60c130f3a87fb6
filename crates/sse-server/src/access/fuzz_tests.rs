//! Fuzz targets: tokens and sets of keys. Nobody is let in by what was not signed, or by what says of itself that it does not count.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bolero::{TypeGenerator, check};
use futures_util::FutureExt;
use serde_json::{Value, json};

use super::jwks::KeySet;
use super::role::Role;
use super::selectors::SelectorCache;
use crate::config::{Command, Config, JwtAlg};
use crate::pieces::text;
use crate::signals::Signals;

const SECRET: &str = "a secret of these tests that is long enough";
const NOW: u64 = 1_700_000_000;

const JSON: &[&str] = &[
    r#"{"alg":"HS256"}"#,
    r#"{"alg":"HS256","#,
    r#""alg":"none""#,
    r#""typ":"JWT""#,
    r#""typ":"logout+jwt""#,
    r#""kid":"a""#,
    r#""crit":["b64"]"#,
    r#""exp":1700000100"#,
    r#""exp":1699999971"#,
    r#""exp":1699999970"#,
    r#""exp":1600000000"#,
    r#""exp":"1700000100""#,
    r#""exp":1e400"#,
    r#""exp":-1"#,
    r#""exp":null"#,
    r#""nbf":1700000030"#,
    r#""nbf":1700000031"#,
    r#""nbf":1699999999.5"#,
    r#""sub":"me""#,
    r#""jti":"1""#,
    r#""mercure":{"publish":["*"],"subscribe":["/a/{b}"]}"#,
    r#""https://mercure.rocks/":{"publish":[]}"#,
    r#""mercure":{"publish":[""]}"#,
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "null",
    "1",
    "é",
    ".",
];

#[derive(Debug, Clone, TypeGenerator)]
struct Planned {
    header: Vec<u8>,
    claims: Vec<u8>,
    /// Nothing, so that it is signed as it should be, or what stands there instead.
    signature: Option<Vec<u8>>,
    /// Bytes of the whole that are others.
    spoiled: Vec<(u16, u8)>,
}

/// The token, and whether it was signed as it is.
fn token(planned: &Planned) -> (String, bool) {
    let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(text(JSON, bytes));
    let signed = format!("{}.{}", part(&planned.header), part(&planned.claims));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let good = hmac::sign(&key, signed.as_bytes());
    let signature = planned.signature.as_deref().unwrap_or(good.as_ref());
    let whole = format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature));
    let mut bytes = whole.clone().into_bytes();
    for &(at, byte) in &planned.spoiled {
        let at = usize::from(at) % bytes.len();
        bytes[at] = byte;
    }
    let spoiled = String::from_utf8_lossy(&bytes).into_owned();
    let is_signed = signature == good.as_ref() && spoiled == whole;
    (spoiled, is_signed)
}

/// What may not be said in a token that counts.
fn contradiction(header: &Value, claims: &Value) -> Option<&'static str> {
    let typ = header["typ"].as_str().map(str::to_ascii_lowercase);
    let time = |name: &str| claims.get(name).map(|time| time.as_f64().filter(|time| *time >= 0.0));
    let now = NOW as f64;
    match () {
        () if header["alg"] != "HS256" => Some("another algorithm"),
        () if header.get("crit").is_some() => Some("extensions"),
        () if !matches!(typ.as_deref(), None | Some("jwt" | "at+jwt" | "application/jwt" | "application/at+jwt")) => {
            Some("another kind")
        }
        () if time("exp").is_some_and(|exp| exp.is_none_or(|exp| exp + 30.0 <= now)) => {
            Some("it is over, or never was")
        }
        () if time("nbf").is_some_and(|nbf| nbf.is_none_or(|nbf| nbf > now + 30.0)) => Some("it does not count yet"),
        () => None,
    }
}

#[test]
fn tokens() {
    let args = ["sse-server".to_owned(), format!("--publisher-jwt-key={SECRET}")];
    let loaded = Config::load(args.into_iter().map(Into::into), &|_| None, &[]);
    let Ok(Command::Serve(config)) = loaded else { panic!("{loaded:?}") };
    let role = Role::publisher(&config, &Signals::new(), None).unwrap().expect("there is a key");
    // What a panic leaves behind is looked at by nobody.
    let (role, selectors) = (AssertUnwindSafe(role), AssertUnwindSafe(SelectorCache::new()));
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let is_let_in = |token: &str, now: SystemTime| {
        let checked = role.check(token, &selectors, now).now_or_never().expect("a secret is there at once");
        checked.ok()
    };
    let plain = Planned { header: vec![0], claims: vec![23, 24], signature: None, spoiled: Vec::new() };
    assert!(is_let_in(&token(&plain).0, now).is_some(), "the least that a token may be");
    let expired = Planned { claims: vec![23, 9, 24], ..plain };
    assert!(is_let_in(&token(&expired).0, now).is_none(), "it ended when the leeway did");
    check!().with_type::<Planned>().for_each(|planned| {
        let (text, is_signed) = token(planned);
        let Some(checked) = is_let_in(&text, now) else { return };
        assert!(is_signed, "{text}: nobody signed this");
        let part = |at: usize| {
            let part = BASE64_URL_SAFE_NO_PAD.decode(text.split('.').nth(at).expect("it has three")).unwrap();
            serde_json::from_slice::<Value>(&part).unwrap()
        };
        let (header, claims) = (part(0), part(1));
        assert_eq!(contradiction(&header, &claims), None, "{header} {claims}");
        let granted = claims.get("https://mercure.rocks/").filter(|granted| !granted.is_null());
        let publish = &granted.unwrap_or(&claims["mercure"])["publish"];
        let selectors = checked.publish.iter().flatten();
        assert!(
            selectors.into_iter().all(|selector| {
                publish.as_array().is_some_and(|all| all.contains(&json!(selector.text().as_str())))
            })
        );
    });
}

const KEYS: &[&str] = &[
    r#"{"keys":["#,
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#,
    r#"{"kty":"oct","k":"c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3JldA""#,
    r#"{"kty":"RSA","n":"AQAB","e":"AQAB""#,
    r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA""#,
    r#"{"kty":"EC","crv":"P-521","x":"","y":"""#,
    r#","alg":"EdDSA""#,
    r#","alg":"HS256""#,
    r#","alg":"none""#,
    r#","use":"sig""#,
    r#","use":"enc""#,
    r#","key_ops":["verify"]"#,
    r#","key_ops":["sign"]"#,
    r#","kid":"a""#,
    "}",
    "]}",
    ",",
    "[",
    "]",
    "{",
    "\"",
    ":",
    "null",
    "1",
];

#[test]
fn key_sets() {
    check!().for_each(|input: &[u8]| {
        let document = text(KEYS, input);
        let Ok(keys) = KeySet::parse(&document, JwtAlg::Rs256) else { return };
        let count = |alg| keys.candidates(alg, None).count();
        // A public key must not check what anybody can sign with it.
        assert_eq!(["HS256", "HS384", "HS512", "none", ""].map(count), [0; 5]);
        for alg in ["EdDSA", "RS256", "ES256", "ES512"] {
            assert!(keys.candidates(alg, None).all(|key| !key.verifies(b"message", "AAAA")), "{alg}");
        }
        assert!(serde_json::from_slice::<Value>(&document).is_ok_and(|document| document["keys"].is_array()));
    });
}
