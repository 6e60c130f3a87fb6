//! What counts as a key, and what it may be used for.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED_SIGNING, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;

const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDsui0hgqqXqp0VCgBKkF+67ZiU
m5rXaTftBINL0+WxHhLRq3cBvHm/FN0T50Gytp2Fs7zsLNH8UmP8PwoEVCV1IJll
m1DLI2rCuW0WpYHBxze3xkII0FFPD6La/oClh19G/J4TQkVOpNgsV6PC1vESwfGX
+9V1dZmE2U03fRR0HQIDAQAB
-----END PUBLIC KEY-----";
const RSA_2048: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAugwXKuiiDsQ/S7vG45a5
omC8KoIuaKGDuNRKug6LZxXPISx6vc3+zz5WSYfQ4symCctZIbpCx7OR6fsWenbR
ikzDU+wwW/R5i8xbj8oN+pXJM0M5M0xKk3ScGHh5laSHsWqqizwUwUohHxyFCVkH
nykj/uV0cEYGUe3LFuIP+k5IsSnErjxAEQrTPlWd4NCdUJx8Cltl7/B9NlUdzfyr
bq/wpMcGMnoERDGyIhghDGlGYEd37qEVy1PwVKAGeUyaoxyjlz/w+TDikI7pT1Dz
dkuzt6S60pbRP6gxzvXQ0RTlSzuwmSLIaS7wnzaBSyZcdxWqI4JlRnqToQiWfg9Q
sQIDAQAB
-----END PUBLIC KEY-----";
const P256: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAENvbqbbdZmMPCTqUWU26mmjBAjGwk
rfbk4dV/BZ++xOX8BY90XLL720TN8sCini+Joge7UitJjMcoYWY2Wkg7tQ==
-----END PUBLIC KEY-----";
const P384: &str = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAExSP8hc+wzsBB1+wPEn+HWKt6AmmbJZQb
DwrexsVX2yCE4Q4SYDvVSZGIscdJ35xEFqomMxN/UR8fNxtViamcgQxszoJQk8l8
hH1HjukUk28poVJyKWAWaaYE8cVuBDdQ
-----END PUBLIC KEY-----";
const P521: &str = "-----BEGIN PUBLIC KEY-----
MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQBNwecsOY+sustbkSifTqScjZ00ZsO
wNjwJ6YSYr+PAZdunz9IgtQuCVeldAtrVO6Yml6pHqf1cU8YjWIMYmW07BUA2nLb
TEs/5B8YE47vXMg2KGrsUs8wzPQ+3Kzi68KHpbokGJmrxZSm1ydAdbc5cEmIAOxy
EHZ4iQ1rMY6vxs3z5pY=
-----END PUBLIC KEY-----";
const ED25519: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAF19A2lEBjhmHWviWHMVTqXBh3oQxFVKQ8+HfbfKKP2Y=
-----END PUBLIC KEY-----";
const SECRET: &str = "a secret of these tests that is long enough";

const HMAC: [JwtAlg; 3] = [JwtAlg::Hs256, JwtAlg::Hs384, JwtAlg::Hs512];

#[test]
fn each_algorithm_takes_its_own_kind_of_key_only() {
    let kinds = [RSA_2048, P256, P384, P521, ED25519];
    let mut wanted: Vec<(JwtAlg, &str)> = RSA.into_iter().map(|alg| (alg, RSA_2048)).collect();
    wanted.extend([(JwtAlg::Es256, P256), (JwtAlg::Es384, P384), (JwtAlg::Es512, P521), (JwtAlg::EdDsa, ED25519)]);
    for (alg, own) in wanted {
        for key in kinds {
            let parsed = VerifyKey::parse(alg, key);
            assert_eq!(parsed.is_ok(), key == own, "{alg:?} {key}");
            assert!(parsed.is_ok_and(|key| key.is_for(alg.as_str()) && !key.is_for("none")) || key != own);
        }
        assert_eq!(VerifyKey::parse(alg, SECRET).err(), Some(KeyError::Unreadable(alg.as_str())));
    }
}

#[test]
fn a_secret_is_no_key_that_others_know() {
    for alg in HMAC {
        assert!(VerifyKey::parse(alg, SECRET).is_ok_and(|key| key.is_for(alg.as_str())));
        assert_eq!(VerifyKey::parse(alg, RSA_2048).err(), Some(KeyError::PublicAsSecret(alg.as_str())));
    }
}

#[test]
fn a_private_key_is_not_asked_for() {
    for alg in [JwtAlg::Rs256, JwtAlg::Es512, JwtAlg::Hs256, JwtAlg::EdDsa] {
        for kind in ["", "RSA ", "EC "] {
            let key = format!("-----BEGIN {kind}PRIVATE KEY-----\nMA==\n-----END {kind}PRIVATE KEY-----");
            assert_eq!(VerifyKey::parse(alg, &key).err(), Some(KeyError::Private), "{alg:?} {kind}");
        }
    }
    let secret = "my PRIVATE KEY----- is not one, and this is long enough";
    assert!(VerifyKey::parse(JwtAlg::Hs256, secret).is_ok());
}

#[test]
fn a_short_modulus_is_refused() {
    for alg in RSA {
        assert_eq!(VerifyKey::parse(alg, RSA_1024).err(), Some(KeyError::Unreadable(alg.as_str())));
    }
    let jwk = |bytes: usize| json!({ "kty": "RSA", "n": base64(&vec![0xc5; bytes]), "e": "AQAB" });
    assert!(of_set(&jwk(256)).is_some() && of_set(&jwk(255)).is_none());
}

