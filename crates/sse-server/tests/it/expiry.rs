//! Streams end with their tokens.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::token::{SECRET, seconds_from_now, token};
use crate::harness::{StreamPath, on_all_paths};

const KEYS: [&str; 4] = ["--publisher-jwt-key", SECRET, "--subscriber-jwt-key", SECRET];

on_all_paths![
    a_stream_ends_with_its_token,
    the_mercure_path_ends_with_its_token_too,
    a_full_socket_does_not_outlive_its_token,
    the_leeway_opens_no_long_stream
];

fn expiring(seconds: i64) -> String {
    token(&json!({ "exp": seconds_from_now(seconds), "mercure": { "subscribe": ["*"], "publish": ["*"] } }))
}

fn a_stream_ends_with_its_token(path: StreamPath) {
    let server = path.start(&KEYS);
    // A whole second may be lost in the claim, which counts in seconds.
    let started = Instant::now();
    let mut ending = server.subscribe("a").bearer(expiring(3)).open();
    let mut several = server.follow("/events?topic=a&topic=b").bearer(expiring(3)).open();
    let mut lasting = server.subscribe("a").bearer(expiring(600)).open();
    assert_eq!(server.post("/events/a", "x").bearer(expiring(60)).send().status(), 200);
    assert_eq!((ending.next_data(), several.next_data(), lasting.next_data()), ("x".into(), "x".into(), "x".into()));
    for mut stream in [ending, several] {
        let event = stream.next_event();
        assert_eq!((&*event.event_type, &*event.data), ("sse.reconnect", r#"{"reason":"expired"}"#));
        stream.expect_end();
    }
    let lasted = started.elapsed();
    assert!(lasted > Duration::from_millis(1500) && lasted < Duration::from_secs(5), "{lasted:?}");
    server.log.wait_for_all("disconnected", 2, |line| assert_eq!(line["reason"], "expired"));
    server.post("/events/a", "y").bearer(expiring(60)).send();
    assert_eq!(lasting.next_data(), "y");
}

/// The Mercure path has no events of the server's own: the stream just ends.
fn the_mercure_path_ends_with_its_token_too(path: StreamPath) {
    let server = path.start(&KEYS);
    let target = "/.well-known/mercure?topic=a";
    let stream = server.follow(target).bearer(expiring(3)).open();
    let by_query = server.follow(format!("{target}&authorization={}", expiring(3))).open();
    let started = Instant::now();
    for stream in [stream, by_query] {
        assert!(!stream.text_to_end().contains("event:"));
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    server.log.wait_for_all("disconnected", 2, |line| assert_eq!(line["reason"], "expired"));
}

/// One that does not read is not asked to: it is cut.
fn a_full_socket_does_not_outlive_its_token(path: StreamPath) {
    let server = path
        .start(&[&KEYS[..], &["--write-timeout", "1h", "--lag-frames-max", "100000", "--lag-grace", "1h"]].concat());
    let _stalled = server.subscribe("a").bearer(expiring(4)).open_with_tiny_buffer();
    let publisher = expiring(600);
    let body = "x".repeat(200_000);
    for _ in 0..10 {
        assert_eq!(server.post("/events/a", &body).bearer(&publisher).send().status(), 200);
    }
    let started = Instant::now();
    server.log.wait_for("disconnected", |line| line["reason"] == "expired");
    assert!(started.elapsed() < Duration::from_secs(4 + 3), "{:?}", started.elapsed());
}

/// Let in although its token is just over, a stream brings what was missed and ends at once.
fn the_leeway_opens_no_long_stream(path: StreamPath) {
    let server = path.start(&KEYS);
    let mut stream = server.subscribe("a").bearer(expiring(-5)).open();
    assert_eq!(stream.next_event().data, r#"{"reason":"expired"}"#);
    stream.expect_end();
}
