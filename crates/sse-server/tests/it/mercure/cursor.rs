//! Resuming: which events come, and what the head says of it.

use super::{follow, follow_with, publish};
use crate::harness::{Server, Stream, StreamPath, eventually, on_all_paths};

on_all_paths![
    what_was_missed_is_sent,
    all_that_is_kept_is_sent,
    an_unknown_id_is_told_by_the_head,
    an_empty_history_begins_at_earliest,
    an_empty_cursor_is_none,
    history_is_bounded_and_told_of,
    history_runs_into_what_is_live,
];

fn published(server: &Server, count: usize) -> Vec<String> {
    (0..count).map(|n| publish(server, &[("topic", "a"), ("topic", "b"), ("data", &n.to_string())])).collect()
}

/// Streams over one topic, over several and over a template: each has its own way to its start.
fn each_way(server: &Server, cursor: impl Fn(&[&str]) -> crate::harness::Request) -> Vec<Stream> {
    let _ = server;
    [&["a"][..], &["a", "b"], &["{x}"], &["*"]].into_iter().map(|topics| cursor(topics).open()).collect()
}

#[track_caller]
fn expect_start(stream: &mut Stream, header: &str, data: &[&str]) {
    assert_eq!(stream.head.field("last-event-id"), Some(header), "{}", stream.head.text);
    for data in data {
        assert_eq!(stream.next_data(), *data);
    }
}

fn what_was_missed_is_sent(path: StreamPath) {
    let server = path.start(&[]);
    let ids = published(&server, 10);
    let id = ids[7].as_str();
    for name in ["lastEventID", "Last-Event-ID"] {
        for mut stream in each_way(&server, |topics| follow_with(&server, topics, &[(name, id)])) {
            expect_start(&mut stream, id, &["8", "9"]);
        }
    }
    for mut stream in
        each_way(&server, |topics| follow_with(&server, topics, &[("lastEventID", "earliest")]).last_event_id(id))
    {
        expect_start(&mut stream, id, &["8", "9"]);
    }
    // A publisher's id is one too.
    publish(&server, &[("topic", "a"), ("topic", "b"), ("id", "urn:x:mine"), ("data", "mine")]);
    publish(&server, &[("topic", "a"), ("topic", "b"), ("data", "last")]);
    for mut stream in each_way(&server, |topics| follow(&server, topics).last_event_id("urn:x:mine")) {
        expect_start(&mut stream, "urn:x:mine", &["last"]);
    }
}

fn all_that_is_kept_is_sent(path: StreamPath) {
    let server = path.start(&[]);
    published(&server, 3);
    for mut stream in each_way(&server, |topics| follow_with(&server, topics, &[("lastEventID", "earliest")])) {
        expect_start(&mut stream, "earliest", &["0", "1", "2"]);
    }
    for mut stream in each_way(&server, |topics| follow(&server, topics).last_event_id("earliest")) {
        expect_start(&mut stream, "earliest", &["0", "1", "2"]);
    }
}

/// The client asked for one id and reads another: it knows that it may have missed something.
fn an_unknown_id_is_told_by_the_head(path: StreamPath) {
    let server = path.start(&[]);
    published(&server, 2);
    for id in [
        "urn:uuid:018e5c8f-1c1a-7c3e-8f0a-1234567890ab",
        "unknown",
        "#fragment",
        "7o9t3aqa-0000000000000001",
        &"x".repeat(1000),
    ] {
        for mut stream in each_way(&server, |topics| follow(&server, topics).last_event_id(id)) {
            expect_start(&mut stream, "earliest", &["0", "1"]);
        }
    }
}

fn an_empty_history_begins_at_earliest(path: StreamPath) {
    let server = path.start(&[]);
    for id in ["earliest", "unknown"] {
        for mut stream in each_way(&server, |topics| follow(&server, topics).last_event_id(id)) {
            expect_start(&mut stream, "earliest", &[]);
            stream.expect_text(":\n");
        }
    }
}

fn an_empty_cursor_is_none(path: StreamPath) {
    let server = path.start(&[]);
    let ids = published(&server, 2);
    for request in [follow(&server, &["a"]).last_event_id(""), follow_with(&server, &["a"], &[("lastEventID", "")])] {
        let mut stream = request.open();
        assert_eq!(stream.head.field("last-event-id"), None);
        publish(&server, &[("topic", "a"), ("data", "live")]);
        assert_eq!(stream.next_data(), "live");
    }
    // An empty header does not hide the query.
    let mut stream = follow_with(&server, &["a"], &[("lastEventID", &ids[0])]).last_event_id("").open();
    expect_start(&mut stream, &ids[0], &["1"]);
}

fn history_is_bounded_and_told_of(path: StreamPath) {
    let server = path.start(&["--ring-frames-max", "5"]);
    let ids = published(&server, 12);
    let kept = ["7", "8", "9", "10", "11"];
    let mut streams = each_way(&server, |topics| follow(&server, topics).last_event_id(&ids[0]));
    for stream in &mut streams {
        expect_start(stream, "earliest", &kept);
    }
    publish(&server, &[("topic", "a"), ("topic", "b"), ("data", "live")]);
    for stream in &mut streams {
        assert_eq!(stream.next_data(), "live", "no `sse.gap` on this path");
    }
}

/// No hole, no repeat, in order, while events are being published.
fn history_runs_into_what_is_live(path: StreamPath) {
    const EVENTS: usize = 400;
    let server = path.start(&[]);
    let first = publish(&server, &[("topic", "a"), ("data", "0")]);
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| {
            for n in 1..EVENTS {
                publish(&server, &[("topic", "a"), ("data", &n.to_string())]);
            }
        });
        let mut last = first.clone();
        let mut next = 1;
        // Leaves and comes back all the time.
        while next < EVENTS {
            let mut stream =
                follow(&server, if next % 2 == 0 { &["a"] } else { &["a", "b"] }).last_event_id(&last).open();
            assert_eq!(stream.head.field("last-event-id"), Some(last.as_str()));
            for _ in 0..20.min(EVENTS - next) {
                let event = stream.next_event();
                assert_eq!(event.data, next.to_string());
                (next, last) = (next + 1, event.id);
            }
        }
        publisher.join().unwrap();
    });
}

/// The id of an event that one may not see would tell that there was one.
#[test]
fn ids_of_private_events_do_not_leak() {
    let server = Server::start(&[]);
    publish(&server, &[("topic", "a"), ("data", "0")]);
    publish(&server, &[("topic", "a"), ("id", "urn:x:secret"), ("data", "private"), ("private", "on")]);
    let mut streams = each_way(&server, |topics| follow(&server, topics).last_event_id("urn:x:secret"));
    for stream in &mut streams {
        expect_start(stream, "earliest", &["0"]);
    }
    eventually("they are all there", || (server.metric("sse_connections_active") == Some(4.0)).then_some(()));
}
