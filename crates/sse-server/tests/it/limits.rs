//! Bounds: every one has an edge, an answer and a metric.

use std::time::Duration;

use crate::harness::{Item, Server, StreamPath, on_all_paths};

on_all_paths![
    a_stream_follows_so_many_topics,
    a_full_server_takes_no_new_topic,
    a_full_server_asks_an_event_source_to_come_back,
    a_full_server_can_say_so_with_a_status,
];

#[test]
fn a_target_has_so_many_bytes() {
    let server = Server::start(&[]);
    let target = |len: usize| format!("/events/a?x={}", "y".repeat(len - "/events/a?x=".len()));
    drop(server.follow(target(12 * 1024)).open());
    for len in [12 * 1024 + 1, 16 * 1024, 60 * 1024] {
        server.follow(target(len)).send().problem(414);
        server.post(&target(len), "x").send().problem(414);
    }
}

#[test]
fn a_head_has_so_many_fields() {
    let server = Server::start(&[]);
    // `Host` and `Accept` are two of them.
    let with =
        |fields: usize| (2..fields).fold(server.subscribe("a"), |request, n| request.field(&format!("X-{n}"), "y"));
    drop(with(100).open());
    for fields in [101, 1000] {
        let mut connection = with(fields).start();
        connection.reply().problem(431);
        connection.expect_closed();
    }
}

#[test]
fn a_head_has_so_many_bytes() {
    let server = Server::start(&[]);
    let with = |len: usize| {
        let request = server.subscribe("a");
        let without = request.clone().field("X", "").bytes().len();
        request.field("X", "y".repeat(len - without))
    };
    for len in [32 * 1024, 64 * 1024] {
        drop(with(len).open());
    }
    for len in [64 * 1024 + 1, 100_000, 1 << 20] {
        let mut connection = server.connect();
        // The server may close before it has taken everything.
        connection.try_send(with(len).bytes());
        connection.reply().problem(431);
        connection.rest();
    }
}

