//! Measurement 3: what a resume costs.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::{
    append::Groups,
    gauge,
    report::Report,
    store::{self, Durability, Reader, Store},
};

/// Events of one resume, and how many are read in one step under one snapshot.
const RESUME: usize = 500;
const STEP: usize = 256;

pub fn run(engine: &str, dir: &Path, topics: u32, reads: u64, writer_rate: u64, cold: bool) -> Result<()> {
    if cold {
        gauge::drop_page_cache(dir)?
    } else {
        gauge::fill_page_cache(dir)?
    }
    let store = store::open(engine, dir)?;
    let last = store.last_seq()?;
    let mut reader = store.reader()?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| write_at(store, last, topics, writer_rate, &stop));
        let measured = measure(reader.as_mut(), topics, reads, last);
        drop(reader);
        stop.store(true, Ordering::Relaxed);
        let store = writer.join().expect("the writer does not panic")?;
        measured?.add("rss_mib", gauge::rss_mib()?).print();
        store.close()
    })
}

fn measure(reader: &mut dyn Reader, topics: u32, reads: u64, last: u64) -> Result<Report> {
    let mut read_ns = Histogram::<u64>::new(3)?;
    let mut events = 0;
    let (cpu, start) = (gauge::cpu(), Instant::now());
    for _ in 0..reads {
        let (topic, cursor) = (fastrand::u32(..topics), fastrand::u64(..last * 9 / 10));
        let start = Instant::now();
        events += resume(reader, topic, cursor)?;
        read_ns.record(start.elapsed().as_nanos() as u64)?;
    }
    let (wall, cpu) = (start.elapsed(), gauge::cpu() - cpu);
    Ok(Report::new()
        .add("us_per_event", wall.as_secs_f64() * 1e6 / events as f64)
        .add("cpu_us_per_event", cpu.as_secs_f64() * 1e6 / events as f64)
        .add("p50_us", read_ns.value_at_quantile(0.5) as f64 / 1e3)
        .add("p99_us", read_ns.value_at_quantile(0.99) as f64 / 1e3)
        .add("events_per_read", events as f64 / reads as f64))
}

fn resume(reader: &mut dyn Reader, topic: u32, mut cursor: u64) -> Result<usize> {
    let mut total = 0;
    while total < RESUME {
        let limit = STEP.min(RESUME - total);
        let count = reader.read_topic(topic, cursor, limit, &mut |seq, _| cursor = seq)?;
        total += count;
        if count < limit {
            break;
        }
    }
    Ok(total)
}

/// Groups of 50 events, each synced, at a steady rate; nothing at rate 0.
fn write_at(mut store: Box<dyn Store>, last: u64, topics: u32, rate: u64, stop: &AtomicBool) -> Result<Box<dyn Store>> {
    let mut groups = Groups { next_seq: last + 1, topics, size: 200, group: 50 };
    let pause = Duration::from_secs_f64(groups.group as f64 / rate.max(1) as f64);
    let mut due = Instant::now();
    while rate > 0 && !stop.load(Ordering::Relaxed) {
        store.append(&groups.make(), Durability::Fsync)?;
        due += pause;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(store)
}
