//! Nothing that the server says has a secret in it.

use serde_json::json;

use crate::harness::token::{token, token_with};
use crate::harness::{Launch, Request, Server, StreamPath, on_all_paths};

/// Stands in every secret.
const CANARY: &str = "canary-4c1f9e";

on_all_paths![no_output_has_a_secret];

fn secret(name: &str) -> String {
    format!("{name}-{CANARY}-0123456789abcdefghijklmnop")
}

fn no_output_has_a_secret(path: StreamPath) {
    let (publisher, subscriber, admin) = (secret("publisher"), secret("subscriber"), secret("admin"));
    let server = path.start(&[
        "--publisher-jwt-key",
        &publisher,
        "--subscriber-jwt-key",
        &subscriber,
        "--admin-token",
        &admin,
        "--log-level",
        "trace",
        "--cookie-name",
        "auth",
    ]);
    let claims =
        json!({ "sub": CANARY, "jti": CANARY, "mercure": { "publish": ["*"], "subscribe": ["*"], "payload": CANARY } });
    let good = (token_with(&publisher, &claims), token_with(&subscriber, &claims));
    let bad = (token(&claims), format!("{CANARY}.{CANARY}.{CANARY}"));
    let (signature_of_good, signature_of_bad) = (last_part(&good.1), last_part(&bad.0));
    let mut said = Vec::new();
    for token in [&good.0, &good.1, &bad.0, &bad.1] {
        for request in [
            server.post("/events/a", "x"),
            server.request("DELETE", "/events/b"),
            server.post_json("{}"),
            server.post("/tickets?topic=a", ""),
            server.request("HEAD", "/events/a"),
            server.request("PUT", "/events/a"),
        ] {
            said.push(request.clone().bearer(token).send());
            said.push(request.field("Cookie", format!("auth={token}")).send());
        }
        for target in [
            "/.well-known/mercure?topic=a&authorization=",
            "/events/a?authorization=",
            "/events/a?ticket=",
            "/nowhere?token=",
            "/events/%ff?ticket=",
        ] {
            said.push(server.request("HEAD", format!("{target}{token}")).send());
            said.push(server.post(&format!("{target}{token}"), "x").send());
        }
        let admin = |target: &str| Request::new(server.admin_addr(), "GET", target).bearer(token).send();
        said.extend([admin("/api/topics"), admin("/api/revocations"), admin("/metrics")]);
    }
    let mut stream = server.subscribe("a").bearer(&good.1).open();
    server.post("/events/a", "first").bearer(&good.0).send();
    stream.next_event();
    let ticket =
        server.post("/tickets?topic=a", "").bearer(&good.1).send().json()["ticket"].as_str().unwrap().to_owned();
    let mut with_ticket = server.follow(format!("/events/a?ticket={ticket}")).open();
    let revoke = Request::new(server.admin_addr(), "POST", "/api/revocations").bearer(&admin);
    assert_eq!(revoke.body(json!({ "jti": CANARY }).to_string()).send().status(), 200);
    assert_eq!(stream.next_event().event_type, "sse.reconnect");
    assert_eq!(with_ticket.next_event().event_type, "sse.reconnect");
    server.log.wait_for_all("disconnected", 2, |_| ());
    for target in ["/metrics", "/livez", "/readyz", "/api/topics"] {
        said.push(server.admin(target).bearer(&admin).send());
    }
    let said = said.iter().map(|reply| format!("{}{}", reply.head.text, reply.text()));
    let logged = server.log.lines().into_iter().map(|line| line.to_string());
    let mut pieces = 0;
    for text in said.chain(logged) {
        for secret in [CANARY, &ticket, &signature_of_good, &signature_of_bad] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        pieces += 1;
    }
    assert!(pieces > 100, "{pieces}");
}

fn last_part(token: &str) -> String {
    token.rsplit('.').next().unwrap().to_owned()
}

#[test]
fn printed_settings_have_no_secret() {
    let key = secret("key");
    let file = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("key-{}", std::process::id()));
    std::fs::write(&file, &key).unwrap();
    let at_file = format!("@{}", file.display());
    for command in ["config", "check-config"] {
        for flags in [
            vec!["--publisher-jwt-key", &key, "--subscriber-jwt-key", &at_file, "--admin-token", &key],
            vec!["--publisher-jwt-key", &at_file, "--publisher-jwt-alg", "RS256"],
            vec!["--publisher-jwt-key", CANARY, "--listen", "0.0.0.0:1"],
        ] {
            let launch = Launch::new(&[&[command], &flags[..]].concat());
            let output = launch.environment("SSE_SUBSCRIBER_JWT_KEY", &key).finish();
            let said = [output.stdout, output.stderr].concat();
            assert!(!said.is_empty() && !String::from_utf8_lossy(&said).contains(CANARY));
        }
    }
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn a_server_with_weak_keys_does_not_start_for_others() {
    for (flags, expected) in [
        (&["--listen", "0.0.0.0:0"][..], Some("there is no publisher key")),
        (&["--listen", "0.0.0.0:0", "--publisher-jwt-key", "!ChangeThisMercureHubJWTSecretKey!"], Some("weak")),
        (&["--listen", "0.0.0.0:0", "--publisher-jwt-key", "short"], Some("weak")),
        (&["--publisher-jwt-key", "short", "--publisher-jwt-alg", "RS256"], Some("not a public key")),
    ] {
        let output = Launch::new(flags).finish();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{flags:?}: {said}");
        assert!(expected.is_none_or(|expected| said.contains(expected)), "{said}");
    }
    let warned = Server::start(&["--publisher-jwt-key", "short"]);
    warned
        .log
        .wait_for("publisher_jwt_key is weak: 5 bytes can be guessed, it takes 32", |line| line["level"] == "WARN");
    // On this machine alone even a sample works, so that a trial needs no thought.
    assert_eq!(
        warned
            .post("/events/a", "x")
            .bearer(token_with("short", &json!({"mercure": {"publish": ["a"]}})))
            .send()
            .status(),
        200
    );
}
