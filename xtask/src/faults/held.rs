//! A heap profile of a server with very many streams: who holds their memory, by name.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::bench::Bench;
use super::crowd::Crowd;
use super::finding::Findings;
use super::samples::{self, Sample};
use super::server::Server;
use crate::{program, workspace};

const STREAMS: usize = 10_000;
const WAIT: Duration = Duration::from_secs(60);
/// What a stream holds by itself: its entry and its card (ARCHITECTURE.md), rounded up and with room to grow.
const BYTES_OF_A_STREAM: (f64, f64) = (200.0, 900.0);
/// What answering may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Two profiles: what the second has more is the streams'.
pub fn by_streams(bench: &Bench) -> Result<Findings> {
    let program = build()?;
    let server = Server::start_as(bench, |_| Command::new(&program), &[])?;
    let (before, _) = take(bench, &server, "before.pb")?;
    let mut crowd = Crowd::new(server.address())?;
    for number in 0..STREAMS {
        crowd.follow(&format!("/events/{}", number % 10), None)?;
        // The backlog has an end.
        let opened = |crowd: &Crowd| crowd.following() + 500 > number;
        ensure!(crowd.read_until(WAIT, opened)?, "the streams were not opened");
    }
    ensure!(crowd.read_until(WAIT, |crowd| crowd.following() == STREAMS)?, "the streams were not opened");
    let (after, took) = take(bench, &server, "after.pb")?;
    let mut findings = Findings::default();
    let more = |is_of: fn(&Sample) -> bool| sum(&after, is_of) - sum(&before, is_of);
    let of_a_stream = more(is_writers) / STREAMS as f64;
    findings.at_least("bytes of a stream that writers hold", of_a_stream, BYTES_OF_A_STREAM.0, "B");
    findings.at_most("bytes of a stream that writers hold", of_a_stream, BYTES_OF_A_STREAM.1, "B");
    findings.at_most("the answer took", took.as_secs_f64(), ANSWER_MAX.as_secs_f64(), "s");
    findings.note("bytes more in all", more(|_| true));
    for (who, bytes) in holders(&after) {
        findings.note(&format!("held by {who}"), bytes);
    }
    server.stop()?;
    Ok(findings)
}

/// Builds the server that can tell. As for debugging, which takes less time: what is held is the same.
fn build() -> Result<PathBuf> {
    let mut cargo = workspace::cargo(&["build", "--package", "sse-server", "--bin", "sse-server"]);
    program::run(cargo.args(["--features", "heap-profile"]))?;
    let built = workspace::target().join("debug").join("sse-server");
    let program = built.with_file_name("sse-server-heap-profile");
    fs::copy(built, &program).context("keeping the program")?;
    // Other rows may put the one whose place it took to the test.
    workspace::build(&[("sse-server", "sse-server")])?;
    Ok(program)
}

fn take(bench: &Bench, server: &Server, name: &str) -> Result<(Vec<Sample>, Duration)> {
    let (file, url) = (bench.file(name), format!("http://{}/debug/pprof/heap", server.admin));
    let started = Instant::now();
    program::run(Command::new("curl").args(["--silent", "--show-error", "--fail", "--output"]).arg(&file).arg(url))?;
    let took = started.elapsed();
    Ok((samples::read(&fs::read(&file).context("reading the profile")?)?, took))
}

fn sum(samples: &[Sample], is_of: fn(&Sample) -> bool) -> f64 {
    samples.iter().filter(|sample| is_of(sample)).map(|sample| sample.value as f64).sum()
}

fn is_writers(sample: &Sample) -> bool {
    sample.stack.iter().any(|name| name.contains("sse_server::writer"))
}

/// The innermost function of ours in each stack, and how much is held through it; the ten that hold most.
fn holders(samples: &[Sample]) -> Vec<(String, u64)> {
    let mut holders: BTreeMap<&str, u64> = BTreeMap::new();
    for sample in samples {
        let ours = sample.stack.iter().find(|name| name.contains("sse_"));
        *holders.entry(ours.map_or("others", String::as_str)).or_default() += sample.value;
    }
    let mut holders: Vec<(String, u64)> = holders.into_iter().map(|(who, bytes)| (who.to_owned(), bytes)).collect();
    holders.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    holders.truncate(10);
    holders
}
