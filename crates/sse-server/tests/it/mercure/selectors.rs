//! What a stream brings: topics, templates, alternates, and both interfaces on one hub.

use super::{follow, publish};
use crate::harness::{StreamPath, on_all_paths};

on_all_paths![
    literal_and_template_topics_bring_their_events,
    alternate_topics_bring_an_event_once,
    the_two_interfaces_share_the_hub,
    a_stream_that_is_closed_is_forgotten,
];

/// The exact bytes of a stream over every kind of selector.
fn literal_and_template_topics_bring_their_events(path: StreamPath) {
    let server = path.start(&[]);
    let followed =
        ["https://example.com/reviews/{id}", "https://example.com/books/1", "plain string", "{broken", "a}b"];
    let mut stream = follow(&server, &followed).open();
    stream.expect_text(":\n");
    for (id, topics) in [
        ("not", &["https://example.com/books/2"][..]),
        ("a", &["https://example.com/books/1"]),
        ("not", &["https://example.com/reviews/1/lines"]),
        ("b", &["https://example.com/reviews/22"]),
        ("not", &["broken"]),
        ("c", &["{broken"]),
        ("d", &["a}b"]),
        ("e", &["plain string"]),
        ("f", &["https://example.com/reviews/{id}"]),
        ("g", &["elsewhere", "https://example.com/reviews/9"]),
    ] {
        let topics = topics.iter().map(|topic| ("topic", *topic));
        let fields: Vec<(&str, &str)> = topics.chain([("id", id), ("data", "Hello World")]).collect();
        publish(&server, &fields);
    }
    for id in ["a", "b", "c", "d", "e", "f", "g"] {
        stream.expect_text(&format!("id: {id}\ndata: Hello World\n\n"));
    }

    let mut all = follow(&server, &["*"]).open();
    publish(&server, &[("topic", "whatever"), ("data", "x")]);
    assert_eq!(all.next_data(), "x");
}

fn alternate_topics_bring_an_event_once(path: StreamPath) {
    let server = path.start(&[]);
    let mut canonical = follow(&server, &["/books/1"]).open();
    let mut alternate = follow(&server, &["/users/foo"]).open();
    let mut both = follow(&server, &["/books/{id}", "/users/foo", "/books/1"]).open();
    publish(&server, &[("topic", "/books/1"), ("topic", "/users/foo"), ("data", "x")]);
    publish(&server, &[("topic", "/users/foo"), ("topic", "/books/1"), ("data", "y")]);
    for stream in [&mut canonical, &mut alternate, &mut both] {
        assert_eq!([stream.next_data(), stream.next_data()], ["x", "y"]);
    }
}

fn the_two_interfaces_share_the_hub(path: StreamPath) {
    let server = path.start(&[]);
    let mut native = server.subscribe("a").open();
    let mut mercure = follow(&server, &["a"]).open();
    let ids = [publish(&server, &[("topic", "a"), ("data", "by form")]), server.publish("a", "by body")];
    for stream in [&mut native, &mut mercure] {
        let events = [stream.next_event(), stream.next_event()];
        assert_eq!(events.each_ref().map(|event| event.data.as_str()), ["by form", "by body"]);
        assert_eq!(events.map(|event| event.id), [ids[0].clone(), ids[1].clone()]);
    }
    // Either id is a position on either side.
    assert_eq!(server.subscribe("a").last_event_id(&ids[0]).open().next_data(), "by body");
    let mut resumed = follow(&server, &["a"]).last_event_id(&ids[0]).open();
    assert_eq!(resumed.head.field("last-event-id"), Some(ids[0].as_str()));
    assert_eq!(resumed.next_data(), "by body");
    assert_eq!(
        follow(&server, &["a"]).last_event_id(&ids[1]).open().head.field("last-event-id"),
        Some(ids[1].as_str())
    );
}

fn a_stream_that_is_closed_is_forgotten(path: StreamPath) {
    let server = path.start(&[]);
    let streams = [follow(&server, &["a"]).open(), follow(&server, &["a", "{x}"]).open()];
    server.wait_for_metric("sse_connections_active", 2.0);
    drop(streams);
    server.wait_for_metric("sse_connections_active", 0.0);
}
