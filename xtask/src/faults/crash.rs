//! A1 and A12: the server is killed while it publishes, again and again on the same directory.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::bench::{Bench, Quota, wait_for};
use super::finding::Findings;
use super::history::{Verdict, judge, replay};
use super::press::{Journal, Press};
use super::server::Server;

const PUBLISHERS: usize = 8;
/// Kills before a directory is begun anew: every restart reads all that there is.
const KILLS_PER_DIRECTORY: usize = 20;

/// Kills at random moments under load: what was acknowledged is there, once and in its order.
pub fn under_load(bench: &Bench) -> Result<Findings> {
    kill_and_restart(bench, &Load { kills: bench.quota(25, 1_000), bytes: 200, keeps: None })
}

/// The same while old events are dropped and the write-ahead log is moved to its place all the time.
pub fn while_it_tends(bench: &Bench) -> Result<Findings> {
    kill_and_restart(bench, &Load { kills: bench.quota(15, 200), bytes: 16_000, keeps: Some(500) })
}

struct Load {
    kills: Quota,
    bytes: usize,
    /// Events that the log keeps, if not all.
    keeps: Option<u64>,
}

fn kill_and_restart(bench: &Bench, load: &Load) -> Result<Findings> {
    let dir = bench.file("data");
    let data_dir = format!("--data-dir={}", dir.display());
    let retain = format!("--retain-events={}", load.keeps.unwrap_or(1_000_000));
    let flags = [&*data_dir, "--durability=fsync", &retain];
    let mut sum = Verdict::default();
    let (mut acked, mut gaps_of_the_acked, mut fewest_kept) = (0, Vec::new(), u64::MAX);
    let mut slowest = Duration::ZERO;
    let mut journals = Vec::new();
    let mut random = Random::seeded();
    let mut kills = 0;
    while load.kills.is_open(kills) {
        if kills % KILLS_PER_DIRECTORY == 0 {
            clear(&dir)?;
            journals = vec![Journal::default(); PUBLISHERS];
        }
        let server = Server::start(bench, &flags)?;
        let press = Press::start(server.address(), journals, load.bytes);
        std::thread::sleep(random.moment(bench.is_long()));
        server.kill();
        journals = press.ended()?.journals;
        let started = Instant::now();
        let server = Server::start(bench, &flags)?;
        slowest = slowest.max(started.elapsed());
        let verdict = judge(&journals, &replay(server.address(), "earliest")?, load.keeps.is_some());
        fewest_kept = fewest_kept.min(verdict.kept);
        sum.add(&verdict);
        acked = acked.max(journals.iter().map(|journal| journal.acked.len() as u64).sum());
        if let (None, Some((_, id))) = (load.keeps, journals.iter().find_map(|journal| journal.acked.last())) {
            let resumed = replay(server.address(), id)?;
            gaps_of_the_acked.extend(resumed.into_iter().filter(|event| event.kind == "sse.gap").map(|gap| gap.data));
        }
        server.kill();
        kills += 1;
    }
    let mut findings = Findings::default();
    findings.amount("kills", kills, &load.kills);
    findings.none("acknowledged events lost", sum.lost);
    findings.none("events out of order", sum.reordered);
    findings.none("events repeated", sum.repeated);
    findings.none("events nobody sent, or with another id", sum.foreign);
    findings.none("gaps told after an acknowledged id", gaps_of_the_acked.len() as u64);
    findings.at_least("most events acknowledged in one directory", acked as f64, 1_000.0, "");
    if let Some(keeps) = load.keeps {
        findings.at_least("most dropped as too old", acked as f64 - fewest_kept as f64, keeps as f64, "");
    }
    findings.note("the gaps", gaps_of_the_acked.join("; "));
    findings.note("events read back in all", sum.kept);
    findings.note("of those not acknowledged", sum.unasked);
    findings.note("slowest restart in seconds", slowest.as_secs_f64());
    Ok(findings)
}

/// Removes the directory of an earlier run.
pub fn clear(dir: &Path) -> Result<()> {
    let gone = || match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    gone().with_context(|| format!("removing {}", dir.display()))
}

/// Moments that no two runs share.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn seeded() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(now.as_nanos() as u64 | 1)
    }

    /// One of those that come of a seed.
    pub fn of(seed: u64, index: u64) -> Self {
        // Seeds and indices are small numbers, whose first bits xorshift would take long to spread.
        let mixed = (seed ^ index.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        Self(mixed | 1)
    }

    /// Marsaglia's xorshift: even enough for what is tried here.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// When to kill: mostly within half a second, as most of what can go wrong does so under load and not with age.
    fn moment(&mut self, is_long: bool) -> Duration {
        let most = if is_long && self.below(10) == 0 { 5_000 } else { 500 };
        Duration::from_millis(100 + self.below(most - 100))
    }
}

/// Waits until so many events were acknowledged.
pub fn wait_for_acks(press: &Press, count: u64) -> Result<()> {
    super::bench::expect("acknowledged events", Duration::from_secs(30), || Ok(press.acked() >= count))
}

/// Waits until every publisher was refused or cut off.
pub fn wait_for_end(press: &Press, limit: Duration) -> Result<Option<Duration>> {
    wait_for(limit, || Ok(!press.is_running()))
}
