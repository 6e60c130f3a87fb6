//! `sse.` events are off on this path unless they are asked for.

use std::time::Duration;

use super::{follow, publish};
use crate::harness::{Item, StreamPath, on_all_paths_and_compressed_in_http2};

on_all_paths_and_compressed_in_http2![
    a_closed_topic_ends_in_silence,
    a_drain_ends_in_silence,
    signals_can_be_asked_for,
    a_subscriber_that_was_left_behind_is_cut
];

/// Streams over one topic and over several.
const WAYS: [&[&str]; 2] = [&["a"], &["a", "b"]];

fn a_closed_topic_ends_in_silence(path: StreamPath) {
    let server = path.start(&[]);
    let mut streams = WAYS.map(|topics| follow(&server, topics).open());
    for stream in &mut streams {
        assert_eq!(stream.next_item(), Item::Comment(String::new()));
    }
    publish(&server, &[("topic", "a"), ("data", "last")]);
    server.close("a");
    let [mut one, mut several] = streams;
    assert_eq!(one.next_data(), "last");
    one.expect_end();
    assert_eq!(several.next_data(), "last");
    publish(&server, &[("topic", "b"), ("data", "still open")]);
    assert_eq!(several.next_data(), "still open");
    server.close("b");
    several.expect_end();
}

fn a_drain_ends_in_silence(path: StreamPath) {
    let mut server = path.start(&["--drain-window", "10ms"]);
    let mut streams = WAYS.map(|topics| follow(&server, topics).open());
    for stream in &mut streams {
        assert_eq!(stream.next_item(), Item::Comment(String::new()));
    }
    server.signal(rustix::process::Signal::TERM);
    streams.into_iter().for_each(|stream| drop(stream.expect_end()));
    assert!(server.wait_exit().success());
}

fn signals_can_be_asked_for(path: StreamPath) {
    let server = path.start(&["--mercure-signals", "on", "--ring-frames-max", "1"]);
    let first = publish(&server, &[("topic", "a"), ("topic", "b"), ("data", "1")]);
    publish(&server, &[("topic", "a"), ("topic", "b"), ("data", "2")]);
    publish(&server, &[("topic", "a"), ("topic", "b"), ("data", "3")]);
    for topics in WAYS {
        let mut stream = follow(&server, topics).last_event_id(&first).open();
        let gap = stream.next_event();
        assert_eq!(gap.event_type, "sse.gap");
        assert_eq!(gap.json()["requested"], first.as_str());
        assert_eq!(stream.next_data(), "3");
    }
    let mut stream = follow(&server, &["a"]).open();
    server.close("a");
    assert_eq!(stream.next_event().event_type, "sse.end");
    stream.expect_end();
}

/// A hole that cannot be told in the stream ends it: the client comes back and reads it in the head.
fn a_subscriber_that_was_left_behind_is_cut(path: StreamPath) {
    let server = path.start(&["--slow-policy", "skip", "--lag-frames-max", "4", "--lag-grace", "500ms"]);
    let streams = WAYS.map(|topics| follow(&server, topics).open_with_tiny_buffer());
    let data = "x".repeat(64 * 1024);
    for _ in 0..40 {
        publish(&server, &[("topic", "a"), ("data", &data)]);
    }
    // They are judged meanwhile.
    follow(&server, &["b"]).open().stay_for(Duration::from_secs(2));
    for mut stream in streams {
        while let Some(event) = stream.event_or_end() {
            assert_eq!(event.event_type, "message");
        }
    }
    for topics in WAYS {
        server.log.wait_for("disconnected", |line| line["reason"] == "lagged" && line["topics"] == topics.join(" "));
    }
}