/// The key of a set, where RSA keys are used for PS256 unless they say otherwise.
fn of_set(jwk: &Value) -> Option<VerifyKey> {
    let said = jwk.get("alg").and_then(Value::as_str);
    VerifyKey::from_jwk(&serde_json::from_value(jwk.clone()).unwrap(), said, JwtAlg::Ps256)
}

fn base64(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn curve(name: &str, bytes: usize) -> Value {
    json!({ "kty": "EC", "crv": name, "x": base64(&vec![1; bytes]), "y": base64(&vec![2; bytes]) })
}

#[test]
fn a_key_of_a_set_is_used_in_the_way_of_its_kind() {
    let rsa = json!({ "kty": "RSA", "n": base64(&[0xc5; 256]), "e": "AQAB" });
    let ed = json!({ "kty": "OKP", "crv": "Ed25519", "x": base64(&[7; 32]) });
    for (jwk, alg) in [(&rsa, "PS256"), (&curve("P-256", 32), "ES256"), (&curve("P-384", 48), "ES384"), (&ed, "EdDSA")]
    {
        let key = of_set(jwk).unwrap();
        let known = ["RS256", "PS256", "ES256", "ES384", "EdDSA", "HS256", "none", ""];
        assert_eq!(known.into_iter().filter(|name| key.is_for(name)).collect::<Vec<_>>(), [alg]);
    }
    let saying = |jwk: &Value, alg: &str| {
        let mut jwk = jwk.clone();
        jwk["alg"] = alg.into();
        of_set(&jwk).is_some_and(|key| key.is_for(alg))
    };
    assert!(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].into_iter().all(|alg| saying(&rsa, alg)));
    for (jwk, alg) in [(&rsa, "ES256"), (&rsa, "HS256"), (&ed, "ES256"), (&curve("P-256", 32), "ES384")] {
        assert!(!saying(jwk, alg), "{jwk} {alg}");
    }
    assert!(saying(&curve("P-256", 32), "ES256") && saying(&ed, "EdDSA"));
    let point = aws_lc_rs::signature::EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap();
    let (x, y) = point.public_key().as_ref()[1..].split_at(66);
    let p521 = json!({ "kty": "EC", "crv": "P-521", "x": base64(x), "y": base64(y) });
    assert!(of_set(&p521).is_some_and(|key| key.is_for("ES512")) && !saying(&p521, "ES256"));
}

#[test]
fn a_key_of_a_set_has_the_size_of_its_curve() {
    for (name, bytes) in [("P-256", 32), ("P-384", 48)] {
        assert!(of_set(&curve(name, bytes)).is_some(), "{name}");
        assert!(of_set(&curve(name, bytes - 1)).is_none() && of_set(&curve(name, bytes + 1)).is_none(), "{name}");
    }
    let okp = |crv, bytes| of_set(&json!({ "kty": "OKP", "crv": crv, "x": base64(&vec![7; bytes]) })).is_some();
    assert!(okp("Ed25519", 32) && !okp("Ed25519", 31) && !okp("Ed25519", 33));
    assert!(!okp("X25519", 32), "it is for agreeing on keys");
}

#[test]
fn keys_are_equal_when_all_of_them_is() {
    let parse = |alg, key| VerifyKey::parse(alg, key).unwrap();
    let rsa = |n: u8, e: &str, kid: &str| {
        of_set(&json!({ "kty": "RSA", "n": base64(&[n; 256]), "e": e, "kid": kid })).unwrap()
    };
    let all = [
        parse(JwtAlg::Hs256, SECRET),
        parse(JwtAlg::Hs384, SECRET),
        parse(JwtAlg::Hs256, "another secret of these tests that is long enough"),
        parse(JwtAlg::Es256, P256),
        parse(JwtAlg::Es512, P521),
        rsa(0xc5, "AQAB", "a"),
        rsa(0xc7, "AQAB", "a"),
        rsa(0xc5, "Aw", "a"),
        rsa(0xc5, "AQAB", "b"),
    ];
    for (at, one) in all.iter().enumerate() {
        for (other_at, other) in all.iter().enumerate() {
            assert_eq!(one == other, at == other_at, "{at} {other_at}");
        }
    }
    assert_eq!((rsa(0xc5, "AQAB", "a").id(), parse(JwtAlg::Hs256, SECRET).id()), (Some("a"), None));
}

#[test]
fn nothing_is_signed_by_an_empty_text() {
    let key = VerifyKey::parse(JwtAlg::Hs256, SECRET).unwrap();
    let sign = |message: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        base64(hmac::sign(&key, message).as_ref())
    };
    assert!(key.verifies(b"a", &sign(b"a")) && !key.verifies(b"a", &sign(b"b")));
    assert!(!key.verifies(b"a", "") && !key.verifies(b"", "") && !key.verifies(b"a", "!"));
    let key = VerifyKey::parse(JwtAlg::Es512, P521).unwrap();
    assert!(!key.verifies(b"a", "") && !key.verifies(b"a", &base64(&[1; 132])));
}

#[test]
fn a_key_is_not_shown() {
    let shown = format!("{:?}", VerifyKey::parse(JwtAlg::Hs256, SECRET).unwrap());
    assert_eq!(shown, "VerifyKey(Hs256, hidden)");
}
