//! Waits: whoever keeps the server waiting is let go of in time, and nobody else notices.

use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{Connection, Server};

/// A little more than the deadlines, for a busy machine.
const SLACK: Duration = Duration::from_millis(700);

/// FAILURES D1, D2 and D4, side by side: together they take as long as the longest.
#[test]
fn nobody_keeps_the_server_waiting() {
    let server = Server::start(&[]);
    let mut bystander = server.subscribe("a").open();
    thread::scope(|scope| {
        scope.spawn(|| expect_let_go(Kind::silent(&server), 3..5));
        scope.spawn(|| expect_let_go(Kind::head_stops(&server), 6..10));
        scope.spawn(|| expect_let_go(Kind::head_trickles(&server), 6..10));
        scope.spawn(|| expect_let_go(Kind::second_head_trickles(&server), 6..10));
        scope.spawn(|| expect_408(Kind::body_stops(&server)));
        scope.spawn(|| expect_408(Kind::body_trickles(&server)));
        scope.spawn(|| expect_408(Kind::chunks_trickle(&server)));
        scope.spawn(|| expect_408(Kind::batch_trickles(&server)));
    });
    server.publish("a", "untouched");
    assert_eq!(bystander.next_data(), "untouched");
    server.expect_untouched("canary");
    for (reason, count) in [("silent", 1.0), ("slow_head", 3.0)] {
        assert_eq!(server.metric(&format!("sse_connections_rejected_total{{reason=\"{reason}\"}}")), Some(count));
    }
    assert_eq!(server.metric(r#"sse_publish_rejected_total{reason="body_timeout"}"#), Some(4.0));
}

/// A client that keeps the server waiting: a connection, and what it sends every third of a second.
struct Kind {
    name: &'static str,
    connection: Connection,
    trickle: &'static str,
}

impl Kind {
    fn new(server: &Server, name: &'static str, first: &str, trickle: &'static str) -> Self {
        let mut connection = server.connect();
        connection.send(first);
        Self { name, connection, trickle }
    }

    fn silent(server: &Server) -> Self {
        Self::new(server, "silent", "", "")
    }

    fn head_stops(server: &Server) -> Self {
        Self::new(server, "head stops", "GET /events/a HTTP/1.1\r\nHost: loc", "")
    }

    fn head_trickles(server: &Server) -> Self {
        Self::new(server, "head trickles", "GET /events/a HTTP/1.1\r\nHost: localhost\r\nX: ", "y")
    }

    fn second_head_trickles(server: &Server) -> Self {
        let first = "POST /events/b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
        let mut kind = Self::new(server, "second head trickles", first, "y");
        assert_eq!(kind.connection.reply().status(), 200);
        kind.connection.send("GET /events/a HTTP/1.1\r\nX: ");
        kind
    }

    fn body_stops(server: &Server) -> Self {
        let first = "POST /events/canary HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx";
        Self::new(server, "body stops", first, "")
    }

    fn body_trickles(server: &Server) -> Self {
        let first = "POST /events/canary HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n";
        Self::new(server, "body trickles", first, "x")
    }

    fn chunks_trickle(server: &Server) -> Self {
        let first = "POST /events/canary HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
        Self::new(server, "chunks trickle", first, "1\r\nx\r\n")
    }

    fn batch_trickles(server: &Server) -> Self {
        let first = "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{\"topic\":\"canary\"}";
        Self::new(server, "batch trickles", first, " ")
    }

    /// Trickles on until the server answers or closes; how long that took.
    #[track_caller]
    fn wait(&mut self) -> Duration {
        let started = Instant::now();
        while self.connection.is_quiet_for(Duration::from_millis(300)) {
            assert!(started.elapsed() < Duration::from_secs(20), "{} is let be", self.name);
            self.connection.try_send(self.trickle);
        }
        started.elapsed()
    }
}

#[track_caller]
fn expect_let_go(mut kind: Kind, seconds: std::ops::Range<u64>) {
    let took = kind.wait();
    kind.connection.rest();
    let allowed = Duration::from_secs(seconds.start)..=Duration::from_secs(seconds.end) + SLACK;
    assert!(allowed.contains(&took), "{} was let go of after {took:?}", kind.name);
}

#[track_caller]
fn expect_408(mut kind: Kind) {
    let took = kind.wait();
    kind.connection.reply().problem(408);
    let allowed = Duration::from_secs(10)..=Duration::from_secs(15) + SLACK;
    assert!(allowed.contains(&took), "{} was answered after {took:?}", kind.name);
    // What comes of the body later must not be taken for a request.
    kind.connection.rest();
}
