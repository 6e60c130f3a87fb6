//! G5 and G8: very many topics, and very large events.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::asking::Asking;
use super::bench::{Bench, seconds_or_over, wait_for};
use super::finding::Findings;
use super::server::Server;

const MIB: f64 = 1_048_576.0;
/// Events in one request.
const BATCH: usize = 1_000;

/// Topics that are published to once and never again: they and their memory go.
pub fn come_and_go(bench: &Bench) -> Result<Findings> {
    const GONE_WITHIN: Duration = Duration::from_secs(60);
    const MORE_MIB_MAX: f64 = 16.0;
    let count = bench.pick(100_000, 1_000_000);
    let server = Server::start(bench, &["--ring-age-max=1s"])?;
    let mut asking = Asking::connect(server.address())?;
    // What a server needs once it has served.
    publish_to(&mut asking, 0..BATCH)?;
    let before = server.usage()?.rss_mib();
    for first in (BATCH..count).step_by(BATCH) {
        publish_to(&mut asking, first..first + BATCH)?;
    }
    let (topics, full) = (server.metrics()?.sum("sse_topics"), server.usage()?.rss_mib());
    let gone = wait_for(GONE_WITHIN, || {
        Ok(server.metrics()?.sum("sse_topics") < 1.0 && server.usage()?.rss_mib() <= before + MORE_MIB_MAX)
    })?;
    let mut findings = Findings::default();
    findings.at_most("topics and memory gone after", seconds_or_over(gone, GONE_WITHIN), 60.0, "s");
    findings.at_most("memory more than before", server.usage()?.rss_mib() - before, MORE_MIB_MAX, "MiB");
    findings.note("topics at most seen", topics);
    findings.note("MiB more with all of them", full - before);
    server.stop()?;
    Ok(findings)
}

/// Publishes one event to each of these topics.
pub fn publish_to(asking: &mut Asking, topics: std::ops::Range<usize>) -> Result<()> {
    let mut body = String::new();
    for topic in topics {
        writeln!(body, r#"{{"topic":"once/{topic}","data":"x"}}"#)?;
    }
    let head = format!(
        "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    asking.ask(&[head.as_bytes(), body.as_bytes()].concat(), 200)?;
    Ok(())
}

/// Events of 1 MiB to many topics: what all histories hold stays within its bound, and then publishing is refused.
pub fn large_events(bench: &Bench) -> Result<Findings> {
    const BOUND_MIB: f64 = 64.0;
    const EVENT_BYTES: usize = (1 << 20) - 1024;
    let count = bench.pick(200, 1_000);
    let server = Server::start(bench, &["--rings-bytes-max=64MiB"])?;
    let mut asking = Asking::connect(server.address())?;
    let before = server.usage()?.rss_mib();
    let data = "x".repeat(EVENT_BYTES);
    let mut publish = |topic: usize| {
        let head =
            format!("POST /events/large/{topic} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {EVENT_BYTES}\r\n\r\n");
        asking.answer(&[head.as_bytes(), data.as_bytes()].concat())
    };
    let (mut taken, mut refused, mut most) = (0, 0, 0.0_f64);
    for topic in 0..count {
        let answer = publish(topic)?;
        let is_refused =
            answer.starts_with("HTTP/1.1 503 ") && answer.to_ascii_lowercase().contains("\r\nretry-after: ");
        ensure!(is_refused || answer.starts_with("HTTP/1.1 200 "), "answered with {:?}", answer.lines().next());
        if is_refused {
            refused += 1;
        } else {
            taken += 1;
        }
        most = most.max(server.usage()?.rss_mib());
    }
    let mut findings = Findings::default();
    findings.at_most("memory more than before", most - before, BOUND_MIB * 1.2, "MiB");
    findings.at_least("events taken", f64::from(taken), BOUND_MIB * MIB / EVENT_BYTES as f64 * 0.9, "");
    findings.all("the others refused with 503 and Retry-After", refused as usize, count - taken as usize);
    // A topic that is there goes on, at the cost of its own history.
    findings.is_so("a topic that is there still takes events", publish(0)?.starts_with("HTTP/1.1 200 "));
    server.stop()?;
    Ok(findings)
}
