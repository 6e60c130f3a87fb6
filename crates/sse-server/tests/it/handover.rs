//! A connection that becomes a stream: whatever came before and comes behind the request.

use crate::harness::{Connection, End, Server, Stream, StreamPath, also_on_tls, ids, on_both_paths};

on_both_paths![
    a_follower_that_does_not_stop_talking_is_cut,
    a_post_and_a_get_in_one_segment,
    a_stream_after_several_posts_on_one_connection,
    an_answer_that_fills_the_socket_comes_before_the_stream,
    a_get_in_pieces,
    a_second_get_behind_the_first_is_ignored,
    bytes_behind_the_get_are_ignored,
    a_get_with_a_body,
    an_old_client_gets_no_chunks,
    a_client_that_asks_to_close_gets_its_stream,
];

also_on_tls![
    a_follower_that_does_not_stop_talking_is_cut,
    a_post_and_a_get_in_one_segment,
    a_stream_after_several_posts_on_one_connection,
    an_answer_that_fills_the_socket_comes_before_the_stream,
    a_get_in_pieces,
    a_second_get_behind_the_first_is_ignored,
    bytes_behind_the_get_are_ignored,
    a_get_with_a_body,
    an_old_client_gets_no_chunks,
    a_client_that_asks_to_close_gets_its_stream,
];

fn a_post_and_a_get_in_one_segment(path: StreamPath) {
    let server = path.start(&[]);
    // More than once: the two race for the socket.
    for n in 0..20 {
        let topic = format!("t{n}");
        let post = server.post(&format!("/events/{topic}"), "before").bytes();
        let get = server.subscribe(&topic).last_event_id("earliest").bytes();
        let mut connection = server.connect();
        connection.send([post, get].concat());
        // The answer comes whole, and then the stream's head.
        let reply = connection.reply();
        assert_eq!(reply.status(), 200);
        let mut stream = Stream::begin(connection);
        let event = stream.next_event();
        assert_eq!((event.data.as_str(), &event.id), ("before", &reply.json()["id"].as_str().unwrap().to_owned()));
        server.publish(&topic, "after");
        assert_eq!(stream.next_data(), "after");
    }
}

fn a_stream_after_several_posts_on_one_connection(path: StreamPath) {
    let server = path.start(&[]);
    let mut connection = server.connect();
    for n in 0..5 {
        connection.send(server.post("/events/a", n.to_string()).bytes());
        assert_eq!(connection.reply().status(), 200);
    }
    connection.send(server.follow("/events/a?last_event_id=earliest").bytes());
    let mut stream = Stream::begin(connection);
    for n in 0..5 {
        assert_eq!(stream.next_data(), n.to_string());
    }
}

fn an_answer_that_fills_the_socket_comes_before_the_stream(path: StreamPath) {
    let server = path.start(&[]);
    let lines = "{\"topic\":\"a\",\"data\":\"x\"}\n".repeat(10_000);
    let mut connection = Connection::open_with_tiny_buffer(server.addr());
    connection.send([server.post_ndjson(lines).bytes(), server.subscribe("b").bytes()].concat());
    // The server has answered, as far as the socket takes it, and has the next request.
    server.wait_for_metric("sse_events_published_total", 10_000.0);
    server.publish("b", "too early for the stream, or not");
    let reply = connection.reply();
    assert_eq!(ids(&reply).len(), 10_000);
    let mut stream = Stream::begin(connection);
    server.publish("b", "in the stream");
    while stream.next_data() != "in the stream" {}
}

fn a_get_in_pieces(path: StreamPath) {
    let server = path.start(&[]);
    let mut connection = server.connect();
    for byte in server.subscribe("a").bytes() {
        connection.send([byte]);
    }
    let mut stream = Stream::begin(connection);
    server.publish("a", "whole");
    assert_eq!(stream.next_data(), "whole");
}

fn a_second_get_behind_the_first_is_ignored(path: StreamPath) {
    let server = path.start(&[]);
    let mut connection = server.connect();
    connection.send([server.subscribe("a").bytes(), server.subscribe("b").bytes()].concat());
    let mut stream = Stream::begin(connection);
    server.publish("b", "of the second");
    server.publish("a", "of the first");
    assert_eq!(stream.next_data(), "of the first");
    assert_eq!(server.metric("sse_connections_active"), Some(1.0));
}

fn bytes_behind_the_get_are_ignored(path: StreamPath) {
    let server = path.start(&[]);
    let mut connection = server.connect();
    let hidden = server.post("/events/canary", "hidden").bytes();
    connection.send([server.subscribe("a").bytes(), hidden.clone()].concat());
    let mut stream = Stream::begin(connection);
    assert!(stream.try_send(&hidden));
    assert!(stream.try_send(b"\0\xff nothing that makes sense \r\n\r\n"));
    server.publish("a", "all the same");
    assert_eq!(stream.next_data(), "all the same");
    server.expect_untouched("canary");
}

