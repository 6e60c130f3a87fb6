//! What a run found, for programs (JSON) and for people (the table).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::latency::{QuantilePoint, Quantiles};
use crate::ledger::Tally;
use crate::machine::Machine;
use crate::meter::{Meter, Points, Sample};
use crate::procfs::Usage;
use crate::publisher::Publishing;
use crate::scenario::Scenario;

/// The outcome of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Whether every event was published and every subscriber got every one once, in order and unharmed.
    pub whole: bool,
    /// What was asked for.
    pub load: Load,
    /// Where it ran.
    pub machine: Machine,
    /// How the streams opened.
    pub streams: Streams,
    /// How publishing went.
    pub publishing: Published,
    /// What arrived.
    pub delivery: Delivery,
    /// What the server used, if its process was named and there to the end.
    pub server: Option<ServerUse>,
    /// Why not, if it was not.
    pub server_failure: Option<String>,
    /// What this tool used.
    pub loadgen: OwnUse,
    /// The server over time.
    pub samples: Vec<Sample>,
}

/// The load that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// The URL template that was followed.
    pub follow_url: String,
    /// Streams that read.
    pub subscribers: u32,
    /// Streams that stopped reading.
    pub slow_readers: u32,
    /// Topics in all, and on each stream.
    pub topics: u32,
    /// Topics on each stream.
    pub topics_per_subscriber: u32,
    /// Events per second.
    pub rate: f64,
    /// Events at once.
    pub burst: u32,
    /// Bytes of data per event.
    pub event_bytes: usize,
    /// Visitors per second.
    pub churn: f64,
    /// How long it went on.
    pub seconds: f64,
}

/// How the streams opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Streams {
    /// How many were open at once, visitors left out.
    pub opened: u64,
    /// How long opening them all took.
    pub ramp_seconds: f64,
    /// From connecting to the head of the answer, visitors included.
    pub opening: Quantiles,
    /// How long streams that were cut were away.
    #[serde(default)]
    pub away: Quantiles,
    /// From how many addresses.
    pub sources: u32,
}

/// How publishing went.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Published {
    /// Events sent.
    pub sent: u64,
    /// Events answered with 2xx.
    pub confirmed: u64,
    /// Other answers, by status.
    pub refused: BTreeMap<u16, u64>,
    /// Events whose answer never came.
    pub unanswered: u64,
    /// Events that were due but could not be sent in time.
    pub unsent: u64,
    /// From the intended time to the answer.
    pub answered: Quantiles,
    /// How late the load generator itself was: what of the latencies is its own doing.
    pub late: Quantiles,
    /// The first failure in words.
    pub failure: Option<String>,
}

/// What arrived.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Deliveries that had to happen, as far as can be told: those that did and those that were lost.
    pub expected: u64,
    /// The share of them that happened, 1 when nothing was expected.
    pub share: f64,
    /// Deliveries per second of load.
    pub per_second: f64,
    /// From the intended time of publishing to each subscriber.
    pub latency: Quantiles,
    /// The same as a curve, up to the slowest of all.
    #[serde(default)]
    pub latency_curve: Vec<QuantilePoint>,
    /// From the intended time of publishing to the last subscriber of each event.
    pub last_subscriber: Quantiles,
    /// Counts of arrivals and faults.
    #[serde(flatten)]
    pub tally: Tally,
}

/// What the server used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ServerUse {
    /// CPU time while under load.
    pub cpu_seconds: f64,
    /// The same for each event delivered to a subscriber; 0 when there was none.
    pub cpu_us_per_delivery: f64,
    /// The same in cores.
    pub cores: f64,
    /// CPU time for opening each stream, in microseconds.
    pub cpu_us_per_opening: f64,
    /// Before the first stream.
    pub before: Usage,
    /// With all streams open and quiet.
    pub idle: Usage,
    /// After the load, with all streams open.
    pub end: Usage,
    /// Most resident memory in any sample.
    pub rss_bytes_max: u64,
    /// Resident memory that came with each idle stream.
    pub rss_bytes_per_idle_stream: f64,
    /// Resident memory that came with each stream, at the most.
    pub rss_bytes_per_loaded_stream: f64,
    /// Memory in the kernel's object caches that came with each stream, both ends together.
    pub kernel_bytes_per_stream: f64,
}