#[test]
fn a_body_has_so_many_bytes() {
    let server = Server::start(&["--event-bytes-max", "4KiB"]);
    let mut stream = server.subscribe("a").open();
    server.publish("a", &"x".repeat(4096));
    assert_eq!(stream.next_data().len(), 4096);
    server.post("/events/a", "x".repeat(4097)).send().problem(413);
    server.post_json(format!(r#"{{"topic":"a","data":"{}"}}"#, "x".repeat(4097))).send().problem(413);
    server.publish("a", "the next");
    assert_eq!(stream.next_data(), "the next");
    assert_eq!(server.metric(r#"sse_publish_rejected_total{reason="too_large"}"#), Some(2.0));
}

/// FAILURES D6: refused before it is there.
#[test]
fn a_body_that_says_it_is_too_large_is_not_read() {
    let server = Server::start(&[]);
    let mut connection = server.connect();
    connection.send(b"POST /events/canary HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1073741824\r\n\r\n");
    connection.reply().problem(413);
    let mut connection = server.connect();
    connection.send(b"POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 18446744073709551615\r\n\r\n");
    let status = connection.reply().status();
    assert!(matches!(status, 400 | 413 | 431), "{status}");
    server.expect_untouched("canary");
}

/// curl asks before it sends more than a mebibyte (RFC 9110, 10.1.1).
#[test]
fn a_publisher_may_ask_before_it_sends() {
    let server = Server::start(&[]);
    let ask = |len: usize| {
        let mut connection = server.connect();
        connection.send(format!(
            "POST /events/a HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {len}\r\n\r\n"
        ));
        connection
    };
    let mut welcome = ask(5);
    assert_eq!(welcome.head().status, 100);
    welcome.send("hello");
    assert_eq!(welcome.reply().status(), 200);
    assert_eq!(server.subscribe("a").last_event_id("earliest").open().next_data(), "hello");
    // Too large is too large before the first byte.
    ask(2 << 20).reply().problem(413);
}

#[test]
fn a_body_in_chunks_is_refused_once_it_is_too_large() {
    let server = Server::start(&[]);
    server.publish("warm", "up");
    let before = server.resident_bytes();
    let mut connection = server.connect();
    connection.send(b"POST /events/canary HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"10000\r\n".to_vec(), vec![b'x'; 0x10000], b"\r\n".to_vec()].concat();
    let sent = (0..16 * 1024).take_while(|_| connection.try_send(&chunk)).count();
    assert!(sent < 512, "the server took {} MiB", sent / 16);
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "refusing took {} MiB", grown >> 20);
    server.expect_untouched("canary");
}

#[test]
fn a_body_longer_than_it_says_is_cut_there() {
    let server = Server::start(&[]);
    let mut stream = server.subscribe("a").open();
    let mut connection = server.connect();
    connection.send(b"POST /events/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\n");
    connection.try_send([b"hello".to_vec(), vec![b'x'; 1 << 20]].concat());
    assert_eq!(connection.head().status, 200);
    // The rest is no request: it is answered as such, and the connection ends.
    connection.rest();
    assert_eq!(stream.next_data(), "hello");
    server.publish("a", "nothing between");
    assert_eq!(stream.next_data(), "nothing between");
}

#[test]
fn a_body_shorter_than_it_says_publishes_nothing() {
    let server = Server::start(&[]);
    for request in [
        "POST /events/canary HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\nhello",
        "POST /events/canary HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "POST /events/canary HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    ] {
        let mut connection = server.connect();
        connection.send(request);
        connection.half_close();
        connection.rest();
    }
    server.expect_untouched("canary");
}

/// FAILURES G9: nothing is unpacked.
#[test]
fn an_encoded_body_is_refused() {
    let server = Server::start(&[]);
    for encoding in ["gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip", "x"] {
        server.post("/events/canary", "x").field("Content-Encoding", encoding).send().problem(415);
        server.post_json(r#"{"topic":"canary"}"#).field("Content-Encoding", encoding).send().problem(415);
    }
    server.expect_untouched("canary");
    assert_eq!(server.post("/events/a", "x").field("Content-Encoding", "identity").send().status(), 200);
}

fn a_stream_follows_so_many_topics(path: StreamPath) {
    let server = path.start(&["--topics-per-subscription-max", "3"]);
    let query = |count: usize| (0..count).map(|n| format!("topic=t{n}&")).collect::<String>();
    drop(server.follow(format!("/events?{}", query(3))).open());
    drop(server.follow(format!("/events?{}match=%7Bx%7D", query(2))).open());
    for target in [format!("/events?{}", query(4)), format!("/events/a?{}match=*", query(2))] {
        let problem = server.follow(target).send().problem(400);
        assert_eq!(problem.field.as_deref(), Some("topic"));
    }
    // By default it is 128.
    let server = path.start(&[]);
    drop(server.follow(format!("/events?{}", query(128))).open());
    server.follow(format!("/events?{}", query(129))).send().problem(400);
}

fn a_full_server_takes_no_new_topic(path: StreamPath) {
    let server = path.start(&["--topics-max", "2"]);
    let mut stream = server.follow("/events/a?topic=b").open();
    server.publish("a", "1");
    for request in [server.post("/events/c", "x"), server.subscribe("c"), server.follow("/events?topic=a&topic=c")] {
        let reply = request.send();
        reply.problem(429);
        let retry_after: u64 = reply.field("retry-after").expect("when to come back").parse().unwrap();
        assert!((1..=60).contains(&retry_after), "{retry_after}");
    }
    server.publish("b", "2");
    assert_eq!([stream.next_data(), stream.next_data()], ["1", "2"]);
    assert_eq!(server.topics(), 2);
}

/// A native `EventSource` gives up for good on any status but 200.
fn a_full_server_asks_an_event_source_to_come_back(path: StreamPath) {
    let server = path.start(&["--connections-max", "2"]);
    let mut first = server.subscribe("a").open();
    let second = server.subscribe("a").open();
    for _ in 0..3 {
        let mut turned_away = server.subscribe("a").open();
        for name in ["content-type", "cache-control", "x-accel-buffering"] {
            assert_eq!(turned_away.head.field(name), first.head.field(name));
        }
        let Item::Retry(retry) = turned_away.next_item() else { panic!("no retry: line") };
        assert!((Duration::from_secs(5)..=Duration::from_secs(15)).contains(&retry), "{retry:?}");
        let event = turned_away.next_event();
        assert_eq!((event.event_type.as_str(), event.data.as_str()), ("sse.reconnect", r#"{"reason":"busy"}"#));
        assert_eq!(event.id, "", "it must not lose its place");
    }
    // Who does not ask for an event stream is told in HTTP.
    let reply = server.request("GET", "/events/a").send();
    reply.problem(503);
    assert!(reply.field("retry-after").is_some());

    // Those who are there notice nothing, and publishing goes on.
    server.publish("a", "still here");
    assert_eq!(first.next_data(), "still here");
    assert_eq!(server.metric(r#"sse_connections_rejected_total{reason="full"}"#), Some(4.0));

    // A place that becomes free is given away.
    drop(second);
    server.wait_for_metric("sse_connections_active", 1.0);
    let mut third = server.subscribe("a").open();
    server.publish("a", "welcome");
    assert_eq!(third.next_data(), "welcome");
}

/// Even to be told so, there is only so much room.
#[test]
fn a_crowd_before_a_full_server_is_closed_on() {
    let server = Server::start(&["--connections-max", "1"]);
    let mut stream = server.subscribe("a").open();
    let crowd: Vec<_> = (0..400).map(|_| server.connect()).collect();
    let closed = crowd
        .into_iter()
        .filter_map(|mut connection| (!connection.is_quiet_for(Duration::from_millis(1))).then_some(()));
    assert!(closed.count() >= 200, "nearly all of them are kept");
    server.publish("a", "still here");
    assert_eq!(stream.next_data(), "still here");
}

fn a_full_server_can_say_so_with_a_status(path: StreamPath) {
    let server = path.start(&["--connections-max", "1", "--busy-reply", "503"]);
    let _stream = server.subscribe("a").open();
    let reply = server.subscribe("a").send();
    reply.problem(503);
    let retry_after: u64 = reply.field("retry-after").expect("when to come back").parse().unwrap();
    assert!((5..=15).contains(&retry_after), "{retry_after}");
}
