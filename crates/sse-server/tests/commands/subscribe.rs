//! `sse-server subscribe`.

use std::net::TcpListener;

use crate::command::{Command, Event};
use crate::fake::Fake;
use crate::server::Server;

/// Few milliseconds between a cut and the next attempt, so that tests are short.
const SOON: [&str; 4] = ["--retry", "50ms", "--retry-jitter", "0"];

#[test]
fn prints_what_is_kept_and_what_comes() {
    let server = Server::start(&[]);
    let ids = ["a", "b", "c"].map(|data| server.publish("/events/a", data));
    let from_first = server.subscribe("/events/a", &["--last-event-id", &ids[0]]);
    let from_now = server.subscribe("/events/a", &[]);
    for (id, data) in ids[1..].iter().zip(["b", "c"]) {
        let event = Event { event_type: "message".into(), id: id.clone(), data: data.into() };
        assert_eq!(from_first.event(), event);
    }
    server.publish("/events/a", "d");
    assert_eq!(from_first.event().data, "d");
    assert_eq!(from_now.event().data, "d");
}

#[test]
fn nothing_is_lost_or_repeated_across_cuts() {
    let server = Server::start(&[&SOON[..], &["--connection-age-max", "200ms"]].concat());
    // From a position: cut before its first event, a live follower would have no id to resume after.
    let follower = server.subscribe("/events/a", &["--last-event-id", "earliest"]);
    let mut publisher = Command::start(&["publish", &server.url("/events/a")]);
    let (mut published, mut resumed) = (0_u32, 0);
    while resumed < 3 {
        publisher.say(&format!("{published}\n"));
        publisher.line();
        published += 1;
        resumed += follower.notices_so_far().iter().filter(|notice| notice.contains("resumed after ")).count();
    }
    let events = std::iter::repeat_with(|| follower.event()).filter(|event| event.event_type != "sse.reconnect");
    for (number, event) in (0..published).zip(events) {
        assert_eq!(event.data, number.to_string(), "{event:?}");
    }
}

#[test]
fn a_cut_is_told_and_so_is_what_it_cost() {
    let server = Server::start(&SOON);
    let address = server.address().to_owned();
    let follower = server.subscribe("/events/a", &[]);
    let id = server.publish("/events/a", "before");
    assert_eq!(follower.event().data, "before");
    drop(server);
    follower.notice("cut: ");
    follower.notice("Connection refused (os error 111); trying again in 0.");
    let server = Server::start_at(&address, &SOON);
    assert!(follower.notice("resumed").ends_with(&format!("resumed after {id}")));
    let gap = follower.notice("gap: ");
    assert!(gap.contains(&format!("events after {id} are missing (epoch); going on after ")), "{gap}");
    assert_eq!(follower.event().event_type, "sse.gap");
    server.publish("/events/a", "after");
    assert_eq!(follower.event().data, "after");
}

#[test]
fn a_trimmed_history_is_a_gap() {
    let server = Server::start(&["--ring-frames-max", "2"]);
    let ids = ["a", "b", "c", "d"].map(|data| server.publish("/events/a", data));
    let follower = server.subscribe("/events/a", &["--last-event-id", &ids[0]]);
    let gap = format!("gap: events after {} are missing (trimmed); going on after {}", ids[0], ids[1]);
    follower.notice(&gap);
    let event = follower.event();
    assert_eq!((&*event.event_type, &*event.id), ("sse.gap", &*ids[1]));
    assert_eq!([follower.event().data, follower.event().data], ["c", "d"]);
}

#[test]
fn it_waits_as_told_and_resumes_after_what_was_whole() {
    let fake = Fake::start(|door| {
        let mut peer = door.accept();
        let head = peer.open_stream();
        assert!(head.contains("accept: text/event-stream\r\n") && !head.contains("last-event-id"), "{head}");
        peer.chunk("retry: 70\n\nid: 1\ndata: whole\n\n: ping\n\nid: 2\ndata: half\n");
        drop(peer);
        let mut peer = door.accept();
        assert!(peer.request().0.contains("\r\nlast-event-id: 1\r\n"));
        peer.send("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n");
        let mut peer = door.accept();
        assert!(peer.open_stream().contains("\r\nlast-event-id: 1\r\n"));
        // An id that no header can carry.
        peer.chunk("id:  2\ndata: whole now\n\n");
        peer.end_stream();
        let mut peer = door.accept();
        assert!(peer.request().0.starts_with("get /events/a?last_event_id=%202 "));
        peer.send("HTTP/1.1 204 No Content\r\n\r\n");
    });
    let follower = Command::start(&["subscribe", &fake.url()]);
    assert_eq!(follower.event().data, "whole");
    assert!(follower.notice("cut: ").ends_with("; reconnecting in 0.1 s"));
    assert!(follower.notice("503 Service Unavailable").ends_with("; trying again in 1.0 s"));
    follower.notice("resumed after 1");
    assert_eq!(follower.event(), Event { event_type: "message".into(), id: " 2".into(), data: "whole now".into() });
    follower.notice("cut: the server ended the stream");
    let outcome = follower.finish();
    outcome.succeeded();
    assert_eq!(outcome.err, ["sse-server: the stream is over: the server has nothing more for it"]);
    fake.finish();
}

