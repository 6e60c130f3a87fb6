//! What the protocol promises of a hub that keeps its events: a data directory.

use super::{follow, post, publish};
use crate::harness::token::{SECRET, publish_token, subscribe_token};
use crate::harness::{DataDir, StreamPath, eventually, on_both_paths};

on_both_paths![history_outlives_the_server, what_the_log_does_not_take_is_refused];

fn history_outlives_the_server(path: StreamPath) {
    let data = DataDir::new();
    let mut server = data.start(path, &[]);
    let ids: Vec<String> = (1..=10)
        .map(|n| {
            let (data, own) = (n.to_string(), format!("urn:x:{n}"));
            let fields = [("topic", "https://example.com/books/1"), ("topic", "alternate"), ("data", &data)];
            // Every other one has an id of its publisher's.
            if n % 2 == 0 {
                publish(&server, &[&fields[..], &[("id", &own)]].concat())
            } else {
                publish(&server, &fields)
            }
        })
        .collect();
    server.kill();
    let flags = ["--subscriptions", "on", "--subscriber-jwt-key", SECRET, "--publisher-jwt-key", SECRET];
    let server = data.start(path, &flags);
    for topics in [&["alternate"][..], &["https://example.com/books/{id}", "alternate"], &["*"]] {
        for at in [6, 7] {
            let mut stream = follow(&server, topics).last_event_id(&ids[at]).bearer(subscribe_token(&[])).open();
            assert_eq!(stream.head.field("last-event-id"), Some(ids[at].as_str()));
            for id in &ids[at + 1..] {
                assert_eq!(stream.next_event().id, *id);
            }
        }
    }
    // The list's id is a position: nothing that was published is after it.
    let list =
        server.request("GET", "/.well-known/mercure/subscriptions").bearer(subscribe_token(&["*"])).send().json();
    let mut stream = follow(&server, &["*"])
        .last_event_id(list["lastEventID"].as_str().unwrap())
        .bearer(subscribe_token(&[]))
        .open();
    assert_eq!(stream.head.field("last-event-id"), list["lastEventID"].as_str());
    let fields = [("topic", "alternate"), ("data", "after the restart")];
    assert_eq!(post(&server, &fields).bearer(publish_token(&["*"])).send().status(), 200);
    assert_eq!(stream.next_data(), "after the restart");
}

/// The reference hub answers 500; 503 tells the client to try again.
fn what_the_log_does_not_take_is_refused(path: StreamPath) {
    let data = DataDir::new();
    let server = data.start(path, &[]);
    let mut stream = follow(&server, &["a"]).open();
    publish(&server, &[("topic", "a"), ("data", "kept")]);
    assert_eq!(stream.next_data(), "kept");
    data.remove();
    let refused = eventually("the log notices", || {
        let reply = post(&server, &[("topic", "a"), ("data", "lost")]).send();
        (reply.status() != 200).then_some(reply)
    });
    refused.problem(503);
    super::expect_security_fields(&refused);
}