fn a_get_with_a_body(path: StreamPath) {
    let server = path.start(&[]);
    for body in ["", "hello"] {
        let mut stream = server.subscribe("a").body(body).open();
        server.publish("a", "x");
        assert_eq!(stream.next_data(), "x");
    }
    let mut connection = server.connect();
    connection
        .send("GET /events/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let mut stream = Stream::begin(connection);
    server.publish("a", "x");
    assert_eq!(stream.next_data(), "x");
}

/// What a follower sends is read and dropped, up to a bound.
fn a_follower_that_does_not_stop_talking_is_cut(path: StreamPath) {
    let server = path.start(&[]);
    let mut stream = server.subscribe("a").open();
    let mut sent = 0;
    while stream.try_send(&[b'x'; 4096]) {
        sent += 4096;
        assert!(sent < 64 << 20, "it listens to everything");
    }
    server.log.wait_for("disconnected", |line| line["reason"] == "flooded");
    server.wait_for_metric(r#"sse_evictions_total{reason="flooded"}"#, 1.0);
}

/// Its body ends with the connection (RFC 9112, 6.3).
fn an_old_client_gets_no_chunks(path: StreamPath) {
    let server = path.start(&["--retry-jitter", "0"]);
    for request in ["GET /events/a HTTP/1.0\r\n\r\n", "GET /events/a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"] {
        let mut stream = begin(&server, request);
        assert_eq!(stream.head.field("transfer-encoding"), None);
        assert_eq!(stream.head.field("content-length"), None);
        stream.expect_opening(3000);
        let id = server.publish("a", "x");
        stream.expect_text(&format!("id: {id}\ndata: x\n\n"));
    }
    let mut old = begin(&server, "GET /events/run HTTP/1.0\r\n\r\n");
    server.close("run");
    assert_eq!(old.next_event().event_type, "sse.end");
    assert_eq!(old.expect_end().expect_closed(), End::Fin);
}

fn a_client_that_asks_to_close_gets_its_stream(path: StreamPath) {
    let server = path.start(&["--retry-jitter", "0"]);
    let mut stream = server.subscribe("run").field("Connection", "close").open();
    assert_eq!(stream.head.field("connection"), Some("close"));
    assert_eq!(stream.head.field("transfer-encoding"), None);
    stream.expect_opening(3000);
    let id = server.publish("run", "x");
    stream.expect_text(&format!("id: {id}\ndata: x\n\n"));
    server.close("run");
    assert_eq!(stream.next_event().event_type, "sse.end");
    assert_eq!(stream.expect_end().expect_closed(), End::Fin);
}

/// Every byte, however the stream gets to its socket.
#[test]
fn both_paths_say_the_same() {
    let request_of =
        |fields: &str, version: &str| format!("GET /events/run {version}\r\nHost: localhost\r\n{fields}\r\n");
    for request in [
        request_of("", "HTTP/1.1"),
        request_of("Connection: close\r\n", "HTTP/1.1"),
        request_of("", "HTTP/1.0"),
        request_of("Connection: keep-alive\r\n", "HTTP/1.0"),
        request_of("Origin: https://a.example\r\n", "HTTP/1.1"),
    ] {
        let said = [StreamPath::Writers, StreamPath::Hyper].map(|path| everything_said(path, &request));
        // The digits of a chunk's size may be of either case.
        assert!(said[0].eq_ignore_ascii_case(&said[1]), "{said:#?}");
    }
}

/// What comes on a connection of one stream, but for what no two servers say alike.
fn everything_said(path: StreamPath, request: &str) -> String {
    let server = path.start(&["--retry-jitter", "0", "--cors-origin", "https://a.example"]);
    let mut connection = Connection::open(server.addr());
    connection.send(request);
    let head = connection.head();
    let first = server.publish("run", "x");
    // hyper's path puts what comes together into one chunk.
    let mut body = Vec::new();
    while !body.ends_with(b"data: x\n\n") {
        body.extend(connection.take(1));
    }
    server.close("run");
    let (rest, end) = connection.rest();
    body.extend(rest);
    assert_eq!(end, End::Fin);
    let head = head.text.replace(head.field("date").unwrap(), "DATE");
    let epoch = first.rsplit_once('-').unwrap().0;
    format!("{head}{}", String::from_utf8(body).unwrap().replace(epoch, "EPOCH"))
}

fn begin(server: &Server, request: &str) -> Stream {
    let mut connection = Connection::open(server.addr());
    connection.send(request);
    Stream::begin(connection)
}
