//! `sse-server token`: what it makes is taken.

use crate::harness::token::{P521, Pair, SECRET};
use crate::harness::{Launch, Server};

#[track_caller]
fn made(args: &[&str]) -> String {
    let output = Launch::new(&[&["token"], args].concat()).finish();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

#[test]
fn a_token_grants_what_was_asked_for() {
    let server = Server::start(&[
        "--publisher-jwt-key",
        SECRET,
        "--subscriber-jwt-key",
        SECRET,
        "--jwt-require",
        "exp",
        "--jwt-issuer",
        "me",
        "--jwt-audience",
        "hub",
    ]);
    let common = ["--key", SECRET, "--issuer", "me", "--audience", "hub", "--subject", "ann", "--id", "1"];
    let publisher = made(&[&common[..], &["--publish", "a", "--publish", "b/{x}", "--payload", "{\"n\":1}"]].concat());
    assert_eq!(server.post("/events/a", "x").bearer(&publisher).send().status(), 200);
    assert_eq!(server.post("/events/b/1", "x").bearer(&publisher).send().status(), 200);
    server.post("/events/c", "x").bearer(&publisher).send().problem(403);
    let subscriber = made(&[&common[..], &["--subscribe", "*", "--expires-in", "15m"]].concat());
    let mut stream = server.subscribe("a").bearer(&subscriber).open();
    server.post("/events/a?private", "y").bearer(&publisher).send();
    assert_eq!(stream.next_data(), "y");
    // One that never ends is not what this server asks for, and one that is over is worth nothing.
    let endless = made(&[&common[..], &["--subscribe", "*", "--expires-in", "off"]].concat());
    server.subscribe("a").bearer(&endless).send().problem(401);
}

/// The clients of the command line come with a token too.
#[test]
fn publish_takes_a_token() {
    let server = Server::start(&["--publisher-jwt-key", SECRET]);
    let url = format!("http://{}/events/a", server.addr());
    let publish = |args: &[&str]| Launch::new(&[&["publish", &url, "--data", "x"], args].concat()).finish();
    let token = made(&["--key", SECRET, "--publish", "a"]);
    assert!(publish(&["--token", &token]).status.success());
    let file = server.home().join("token");
    std::fs::write(&file, format!("{token}\n")).unwrap();
    assert!(publish(&["--token", &format!("@{}", file.display())]).status.success());
    for (args, expected) in [
        (&[][..], "401 Unauthorized: this needs a token"),
        (&["--token", "canary.canary.canary"], "the token is not valid here"),
        (&["--token", "canary canary"], "--token: expected printable ASCII"),
    ] {
        let output = publish(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected) && !said.contains("canary"), "{said}");
    }
}

/// Keys as `openssl genpkey` writes them.
#[test]
fn private_keys_sign_for_their_public_halves() {
    let pem = |pair: &Pair| pem::encode(&pem::Pem::new("PRIVATE KEY", pair.private.as_bytes()));
    let (ed25519, p256, p521) = (Pair::ed25519(), Pair::p256(), P521::new());
    for (alg, public, private) in [
        ("EdDSA", ed25519.public.clone(), pem(&ed25519)),
        ("ES256", p256.public.clone(), pem(&p256)),
        ("ES512", p521.public, p521.private),
    ] {
        let file =
            std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{alg}-{}.pem", std::process::id()));
        std::fs::write(&file, private).unwrap();
        let server = Server::start(&["--publisher-jwt-key", &public, "--publisher-jwt-alg", alg]);
        let token = made(&["--key", &format!("@{}", file.display()), "--alg", alg, "--publish", "*"]);
        assert_eq!(server.post("/events/a", "x").bearer(&token).send().status(), 200, "{alg}");
        std::fs::remove_file(&file).unwrap();
    }
}
