//! Runs mixed load for long and judges whether the server still holds what it held: memory, descriptors, threads.
//!
//! Two load generators run at once: one with steady events, subscribers that stay and visitors that come and go, which
//! also samples the server, and one with bursts and slow readers. Both verify every stream. Meanwhile there is a fault now and then,
//! at random from a seed.

pub mod slope;
mod trouble;
mod verdict;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::faults::bench::Bench;
use crate::faults::crash::Random;
use crate::faults::raise_descriptor_limit;
use crate::faults::server::Server;
use crate::loadtest::process::Process;
use crate::loadtest::subject::{self, Subject};
use crate::loadtest::{Folder, read, write};
use crate::program;
use crate::soak::trouble::{Done, Trouble};
use crate::soak::verdict::Verdict;
use crate::workspace;

/// Topics are few and rings short, so that all history is full, and memory level, within half a minute.
const STEADY_TOPICS: &str = "4";
const BURST_TOPICS: &str = "2";
const SERVER_ARGS: [&str; 3] = ["--ring-frames-max=256", "--ring-age-max=20s", "--closed-topic-age=1s"];
/// The part of the time that is not judged, and at least so many seconds of it, but never more than half.
const WARM_UP_PART: f64 = 0.2;
const WARM_UP_SECONDS: f64 = 60.0;
/// The bursts outlast the steady load, so that the samples see both to the end.
const BURSTS_LONGER: f64 = 5.0;
/// How long the bursts may take beyond their time to add up and end.
const BURSTS_END_WITHIN: Duration = Duration::from_secs(120);
const NOT_WHOLE: i32 = 2;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Subscribers that stay, and follow the steady events
    #[arg(long, default_value_t = 500)]
    subscribers: u32,
    /// Steady events per second
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// Visitors that come each second, and leave
    #[arg(long, default_value_t = 20.0)]
    churn: f64,
    /// Subscribers that follow the bursts
    #[arg(long, default_value_t = 100)]
    burst_subscribers: u32,
    /// Events in a burst; there is one each second
    #[arg(long, default_value_t = 25)]
    burst: u32,
    /// Readers of the bursts that stop reading for ten seconds at a time
    #[arg(long, default_value_t = 20)]
    slow_readers: u32,
    /// Seconds between two samples
    #[arg(long, default_value_t = 2.0)]
    sample_interval: f64,
    /// Seconds between two faults; 0 for none
    #[arg(long, default_value_t = 30.0)]
    fault_interval: f64,
    /// What the faults come of, as the last run printed it; another one every time when none is given
    #[arg(long)]
    seed: Option<u64>,
    /// Show that the verdict can fail: a client opens streams and never leaves
    #[arg(long)]
    leak: bool,
    /// A flag for the server that is started (repeatable)
    #[arg(long, allow_hyphen_values = true)]
    server_arg: Vec<String>,
}

pub fn run(args: Args) -> Result<()> {
    ensure!(args.minutes.is_finite() && args.minutes > 0.0, "--minutes must be more than 0");
    let folder = Folder::take("soak")?;
    let dir = folder.path();
    workspace::build(&[("sse-server", "sse-server"), ("sse-loadgen", "sse-loadgen")])?;
    raise_descriptor_limit()?;
    let bench = Bench::new("soak", dir, false, &args.server_args());
    let config = bench.file("sse.toml");
    std::fs::write(&config, trouble::settings(0)).context("writing the settings")?;
    let server = Server::start(&bench, &[&format!("--config={}", config.display())])?;
    let url = format!("http://{}/events/{{topic}}", server.address());
    let subject = Subject::running(&url, None, Some(server.pid()));
    let seed = args.seed.unwrap_or_else(|| Random::seeded().next());
    println!("seed {seed}: --seed {seed} has the same faults again");
    let every = if args.fault_interval > 0.0 { args.fault_interval } else { f64::from(u32::MAX) };
    let trouble = Trouble::new(bench, &server, config, seed, Duration::from_secs_f64(every), args.leak);
    let bursts = Process::start(&mut args.bursts(&subject, dir), &dir.join("bursts.log"))?;
    let trouble = trouble.start();
    let steady = args.steady(&subject, dir).status().context("running the steady load")?.code();
    let done = trouble.stop()?;
    let whole = is_whole(steady)? & is_whole(end_of(bursts)?)?;
    // That it had died, or that something in it panicked, is an error.
    server.stop()?;
    judge(&args, dir, whole, seed, &done)
}

