//! Tokens taken back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::token::{SECRET, seconds_from_now, token};
use crate::harness::{Reply, Request, Server, Stream, StreamPath, on_all_paths};

const KEYS: [&str; 4] = ["--publisher-jwt-key", SECRET, "--subscriber-jwt-key", SECRET];

on_all_paths![a_revocation_ends_streams_and_keeps_new_ones_out, a_full_socket_does_not_outlive_a_revocation];

fn of(id: &str, subject: &str) -> String {
    token(&json!({ "jti": id, "sub": subject, "mercure": { "subscribe": ["*"], "publish": ["*"] } }))
}

fn revoke(server: &Server, body: &Value) -> Reply {
    Request::new(server.admin_addr(), "POST", "/api/revocations").body(body.to_string()).send()
}

#[track_caller]
fn expect_revoked(mut stream: Stream, since: Instant) {
    let event = stream.next_event();
    assert_eq!((&*event.event_type, &*event.data), ("sse.reconnect", r#"{"reason":"revoked"}"#));
    stream.expect_end();
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
}

fn a_revocation_ends_streams_and_keeps_new_ones_out(path: StreamPath) {
    let server = path.start(&KEYS);
    let open = |target: &str, token: String| server.follow(target).bearer(token).open();
    let one = open("/events/a", of("1", "ann"));
    let same = open("/events?topic=a&topic=b", of("1", "ann"));
    let other = open("/events/a", of("2", "ann"));
    let mut ben = open("/events/a", of("3", "ben"));
    let mut nobody = open("/events/a", token(&json!({ "mercure": { "subscribe": [] } })));

    let started = Instant::now();
    assert_eq!(revoke(&server, &json!({ "jti": "1", "expires_at": seconds_from_now(60) })).status(), 200);
    expect_revoked(one, started);
    expect_revoked(same, started);
    server.subscribe("a").bearer(of("1", "ann")).send().problem(401);
    server.post("/events/a", "x").bearer(of("1", "ann")).send().problem(401);

    let started = Instant::now();
    assert_eq!(revoke(&server, &json!({ "subject": "ann" })).status(), 200);
    expect_revoked(other, started);
    server.subscribe("a").bearer(of("4", "ann")).send().problem(401);
    assert_eq!(server.post("/events/a", "x").bearer(of("3", "ben")).send().status(), 200);
    assert_eq!((ben.next_data(), nobody.next_data()), ("x".into(), "x".into()));

    let listing = server.admin("/api/revocations").send().json();
    assert_eq!(listing["total"], 2);
    server.wait_for_metric("sse_revocations", 2.0);
    assert_eq!(listing["revocations"][1], json!({ "subject": "ann" }));
    server.log.wait_for_all("disconnected", 3, |line| assert_eq!(line["reason"], "revoked"));
    // Taken back, it counts again.
    let take_back =
        |query: &str| Request::new(server.admin_addr(), "DELETE", format!("/api/revocations?{query}")).send().status();
    assert_eq!((take_back("subject=ann"), take_back("subject=ann"), take_back("jti=1")), (204, 404, 204));
    let _open = server.subscribe("a").bearer(of("1", "ann")).open();
}

fn a_full_socket_does_not_outlive_a_revocation(path: StreamPath) {
    let server = path
        .start(&[&KEYS[..], &["--write-timeout", "1h", "--lag-frames-max", "100000", "--lag-grace", "1h"]].concat());
    let _stalled = server.subscribe("a").bearer(of("1", "ann")).open_with_tiny_buffer();
    let body = "x".repeat(200_000);
    for _ in 0..10 {
        assert_eq!(server.post("/events/a", &body).bearer(of("3", "ben")).send().status(), 200);
    }
    let started = Instant::now();
    assert_eq!(revoke(&server, &json!({ "jti": "1" })).status(), 200);
    server.log.wait_for("disconnected", |line| line["reason"] == "revoked");
    assert!(started.elapsed() < Duration::from_millis(2500), "{:?}", started.elapsed());
}

#[test]
fn a_revocation_ends_with_its_token() {
    let server = Server::start(&KEYS);
    assert_eq!(revoke(&server, &json!({ "jti": "1", "expires_at": seconds_from_now(-60) })).status(), 200);
    server.subscribe("a").bearer(of("1", "ann")).open();
    assert_eq!(server.admin("/api/revocations").send().json()["total"], 0);
}

#[test]
fn malformed_revocations_are_told() {
    let server = Server::start(&KEYS);
    for malformed in [
        json!({}),
        json!({ "jti": "" }),
        json!({ "jti": "a", "subject": "b" }),
        json!({ "jti": 1 }),
        json!({ "jit": "a" }),
    ] {
        revoke(&server, &malformed).problem(400);
    }
    let request = |method: &str, target: &str| Request::new(server.admin_addr(), method, target);
    request("DELETE", "/api/revocations").send().problem(400);
    request("PUT", "/api/revocations").body("{}").send().problem(405);
    // A page of anybody's that reaches the admin listener on this machine.
    let foreign = request("POST", "/api/revocations").body(r#"{"jti":"a"}"#);
    foreign.clone().field("Origin", "https://evil.test").send().problem(403);
    foreign.field("Sec-Fetch-Site", "cross-site").send().problem(403);
    assert_eq!(server.admin("/api/revocations").send().json()["total"], 0);
}