#[test]
fn an_ended_topic_is_not_followed_on() {
    let fake = Fake::start(|door| {
        let mut peer = door.accept();
        peer.open_stream();
        peer.chunk("retry: 50\n\nevent: sse.end\nid: 1\ndata: {\"topic\":\"a\"}\n\n");
        // The end of one topic of several: the stream goes on, and is cut.
        peer.chunk("id: 2\ndata: of another\n\n");
        peer.end_stream();
        let mut peer = door.accept();
        peer.open_stream();
        peer.chunk("event: sse.end\nid: 3\ndata: {\"topic\":\"b\"}\n\n");
        drop(peer);
        // Cut in the middle, so that is asked once more.
        let mut peer = door.accept();
        assert!(peer.open_stream().contains("last-event-id: 3\r\n"));
        peer.chunk("event: sse.end\nid: 4\ndata: {\"topic\":\"c\"}\n\n");
        peer.end_stream();
    });
    let follower = Command::start(&["subscribe", &fake.url()]);
    let types = [(); 4].map(|()| follower.event().event_type);
    assert_eq!(types, ["sse.end", "message", "sse.end", "sse.end"]);
    let outcome = follower.finish();
    outcome.succeeded();
    assert_eq!(outcome.err.last().map(String::as_str), Some("sse-server: the stream is over"));
    fake.finish();
}

#[test]
fn a_closed_topic_ends_its_followers() {
    let server = Server::start(&[]);
    let follower = server.subscribe("/events/a", &[]);
    server.publish("/events/a", "last");
    close(&server, "/events/a");
    assert_eq!(follower.event().data, "last");
    assert_eq!(follower.event().event_type, "sse.end");
    follower.finish().succeeded();
    let late = Command::run(&["subscribe", &server.url("/events/a")]);
    late.succeeded();
    assert!(late.out.is_empty(), "{late:?}");
}

/// `DELETE`, for which there is no command.
fn close(server: &Server, path: &str) {
    use std::io::{Read, Write};
    let mut socket = std::net::TcpStream::connect(server.address()).expect("the server listens");
    let request = format!("DELETE {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[test]
fn it_ends_with_its_reader() {
    let server = Server::start(&[]);
    let follower = Command::start_unread(&["subscribe", &server.url("/events/a")]);
    follower.notice("following");
    server.publish("/events/a", "met by a closed pipe");
    let outcome = follower.finish();
    outcome.succeeded();
    assert!(outcome.err.is_empty(), "{outcome:?}");
}

#[test]
fn an_endless_event_is_refused() {
    for endless in ["data: ", ": "] {
        let fake = Fake::start(move |door| {
            let mut peer = door.accept();
            peer.open_stream();
            peer.chunk(endless);
            let filler = "x".repeat(1 << 16);
            peer.send_until_closed(&format!("{:x}\r\n{filler}\r\n", filler.len()), 100);
        });
        let outcome = Command::run(&["subscribe", &fake.url()]);
        outcome.failed_with("the stream cannot be read on: one event has more than 4194304 bytes");
        assert!(outcome.out.is_empty());
        fake.finish();
    }
}

#[test]
fn what_cannot_be_followed_says_why() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("it is bound");
    let refused = format!("http://{nobody}/events/a");
    let server = Server::start(&[]);
    let (missing, long) = (server.url("/nothing"), "x".repeat(2000));
    let page = Fake::start(|door| {
        let mut peer = door.accept();
        peer.request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nhi");
    });
    for (args, expected) in [
        (&["https://localhost/events/a"][..], "https is not there yet, only http is"),
        (&["ftp://localhost/a"], "the scheme is ftp"),
        (&[&refused], "Connection refused"),
        (&[&missing], "404 Not Found: there is nothing at this path"),
        (&[&server.url("/events/a"), "--last-event-id", &long], "400 Bad Request: 2000 bytes are more"),
        (&[&page.url()], r#"the answer is no event stream but "text/html""#),
    ] {
        Command::run(&[&["subscribe"], args].concat()).failed_with(expected);
    }
    page.finish();
}
