//! Streams of every kind across an upgrade: what bounds them goes on, and those that cannot pass come again and lose nothing.

use std::time::Duration;

use serde_json::json;

use crate::harness::token::{SECRET, token};
use crate::harness::{Item, Meeting, Server, Stream, StreamPath, eventually};
use crate::upgrade::{expect_live, gone};

/// An address of loopback that no other stream has.
const HOG: &str = "127.0.9.7";
/// A topic has its streams compressed from so many followers on.
const PLAIN: usize = 7;

fn pending(server: &Server) -> Option<u64> {
    server.admin("/api/subscribers").send().json()["subscribers"][0]["pending_bytes"].as_u64()
}

/// Publishes more than the stream's socket takes; the ids.
#[track_caller]
fn fill(server: &Server) -> Vec<String> {
    let text = "x".repeat(100_000);
    let ids = (0..40).map(|n| server.publish("a", &format!("{n} {text}"))).collect();
    eventually("a stream that is stuck", || (pending(server)? > 0).then_some(()));
    ids
}

#[test]
fn streams_of_an_address_are_counted_on() {
    let meeting = Meeting::new();
    let flags = ["--connections-per-ip-max", "2"];
    let mut server = meeting.start(&flags);
    let first = server.subscribe("a").from(HOG).open();
    let mut second = server.subscribe("a").from(HOG).open();
    let next = meeting.start(&flags);
    gone(&mut server);
    assert_eq!(next.request("GET", "/events/a").from(HOG).send().status(), 429);
    drop(first);
    let _third = eventually("the place becomes free", || {
        let mut stream = next.subscribe("a").from(HOG).last_event_id("earliest").open();
        next.publish("b", "nothing for it");
        next.publish("a", "welcome");
        (stream.next_event().event_type == "message").then_some(stream)
    });
    assert_eq!(second.next_data(), "welcome");
}

#[test]
fn streams_of_a_subject_are_counted_on() {
    let meeting = Meeting::new();
    let keys = ["--publisher-jwt-key", SECRET, "--subscriber-jwt-key", SECRET];
    let flags = [&keys[..], &["--connections-per-subject-max", "2"]].concat();
    let of = |server: &Server, id: &str| {
        let claims = json!({ "sub": "ann", "jti": id, "mercure": { "subscribe": [] } });
        server.request("GET", "/events/a").bearer(token(&claims))
    };
    let mut server = meeting.start(&flags);
    let first = of(&server, "1").open();
    let _second = of(&server, "2").open();
    let next = meeting.start(&flags);
    gone(&mut server);
    of(&next, "3").send().problem(429);
    drop(first);
    eventually("the place becomes free", || (of(&next, "4").start().head().status == 200).then_some(()));
}

/// What the old process has begun to send is sent to its end by the new one, and slowness is dealt with as before.
#[test]
fn a_slow_stream_keeps_its_bytes_and_its_policy() {
    for policy in ["latest", "skip"] {
        let meeting = Meeting::new();
        let flags = ["--slow-policy", policy, "--lag-frames-max", "8", "--lag-grace", "500ms"];
        let mut server = meeting.start(&flags);
        let mut slow = server.subscribe("a").open_with_tiny_buffer();
        let mut ids = fill(&server);
        let next = meeting.start(&flags);
        gone(&mut server);
        assert!(pending(&next).is_some_and(|pending| pending > 0), "{policy}: nothing was left to send");
        // It is judged meanwhile, and told when it reads again.
        next.subscribe("b").open().stay_for(Duration::from_secs(2));
        ids.push(next.publish("a", "the last"));
        let (mut seen, mut gaps) = (Vec::new(), 0);
        while seen.last() != ids.last() {
            let event = slow.next_event();
            assert!(event.event_type != "sse.reconnect", "{policy}: it is cut");
            gaps += usize::from(event.event_type == "sse.gap");
            seen.push(event.id);
        }
        assert!(seen.len() < ids.len(), "{policy}: it gets {} of {}", seen.len(), ids.len());
        assert_eq!(gaps > 0, policy == "skip", "{policy}: {gaps} gaps");
        expect_live(&next, "a", &mut slow, "and on");
    }
}

#[test]
fn a_compressed_stream_comes_again_and_loses_nothing() {
    let meeting = Meeting::new();
    let mut server = meeting.start(&[]);
    let mut plain: Vec<Stream> = (0..PLAIN).map(|_| server.subscribe("a").open()).collect();
    let mut zipped = server.subscribe("a").field("Accept-Encoding", "gzip").open();
    assert_eq!(zipped.head.field("content-encoding"), Some("gzip"));
    let id = server.publish("a", "one");
    assert_eq!(zipped.next_event().id, id);
    let next = meeting.start(&[]);
    next.publish("a", "two");
    assert_eq!(zipped.next_event().event_type, "sse.reconnect");
    zipped.expect_end();
    gone(&mut server);
    let mut again = next.subscribe("a").field("Accept-Encoding", "gzip").last_event_id(&id).open();
    assert_eq!(again.next_data(), "two");
    for stream in &mut plain {
        assert_eq!([stream.next_data(), stream.next_data()], ["one", "two"]);
    }
}

/// Streams that hyper or TLS has cannot pass: they are asked to come again, and find the listener open.
fn comes_again(path: StreamPath) {
    let meeting = Meeting::new();
    let mut server = meeting.start_on(path);
    let mut streams: Vec<Stream> = (0..5).map(|_| server.subscribe("a").open()).collect();
    let first = server.publish("a", "one");
    streams.iter_mut().for_each(|stream| assert_eq!(stream.next_event().id, first));
    let mut fresh = server.subscribe("a").open();
    let Item::Retry(_) = fresh.next_item() else { panic!("no retry: line") };
    let next = meeting.start_on(path);
    let second = next.publish("a", "two");
    for stream in streams.iter_mut().chain([&mut fresh]) {
        let asked = stream.next_event();
        assert_eq!((asked.event_type.as_str(), asked.json()["reason"].as_str()), ("sse.reconnect", Some("drain")));
        let mut again = next.subscribe("a").last_event_id(stream.last_event_id()).open();
        assert_eq!(again.next_event().id, second, "what was published meanwhile");
    }
    gone(&mut server);
}

#[test]
fn encrypted_streams_come_again_and_lose_nothing() {
    comes_again(StreamPath::Tls);
}

#[test]
fn streams_of_http2_come_again_and_lose_nothing() {
    comes_again(StreamPath::Http2);
}
