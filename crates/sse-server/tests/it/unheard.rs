//! A log that nobody reads.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Launch, Request, Server};

/// The process may take this much longer than its drain window.
const DRAIN_GRACE: Duration = Duration::from_secs(2);

/// FAILURES L6.
#[test]
fn a_blocked_log_pipe_slows_no_stream_and_no_exit() {
    let window = Duration::from_secs(1);
    let mut server = Launch::new(&["--drain-window", "1s", "--log-level", "debug"]).unheard().start();
    let mut stream = server.subscribe("a").open();
    fill_the_queue(&server);
    for number in 0..20 {
        let published = Instant::now();
        server.publish("a", &number.to_string());
        assert_eq!(stream.next_data(), number.to_string());
        assert!(published.elapsed() < Duration::from_secs(1), "{:?}", published.elapsed());
    }
    let terminated = Instant::now();
    server.signal(Signal::TERM);
    assert_eq!(stream.next_event().event_type, "sse.reconnect");
    stream.expect_end();
    assert!(server.wait_exit().success());
    assert!(terminated.elapsed() < window + DRAIN_GRACE, "{:?}", terminated.elapsed());
}

/// A start that fails has last words, and does not wait for anybody to hear them.
#[test]
fn a_failed_start_ends_although_nobody_hears_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let status = Launch::new(&["--listen", &listen, "--admin-listen", "off"]).unheard().end();
    assert_eq!(status.code(), Some(1));
}

/// Logs until lines are dropped: each stream's two lines name all its topics.
fn fill_the_queue(server: &Server) {
    let topics: Vec<String> = (0..8).map(|n| format!("topic={n}{}", "x".repeat(1000))).collect();
    let target = format!("/events?{}", topics.join("&"));
    let request = Request::new(server.addr(), "GET", target);
    for _ in 0..4 {
        (0..300).for_each(|_| drop(request.clone().open()));
        if server.metric("sse_log_lines_dropped_total") > Some(0.0) {
            return;
        }
    }
    panic!("no line was dropped");
}
