//! A13: a restart with very much in the log.

use std::time::Instant;

use anyhow::Result;

use super::asking::Asking;
use super::bench::Bench;
use super::crash::clear;
use super::disk_errors::get;
use super::finding::Findings;
use super::server::Server;

const TOPICS: usize = 1_000;
/// Events in one request.
const BATCH: usize = 1_000;

/// A million events, and 1 GiB of them: ready soon, after a crash as after a stop, and honest about it.
pub fn restarts(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let events = bench.pick(100_000, 1_000_000);
    measure(bench, &mut findings, "events", events, 20, 2.0)?;
    if bench.is_long() {
        measure(bench, &mut findings, "events of 4 KiB", 262_144, 4_096, 5.0)?;
    }
    Ok(findings)
}

fn measure(bench: &Bench, findings: &mut Findings, what: &str, events: usize, bytes: usize, max: f64) -> Result<()> {
    let dir = bench.file("data");
    clear(&dir)?;
    let data_dir = format!("--data-dir={}", dir.display());
    // What fills the log is not what is measured.
    let server =
        Server::start(bench, &[&data_dir, "--durability=memory", "--retain-events=2000000", "--retain-bytes=4GiB"])?;
    let mut asking = Asking::connect(server.address())?;
    for first in (0..events).step_by(BATCH) {
        publish(&mut asking, first..(first + BATCH).min(events), bytes)?;
    }
    server.stop()?;
    for (name, is_killed) in [("a stop", true), ("a kill", false)] {
        let started = Instant::now();
        let server = Server::start(bench, &[&data_dir, "--retain-events=2000000", "--retain-bytes=4GiB"])?;
        let ready = get(&server, "/readyz")?.starts_with("HTTP/1.1 200 ");
        findings.at_most(&format!("{events} {what}: ready after {name}"), started.elapsed().as_secs_f64(), max, "s");
        findings.is_so(&format!("{events} {what}: it says so after {name}"), ready);
        if is_killed {
            // Something that no checkpoint has moved.
            publish(&mut Asking::connect(server.address())?, 0..500, bytes)?;
            server.kill();
        } else {
            findings.note(&format!("MiB on the disk, {what}"), server.metrics()?.sum("sse_log_bytes") / 1_048_576.0);
            server.stop()?;
        }
    }
    clear(&dir)
}

fn publish(asking: &mut Asking, numbers: std::ops::Range<usize>, bytes: usize) -> Result<()> {
    use std::fmt::Write;
    let mut body = String::new();
    let data = "x".repeat(bytes);
    for number in numbers {
        writeln!(body, r#"{{"topic":"big/{}","data":"{number} {data}"}}"#, number % TOPICS)?;
    }
    let head = format!(
        "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    asking.ask(&[head.as_bytes(), body.as_bytes()].concat(), 200)?;
    Ok(())
}
