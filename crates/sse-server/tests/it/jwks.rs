//! Keys that are fetched.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::harness::token::{P521, Pair, RSA};
use crate::harness::{Server, eventually};

/// A server of keys that answers whatever it was told.
struct Keys {
    addr: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    fetches: Arc<AtomicUsize>,
}

/// How to answer.
#[derive(Clone)]
enum Answer {
    Bytes(Vec<u8>),
    /// Nothing, with the connection open.
    Silence,
}

impl Keys {
    fn start(keys: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(document(keys)));
        let fetches = Arc::new(AtomicUsize::new(0));
        let (shared_answer, shared_fetches) = (answer.clone(), fetches.clone());
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for mut socket in listener.incoming().map_while(Result::ok) {
                let _ = socket.set_read_timeout(Some(Duration::from_secs(5)));
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    match socket.read(&mut byte) {
                        Ok(1) => head.push(byte[0]),
                        _ => break,
                    }
                }
                shared_fetches.fetch_add(1, Ordering::SeqCst);
                let answer = shared_answer.lock().clone();
                match answer {
                    Answer::Bytes(bytes) => drop(socket.write_all(&bytes)),
                    Answer::Silence => silent.push(socket),
                }
            }
        });
        Self { addr, answer, fetches }
    }

    fn url(&self) -> String {
        format!("http://{}/jwks.json", self.addr)
    }

    fn serve(&self, answer: Answer) {
        *self.answer.lock() = answer;
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    /// A server that takes its keys from here.
    fn hub(&self, flags: &[&str]) -> Server {
        let url = self.url();
        let server = Server::start(&[&["--publisher-jwks-url", &url, "--subscriber-jwt-key", "x"], flags].concat());
        server.wait_for_first_fetch();
        server
    }
}

impl Server {
    fn wait_for_first_fetch(&self) {
        eventually("the first fetch", || self.metric("sse_jwks_fetches_total"));
    }

    fn publish_with(&self, token: &str) -> u16 {
        self.post("/events/a", "x").bearer(token).send().status()
    }
}

fn document(keys: &[Value]) -> Answer {
    http("200 OK", json!({ "keys": keys }).to_string().as_bytes())
}

fn http(status: &str, body: &[u8]) -> Answer {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    Answer::Bytes([head.as_bytes(), body].concat())
}

fn claims() -> Value {
    json!({ "mercure": { "publish": ["*"] } })
}

#[test]
fn keys_of_every_kind_are_taken_from_a_set() {
    let (ed, p256, p384) = (Pair::ed25519(), Pair::p256(), Pair::p384());
    let set = [RSA.jwk("rsa"), ed.jwk("ed"), p256.jwk("p256"), p384.jwk("p384")];
    let server = Keys::start(&set).hub(&[]);
    for (pair, kid) in [(&*RSA, "rsa"), (&ed, "ed"), (&p256, "p256"), (&p384, "p384")] {
        assert_eq!(server.publish_with(&pair.token_of(kid, &claims())), 200, "{kid}");
        // Without a name whatever key of the kind there is.
        assert_eq!(server.publish_with(&pair.token(&claims())), 200, "{kid}");
    }
    // Another's name, and another key of the kind.
    assert_eq!(server.publish_with(&ed.token_of("rsa", &claims())), 401);
    assert_eq!(server.publish_with(&Pair::ed25519().token_of("ed", &claims())), 401);
}

#[test]
fn a_new_key_works_and_a_removed_one_dies() {
    let (old, new) = (Pair::ed25519(), Pair::ed25519());
    let keys = Keys::start(&[old.jwk("old")]);
    let server = keys.hub(&["--jwks-refresh-interval", "1s"]);
    let (old_token, new_token) = (old.token_of("old", &claims()), new.token_of("new", &claims()));
    assert_eq!(server.publish_with(&old_token), 200);
    keys.serve(document(&[new.jwk("new")]));
    eventually("the new key", || (server.publish_with(&new_token) == 200).then_some(()));
    // Its tokens were remembered, under keys that are no longer there.
    eventually("the old key's end", || (server.publish_with(&old_token) == 401).then_some(()));
}

