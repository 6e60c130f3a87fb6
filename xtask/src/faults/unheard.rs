//! L6: a log that nobody reads.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

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
    let flags = [&*format!("--drain-window={}s", WINDOW.as_secs())];
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
        fill(&unheard)?;
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

/// Streams that come and go, each with two lines that name all its topics, until no more wait to be written.
fn fill(server: &Server) -> Result<()> {
    /// Some 16 KB of lines each: twice what may wait.
    const STREAMS_MAX: usize = 1_000;
    let topics: Vec<String> = (0..8).map(|number| format!("topic={number}{}", "x".repeat(1_000))).collect();
    let request = format!("GET /events?{} HTTP/1.1\r\nHost: localhost\r\n\r\n", topics.join("&"));
    for number in 1..=STREAMS_MAX {
        let mut socket = TcpStream::connect(server.address()).context("connecting")?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        socket.write_all(request.as_bytes()).context("asking for a stream")?;
        // It has begun, and so it is logged.
        socket.read_exact(&mut [0; 16]).context("reading a stream's head")?;
        if number % 50 == 0 && server.metrics()?.sum("sse_log_lines_dropped_total") > 0.0 {
            return Ok(());
        }
    }
    bail!("no line was dropped")
}

/// Of a few who follow.
fn p99(bench: &Bench, server: &Server) -> Result<(f64, bool)> {
    let seconds = bench.pick("6", "30");
    let args = ["--topics", "1", "--subscribers", "200", "--rate", "100", "--settle", "0.2", "--seconds", seconds];
    let report = Load::run(bench, "followers", server, &args)?;
    report["delivery"].as_object().context("the load generator reports no deliveries")?;
    Ok((p99_ms(&report), is_whole(&report)))
}
