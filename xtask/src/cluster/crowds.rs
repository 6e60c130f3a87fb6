//! As many streams as one machine can hold, in five servers, and one event that reaches them all. The clients are processes of
//! their own, as descriptors are bounded for each.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::nodes::Nodes;
use super::publishing::publish_surely;
use super::stage::Stage;
use crate::faults::bench::expect;
use crate::faults::crowd::Crowd;
use crate::faults::finding::Findings;
use crate::faults::raise_descriptor_limit;
use crate::loadtest::process::Process;
use crate::loadtest::{read, write};

const NODES: usize = 5;
const OPEN_WITHIN: Duration = Duration::from_secs(180);
const REACHED_WITHIN: Duration = Duration::from_secs(60);
/// Beyond half of an address's ports the kernel looks for a free one for milliseconds.
const STREAMS_PER_ADDRESS: usize = 5_000;
/// How many open at a time.
const OPENING: usize = 256;
const TURN: Duration = Duration::from_millis(5);

/// The clients of one server.
#[derive(Debug, clap::Args)]
pub struct Args {
    address: SocketAddr,
    /// Where the first come from; others come from the addresses behind it
    source: Ipv4Addr,
    streams: usize,
    /// Appears when all are open
    opened: PathBuf,
    report: PathBuf,
}

/// One event for all streams of all nodes.
pub fn are_reached(stage: &Stage) -> Result<Findings> {
    let streams = stage.bench.pick(2_000, 19_000);
    let engine = stage.engine(&[])?;
    let nodes = Nodes::start(&stage.bench, &vec![engine.url(); NODES], &["--log-level=warn"])?;
    let idle: Vec<f64> = nodes.memory_mib()?;
    let mut crowds = Vec::new();
    for (number, address) in nodes.addresses.iter().enumerate() {
        crowds.push(Members::start(stage, number, *address, streams)?);
    }
    for crowd in &mut crowds {
        expect("streams of all crowds", OPEN_WITHIN, || Ok(crowd.opened.exists()))?;
    }
    let open: Vec<f64> = nodes.memory_mib()?;
    let published_at = micros_since_1970();
    publish_surely(&nodes.addresses, 0, "for everybody", REACHED_WITHIN)?;
    let acked_after_ms = (micros_since_1970() - published_at) as f64 / 1e3;
    let reports: Result<Vec<Value>> = crowds.into_iter().map(Members::report).collect();
    let reports = reports?;
    let reached: u64 = reports.iter().filter_map(|report| report["reached"].as_u64()).sum();
    let last = reports.iter().filter_map(|report| report["last_at"].as_u64()).max().unwrap_or(u64::MAX);
    let mut findings = Findings::default();
    findings.all("streams that the event reached", reached as usize, streams * NODES);
    let last_ms = last.saturating_sub(published_at) as f64 / 1e3;
    findings.at_most("until the last had it", last_ms / 1e3, stage.bench.pick(2.0, 10.0), "s");
    findings.note("publisher answered after ms", acked_after_ms);
    findings.note("resident MiB of each node before, and with its streams", json!([idle, open]));
    nodes.settle()?;
    nodes.stop()?;
    Ok(findings)
}

struct Members {
    process: Process,
    opened: PathBuf,
    report: PathBuf,
}

impl Members {
    fn start(stage: &Stage, number: usize, address: SocketAddr, streams: usize) -> Result<Self> {
        let [opened, report] = ["opened", "report"].map(|what| stage.bench.file(&format!("crowd{number}.{what}")));
        for file in [&opened, &report].into_iter().filter(|file| file.exists()) {
            fs::remove_file(file).context("removing what the last crowd left")?;
        }
        let mut command = Command::new(std::env::current_exe().context("finding this program")?);
        command.arg("cluster-crowd").arg(address.to_string()).arg(format!("127.0.{}.1", number + 1));
        command.arg(streams.to_string()).arg(&opened).arg(&report);
        let process = Process::start(&mut command, &stage.bench.file(&format!("crowd{number}.log")))?;
        Ok(Self { process, opened, report })
    }

    fn report(mut self) -> Result<Value> {
        let status = self.process.wait(REACHED_WITHIN + Duration::from_secs(10))?;
        ensure!(status.success(), "a crowd failed: {}", self.process.log_end());
        read(&self.report)
    }
}

/// Opens streams, says so, and waits until each has an event.
pub fn run(args: Args) -> Result<()> {
    raise_descriptor_limit()?;
    let mut crowd = Crowd::new(args.address)?;
    let started = Instant::now();
    let mut answered = 0;
    for number in 0..args.streams {
        let [a, b, c, d] = args.source.octets();
        crowd.source = Some(Ipv4Addr::new(a, b, c, d + (number / STREAMS_PER_ADDRESS) as u8).into());
        crowd.follow("/events/t0", None)?;
        while number + 1 - answered >= OPENING {
            ensure!(started.elapsed() < OPEN_WITHIN, "{answered} of {} streams are open", args.streams);
            crowd.turn(TURN)?;
            answered = crowd.following();
        }
    }
    let is_open = crowd.read_until(OPEN_WITHIN, |crowd| crowd.following() == args.streams)?;
    ensure!(is_open, "{} of {} streams are open", crowd.following(), args.streams);
    fs::write(&args.opened, "all").context("saying that all are open")?;
    // The last turn before the count is when the last event came: nothing else does.
    let mut last_at = 0;
    let mut had = 0;
    let deadline = Instant::now() + OPEN_WITHIN + REACHED_WITHIN;
    while had < args.streams && Instant::now() < deadline {
        crowd.turn(TURN)?;
        if crowd.reached() > had {
            (had, last_at) = (crowd.reached(), micros_since_1970());
        }
    }
    write(Path::new(&args.report), &json!({"reached": had, "last_at": last_at}))
}

fn micros_since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros() as u64
}
