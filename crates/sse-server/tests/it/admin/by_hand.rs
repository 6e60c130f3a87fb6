//! Publishing and following on the admin listener.

use serde_json::json;

use super::change;
use crate::harness::token::SECRET;
use crate::harness::{Request, Server, Stream};

const TOKEN: &str = "an-admin-token-of-some-length";
const KEYS: [&str; 4] = ["--publisher-jwt-key", SECRET, "--subscriber-jwt-key", SECRET];

fn publish(server: &Server, envelope: &serde_json::Value) -> Request {
    change(server, "POST", "/api/publish").field("Content-Type", "application/json").body(envelope.to_string())
}

fn look(request: Request) -> Stream {
    request.open()
}

#[test]
fn a_token_opens_all_of_it() {
    let server = Server::start(&[&KEYS[..], &["--admin-token", TOKEN]].concat());
    let mut follower = look(server.admin("/api/follow?topic=a&match=/b/{id}").bearer(TOKEN));
    let stats = server.admin("/api/stats").bearer(TOKEN).send().json();
    assert_eq!(stats["rights"], json!({ "publish": true, "follow": true, "private": true }));
    let private = json!({ "topic": "a", "data": "secret", "private": true });
    publish(&server, &private).send().problem(401);
    let answer = publish(&server, &private).bearer(TOKEN).send().json();
    let event = follower.next_event();
    assert_eq!(event.json(), json!({ "topic": "a", "type": "message", "id": answer["id"], "data": "secret" }));
    publish(&server, &json!([{ "topic": "/b/7", "data": { "n": 1 } }, { "topic": "c" }])).bearer(TOKEN).send().json();
    assert_eq!(follower.next_event().json()["data"], r#"{"n":1}"#);
    for wrong in ["another-token-of-the-same-kind", ""] {
        server.admin("/api/follow?topic=a").bearer(wrong).send().problem(401);
        server.admin("/api/subscribers").bearer(wrong).send().problem(401);
    }
}

/// The admin listener is no way around the keys.
#[test]
fn without_a_token_only_what_anybody_may() {
    let server = Server::start(&KEYS);
    publish(&server, &json!({ "topic": "a" })).send().problem(403);
    server.admin("/api/follow?topic=a").send().problem(403);
    let rights = server.admin("/api/stats").send().json()["rights"].clone();
    assert_eq!(rights, json!({ "publish": false, "follow": false, "private": false }));

    let server = Server::start(&[]);
    let mut follower = look(server.admin("/api/follow?match=*"));
    publish(&server, &json!({ "topic": "a", "data": "hidden", "private": true })).send().json();
    publish(&server, &json!({ "topic": "a", "data": "shown" })).send().json();
    assert_eq!(follower.next_event().json()["data"], "shown");
}

#[test]
fn who_comes_back_has_missed_nothing() {
    let server = Server::start(&[]);
    let before = server.publish("a", "before");
    let mut first = look(server.admin("/api/follow?topic=a"));
    assert_eq!(first.text_through(["\n\n"; 2]), format!("retry: 1000\nid: {before}\n\n"));
    drop(first);
    server.publish("a", "meanwhile");
    let mut again = look(server.admin(&format!("/api/follow?topic=a&last_event_id={before}")));
    assert_eq!(again.next_event().json()["data"], "meanwhile");
    // What is gone is told.
    let mut lost = look(server.admin("/api/follow?topic=a&last_event_id=unknown"));
    assert_eq!(lost.next_event().event_type, "sse.gap");
}

#[test]
fn pages_of_others_publish_nothing() {
    let server = Server::start(&[]);
    let event = json!({ "topic": "canary", "data": "x" });
    let origin = format!("http://{}", server.admin_addr());
    for (request, status) in [
        (publish(&server, &event).field("Origin", "https://evil.test"), 403),
        (publish(&server, &event).field("Origin", format!("http://{}", server.addr())), 403),
        (publish(&server, &event).field("Origin", "null"), 403),
        (publish(&server, &event).field("Sec-Fetch-Site", "cross-site"), 403),
        // Its name leads here, so its origin is the server's own.
        (publish(&server, &event).field("Host", "evil.test").field("Origin", "http://evil.test"), 421),
        (change(&server, "POST", "/api/publish").field("Content-Type", "text/plain").body(event.to_string()), 415),
        (change(&server, "POST", "/api/publish").body(event.to_string()), 415),
        (publish(&server, &event).field("Content-Encoding", "gzip"), 415),
        (change(&server, "PUT", "/api/publish").field("Content-Type", "application/json").body("{}"), 405),
        (publish(&server, &json!({ "data": "x" })), 400),
        (publish(&server, &json!({ "topic": "canary", "type": "sse.end" })), 400),
    ] {
        assert_eq!(request.send().status(), status, "{request:?}");
    }
    server.expect_untouched("canary");
    assert_eq!(publish(&server, &event).field("Origin", origin).send().status(), 200);
    for (query, status) in [("", 400), ("topic=", 400), ("topic=a&x=y", 400)] {
        server.admin(&format!("/api/follow?{query}")).send().problem(status);
    }
}

#[test]
fn few_follow_there_so_that_scrapers_get_in() {
    let server = Server::start(&[]);
    let mut looks: Vec<Stream> = (0..16).map(|_| look(server.admin("/api/follow?topic=a"))).collect();
    server.admin("/api/follow?topic=a").send().problem(503);
    assert_eq!(server.admin("/livez").send().status(), 200);
    looks.pop();
    crate::harness::eventually("a place", || {
        (server.admin("/api/follow?topic=a").start().head().status == 200).then_some(())
    });
}