#[test]
fn a_set_has_keys_on_the_longest_curve_too() {
    let pair = P521::new();
    let mut for_agreement = P521::new().jwk;
    for_agreement["alg"] = "ECDH-ES".into();
    let keys = Keys::start(&[for_agreement, pair.jwk.clone()]);
    let server = keys.hub(&[]);
    let token = |header: Value| pair.token(header, &claims());
    assert_eq!(server.publish_with(&token(json!({ "alg": "ES512", "kid": "p521" }))), 200);
    assert_eq!(server.publish_with(&token(json!({ "alg": "ES384", "kid": "p521" }))), 401);
    assert_eq!(server.publish_with(&P521::new().token(json!({ "alg": "ES512", "kid": "p521" }), &claims())), 401);
}

/// The request that needs the key has it fetched and waits for it.
#[test]
fn an_unknown_key_is_looked_for_at_once() {
    let (old, new) = (Pair::ed25519(), Pair::ed25519());
    let keys = Keys::start(&[old.jwk("old")]);
    // The next planned fetch is far away, the gap between two is over.
    let server = keys.hub(&["--jwks-refresh-interval", "1s"]);
    eventually("a second fetch", || (keys.fetches() >= 2).then_some(()));
    keys.serve(document(&[old.jwk("old"), new.jwk("new")]));
    eventually("the new key", || (server.publish_with(&new.token_of("new", &claims())) == 200).then_some(()));
}

#[test]
fn a_flood_of_unknown_keys_is_no_flood_of_fetches() {
    let pair = Pair::ed25519();
    let keys = Keys::start(&[pair.jwk("known")]);
    let server = keys.hub(&[]);
    let started = Instant::now();
    for n in 0..300 {
        assert_eq!(server.publish_with(&pair.token_of(&format!("unknown-{n}"), &claims())), 401);
    }
    assert!(started.elapsed() < Duration::from_secs(20));
    assert!(keys.fetches() <= 2, "{}", keys.fetches());
    assert_eq!(server.publish_with(&pair.token_of("known", &claims())), 200);
}

#[test]
fn keys_that_cannot_be_had_leave_those_there_are() {
    let pair = Pair::ed25519();
    let keys = Keys::start(&[pair.jwk("a")]);
    let server = keys.hub(&["--jwks-refresh-interval", "1s"]);
    let token = pair.token_of("a", &claims());
    let secret_set = json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] }).to_string();
    let huge = format!("{{\"keys\":[{}]}}", " ".repeat(10 << 20));
    let elsewhere =
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for (answer, result) in [
        (http("500 Internal Server Error", b""), "status"),
        (Answer::Bytes(elsewhere.to_vec()), "status"),
        (http("200 OK", b"<html>"), "malformed"),
        (http("200 OK", secret_set.as_bytes()), "no_keys"),
        (http("200 OK", huge.as_bytes()), "too_large"),
        (Answer::Bytes(b"no http".to_vec()), "unreachable"),
        (Answer::Silence, "timeout"),
    ] {
        keys.serve(answer);
        let series = format!("sse_jwks_fetches_total{{role=\"publisher\",result=\"{result}\"}}");
        eventually(&series, || {
            let text = server.admin("/metrics").send().text();
            text.lines().any(|line| line.starts_with(&series)).then_some(())
        });
        assert_eq!(server.publish_with(&token), 200, "{result}");
    }
}

#[test]
fn without_any_keys_yet_it_is_the_server_that_is_not_ready() {
    let pair = Pair::ed25519();
    let keys = Keys::start(&[]);
    keys.serve(http("503 Service Unavailable", b""));
    let server = keys.hub(&[]);
    let token = pair.token_of("a", &claims());
    let reply = server.post("/events/a", "x").bearer(&token).send();
    reply.problem(503);
    assert!(reply.field("retry-after").is_some());
    keys.serve(document(&[pair.jwk("a")]));
    eventually("the first keys", || (server.publish_with(&token) == 200).then_some(()));
}

