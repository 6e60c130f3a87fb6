//! `sse-server publish`.

use std::net::TcpListener;

use crate::command::{Command, Event};
use crate::fake::Fake;
use crate::server::Server;

#[test]
fn one_event_with_its_fields() {
    let server = Server::start(&[]);
    let follower = server.subscribe("/events/a%20b", &[]);
    let url = server.url("/events/a b");
    let outcome = Command::run(&["publish", &url, "--data", "one\ntwo", "--type", "a&b", "--id", "né 1"]);
    outcome.succeeded();
    assert_eq!(outcome.out, ["né 1"]);
    let event = Event { event_type: "a&b".into(), id: "né 1".into(), data: "one\ntwo".into() };
    assert_eq!(follower.event(), event);
}

#[test]
fn each_line_is_published_as_it_comes() {
    let server = Server::start(&[]);
    let follower = server.subscribe("/events/a", &[]);
    let mut publisher = Command::start(&["publish", &server.url("/events/a"), "--type", "tick"]);
    for data in ["first", "", " third\r"] {
        publisher.say(&format!("{data}\n"));
        // Its input is open: nothing waited for more.
        let id = publisher.line();
        let data = data.trim_end_matches('\r').to_owned();
        assert_eq!(follower.event(), Event { event_type: "tick".into(), id, data });
    }
    publisher.say("without an end");
    publisher.end_input();
    assert_eq!(follower.event().data, "without an end");
    publisher.finish().succeeded();
}

#[test]
fn all_lines_take_one_connection() {
    let fake = Fake::start(|door| {
        let mut peer = door.accept();
        for line in 0..100 {
            let (head, body) = peer.request();
            assert!(head.starts_with("post /events/a http/1.1\r\n"), "{head}");
            assert_eq!(body, format!("line {line}"));
            peer.answer(&format!("id {line}"));
        }
        peer.wait_closed();
    });
    let mut publisher = Command::start(&["publish", &fake.url()]);
    (0..100).for_each(|line| publisher.say(&format!("line {line}\n")));
    publisher.end_input();
    let outcome = publisher.finish();
    outcome.succeeded();
    assert_eq!(outcome.out, (0..100).map(|line| format!("id {line}")).collect::<Vec<_>>());
    fake.finish();
}

#[test]
fn the_first_refusal_stops_it() {
    let server = Server::start(&["--event-bytes-max", "10"]);
    let mut publisher = Command::start(&["publish", &server.url("/events/a")]);
    publisher.say("good\nmore than ten bytes\nnever\n");
    let outcome = publisher.finish();
    outcome.failed_with("line 2: the server answered 413 Payload Too Large: the body is larger than 10 bytes");
    assert_eq!(outcome.out.len(), 1);
    let follower = server.subscribe("/events/a", &["--last-event-id", "earliest"]);
    assert_eq!(follower.event().data, "good");
    server.publish("/events/a", "later");
    assert_eq!(follower.event().data, "later");
}

#[test]
fn a_kept_connection_may_close_between_lines() {
    let fake = Fake::start(|door| {
        let mut peer = door.accept();
        assert_eq!(peer.request().1, "one");
        peer.answer("1");
        drop(peer);
        let mut peer = door.accept();
        assert_eq!(peer.request().1, "two");
        peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 10\r\n\r\n{\"id\":\"2\"}");
        drop(peer);
        let mut peer = door.accept();
        assert_eq!(peer.request().1, "three");
        peer.answer("3");
    });
    let mut publisher = Command::start(&["publish", &fake.url()]);
    for (line, id) in [("one", "1"), ("two", "2"), ("three", "3")] {
        publisher.say(&format!("{line}\n"));
        assert_eq!(publisher.line(), id);
    }
    publisher.end_input();
    publisher.finish().succeeded();
    fake.finish();
}

/// The event may be out: publishing it again could make it two.
#[test]
fn a_lost_answer_is_not_asked_for_again() {
    let fake = Fake::start(|door| {
        let mut peer = door.accept();
        peer.request();
        peer.answer("1");
        peer.request();
    });
    let mut publisher = Command::start(&["publish", &fake.url()]);
    publisher.say("one\ntwo\n");
    let outcome = publisher.finish();
    outcome.failed_with("line 2: the connection broke: whether the event was published is not known");
    assert_eq!(outcome.out, ["1"]);
    fake.finish();
}

#[test]
fn what_cannot_be_published_says_why() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("it is bound");
    let refused = format!("http://{nobody}/events/a");
    let server = Server::start(&[]);
    let (found, missing) = (server.url("/events/a"), server.url("/nothing"));
    for (args, expected) in [
        (&["https://localhost/events/a", "--data", "x"][..], "https is not there yet"),
        (&["http://localhost:x/", "--data", "x"], "the port is no number"),
        (&[&refused, "--data", "x"], "Connection refused"),
        (&[&missing, "--data", "x"], "404 Not Found: there is nothing at this path"),
        (&[&found, "--data", "x", "--id", "a\nb"], "400 Bad Request: id has a line break at byte 1"),
        (&[&found, "--data", "x", "--type", "sse.end"], "is reserved"),
        (&[&found, "--id", "1"], "--id names one event"),
    ] {
        let outcome = Command::run(&[&["publish"], args].concat());
        outcome.failed_with(expected);
        assert!(outcome.out.is_empty(), "{outcome:?}");
    }
}
