//! A full descriptor table: those who are there are served, and the server neither spins nor stays deaf (FAILURES G1).

use std::time::{Duration, Instant};

use crate::harness::{Connection, Launch, StreamPath, on_both_paths};

on_both_paths![streams_flow_while_no_descriptor_is_left];

fn streams_flow_while_no_descriptor_is_left(path: StreamPath) {
    // The server believes in more connections than the limit lets it have.
    let flags: &[&str] = match path {
        StreamPath::Writers => &["--connections-max", "1000"],
        StreamPath::Hyper => &["--connections-max", "1000", "--writers", "off"],
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
    let freed = Instant::now();
    drop(crowd);
    let mut newcomer = server.subscribe("a").open();
    assert!(freed.elapsed() < Duration::from_millis(1500), "{:?}", freed.elapsed());
    publish("welcome");
    assert_eq!(newcomer.next_data(), "welcome");
    assert_eq!(stream.next_data(), "welcome");
    assert!(server.metric(r#"sse_connections_rejected_total{reason="descriptors"}"#) >= Some(1.0));
}
