//! Measurement 4: a bound per topic, kept beside appends.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::{
    append::Groups,
    gauge,
    report::Report,
    store::{self, Durability, Store},
};

/// Deleted in one transaction, so that an append never waits long.
const DELETE_BATCH: usize = 128;

/// What the hub keeps in memory for each topic.
#[derive(Clone, Default)]
struct Topic {
    count: usize,
    deleted_up_to: u64,
}

/// Appends `events` more to a store that holds the bound (of uniformly spread topics) already.
pub fn run(engine: &str, dir: &Path, kept: u64, events: u64, topics: u32) -> Result<()> {
    let mut store = store::open(engine, dir)?;
    let first = store.last_seq()? + 1;
    let mut groups = Groups { next_seq: first, topics, size: 200, group: 256 };
    let mut run = Run::new(kept, topics)?;
    let (cpu, start) = (gauge::cpu(), Instant::now());
    let mut sizes = vec![disk_mib(dir)?];
    while groups.next_seq < first + events {
        run.round(store.as_mut(), &mut groups)?;
        if (groups.next_seq - first) / (events / 4) >= sizes.len() as u64 {
            sizes.push(disk_mib(dir)?);
        }
    }
    let (wall, cpu) = (start.elapsed(), gauge::cpu() - cpu);
    let mut report = Report::new()
        .add("events_per_s", events as f64 / wall.as_secs_f64())
        .add("cpu_us", cpu.as_secs_f64() * 1e6 / events as f64)
        .add("append_p50_us", run.append_ns.value_at_quantile(0.5) as f64 / 1e3)
        .add("append_p99_us", run.append_ns.value_at_quantile(0.99) as f64 / 1e3)
        .add("append_max_us", run.append_ns.max() as f64 / 1e3)
        .add("delete_p99_us", run.delete_ns.value_at_quantile(0.99) as f64 / 1e3)
        .add("delete_max_us", run.delete_ns.max() as f64 / 1e3)
        .add("ms_per_1000_deleted", run.deleting.as_secs_f64() * 1e6 / run.deleted.max(1) as f64)
        .add("rss_mib", gauge::rss_mib()?);
    store.close()?;
    sizes.push(disk_mib(dir)?);
    for (quarter, size) in sizes.iter().enumerate() {
        report = report.add(&format!("size{quarter}_mib"), *size);
    }
    report.print();
    Ok(())
}

struct Run {
    topics: Vec<Topic>,
    bound: usize,
    append_ns: Histogram<u64>,
    delete_ns: Histogram<u64>,
    deleting: Duration,
    deleted: usize,
}

impl Run {
    fn new(kept: u64, topics: u32) -> Result<Self> {
        let bound = kept as usize / topics as usize;
        let topics = vec![Topic { count: bound, deleted_up_to: 0 }; topics as usize];
        let (append_ns, delete_ns) = (Histogram::new(3)?, Histogram::new(3)?);
        Ok(Self { topics, bound, append_ns, delete_ns, deleting: Duration::ZERO, deleted: 0 })
    }

    /// One group, then one batch of deletes for each topic that is that much over its bound.
    fn round(&mut self, store: &mut dyn Store, groups: &mut Groups) -> Result<()> {
        let group = groups.make();
        let start = Instant::now();
        store.append(&group, Durability::Fsync)?;
        self.append_ns.record(start.elapsed().as_nanos() as u64)?;
        for event in &group {
            self.topics[event.topic as usize].count += 1;
        }
        for number in 0..self.topics.len() {
            if self.topics[number].count >= self.bound + DELETE_BATCH {
                self.delete(store, number)?;
            }
        }
        Ok(())
    }

    fn delete(&mut self, store: &mut dyn Store, number: usize) -> Result<()> {
        let topic = &mut self.topics[number];
        let start = Instant::now();
        let (deleted, last) = store.delete_oldest(number as u32, topic.deleted_up_to, DELETE_BATCH)?;
        self.delete_ns.record(start.elapsed().as_nanos() as u64)?;
        self.deleting += start.elapsed();
        self.deleted += deleted;
        topic.count -= deleted;
        topic.deleted_up_to = last;
        Ok(())
    }
}

fn disk_mib(dir: &Path) -> Result<f64> {
    Ok(gauge::disk_bytes(dir)? as f64 / 1024.0 / 1024.0)
}