/// Waits for the load that runs beside.
fn end_of(mut bursts: Process) -> Result<Option<i32>> {
    let code = bursts.wait(BURSTS_END_WITHIN)?.code();
    if code != Some(0) {
        println!("the bursts:\n{}", bursts.log_end());
    }
    Ok(code)
}

fn is_whole(code: Option<i32>) -> Result<bool> {
    match code {
        Some(0) => Ok(true),
        Some(NOT_WHOLE) => Ok(false),
        code => bail!("a load generator failed: {code:?}"),
    }
}

fn judge(args: &Args, dir: &Path, whole: bool, seed: u64, done: &Done) -> Result<()> {
    let (steady, bursts) = (read(&dir.join("steady.json"))?, read(&dir.join("bursts.json"))?);
    let verdict = Verdict::of(&steady["samples"], &done.topics, args.warm_up(), whole && done.failures.is_empty())?;
    println!("\n{verdict}");
    println!("{:<18}{}", "faults", done.shown());
    done.failures.iter().for_each(|failure| println!("{:<18}{failure}", "went wrong"));
    let report = dir.join("report.json");
    let (minutes, trouble) = (args.minutes, done.to_json());
    let judged = json!({
        "verdict": verdict.to_json(), "minutes": minutes, "seed": seed, "trouble": trouble, "steady": steady, "bursts": bursts,
    });
    write(&report, &judged)?;
    println!("report: {}", report.display());
    ensure!(args.leak || verdict.holds(), "the server does not hold");
    ensure!(!args.leak || !verdict.holds(), "a client leaks, and nobody sees it");
    Ok(())
}

impl Args {
    fn seconds(&self) -> f64 {
        self.minutes * 60.0
    }

    /// The server's flags: ours, unless they were given otherwise.
    fn server_args(&self) -> Vec<String> {
        let key = |arg: &str| arg.split('=').next().unwrap_or(arg).to_owned();
        let is_given = |ours: &&&str| self.server_arg.iter().any(|arg| key(arg) == key(ours));
        let ours = SERVER_ARGS.iter().filter(|ours| !is_given(ours));
        ours.map(|arg| (*arg).to_owned()).chain(self.server_arg.iter().cloned()).collect()
    }

    fn warm_up(&self) -> f64 {
        (WARM_UP_PART * self.seconds()).max(WARM_UP_SECONDS).min(self.seconds() / 2.0)
    }

    fn steady(&self, server: &Subject, dir: &Path) -> Command {
        let mut command = subject::loadgen(server);
        command.args(["--topics", STEADY_TOPICS, "--topic-prefix", "steady-"]);
        command.args(["--subscribers", &self.subscribers.to_string(), "--rate", &self.rate.to_string()]);
        command.args(["--churn", &self.churn.to_string(), "--seconds", &self.seconds().to_string()]);
        command.args(["--sample-interval", &self.sample_interval.to_string()]);
        command.arg("--json").arg(dir.join("steady.json"));
        println!("{}", program::shown(&command));
        command
    }

    fn bursts(&self, server: &Subject, dir: &Path) -> Command {
        let mut command = subject::loadgen(server);
        let seconds = self.seconds() + BURSTS_LONGER;
        command.args(["--topics", BURST_TOPICS, "--topic-prefix", "bursts-"]);
        command.args(["--subscribers", &self.burst_subscribers.to_string(), "--rate", &self.burst.to_string()]);
        command.args(["--burst", &self.burst.to_string(), "--seconds", &seconds.to_string()]);
        command.args(["--slow-readers", &self.slow_readers.to_string(), "--slow-hold", "10"]);
        command.arg("--json").arg(dir.join("bursts.json"));
        println!("{}", program::shown(&command));
        command
    }
}
