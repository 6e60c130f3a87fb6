//! The load generator, run beside.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::bench::Bench;
use super::rank::Rank;
use super::server::Server;
use crate::loadtest::process::Process;
use crate::loadtest::read;
use crate::loadtest::subject::{Subject, loadgen};

/// What the load generator exits with when not everything arrived.
const NOT_WHOLE: i32 = 2;
/// What a run may take beyond its time, to open streams and to add up.
const END_WITHIN: Duration = Duration::from_secs(90);

/// A load under way, killed when dropped.
#[derive(Debug)]
pub struct Load {
    process: Process,
    report: PathBuf,
}

impl Load {
    /// Starts a load on `server`, with these flags.
    pub fn start(bench: &Bench, name: &str, server: &Server, args: &[&str]) -> Result<Self> {
        Self::start_ranked(Rank::Usual, bench, name, server, args)
    }

    /// The same, before or behind everything else that wants to run.
    pub fn start_ranked(rank: Rank, bench: &Bench, name: &str, server: &Server, args: &[&str]) -> Result<Self> {
        let report = bench.file(&format!("{name}.json"));
        let scheme = if server.ca_file().is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}/events/{{topic}}", server.address());
        let mut command = loadgen(&Subject::running(&url, None, Some(server.pid())).trusting(server.ca_file()));
        command.args(args).arg("--json").arg(&report).arg("--quiet");
        let process = Process::start(&mut rank.of(command), &bench.file(&format!("{name}.log")))?;
        Ok(Self { process, report })
    }

    /// A whole load: from its start to its report.
    pub fn run(bench: &Bench, name: &str, server: &Server, args: &[&str]) -> Result<Value> {
        Self::start(bench, name, server, args)?.report(Duration::from_secs(600))
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.wait(Duration::ZERO).is_err()
    }

    /// Stops the process where it stands: its sockets stay, and nobody reads them.
    pub fn freeze(&self) -> Result<()> {
        let pid = i32::try_from(self.pid()).ok().and_then(Pid::from_raw);
        match pid {
            Some(pid) => Ok(kill_process(pid, Signal::STOP)?),
            None => bail!("no process"),
        }
    }

    /// Waits for its end, at most so long and some; its report, whether or not everything arrived.
    pub fn report(mut self, within: Duration) -> Result<Value> {
        match self.process.wait(within + END_WITHIN)?.code() {
            Some(0 | NOT_WHOLE) => read(&self.report),
            code => bail!("a load generator failed, {code:?}: {}", self.process.log_end()),
        }
    }
}

/// p99 from publishing to each subscriber, in milliseconds.
pub fn p99_ms(report: &Value) -> f64 {
    report["delivery"]["latency"]["p99_ms"].as_f64().unwrap_or(f64::NAN)
}

/// A topic with a hundred subscribers and 50 events per second, whose clients never wait for a core.
pub fn a_few(bench: &Bench, name: &str, server: &Server, seconds: &str) -> Result<Load> {
    let args = ["--topics", "1", "--subscribers", "100", "--rate", "50", "--settle", "0.2", "--seconds", seconds];
    Load::start_ranked(Rank::First, bench, name, server, &args)
}

/// Its p99 in milliseconds, beside whatever else goes on.
pub fn p99_of_a_few(bench: &Bench, name: &str, server: &Server, seconds: &str) -> Result<f64> {
    Ok(p99_ms(&a_few(bench, name, server, seconds)?.report(Duration::from_secs(60))?))
}

/// Whether every subscriber got everything.
pub fn is_whole(report: &Value) -> bool {
    report["whole"] == true
}
