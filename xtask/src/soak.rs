//! Runs mixed load for long and judges whether the server still holds what it held: memory, descriptors, threads.
//!
//! Two load generators run at once: one with steady events, subscribers that stay and visitors that come and go, which
//! also samples the server, and one with bursts and slow readers. Both verify every stream.

mod slope;
mod verdict;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::loadtest::process::Process;
use crate::loadtest::subject::{self, Subject};
use crate::loadtest::{Folder, read, write};
use crate::program;
use crate::soak::verdict::Verdict;
use crate::workspace;

/// Topics are few and rings short, so that all history is full, and memory level, within half a minute.
const STEADY_TOPICS: &str = "4";
const BURST_TOPICS: &str = "2";
const SERVER_ARGS: [&str; 2] = ["--ring-frames-max", "256"];
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
    /// A flag for the server that is started (repeatable)
    #[arg(long, allow_hyphen_values = true)]
    server_arg: Vec<String>,
}

pub fn run(args: Args) -> Result<()> {
    ensure!(args.minutes.is_finite() && args.minutes > 0.0, "--minutes must be more than 0");
    let folder = Folder::take("soak")?;
    let dir = folder.path();
    workspace::build(&[("sse-server", "sse-server"), ("sse-loadgen", "sse-loadgen")])?;
    let server = Subject::server(dir, &args.server_args())?;
    let bursts = Process::start(&mut args.bursts(&server, dir), &dir.join("bursts.log"))?;
    let steady = args.steady(&server, dir).status().context("running the steady load")?.code();
    let whole = is_whole(steady)? & is_whole(end_of(bursts)?)?;
    server.stop()?;
    judge(&args, dir, whole)
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

fn judge(args: &Args, dir: &Path, whole: bool) -> Result<()> {
    let (steady, bursts) = (read(&dir.join("steady.json"))?, read(&dir.join("bursts.json"))?);
    let verdict = Verdict::of(&steady["samples"], args.warm_up(), whole)?;
    println!("\n{verdict}");
    let report = dir.join("report.json");
    let judged = json!({"verdict": verdict.to_json(), "minutes": args.minutes, "steady": steady, "bursts": bursts});
    write(&report, &judged)?;
    println!("report: {}", report.display());
    ensure!(verdict.holds(), "the server does not hold");
    Ok(())
}

impl Args {
    fn seconds(&self) -> f64 {
        self.minutes * 60.0
    }

    /// The server's flags: ours, unless they were given otherwise.
    fn server_args(&self) -> Vec<String> {
        let ours =
            if self.server_arg.iter().any(|arg| arg.starts_with(SERVER_ARGS[0])) { &[][..] } else { &SERVER_ARGS };
        ours.iter().map(|arg| (*arg).to_owned()).chain(self.server_arg.iter().cloned()).collect()
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
