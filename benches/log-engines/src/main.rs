//! Measures embedded stores for the durable event log. `appends`, `history` and `faults` print tables; `one` is a
//! single measurement, run as a process of its own so that memory, threads and processor time are one engine's.

mod append;
mod bare;
mod event;
mod faults;
mod fjall_store;
mod gauge;
mod plan;
mod read;
mod redb_store;
mod report;
mod retention;
mod segment_log;
mod sqlite;
mod store;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
struct Cli {
    /// Where the files go; must be on the disk to be measured. Default: a temporary directory.
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Appends of several group sizes, synced per group and at an interval.
    Appends {
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        #[arg(long, default_value_t = 500)]
        millis: u64,
    },
    /// Resume reads, retention, opening, size and memory with a history on disk.
    History {
        #[arg(long, default_value_t = 1_000_000)]
        events: u64,
        /// One of them only. Default: all that keep an index.
        #[arg(long)]
        engine: Option<String>,
    },
    /// Failing syncs (needs strace), a full disk (needs the right to mount), damaged files.
    Faults,
    /// One measurement of one engine.
    One {
        #[arg(long)]
        engine: String,
        #[command(subcommand)]
        what: One,
    },
}

#[derive(Subcommand)]
enum One {
    Append { group: usize, size: usize, fsync: u8, commits: u64, millis: u64 },
    Fill { events: u64, topics: u32 },
    Forever,
    Open { cold: u8 },
    Read { topics: u32, reads: u64, writer_rate: u64, cold: u8 },
    Retention { kept: u64, events: u64, topics: u32 },
    SyncError,
    FullDisk,
    Damage { rounds: u64, cut: u8, clean: u8 },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let temporary = tempfile::tempdir()?;
    let dir = cli.dir.as_deref().unwrap_or(temporary.path());
    match cli.command {
        Command::Appends { rounds, millis } => plan::appends(dir, rounds, millis),
        Command::History { events, engine } => plan::history(dir, events, engine.as_deref()),
        Command::Faults => plan::faults(dir),
        Command::One { engine, what } => one(&engine, dir, what),
    }
}

fn one(engine: &str, dir: &Path, what: One) -> Result<()> {
    match what {
        One::Append { group, size, fsync, commits, millis } => {
            append::run(engine, dir, group, size, fsync == 1, commits, Duration::from_millis(millis))
        }
        One::Fill { events, topics } => append::fill(engine, dir, events, topics),
        One::Forever => append::forever(engine, dir),
        One::Open { cold } => open(engine, dir, cold == 1),
        One::Read { topics, reads, writer_rate, cold } => read::run(engine, dir, topics, reads, writer_rate, cold == 1),
        One::Retention { kept, events, topics } => retention::run(engine, dir, kept, events, topics),
        One::SyncError => faults::sync_error(engine, dir),
        One::FullDisk => faults::full_disk(engine, dir),
        One::Damage { rounds, cut, clean } => faults::damage(engine, dir, rounds, cut == 1, clean == 1),
    }
}

/// Measurement 5: until the last sequence is known.
fn open(engine: &str, dir: &Path, cold: bool) -> Result<()> {
    if cold {
        gauge::drop_page_cache(dir)?;
    }
    let start = Instant::now();
    let store = store::open(engine, dir)?;
    let last = store.last_seq()?;
    let took = start.elapsed();
    report::Report::new()
        .add("open_ms", took.as_secs_f64() * 1e3)
        .add("last_seq", last as f64)
        .add("rss_mib", gauge::rss_mib()?)
        .print();
    store.close()
}
