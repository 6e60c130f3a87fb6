//! Tokens, good and forged, and the keys they are signed with.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

/// A secret long enough for every algorithm.
pub(crate) const SECRET: &str = "0f6c2b1d9e8a47536b7c8d9e0f1a2b3c-4d5e6f708192a3b4c5d6e7f8091a2b3c";
/// Another.
pub(crate) const OTHER_SECRET: &str = "b3c4d5e6f708192a3b4c5d6e7f8091a2-0f6c2b1d9e8a47536b7c8d9e0f1a2b3c";

/// The two halves of a key pair.
pub(crate) struct Pair {
    pub(crate) alg: Algorithm,
    pub(crate) private: EncodingKey,
    /// In PEM.
    pub(crate) public: String,
    /// In a set of keys, without a `kid`.
    pub(crate) jwk: Value,
}

impl Pair {
    pub(crate) fn rsa() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let components = aws_lc_rs::rsa::PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
        let jwk = json!({ "kty": "RSA", "n": base64(components.n), "e": base64(components.e) });
        let private = EncodingKey::from_rsa_der(&pkcs1(pair.as_der().unwrap().as_ref()));
        let public = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
        Self { alg: Algorithm::RS256, private, public: pem(public.as_ref()), jwk }
    }

    pub(crate) fn p256() -> Self {
        Self::ec(Algorithm::ES256, &ECDSA_P256_SHA256_FIXED_SIGNING, "P-256")
    }

    pub(crate) fn p384() -> Self {
        Self::ec(Algorithm::ES384, &ECDSA_P384_SHA384_FIXED_SIGNING, "P-384")
    }

    fn ec(alg: Algorithm, signing: &'static EcdsaSigningAlgorithm, curve: &str) -> Self {
        let pair = EcdsaKeyPair::generate(signing).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = point[1..].split_at((point.len() - 1) / 2);
        let jwk = json!({ "kty": "EC", "crv": curve, "x": base64(x), "y": base64(y) });
        let private = EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref());
        let public = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
        Self { alg, private, public: pem(public.as_ref()), jwk }
    }

    pub(crate) fn ed25519() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": base64(pair.public_key().as_ref()) });
        let private = EncodingKey::from_ed_der(pair.to_pkcs8().unwrap().as_ref());
        let public = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
        Self { alg: Algorithm::EdDSA, private, public: pem(public.as_ref()), jwk }
    }

    /// A token with these claims.
    pub(crate) fn token(&self, claims: &Value) -> String {
        signed(json!({ "typ": "JWT", "alg": self.alg }), claims, &self.private, self.alg)
    }

    /// The public key as a key of a set.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let mut jwk = self.jwk.clone();
        jwk["kid"] = kid.into();
        jwk
    }

    /// A token that names its key.
    pub(crate) fn token_of(&self, kid: &str, claims: &Value) -> String {
        signed(json!({ "typ": "JWT", "alg": self.alg, "kid": kid }), claims, &self.private, self.alg)
    }
}

/// A pair on P-521, which the library knows nothing of.
pub(crate) struct P521 {
    pair: EcdsaKeyPair,
    /// In PEM.
    pub(crate) public: String,
    /// In PEM (PKCS #8).
    pub(crate) private: String,
    /// In a set of keys, as `p521`.
    pub(crate) jwk: Value,
}

impl P521 {
    pub(crate) fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P521_SHA512_FIXED_SIGNING).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = point[1..].split_at((point.len() - 1) / 2);
        let jwk = json!({
            "kty": "EC", "crv": "P-521", "x": base64(x), "y": base64(y), "kid": "p521", "alg": "ES512", "use": "sig"
        });
        let public = AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap();
        let private = pem::encode(&pem::Pem::new("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref()));
        Self { public: pem(public.as_ref()), private, jwk, pair }
    }

    pub(crate) fn token(&self, header: Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", base64(signature))
    }
}

/// Pairs that many tests share: making an RSA key takes a while.
pub(crate) static RSA: LazyLock<Pair> = LazyLock::new(Pair::rsa);

/// A token of the shared secret.
pub(crate) fn token(claims: &Value) -> String {
    token_with(SECRET, claims)
}

pub(crate) fn token_with(secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    signed(json!({ "typ": "JWT", "alg": "HS256" }), claims, &key, Algorithm::HS256)
}

/// A token that may publish to these.
pub(crate) fn publish_token(topics: &[&str]) -> String {
    token(&json!({ "mercure": { "publish": topics } }))
}

/// A token that may see what is private to these.
pub(crate) fn subscribe_token(topics: &[&str]) -> String {
    token(&json!({ "mercure": { "subscribe": topics } }))
}

/// Whatever header and claims, signed in whatever way.
pub(crate) fn signed(header: Value, claims: &Value, key: &EncodingKey, alg: Algorithm) -> String {
    signed_text(&header.to_string(), &claims.to_string(), key, alg)
}

/// The same for texts that need not be JSON.
pub(crate) fn signed_text(header: &str, claims: &str, key: &EncodingKey, alg: Algorithm) -> String {
    let message = format!("{}.{}", base64(header), base64(claims));
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), key, alg).unwrap();
    format!("{message}.{signature}")
}

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The time so many seconds from now, as a claim.
pub(crate) fn seconds_from_now(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap() + seconds
}

fn pem(der: &[u8]) -> String {
    pem::encode(&pem::Pem::new("PUBLIC KEY", der))
}

/// The key inside a PKCS #8 document of an RSA key: the library wants it bare. It is the last thing in there.
fn pkcs1(pkcs8: &[u8]) -> Vec<u8> {
    // SEQUENCE { version, algorithm, OCTET STRING { SEQUENCE { .. } } }: with 2048 bits all lengths have two bytes.
    let at = pkcs8.windows(2).skip(4).position(|bytes| bytes == [0x30, 0x82]).unwrap() + 4;
    pkcs8[at..].to_vec()
}
