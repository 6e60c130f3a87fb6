//! The same load on the server and on something else, in turns.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::Value;

use super::subject::Subject;
use super::yardstick::{Pair, Yardstick};
use super::{Args, joined, load, read};
use crate::faults::clear;
use crate::workspace;

/// What the server is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Other {
    /// A loop that does nothing but send.
    BareLoop,
    /// The same server, which then has a log, without one.
    Memory,
    /// The same server, whose streams are then compressed, with streams that are not.
    Plain,
    /// The same server with more flags.
    Flags,
}

impl Other {
    pub fn of(args: &Args) -> Option<Self> {
        let memory = args.log.as_ref().map(|_| Self::Memory);
        let flags = (!args.against_arg.is_empty()).then_some(Self::Flags);
        let plain = args.against_plain.then_some(Self::Plain);
        memory.or(args.yardstick.then_some(Self::BareLoop)).or(plain).or(flags)
    }

    fn name(self) -> &'static str {
        match self {
            Self::BareLoop => "the bare loop",
            Self::Memory => "memory mode",
            Self::Plain => "streams as they are",
            Self::Flags => "the server with those flags",
        }
    }

    fn run(self, args: &Args, dir: &Path, report: &Path) -> Result<bool> {
        match self {
            Self::BareLoop => load(&args.in_http1(), Subject::bare_loop(dir)?, report, &["--quiet"]),
            Self::Memory => load(args, args.server(dir)?, report, &["--quiet"]),
            Self::Plain => {
                let args = Args { gzip: false, ..args.clone() };
                load(&args, args.server(dir)?, report, &["--quiet"])
            }
            Self::Flags => {
                let server_arg = args.server_arg.iter().chain(&args.against_arg).cloned().collect();
                let args = Args { server_arg, ..args.clone() };
                load(&args, args.server(dir)?, report, &["--quiet"])
            }
        }
    }
}

/// Runs pairs and prints what they come to.
pub fn run(args: &Args, other: Other, dir: &Path) -> Result<Value> {
    let shape = args.shape()?;
    ensure!(shape.rate > 0.0, "deliveries are compared: --rate must not be 0");
    if other == Other::BareLoop {
        ensure!(shape.topics_per_subscriber == 1, "the bare loop has one topic on each stream");
        workspace::build(&[("sse-benches", "bare_loop")])?;
    }
    workspace::build(&[("sse-server", "sse-server"), ("sse-loadgen", "sse-loadgen")])?;
    let (mut pairs, mut reports) = (Vec::new(), Vec::new());
    for number in 1..=args.pairs {
        let server_json = dir.join(format!("pair-{number}-server.json"));
        let other_json = dir.join(format!("pair-{number}-other.json"));
        let quiet: &[&str] = if number == 1 { &[] } else { &["--quiet"] };
        // Who goes first alternates, so that a machine that slows down or warms up favours nobody.
        for is_server in [number % 2 == 1, number % 2 == 0] {
            if is_server {
                let args = Args { gzip: args.gzip || other == Other::Plain, ..args.with_log(dir)? };
                load(&args, args.server(dir)?, &server_json, quiet)?;
            } else {
                other.run(args, dir, &other_json)?;
            }
        }
        let report = read(&server_json)?;
        let pair = Pair::of(&report, &read(&other_json)?)?;
        println!("pair {number} of {}: {pair}", args.pairs);
        pairs.push(pair);
        reports.push(report);
    }
    let yardstick = Yardstick::new(other.name(), pairs)?;
    println!("{yardstick}");
    let mut report = joined(&reports);
    report["yardstick"] = yardstick.to_json();
    Ok(report)
}

impl Args {
    /// With an empty log for the server, if it is to have one.
    fn with_log(&self, dir: &Path) -> Result<Self> {
        let Some(durability) = &self.log else { return Ok(self.clone()) };
        let data = dir.join("data");
        clear(&data)?;
        let mut args = self.clone();
        args.server_arg.push(format!("--data-dir={}", data.display()));
        args.server_arg.push(format!("--durability={durability}"));
        Ok(args)
    }
}
