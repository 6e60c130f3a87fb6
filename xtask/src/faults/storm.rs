//! C7, C8 and churn: clients that come and go in great number.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::bench::{Bench, seconds_or_over, wait_for};
use super::crowd::request;
use super::finding::Findings;
use super::load::{Load, is_whole};
use super::server::Server;
use super::silent::hit_and_reset;

/// How long memory and descriptors may take to come back.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// Descriptors that a server at rest may hold more or fewer: a scrape under way, a timer.
const DESCRIPTORS_MORE: usize = 2;

/// Connections that are reset, right away or after a request: no leak, no panic, no flood in the log.
pub fn resets(bench: &Bench) -> Result<Findings> {
    const PER_SECOND: u32 = 3_000;
    const LINES_MAX: f64 = 100.0;
    let seconds = bench.pick(4, 60);
    let server = Server::start(bench, &[])?;
    let before = server.usage()?.descriptors;
    let request = request("/events/hit", None);
    let started = Instant::now();
    for number in 0..PER_SECOND * seconds {
        let due = started + Duration::from_secs(1) / PER_SECOND * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        hit_and_reset(server.address(), (number % 2 == 0).then_some(&request[..]))?;
    }
    let rate = f64::from(PER_SECOND * seconds) / started.elapsed().as_secs_f64();
    let mut findings = Findings::default();
    findings.at_least("resets per second", rate, f64::from(PER_SECOND) * 0.9, "");
    let back = wait_for(Duration::from_secs(10), || Ok(server.usage()?.descriptors <= before + DESCRIPTORS_MORE))?;
    findings.at_most("descriptors back", seconds_or_over(back, Duration::from_secs(10)), 5.0, "s");
    findings.none("streams left", server.streams()? as u64);
    let lines = server.log_lines()?;
    let (of_streams, others): (Vec<_>, Vec<_>) = lines.iter().partition(|line| is_of_a_stream(line));
    findings.at_most("log lines beside one per connect and disconnect", others.len() as f64, LINES_MAX, "");
    findings.note("log lines of connects and disconnects", of_streams.len());
    server.stop()?;
    Ok(findings)
}

/// Every stream that opened is logged when it begins and when it ends.
fn is_of_a_stream(line: &str) -> bool {
    line.contains(r#""message":"connected""#) || line.contains(r#""message":"disconnected""#)
}

/// C8: memory comes back after streams have come and gone.
pub fn memory_comes_back(bench: &Bench) -> Result<Findings> {
    churn(bench, bench.pick(8, 600))
}

/// The same for as long as issue 4 asks.
pub fn churns(bench: &Bench) -> Result<Findings> {
    churn(bench, bench.pick(20, 120))
}

/// 1,000 connects and leaves per second: memory and descriptors go back to where they were.
fn churn(bench: &Bench, seconds: u32) -> Result<Findings> {
    // Short histories: what two minutes of events take is no leak.
    let server = Server::start(bench, &["--ring-frames-max=16"])?;
    let fresh = server.usage()?;
    let load = |name, seconds: u32| {
        let seconds = seconds.to_string();
        let args = ["--subscribers", "100", "--rate", "20", "--churn", "1000", "--visit", "0.5", "--settle", "0.2"];
        Load::run(bench, name, &server, &[&args[..], &["--seconds", &seconds]].concat())
    };
    // What a server needs once it has served, whatever comes: code, buffers, the topics' rings.
    load("warm-up", 2)?;
    wait_for(Duration::from_secs(10), || Ok(server.usage()?.descriptors <= fresh.descriptors + DESCRIPTORS_MORE))?;
    let baseline = server.usage()?;
    let report = load("churn", seconds)?;
    let visits = report["delivery"]["visits"].as_f64().unwrap_or(0.0);
    let mut findings = Findings::default();
    findings.is_so("every stream got what it should", is_whole(&report));
    findings.at_least("visits per second", visits / f64::from(seconds), 950.0, "");
    let back = wait_for(BACK_WITHIN, || {
        let usage = server.usage()?;
        Ok(usage.descriptors <= fresh.descriptors + DESCRIPTORS_MORE && usage.rss_bytes <= baseline.rss_bytes / 10 * 11)
    })?;
    let usage = server.usage()?;
    findings.at_most("memory, of what it was", usage.rss_bytes as f64 / baseline.rss_bytes as f64, 1.1, "x");
    findings.at_most("descriptors", usage.descriptors as f64, (fresh.descriptors + DESCRIPTORS_MORE) as f64, "");
    findings.note("MiB when started", fresh.rss_mib());
    findings.note("MiB before", baseline.rss_mib());
    findings.note("MiB after", usage.rss_mib());
    findings.note("seconds until back", back.map(|back| back.as_secs_f64()));
    server.stop()?;
    Ok(findings)
}