/// Nobody there, and somebody who does not speak TLS: the server runs all the same, and asks for more than a certificate.
#[test]
fn https_is_tls() {
    let pair = Pair::ed25519();
    let keys = Keys::start(&[pair.jwk("a")]);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for addr in [keys.addr, closed] {
        let url = format!("https://{addr}/jwks.json");
        let server = Server::start(&["--publisher-jwks-url", &url]);
        server.wait_for_first_fetch();
        let metrics = server.admin("/metrics").send().text();
        assert!(!metrics.contains("sse_jwks_fetches_total{role=\"publisher\",result=\"ok\"}"), "{metrics}");
        server.post("/events/a", "x").bearer(pair.token_of("a", &claims())).send().problem(503);
    }
}

#[test]
fn a_set_may_lie_in_a_file() {
    let (old, new) = (Pair::ed25519(), Pair::ed25519());
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("jwks-{}.json", std::process::id()));
    let write = |jwk: Value| std::fs::write(&path, json!({ "keys": [jwk] }).to_string()).unwrap();
    write(old.jwk("old"));
    let url = format!("file://{}", path.display());
    let server = Server::start(&["--publisher-jwks-url", &url, "--jwks-refresh-interval", "1s"]);
    server.wait_for_first_fetch();
    assert_eq!(server.publish_with(&old.token_of("old", &claims())), 200);
    write(new.jwk("new"));
    eventually("the new key", || (server.publish_with(&new.token_of("new", &claims())) == 200).then_some(()));
    std::fs::remove_file(&path).unwrap();
}

/// A set that cannot be had is not gone over to, and its server keeps the one before.
#[test]
fn another_set_is_taken_on_once_it_is_there() {
    let (first, second) = (Keys::start(&[RSA.jwk("first")]), Keys::start(&[]));
    let pair = Pair::p256();
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = home.path().join("sse.toml");
    let write = |keys: &Keys| std::fs::write(&file, format!("publisher_jwks_url = \"{}\"\n", keys.url())).unwrap();
    write(&first);
    let server = Server::start(&["--config", file.to_str().unwrap()]);
    let claims = json!({ "mercure": { "publish": ["*"] } });
    let publish = || {
        (server.publish_with(&RSA.token_of("first", &claims)), server.publish_with(&pair.token_of("second", &claims)))
    };
    assert_eq!(publish(), (200, 401));
    write(&second);
    let told = server.log.wait_for("a fault in the settings", |_| true);
    assert!(told["fault"].as_str().unwrap().starts_with("publisher_jwks_url: "), "{told}");
    assert_eq!(publish(), (200, 401));
    second.serve(document(&[pair.jwk("second")]));
    server.signal(rustix::process::Signal::HUP);
    server.log.wait_for("the settings were reloaded", |line| line["changed"] == "publisher_jwks_url");
    assert_eq!(publish(), (401, 200));
    // An unrelated change does not have it wait for the set.
    second.serve(Answer::Silence);
    std::fs::write(&file, format!("publisher_jwks_url = \"{}\"\nretry = \"1s\"\n", second.url())).unwrap();
    server.log.wait_for("the settings were reloaded", |line| line["changed"] == "retry");
    assert_eq!(publish(), (401, 200));
}

/// A server that cannot check any token says so.
#[test]
fn a_server_without_its_keys_is_not_ready() {
    let keys = Keys::start(&[]);
    let server = Server::start(&["--subscriber-jwks-url", &keys.url()]);
    server.wait_for_first_fetch();
    let ready = server.admin("/readyz").send();
    assert_eq!((ready.status(), &ready.json()["reasons"]), (503, &json!(["subscriber_keys"])));
    keys.serve(document(&[RSA.jwk("first")]));
    eventually("readiness", || (server.admin("/readyz").send().status() == 200).then_some(()));
}
