//! L6: a log that nobody reads.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::bench::{Bench, seconds_or_over};
use super::finding::{Findings, Pairs};
use super::load::{Load, is_whole, p99_ms};
use super::server::Server;

const RATIO_MAX: f64 = 1.5;
const WINDOW: Duration = Duration::from_secs(2);
/// What the process may need beyond the window.
const MORE: Duration = Duration::from_secs(2);
/// A shell that becomes the server, with both outputs in a pipe that is full from the start. The shell itself holds the end
/// that nobody reads.
const INTO_A_FULL_PIPE: &str =
    r#"rm -f "$1" && mkfifo "$1" && exec 3<>"$1" && head -c 65536 /dev/zero >&3 && shift && exec "$@" >&3 2>&1"#;

/// Both outputs of the server are a full pipe: those who follow do not notice, what is dropped is counted, and the process drains
/// and ends in time.
pub fn is_no_ones_trouble(bench: &Bench) -> Result<Findings> {
    let flags = ["--log-level=trace", &*format!("--drain-window={}s", WINDOW.as_secs())];
    let (mut pairs, mut are_whole, mut dropped) = (Pairs::default(), true, 0.0);
    let (mut slowest, mut clean, mut runs) = (Duration::ZERO, 0, 0);
    while !pairs.are_enough(RATIO_MAX, bench.is_long()) {
        let heard = Server::start_named("heard", bench, &flags)?;
        let (calm, is_whole) = p99(bench, &heard)?;
        are_whole &= is_whole;
        heard.stop()?;

        let fifo = bench.file("fifo");
        let wrap = |server: Command| {
            let mut shell = Command::new("sh");
            shell.args(["-c", INTO_A_FULL_PIPE, "sh"]).arg(&fifo).arg(server.get_program());
            shell
        };
        let unheard = Server::start_as(bench, wrap, &flags)?;
        let (blocked, is_whole) = p99(bench, &unheard)?;
        are_whole &= is_whole;
        dropped += unheard.metrics()?.sum("sse_log_lines_dropped_total");
        pairs.push(calm, blocked);
        // Some who are there at the end, to be told of it.
        let there = ["--topics", "1", "--subscribers", "200", "--rate", "0", "--seconds", "60"];
        let there = Load::start(bench, "there", &unheard, &there)?;
        super::bench::expect("the streams", Duration::from_secs(20), || Ok(unheard.streams()? == 200))?;
        let exit = unheard.terminate()?.exits_within(WINDOW + MORE)?;
        slowest = slowest.max(Duration::from_secs_f64(seconds_or_over(exit.map(|exit| exit.after), WINDOW + MORE)));
        clean += usize::from(exit.is_some_and(|exit| exit.is_success));
        runs += 1;
        drop(there);
    }
    let mut findings = Findings::default();
    findings.pairs("p99 of those who follow", &pairs, RATIO_MAX);
    findings.is_so("every event on every stream", are_whole);
    findings.at_least("lines dropped, and counted", dropped, 1.0, "");
    findings.at_most("the slowest gone after", slowest.as_secs_f64(), (WINDOW + MORE).as_secs_f64(), "s");
    findings.all("exit code 0", clean, runs);
    Ok(findings)
}

/// Of a few who follow while others come and go, which is logged.
fn p99(bench: &Bench, server: &Server) -> Result<(f64, bool)> {
    let seconds = bench.pick("6", "30");
    let args = ["--topics", "1", "--subscribers", "200", "--rate", "100", "--settle", "0.2", "--seconds", seconds];
    let report = Load::run(bench, "followers", server, &[&args[..], &["--churn", "200", "--visit", "0.1"]].concat())?;
    report["delivery"].as_object().context("the load generator reports no deliveries")?;
    Ok((p99_ms(&report), is_whole(&report)))
}
