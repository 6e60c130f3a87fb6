//! A profile of a server that is busy with fan-out: whose names are in it, and what it costs those who follow.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::bench::{Bench, expect};
use super::finding::Findings;
use super::load::{Load, is_whole};
use super::server::Server;
use crate::program;

const SECONDS: u64 = 3;
/// Beyond its time, for names to be looked up on a machine that has other things to do.
const MORE_MAX: Duration = Duration::from_secs(10);
/// The profiler's own tables, some 75 MiB from the first profile on; nothing of the names.
const KEPT_MIB_MAX: f64 = 100.0;
/// From a writer's thread to the system: who sends a round, and what that calls.
const NAMES: [&str; 4] = ["send_round", "writer/round.rs", "sse_server::writer", "send"];

/// Two profiles in a row, as the first is what costs.
pub fn shows_the_fan_out(bench: &Bench) -> Result<Findings> {
    let server = Server::start(bench, &[])?;
    let flags = ["--topics", "1", "--subscribers", "1000", "--rate", "100", "--settle", "0.2", "--seconds", "12"];
    let load = Load::start(bench, "followers", &server, &flags)?;
    expect("the streams", Duration::from_secs(20), || Ok(server.streams()? == 1000))?;
    let mut findings = Findings::default();
    let before = server.usage()?.rss_mib();
    let mut slowest = Duration::ZERO;
    for file in ["first.pb", "second.pb"].map(|name| bench.file(name)) {
        let started = Instant::now();
        let url = format!("http://{}/debug/pprof/profile?seconds={SECONDS}", server.admin);
        program::run(
            Command::new("curl").args(["--silent", "--show-error", "--fail", "--output"]).arg(&file).arg(url),
        )?;
        slowest = slowest.max(started.elapsed().saturating_sub(Duration::from_secs(SECONDS)));
        let profile = fs::read(&file).context("reading the profile")?;
        let texts = String::from_utf8_lossy(&profile);
        let found = NAMES.iter().filter(|name| texts.contains(**name)).count();
        findings.all("names of the fan-out in it", found, NAMES.len());
    }
    findings.at_most("slower than its time by", slowest.as_secs_f64(), MORE_MAX.as_secs_f64(), "s");
    findings.at_most("memory that stays", server.usage()?.rss_mib() - before, KEPT_MIB_MAX, "MiB");
    findings.is_so("every event on every stream", is_whole(&load.report(Duration::from_secs(60))?));
    server.stop()?;
    Ok(findings)
}
