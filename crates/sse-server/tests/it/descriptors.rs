//! Crowds of connections: a full descriptor table, where those who are there are served and the server neither spins nor
//! stays deaf (FAILURES G1), and many who come at once (G12).

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Connection, Launch, Server, Stream, StreamPath, on_both_paths, within};

/// Whoever comes while the server is busy waits in the kernel's queue, which is long.
#[test]
fn a_burst_of_connections_waits_to_be_accepted() {
    let server = Server::start(&[]);
    server.signal(Signal::STOP);
    let get = server.subscribe("a").bytes();
    let waiting: Vec<Connection> = (0..1000)
        .map(|_| {
            // It would time out if the queue were full: a dropped SYN is sent again after a second.
            let connected = Instant::now();
            let mut connection = server.connect();
            assert!(connected.elapsed() < Duration::from_millis(900), "the queue is full");
            connection.send(&get);
            connection
        })
        .collect();
    server.signal(Signal::CONT);
    for connection in waiting {
        Stream::begin(connection);
    }
}

on_both_paths![streams_flow_while_no_descriptor_is_left, a_full_server_shows_its_metrics];

/// FAILURES G1, as it stands there: the bound on connections is below that on descriptors, and the rest is for the operator.
fn a_full_server_shows_its_metrics(path: StreamPath) {
    let flags: &[&str] = if path == StreamPath::Writers { &[] } else { &["--writers", "off"] };
    let server = Launch::new(flags).descriptors_max(256).start();
    let get = server.subscribe("a").bytes();
    let mut crowd: Vec<Connection> = (0..400)
        .map(|_| {
            let mut connection = server.connect();
            // Whoever is turned away may be closed on before it has asked.
            connection.try_send(&get);
            connection
        })
        .collect();
    server.wait_for_metric("sse_connections_active", 216.0);
    for _ in 0..20 {
        assert_eq!(server.metric("sse_connections_active"), Some(216.0));
    }
    assert_eq!(server.admin("/readyz").send().status(), 200);
    assert_eq!(
        server.metric("sse_connections_rejected_total{reason=\"descriptors\"}"),
        Some(0.0),
        "it ran out of them"
    );

    crowd.truncate(100);
    within(Duration::from_secs(2), "a newcomer is served", || {
        let mut connection = server.subscribe("a").start();
        let head = connection.is_answered().then(|| connection.head());
        // A server that is full answers an EventSource with a body that has a length.
        head.filter(|head| head.status == 200 && head.field("content-length").is_none())
    });
}

fn streams_flow_while_no_descriptor_is_left(path: StreamPath) {
    // The server believes in more connections than the limit lets it have.
    let flags: &[&str] = match path {
        StreamPath::Writers => &["--connections-max", "1000"],
        _ => &["--connections-max", "1000", "--writers", "off"],
    };
    let server = Launch::new(flags).descriptors_max(128).start();
    let mut stream = server.subscribe("a").open();
    let mut publisher = server.connect();
    let mut publish = |data: &str| {
        publisher.send(server.post("/events/a", data).bytes());
        assert_eq!(publisher.reply().status(), 200);
    };
    publish("before");
    assert_eq!(stream.next_data(), "before");

    let get = server.subscribe("b").bytes();
    let mut crowd: Vec<Connection> = (0..200)
        .map(|_| {
            let mut connection = server.connect();
            connection.try_send(&get);
            connection
        })
        .collect();
    server.log.wait_for("cannot accept connections", |_| true);
    let (cpu_before, started) = (server.cpu_time(), Instant::now());
    for n in 0..20 {
        publish(&n.to_string());
        assert_eq!(stream.next_data(), n.to_string());
        stream.expect_quiet(Duration::from_millis(50));
    }
    let share = (server.cpu_time() - cpu_before).as_secs_f64() / started.elapsed().as_secs_f64();
    assert!(share < 0.25, "{:.0}% of a core while nothing can be accepted", share * 100.0);

    // Room again: whoever comes is served within a second.
    crowd.truncate(50);
    drop(crowd);
    let mut newcomer = within(Duration::from_secs(2), "a newcomer is served", || {
        // One of those who wait may be turned away before there is room for all of them.
        let mut connection = server.subscribe("a").start();
        connection.is_answered().then(|| Stream::begin(connection))
    });
    publish("welcome");
    assert_eq!(newcomer.next_data(), "welcome");
    assert_eq!(stream.next_data(), "welcome");
    assert!(server.metric(r#"sse_connections_rejected_total{reason="descriptors"}"#) >= Some(1.0));
}
