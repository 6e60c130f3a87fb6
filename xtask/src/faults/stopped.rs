//! C1: readers that stop, beside others who must not notice.

use std::time::Duration;

use anyhow::Result;

use super::bench::{Bench, expect, seconds_or_over};
use super::finding::{Findings, Pairs};
use super::load::{Load, is_whole, p99_ms};
use super::rank::Rank;
use super::server::Server;
use super::watch::Watch;

const TOPICS: u32 = 10;
const RATIO_MAX: f64 = 1.2;
/// How long after it passed the lag bound a stopped reader may stay.
const EVICTED_WITHIN: f64 = 5.0;
/// What the server may hold for a stopped reader, beyond what it holds for one that reads.
const KEPT_BYTES_MAX: f64 = 65_536.0;
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// The load that both runs of a pair have.
struct Plan {
    readers: usize,
    stopping: usize,
    /// Events per second on all topics.
    rate: u32,
    event_bytes: u32,
    lag_frames_max: u32,
    seconds: u32,
}

/// What one run came to.
struct Run {
    p99_ms: f64,
    is_whole: bool,
    rss_bytes_max: f64,
    evicted: usize,
    /// Seconds from passing the lag bound to the end of the last of them.
    longest_wait: f64,
}

/// A tenth of the readers is stopped (SIGSTOP): the others keep their p99, the stopped are evicted.
pub fn a_tenth_stops(bench: &Bench) -> Result<Findings> {
    // The short form is faster at filling what the kernel buffers, which takes most of the time.
    let plan = bench.pick(
        Plan { readers: 450, stopping: 50, rate: 1_000, event_bytes: 1_000, lag_frames_max: 64, seconds: 8 },
        Plan { readers: 900, stopping: 100, rate: 500, event_bytes: 200, lag_frames_max: 256, seconds: 45 },
    );
    let (mut pairs, mut stopped) = (Pairs::default(), Vec::new());
    let mut grown: f64 = 0.0;
    while !pairs.are_enough(RATIO_MAX, bench.is_long()) {
        let (calm, run) = (plan.run(bench, false)?, plan.run(bench, true)?);
        pairs.push(calm.p99_ms, run.p99_ms);
        grown = grown.max((run.rss_bytes_max - calm.rss_bytes_max) / plan.stopping as f64);
        stopped.push(run);
    }
    let mut findings = Findings::default();
    findings.pairs("p99 of those who read", &pairs, RATIO_MAX);
    findings.all(
        "runs in which those who read got all",
        stopped.iter().filter(|run| run.is_whole).count(),
        stopped.len(),
    );
    let fewest = stopped.iter().map(|run| run.evicted).min().unwrap_or(0);
    findings.all("stopped readers evicted", fewest, plan.stopping);
    let longest = stopped.iter().map(|run| run.longest_wait).fold(0.0, f64::max);
    findings.at_most("evicted after passing the lag bound", longest, EVICTED_WITHIN, "s");
    findings.at_most("server memory per stopped reader", grown / 1024.0, KEPT_BYTES_MAX / 1024.0, "KiB");
    Ok(findings)
}

impl Plan {
    fn run(&self, bench: &Bench, freeze: bool) -> Result<Run> {
        let server = Server::start_ahead(bench, &[&format!("--lag-frames-max={}", self.lag_frames_max)])?;
        let (topics, seconds) = (TOPICS.to_string(), self.seconds.to_string());
        let stopping = self.stopping.to_string();
        let common = ["--topics", &topics, "--topic-prefix", "base-", "--seconds"];
        let follow = [&common[..], &["600", "--subscribers", &stopping, "--rate", "0"]].concat();
        let others = Load::start_ranked(Rank::Ahead, bench, "stopping", &server, &follow)?;
        expect("streams of those who stop", Duration::from_secs(10), || Ok(server.streams()? == self.stopping))?;
        let mut watch = Watch::connections_to(server.address().port())?;
        let (rate, bytes, readers) = (self.rate.to_string(), self.event_bytes.to_string(), self.readers.to_string());
        let publish = ["--subscribers", &readers, "--rate", &rate, "--event-bytes", &bytes];
        let mut main =
            Load::start_ranked(Rank::Ahead, bench, "readers", &server, &[&common[..], &[&seconds], &publish].concat())?;
        let all = self.readers + self.stopping;
        expect("streams of those who read", Duration::from_secs(20), || Ok(server.streams()? == all))?;
        if freeze {
            others.freeze()?;
        }
        while main.is_running() {
            watch.look()?;
            std::thread::sleep(LOOK_INTERVAL);
        }
        let report = main.report(Duration::ZERO)?;
        let evicted = server.evictions("lagged")? + server.evictions("stalled")?;
        server.stop()?;
        let lagging = f64::from(self.lag_frames_max) / (f64::from(self.rate) / f64::from(TOPICS));
        Ok(Run {
            p99_ms: p99_ms(&report),
            is_whole: is_whole(&report),
            rss_bytes_max: report["server"]["rss_bytes_max"].as_f64().unwrap_or(f64::NAN),
            evicted,
            longest_wait: seconds_or_over(watch.longest_wait(), Duration::from_secs(600)) - lagging,
        })
    }
}
