//! Very many clients that replay a topic, as a process of their own: behind everything else that wants to run, so that what is
//! measured beside them is the server's work and not theirs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::bench::Bench;
use super::crowd::Crowd;
use super::publisher::number;
use super::rank::Rank;
use super::server::Server;
use super::usage::Usage;
use crate::loadtest::process::Process;
use crate::loadtest::{read, write};

/// What one round of replays may take.
const ROUND_WITHIN: Duration = Duration::from_secs(60);

/// The clients of a topic with so many numbered events.
#[derive(Debug, clap::Args)]
pub struct Args {
    address: SocketAddr,
    /// The server's process
    server_pid: u32,
    path: String,
    clients: usize,
    events: u32,
    /// Ends with the round in which this file appears
    until: PathBuf,
    report: PathBuf,
}

/// Replays at work.
#[derive(Debug)]
pub struct Replaying {
    process: Process,
    until: PathBuf,
    report: PathBuf,
}

/// What came of them.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Replays that had everything, of those that were begun.
    pub whole: usize,
    pub asked: usize,
    /// The server's memory at most.
    pub rss_mib: f64,
    /// Events read before the end was asked for.
    pub while_measured: u64,
}

impl Replayed {
    pub fn add(&mut self, other: &Self) {
        self.whole += other.whole;
        self.asked += other.asked;
        self.rss_mib = self.rss_mib.max(other.rss_mib);
        self.while_measured += other.while_measured;
    }

    fn to_json(&self) -> Value {
        json!([self.whole, self.asked, self.rss_mib, self.while_measured])
    }

    fn from_json(value: &Value) -> Option<Self> {
        Some(Self {
            whole: value[0].as_u64()? as usize,
            asked: value[1].as_u64()? as usize,
            rss_mib: value[2].as_f64()?,
            while_measured: value[3].as_u64()?,
        })
    }
}

impl Replaying {
    /// Clients of the topic `storm`, who begin again and again.
    pub fn start(bench: &Bench, server: &Server, clients: usize, events: u32) -> Result<Self> {
        let (until, report) = (bench.file("until"), bench.file("replayed.json"));
        for file in [&until, &report].into_iter().filter(|file| file.exists()) {
            std::fs::remove_file(file).context("removing what the last replays left")?;
        }
        let mut command = Command::new(std::env::current_exe().context("finding this program")?);
        command.arg("replaying").arg(server.address().to_string()).arg(server.pid().to_string());
        command.arg("/events/storm").arg(clients.to_string()).arg(events.to_string()).arg(&until).arg(&report);
        let process = Process::start(&mut Rank::Behind.of(command), &bench.file("replaying.log"))?;
        Ok(Self { process, until, report })
    }

    /// Has them end with what they have begun.
    pub fn finish(mut self) -> Result<Replayed> {
        std::fs::write(&self.until, "now").context("ending the replays")?;
        let status = self.process.wait(2 * ROUND_WITHIN)?;
        ensure!(status.success(), "the replays failed: {}", self.process.log_end());
        Replayed::from_json(&read(&self.report)?).context("the replays left no report")
    }
}

/// Replays until it is told to end, at least once.
pub fn run(args: Args) -> Result<()> {
    super::raise_descriptor_limit()?;
    let mut sum = Replayed::default();
    while sum.asked == 0 || !args.until.exists() {
        round(&args, &mut sum)?;
    }
    write(Path::new(&args.report), &sum.to_json())
}

fn round(args: &Args, sum: &mut Replayed) -> Result<()> {
    let mut crowd = Crowd::new(args.address)?;
    for _ in 0..args.clients {
        crowd.follow(&args.path, Some("earliest"))?;
    }
    let mut next = vec![0_u32; args.clients];
    let (started, mut looked_at) = (Instant::now(), Instant::now());
    let mut is_measured = true;
    while next.iter().any(|next| *next < args.events) && started.elapsed() < ROUND_WITHIN {
        crowd.turn(Duration::from_millis(5))?;
        for (place, next) in next.iter_mut().enumerate() {
            for event in crowd.member(place).answer.events.drain(..) {
                ensure!(number(&event.data) == Some(*next), "{:?} instead of {next}", event.data.get(..10));
                *next += 1;
                sum.while_measured += u64::from(is_measured);
            }
        }
        if looked_at.elapsed() > Duration::from_millis(20) {
            looked_at = Instant::now();
            is_measured = !args.until.exists();
            sum.rss_mib = sum.rss_mib.max(Usage::of(args.server_pid)?.rss_mib());
        }
    }
    sum.whole += next.iter().filter(|next| **next == args.events).count();
    sum.asked += args.clients;
    Ok(())
}
