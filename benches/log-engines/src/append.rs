//! Measurements 1 and 2: appends, synced per group or at an interval.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::{
    event::Event,
    gauge,
    report::Report,
    store::{self, Durability, Store},
};

/// How often interval mode syncs.
const INTERVAL: Duration = Duration::from_millis(100);

/// Makes the groups beforehand, so that only the engine is timed.
pub struct Groups {
    pub next_seq: u64,
    pub topics: u32,
    pub size: usize,
    pub group: usize,
}

impl Groups {
    pub fn make(&mut self) -> Vec<Event> {
        let first = self.next_seq;
        self.next_seq += self.group as u64;
        (first..self.next_seq).map(|seq| Event::random(seq, self.topics, self.size)).collect()
    }
}

pub fn run(
    engine: &str,
    dir: &Path,
    group: usize,
    size: usize,
    fsync: bool,
    commits: u64,
    time: Duration,
) -> Result<()> {
    let mut store = store::open(engine, dir)?;
    let mut groups = Groups { next_seq: 1, topics: 50, size, group };
    let mut commit_ns = Histogram::<u64>::new(3)?;
    let mut synced = Instant::now();
    let (mut wall, mut cpu) = (Duration::ZERO, Duration::ZERO);
    let written = gauge::written_bytes()?;
    while wall < time && commit_ns.len() < commits {
        let made = groups.make();
        let due = fsync || synced.elapsed() >= INTERVAL;
        let (cpu_before, start) = (gauge::cpu(), Instant::now());
        store.append(&made, if due { Durability::Fsync } else { Durability::Later })?;
        let took = start.elapsed();
        wall += took;
        cpu += gauge::cpu() - cpu_before;
        commit_ns.record(took.as_nanos() as u64)?;
        if due {
            synced = Instant::now();
        }
    }
    let events = (commit_ns.len() * group as u64) as f64;
    Report::new()
        .add("events_per_s", events / wall.as_secs_f64())
        .add("p50_us", commit_ns.value_at_quantile(0.5) as f64 / 1e3)
        .add("p99_us", commit_ns.value_at_quantile(0.99) as f64 / 1e3)
        .add("max_us", commit_ns.max() as f64 / 1e3)
        .add("cpu_us", cpu.as_secs_f64() * 1e6 / events)
        .add("written_bytes", (gauge::written_bytes()? - written) as f64 / events)
        .add("commits", commit_ns.len() as f64)
        .print();
    store.close()
}

/// Fills a store in interval mode, as the history the other measurements read.
pub fn fill(engine: &str, dir: &Path, events: u64, topics: u32) -> Result<()> {
    let mut store = store::open(engine, dir)?;
    let mut groups = Groups { next_seq: 1, topics, size: 200, group: 500 };
    let (cpu, start) = (gauge::cpu(), Instant::now());
    append_events(store.as_mut(), &mut groups, events)?;
    let wall = start.elapsed();
    let cpu = gauge::cpu() - cpu;
    let rss = gauge::rss_mib()?;
    store.close()?;
    Report::new()
        .add("events_per_s", events as f64 / wall.as_secs_f64())
        .add("cpu_us", cpu.as_secs_f64() * 1e6 / events as f64)
        .add("rss_mib", rss)
        .add("bytes_per_event", gauge::disk_bytes(dir)? as f64 / events as f64)
        .print();
    Ok(())
}

fn append_events(store: &mut dyn Store, groups: &mut Groups, events: u64) -> Result<()> {
    let mut synced = Instant::now();
    while groups.next_seq <= events {
        let due = synced.elapsed() >= INTERVAL;
        store.append(&groups.make(), if due { Durability::Fsync } else { Durability::Later })?;
        if due {
            synced = Instant::now();
        }
    }
    Ok(())
}

/// Appends until killed, and prints the last sequence of each group once it is on disk.
pub fn forever(engine: &str, dir: &Path) -> Result<()> {
    let mut store = store::open(engine, dir)?;
    let mut groups = Groups { next_seq: store.last_seq()? + 1, topics: 50, size: 200, group: 64 };
    loop {
        store.append(&groups.make(), Durability::Fsync)?;
        println!("{}", groups.next_seq - 1);
    }
}
