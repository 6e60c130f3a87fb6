//! Heads: of streams, preflights and refusals; methods and origins.

use std::time::Duration;

use super::{HUB, expect_security_fields, follow, follow_with, pairs, post};
use crate::harness::{Item, Reply, Server, StreamPath, also_on_http2, on_both_paths};

on_both_paths![
    a_stream_begins_as_clients_expect,
    a_stream_follows_so_many_topics,
    an_allowed_page_may_read_the_cursor,
    a_full_server_asks_to_come_back,
    heartbeats_are_comments,
];

also_on_http2![a_stream_follows_so_many_topics, an_allowed_page_may_read_the_cursor, heartbeats_are_comments];

fn a_stream_begins_as_clients_expect(path: StreamPath) {
    let server = path.start(&[]);
    let mut stream = follow(&server, &["a"]).open();
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "private, no-cache, no-store, must-revalidate, max-age=0"),
        ("pragma", "no-cache"),
        ("expires", "0"),
        ("x-accel-buffering", "no"),
        ("connection", "keep-alive"),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("x-xss-protection", "1; mode=block"),
        ("content-security-policy", "default-src 'self'"),
    ] {
        assert_eq!(stream.head.field(name), Some(value), "{}", stream.head.text);
    }
    assert_eq!(stream.head.field("last-event-id"), None, "no cursor was sent");
    // At once, so that `onopen` fires.
    stream.expect_text(":\n");
    let head = server.request("HEAD", format!("{HUB}?topic=a")).send();
    assert_eq!((head.status(), head.field("content-type")), (200, Some("text/event-stream")));
    expect_security_fields(&head);
    assert_eq!(server.metric("sse_connections_active"), Some(1.0));
}

#[test]
fn requests_that_are_no_streams_are_refused() {
    let server = Server::start(&[]);
    for target in [
        HUB.to_owned(),
        format!("{HUB}?"),
        format!("{HUB}?topic="),
        format!("{HUB}?topic=a%0Ab"),
        format!("{HUB}?topic=%ff"),
        format!("{HUB}?lastEventID=1"),
    ] {
        let reply = server.follow(&target).send();
        reply.problem(400);
        expect_security_fields(&reply);
    }
    for method in ["PUT", "DELETE", "PATCH"] {
        let reply = server.request(method, HUB).send();
        reply.problem(405);
        assert_eq!(reply.field("allow"), Some("GET, HEAD, POST, OPTIONS"));
        expect_security_fields(&reply);
    }
    server.follow(format!("{HUB}/")).send().problem(404);
    server.follow("/.well-known/mercur").send().problem(404);
}

fn a_stream_follows_so_many_topics(path: StreamPath) {
    let topics: Vec<String> = (0..1001).map(|n| format!("https://example.com/{n}")).collect();
    let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
    let server = path.start(&[]);
    let mut stream = follow(&server, &topics[..1000]).open();
    super::publish(&server, &[("topic", topics[999]), ("data", "the last")]);
    assert_eq!(stream.next_data(), "the last");
    assert_eq!(follow(&server, &topics).send().problem(400).field.as_deref(), Some("topic"));

    let server = path.start(&["--topics-per-subscription-max", "3"]);
    drop(follow(&server, &topics[..3]).open());
    follow(&server, &topics[..4]).send().problem(400);
}

/// Nothing but what the answer exposes can be read by a page of another origin.
fn an_allowed_page_may_read_the_cursor(path: StreamPath) {
    const APP: &str = "https://app.example";
    let server = path.start(&["--cors-origin", APP]);
    let stream = follow_with(&server, &["a"], &[("lastEventID", "earliest")]).field("Origin", APP).open();
    assert_eq!(stream.head.field("access-control-allow-origin"), Some(APP));
    assert_eq!(stream.head.field("access-control-allow-credentials"), Some("true"));
    let exposed = stream.head.field("access-control-expose-headers").unwrap();
    assert!(["Last-Event-ID", "Mercure-Last-Event-ID"].iter().all(|name| exposed.contains(name)), "{exposed}");

    let preflight = |origin: &str| -> Reply {
        server.request("OPTIONS", HUB).field("Origin", origin).field("Access-Control-Request-Method", "GET").send()
    };
    let allowed = preflight(APP);
    assert_eq!(allowed.status(), 204);
    assert_eq!(allowed.field("access-control-allow-methods"), Some("GET, HEAD, POST, OPTIONS"));
    let fields = allowed.field("access-control-allow-headers").unwrap().to_ascii_lowercase();
    assert!(["authorization", "cache-control", "last-event-id"].iter().all(|name| fields.contains(name)), "{fields}");
    expect_security_fields(&allowed);
    assert_eq!(preflight("https://evil.example").field("access-control-allow-origin"), None);
    let stranger = follow(&server, &["a"]).field("Origin", "https://evil.example").open();
    assert_eq!(stranger.head.field("access-control-allow-origin"), None);
}

/// Without `sse.` events, which a client of this protocol does not know.
fn a_full_server_asks_to_come_back(path: StreamPath) {
    let server = path.start(&["--connections-max", "1"]);
    let _stream = follow(&server, &["a"]).open();
    let mut turned_away = follow(&server, &["a"]).open();
    let Item::Retry(retry) = turned_away.next_item() else { panic!("no retry: line") };
    assert!((Duration::from_secs(5)..=Duration::from_secs(15)).contains(&retry), "{retry:?}");
    let mut connection = turned_away.into_connection();
    assert_eq!(connection.rest().0, b"");
    let told = server.request("GET", format!("{HUB}?{}", pairs(&[("topic", "a")]))).send();
    told.problem(503);
    expect_security_fields(&told);
    assert_eq!(post(&server, &[("topic", "a")]).send().status(), 200, "publishing goes on");
}

fn heartbeats_are_comments(path: StreamPath) {
    let server = path.start(&["--heartbeat-interval", "1s"]);
    let mut stream = follow(&server, &["a", "b"]).open();
    assert_eq!(stream.next_item(), Item::Comment(String::new()));
    assert_eq!(stream.next_item(), Item::Comment(" ping".to_owned()));
}