/// What this tool used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OwnUse {
    /// CPU time while under load.
    pub cpu_seconds: f64,
    /// The same for each event delivered, publishing included.
    pub cpu_us_per_delivery: f64,
    /// Of the reading threads alone.
    pub reading_cpu_seconds: f64,
    /// Of the publishing threads alone.
    pub publishing_cpu_seconds: f64,
    /// Resident memory that came with each idle stream.
    pub rss_bytes_per_idle_stream: f64,
    /// Resident memory that came with each stream, after the load.
    pub rss_bytes_per_loaded_stream: f64,
    /// Threads in all.
    pub threads: u64,
}

impl Load {
    pub(crate) fn of(scenario: &Scenario) -> Self {
        Self {
            follow_url: scenario.follow_url.clone(),
            subscribers: scenario.subscribers,
            slow_readers: scenario.slow_readers,
            topics: scenario.topics,
            topics_per_subscriber: scenario.topics_per_subscriber,
            rate: scenario.rate,
            burst: scenario.burst,
            event_bytes: scenario.event_bytes,
            churn: scenario.churn,
            seconds: scenario.duration.as_secs_f64(),
        }
    }
}

impl Published {
    pub(crate) fn of(publishing: Publishing) -> Self {
        Self {
            sent: publishing.sent,
            confirmed: publishing.confirmed,
            refused: publishing.refused,
            unanswered: publishing.unanswered,
            unsent: publishing.unsent,
            answered: publishing.answered.summary(),
            late: publishing.late.summary(),
            failure: publishing.failure,
        }
    }

    /// Whether every event was sent and confirmed; where the server may be away for a time, whether what it answered was.
    pub(crate) fn is_whole(&self, may_be_away: bool) -> bool {
        let excused = if may_be_away { self.unanswered } else { 0 };
        self.confirmed + excused == self.sent && self.unsent == 0
    }
}

impl ServerUse {
    pub(crate) fn of(meter: &Meter, streams: u64, delivered: u64, seconds: f64) -> Self {
        let Points { before, idle, start, end } = meter.server_points;
        let cpu_seconds = end.cpu_seconds - start.cpu_seconds;
        let sampled = meter.samples.iter().filter_map(|sample| sample.server);
        let rss_bytes_max = sampled.map(|usage| usage.rss_bytes).chain([end.rss_bytes]).max().unwrap_or_default();
        let [slab_before, slab_idle] = meter.slab.map(Option::unwrap_or_default);
        Self {
            cpu_seconds,
            cpu_us_per_delivery: per(cpu_seconds * 1e6, delivered),
            cores: cpu_seconds / seconds,
            cpu_us_per_opening: per((idle.cpu_seconds - before.cpu_seconds) * 1e6, streams),
            before,
            idle,
            end,
            rss_bytes_max,
            rss_bytes_per_idle_stream: growth(before.rss_bytes, idle.rss_bytes, streams),
            rss_bytes_per_loaded_stream: growth(before.rss_bytes, rss_bytes_max, streams),
            kernel_bytes_per_stream: growth(slab_before, slab_idle, streams),
        }
    }
}

impl OwnUse {
    pub(crate) fn of(points: &Points, streams: u64, delivered: u64, reading: Duration, publishing: Duration) -> Self {
        let Points { before, idle, start, end } = points;
        let cpu_seconds = end.cpu_seconds - start.cpu_seconds;
        Self {
            cpu_seconds,
            cpu_us_per_delivery: per(cpu_seconds * 1e6, delivered),
            reading_cpu_seconds: reading.as_secs_f64(),
            publishing_cpu_seconds: publishing.as_secs_f64(),
            rss_bytes_per_idle_stream: growth(before.rss_bytes, idle.rss_bytes, streams),
            rss_bytes_per_loaded_stream: growth(before.rss_bytes, end.rss_bytes, streams),
            threads: end.threads.max(start.threads),
        }
    }
}

fn per(amount: f64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { amount / count as f64 }
}

fn growth(before: u64, after: u64, count: u64) -> f64 {
    per(after as f64 - before as f64, count)
}
