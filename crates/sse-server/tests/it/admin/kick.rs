//! Streams that an operator ends.

use std::time::{Duration, Instant};

use serde_json::json;

use super::change;
use crate::harness::token::{SECRET, token};
use crate::harness::{Server, Stream, StreamPath, on_all_paths};

on_all_paths![
    one_stream_is_ended_as_planned,
    the_streams_of_a_subject_are_ended,
    a_full_socket_does_not_outlive_a_kick
];

fn id_of(server: &Server, topic: &str) -> String {
    let listing = server.admin(&format!("/api/subscribers?topic={topic}")).send().json();
    assert_eq!(listing["found"], 1, "{listing}");
    listing["subscribers"][0]["id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn expect_kicked(mut stream: Stream) {
    let event = stream.next_event();
    assert_eq!((&*event.event_type, &*event.data), ("sse.reconnect", r#"{"reason":"kicked"}"#));
    stream.expect_end();
}

fn one_stream_is_ended_as_planned(path: StreamPath) {
    let server = path.start(&[]);
    for target in ["/events/a", "/events?topic=a&topic=b"] {
        let stream = server.follow(target).open();
        let mut neighbour = server.subscribe("other").open();
        let id = id_of(&server, "a");
        assert_eq!(change(&server, "DELETE", format!("/api/subscribers/{id}")).send().status(), 204);
        expect_kicked(stream);
        server.wait_for_metric("sse_connections_active", 1.0);
        // The name is never another stream's.
        let _next = server.follow(target).open();
        change(&server, "DELETE", format!("/api/subscribers/{id}")).send().problem(404);
        server.publish("other", "x");
        assert_eq!(neighbour.next_data(), "x");
        let id = id_of(&server, "a");
        change(&server, "DELETE", format!("/api/subscribers/{id}")).send();
        drop(neighbour);
        server.wait_for_metric("sse_connections_active", 0.0);
    }
    let kicked = server.log.wait_for_all("disconnected", 6, |line| line["reason"] == "kicked");
    assert_eq!(kicked.iter().filter(|is_kicked| **is_kicked).count(), 4);
    server.wait_for_metric("sse_kicks_total", 4.0);
    assert_eq!(server.metric("sse_evictions_total"), Some(0.0));
}

fn the_streams_of_a_subject_are_ended(path: StreamPath) {
    let server = path.start(&["--subscriber-jwt-key", SECRET, "--anonymous", "on", "--open-publish", "on"]);
    let of = |subject: &str| token(&json!({ "sub": subject, "mercure": { "subscribe": ["*"] } }));
    let open = |target: &str, subject: &str| server.follow(target).bearer(of(subject)).open();
    let ann = [open("/events/a", "ann"), open("/events/b", "ann"), open("/events?match=*", "ann")];
    let mut others = [open("/events/a", "ben"), server.subscribe("a").open()];
    let kicked = change(&server, "DELETE", "/api/subscribers?subject=ann").send().json();
    assert_eq!(kicked, json!({ "kicked": 3 }));
    ann.into_iter().for_each(expect_kicked);
    server.publish("a", "x");
    others.iter_mut().for_each(|other| assert_eq!(other.next_data(), "x"));
    // It may come back at once: a revocation keeps it out.
    let _back = open("/events/a", "ann");
    assert_eq!(change(&server, "DELETE", "/api/subscribers?subject=nobody").send().json(), json!({ "kicked": 0 }));
}

fn a_full_socket_does_not_outlive_a_kick(path: StreamPath) {
    let server = path.start(&["--write-timeout", "1h", "--lag-grace", "1h"]);
    let _stalled = server.subscribe("a").open_with_tiny_buffer();
    let noise: String = std::iter::repeat_with(fastrand::alphanumeric).take(200_000).collect();
    (0..20).for_each(|_| drop(server.publish("a", &noise)));
    let id = id_of(&server, "a");
    let started = Instant::now();
    assert_eq!(change(&server, "DELETE", format!("/api/subscribers/{id}")).send().status(), 204);
    server.log.wait_for("disconnected", |line| line["reason"] == "kicked");
    assert!(started.elapsed() < Duration::from_millis(2500), "{:?}", started.elapsed());
}

#[test]
fn what_cannot_be_kicked_is_told() {
    let server = Server::start(&[]);
    let _stream = server.subscribe("a").open();
    for (target, status) in [
        ("/api/subscribers", 400),
        ("/api/subscribers?topic=a", 400),
        ("/api/subscribers/", 404),
        ("/api/subscribers/x", 404),
        ("/api/subscribers/99-0-1", 404),
        ("/api/subscribers/0-0-1", 404),
        ("/api/subscribers/1-4294967295-1", 404),
    ] {
        change(&server, "DELETE", target).send().problem(status);
    }
    let id = id_of(&server, "a");
    server.admin(&format!("/api/subscribers/{id}")).send().problem(405);
    // A page of anybody's that reaches the admin listener on this machine.
    for target in [format!("/api/subscribers/{id}"), "/api/subscribers?subject=ann".to_owned()] {
        change(&server, "DELETE", &*target).field("Origin", "https://evil.test").send().problem(403);
        change(&server, "DELETE", &*target).field("Sec-Fetch-Site", "cross-site").send().problem(403);
    }
    assert_eq!(server.metric("sse_connections_active"), Some(1.0));
}
