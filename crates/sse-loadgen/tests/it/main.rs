//! Whole runs against a tiny server, which is sound or goes wrong in one known place.

#![expect(clippy::unwrap_used, reason = "a test's own helpers fail the test")]

mod faults;
mod gateway;
mod latency;
mod protocols;
mod refusals;
mod resuming;
mod server;
mod streams;

use std::time::Duration;

use sse_loadgen::{Report, Scenario};

use crate::server::{Fault, Framing, Server};

/// 8 subscribers, two for each of four topics, and 100 events in half a second.
fn scenario(server: &Server) -> Scenario {
    let url = server.url("/events/{topic}");
    Scenario {
        subscribers: 8,
        topics: 4,
        rate: 200.0,
        duration: Duration::from_millis(500),
        // One after the other, so that the server's count of publishes is the schedule's.
        publishers: 1,
        settle: Duration::ZERO,
        drain_timeout: Duration::from_millis(500),
        ..Scenario::new(&url, &url)
    }
}

/// Runs that scenario against a server with `fault`.
fn run(fault: Fault) -> Report {
    sse_loadgen::run(&scenario(&Server::start(fault, Framing::Chunked))).unwrap()
}
