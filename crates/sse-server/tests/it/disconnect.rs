//! Followers that leave: noticed at once, counted and logged.

use std::time::{Duration, Instant};

use crate::harness::{Request, Stream, StreamPath, also_on_http2, on_both_paths};

on_both_paths![
    a_client_that_closes_is_gone_at_once,
    a_client_that_closes_its_side_is_gone_at_once,
    a_client_that_resets_is_gone_at_once,
    a_client_that_sent_more_is_gone_at_once,
    a_crowd_that_leaves_is_gone_at_once,
    who_came_and_left_is_logged,
];

also_on_http2![
    a_client_that_closes_is_gone_at_once,
    a_client_that_closes_its_side_is_gone_at_once,
    a_client_that_resets_is_gone_at_once,
    a_crowd_that_leaves_is_gone_at_once,
    who_came_and_left_is_logged
];

/// "At once", on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(2);

fn requests(server: &crate::harness::Server) -> [Request; 3] {
    [server.subscribe("a"), server.follow("/events?topic=a&topic=b"), server.subscribe("a").version("HTTP/1.0")]
}

/// Opens streams of every kind, one after the other, has each leave, and waits for the gauge.
fn expect_gone_at_once(path: StreamPath, leave: impl Fn(Stream)) {
    let server = path.start(&[]);
    for request in requests(&server) {
        let stream = request.open();
        server.wait_for_metric("sse_connections_active", 1.0);
        let left = Instant::now();
        leave(stream);
        server.wait_for_metric("sse_connections_active", 0.0);
        assert!(left.elapsed() < AT_ONCE, "{request:?}: {:?}", left.elapsed());
    }
    // Whoever comes next is served.
    let mut stream = server.subscribe("a").open();
    server.publish("a", "next");
    assert_eq!(stream.next_data(), "next");
}

fn a_client_that_closes_is_gone_at_once(path: StreamPath) {
    expect_gone_at_once(path, drop);
}

fn a_client_that_closes_its_side_is_gone_at_once(path: StreamPath) {
    expect_gone_at_once(path, |stream| {
        let mut connection = stream.into_connection();
        connection.half_close();
        connection.rest();
    });
}

fn a_client_that_resets_is_gone_at_once(path: StreamPath) {
    expect_gone_at_once(path, |stream| stream.into_connection().reset());
}

/// What came behind its request must not hide that it closes.
fn a_client_that_sent_more_is_gone_at_once(path: StreamPath) {
    expect_gone_at_once(path, |mut stream| assert!(stream.try_send(b"GET / HTTP/1.1\r\n")));
    let server = path.start(&[]);
    let mut connection = server.connect();
    connection.send([server.subscribe("a").bytes(), server.subscribe("b").bytes()].concat());
    connection.head();
    server.wait_for_metric("sse_connections_active", 1.0);
    let left = Instant::now();
    drop(connection);
    server.wait_for_metric("sse_connections_active", 0.0);
    assert!(left.elapsed() < AT_ONCE, "{:?}", left.elapsed());
}

fn a_crowd_that_leaves_is_gone_at_once(path: StreamPath) {
    let server = path.start(&[]);
    let mut stays = server.subscribe("a").open();
    let crowd: Vec<Stream> = (0..100).flat_map(|_| requests(&server)).map(|request| request.open()).collect();
    server.wait_for_metric("sse_connections_active", 301.0);
    let left = Instant::now();
    for (n, stream) in crowd.into_iter().enumerate() {
        match n % 2 {
            0 => drop(stream),
            _ => stream.into_connection().reset(),
        }
    }
    server.wait_for_metric("sse_connections_active", 1.0);
    assert!(left.elapsed() < AT_ONCE, "{:?}", left.elapsed());
    server.publish("a", "still here");
    assert_eq!(stays.next_data(), "still here");
    assert_eq!(server.metric("sse_connections_total"), Some(301.0));
}

fn who_came_and_left_is_logged(path: StreamPath) {
    let server = path.start(&[]);
    let started = Instant::now();
    let stream = server.follow("/events?topic=a&match=/b/%7Bid%7D").field("User-Agent", "Browser/1.0 \"x\"\\").open();
    let remote_addr = stream.local_addr();
    let connected = server.log.wait_for("connected", |line| line["remote_addr"] == remote_addr.as_str());
    assert_eq!(connected["user_agent"], "Browser/1.0 \"x\"\\");
    assert_eq!(connected["topics"], "a /b/{id}");
    assert_eq!(connected["level"], "INFO");

    stream.stay_for(Duration::from_millis(200));
    let disconnected = server.log.wait_for("disconnected", |line| line["remote_addr"] == remote_addr.as_str());
    assert_eq!(disconnected["user_agent"], connected["user_agent"]);
    assert_eq!(disconnected["topics"], connected["topics"]);
    assert_eq!(disconnected["reason"], "disconnected");
    let duration = disconnected["duration_ms"].as_u64().unwrap();
    assert!((200..=started.elapsed().as_millis() as u64).contains(&duration), "{duration} ms");
}
