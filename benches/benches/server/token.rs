//! What it costs to let a publisher in: a token that was seen before, and one that was not, whose signature is checked.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use criterion::{BenchmarkId, Criterion};
use hyper::Request;
use hyper::header::AUTHORIZATION;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};
use sse_server::bench::PublisherCheck;

use crate::config;

const SECRET: &str = "a secret of these benches that is long enough";

/// A pair of keys, or a secret.
struct Signer {
    algorithm: Algorithm,
    private: EncodingKey,
    /// What the server checks with: the secret, or PEM.
    key: String,
    /// What the library checks with.
    library_key: DecodingKey,
}

impl Signer {
    fn all() -> [Self; 3] {
        let hs256 = Self {
            algorithm: Algorithm::HS256,
            private: EncodingKey::from_secret(SECRET.as_bytes()),
            key: SECRET.to_owned(),
            library_key: DecodingKey::from_secret(SECRET.as_bytes()),
        };
        let pair = Ed25519KeyPair::generate().expect("there are random bytes");
        let key = public_pem(pair.public_key());
        let eddsa = Self {
            algorithm: Algorithm::EdDSA,
            private: EncodingKey::from_ed_der(pair.to_pkcs8().expect("it has one").as_ref()),
            library_key: DecodingKey::from_ed_pem(key.as_bytes()).expect("it is one"),
            key,
        };
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("there are random bytes");
        let key = public_pem(pair.public_key());
        let es256 = Self {
            algorithm: Algorithm::ES256,
            private: EncodingKey::from_ec_der(pair.to_pkcs8v1().expect("it has one").as_ref()),
            library_key: DecodingKey::from_ec_pem(key.as_bytes()).expect("it is one"),
            key,
        };
        [hs256, eddsa, es256]
    }

    /// A token of whoever has this number.
    fn token(&self, number: u64) -> String {
        let claims = json!({
            "sub": format!("user-{number}"), "exp": 4_000_000_000_u64,
            "mercure": { "publish": ["https://example.com/orders/{id}", "https://example.com/users/{id}/inbox"] },
        });
        jsonwebtoken::encode(&Header::new(self.algorithm), &claims, &self.private).expect("the key is of its kind")
    }
}

fn public_pem(key: &impl AsDer<PublicKeyX509Der<'static>>) -> String {
    let der = key.as_der().expect("it can be written");
    pem::encode(&pem::Pem::new("PUBLIC KEY", der.as_ref()))
}

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("token check");
    group.sample_size(50);
    for signer in Signer::all() {
        let name = format!("{:?}", signer.algorithm);
        let check = check(&signer);
        let seen = request(&signer.token(0));
        assert!(check.lets_in(&seen) && !check.lets_in(&request("a.b.c")));
        group.bench_function(BenchmarkId::new("seen before", &name), |b| b.iter(|| check.lets_in(black_box(&seen))));
        let mut number = 0;
        group.bench_function(BenchmarkId::new("new", &name), |b| {
            b.iter_custom(|times| {
                let mut spent = Duration::ZERO;
                for _ in 0..times {
                    number += 1;
                    let request = request(&signer.token(number));
                    let start = Instant::now();
                    assert!(check.lets_in(&request));
                    spent += start.elapsed();
                }
                spent
            });
        });
        // The peer: what others do for each request.
        let (token, key, validation) = (signer.token(0), &signer.library_key, Validation::new(signer.algorithm));
        group.bench_function(BenchmarkId::new("the library alone", &name), |b| {
            b.iter(|| jsonwebtoken::decode::<Value>(black_box(&token), key, &validation).expect("it is good"));
        });
    }
}

fn check(signer: &Signer) -> PublisherCheck {
    let key = format!("--publisher-jwt-key={}", signer.key);
    let config = config([key, format!("--publisher-jwt-alg={:?}", signer.algorithm)]);
    PublisherCheck::new(&config).expect("the key is one")
}

fn request(token: &str) -> Request<()> {
    let request = Request::post("/events/a").header(AUTHORIZATION, format!("Bearer {token}"));
    request.body(()).expect("it is a request")
}
