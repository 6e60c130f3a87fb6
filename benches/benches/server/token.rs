//! What it costs to let a publisher in: a token that was seen before, and one that was not, whose signature is checked.

use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use criterion::{BenchmarkId, Criterion};
use hyper::Request;
use hyper::header::AUTHORIZATION;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use sse_server::bench::PublisherCheck;
use sse_server::{Command, Config};

const SECRET: &str = "a secret of these benches that is long enough";

/// How tokens are signed.
enum Signer {
    Hs256,
    EdDsa(Ed25519KeyPair),
    Es256(EcdsaKeyPair),
}

impl Signer {
    fn all() -> [Self; 3] {
        let es256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING);
        [
            Self::Hs256,
            Self::EdDsa(Ed25519KeyPair::generate().expect("there are random bytes")),
            Self::Es256(es256.expect("there are random bytes")),
        ]
    }

    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::EdDsa(_) => Algorithm::EdDSA,
            Self::Es256(_) => Algorithm::ES256,
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Hs256 => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), message).as_ref().to_vec(),
            Self::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
            Self::Es256(pair) => {
                let random = aws_lc_rs::rand::SystemRandom::new();
                pair.sign(&random, message).expect("there are random bytes").as_ref().to_vec()
            }
        }
    }

    /// What the server and the library check with: a secret, or PEM.
    fn key(&self) -> String {
        // What stands in front of the key's bytes in DER (RFC 8410, 4; RFC 5480, 2).
        const ED25519: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        const P256: &[u8] = &[
            0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
            0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
        ];
        let pem = |prefix: &[u8], key: &[u8]| {
            let der = base64::prelude::BASE64_STANDARD.encode([prefix, key].concat());
            format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n")
        };
        match self {
            Self::Hs256 => SECRET.to_owned(),
            Self::EdDsa(pair) => pem(ED25519, pair.public_key().as_ref()),
            Self::Es256(pair) => pem(P256, pair.public_key().as_ref()),
        }
    }

    fn library_key(&self) -> DecodingKey {
        let key = self.key();
        match self {
            Self::Hs256 => DecodingKey::from_secret(key.as_bytes()),
            Self::EdDsa(_) => DecodingKey::from_ed_pem(key.as_bytes()).expect("it is one"),
            Self::Es256(_) => DecodingKey::from_ec_pem(key.as_bytes()).expect("it is one"),
        }
    }

    /// A token of whoever has this number.
    fn token(&self, number: u64) -> String {
        let header = json!({ "alg": self.algorithm(), "typ": "JWT" });
        let claims = json!({
            "sub": format!("user-{number}"), "exp": 4_000_000_000_u64,
            "mercure": { "publish": ["https://example.com/orders/{id}", "https://example.com/users/{id}/inbox"] },
        });
        let part = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.sign(signed.as_bytes());
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("token check");
    group.sample_size(50);
    for signer in Signer::all() {
        let name = format!("{:?}", signer.algorithm());
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
        let (token, key, validation) = (signer.token(0), signer.library_key(), Validation::new(signer.algorithm()));
        group.bench_function(BenchmarkId::new("the library alone", &name), |b| {
            b.iter(|| jsonwebtoken::decode::<Value>(black_box(&token), &key, &validation).expect("it is good"));
        });
    }
}

fn check(signer: &Signer) -> PublisherCheck {
    let key = format!("--publisher-jwt-key={}", signer.key());
    let alg = format!("--publisher-jwt-alg={:?}", signer.algorithm());
    let args = ["sse-server".to_owned(), key, alg].map(Into::into);
    let Ok(Command::Serve(config)) = Config::load(args.into_iter(), &|_| None, &[]) else {
        panic!("these are good settings")
    };
    PublisherCheck::new(&config).expect("the key is one")
}

fn request(token: &str) -> Request<()> {
    let request = Request::post("/events/a").header(AUTHORIZATION, format!("Bearer {token}"));
    request.body(()).expect("it is a request")
}
