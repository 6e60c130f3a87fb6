//! What every row is given: its form, its place for files, ways to start things and to wait.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::crash::{Random, clear};

/// How often a fact is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The two ways a stream's bytes take, and the flags for each: writer threads, or a body of hyper's.
pub const PATHS: [(&str, &[&str]); 2] = [("writer", &[]), ("body", &["--writers=off"])];

/// One row's surroundings.
#[derive(Debug, Clone)]
pub struct Bench {
    row: &'static str,
    dir: PathBuf,
    is_long: bool,
    server_args: Vec<String>,
    /// So much of what a row counts, instead of what its form has.
    count: Option<usize>,
    ends_at: Option<Instant>,
    seed: Option<u64>,
}

/// How much of something a row is to do, and until when at the latest.
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    pub wanted: usize,
    ends_at: Option<Instant>,
}

impl Quota {
    /// Whether there is more to do, and time for it.
    pub fn is_open(&self, done: usize) -> bool {
        done < self.wanted && !self.is_late()
    }

    /// Half as much, until the same time.
    pub fn halved(self) -> Self {
        Self { wanted: self.wanted.div_ceil(2), ..self }
    }

    /// Whether the time that was given is over. Without one that never is.
    pub fn is_late(&self) -> bool {
        self.ends_at.is_some_and(|ends_at| Instant::now() >= ends_at)
    }
}

impl Bench {
    pub fn new(row: &'static str, dir: &Path, is_long: bool, server_args: &[String]) -> Self {
        let server_args = server_args.to_vec();
        Self { row, dir: dir.to_owned(), is_long, server_args, count: None, ends_at: None, seed: None }
    }

    /// The same with so much to do, and so long at most, where that is given.
    pub fn bounded(self, count: Option<usize>, time: Option<Duration>) -> Self {
        Self { count, ends_at: time.map(|time| Instant::now() + time), ..self }
    }

    /// The same with what random begins with, where that is given.
    pub fn seeded(self, seed: Option<u64>) -> Self {
        Self { seed, ..self }
    }

    /// What random begins with.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| Random::seeded().next())
    }

    /// How much of what the row counts is to be done in the form that runs.
    pub fn quota(&self, short: usize, long: usize) -> Quota {
        Quota { wanted: self.count.unwrap_or_else(|| self.pick(short, long)), ends_at: self.ends_at }
    }

    pub fn is_long(&self) -> bool {
        self.is_long
    }

    /// The value for the form that runs.
    pub fn pick<T>(&self, short: T, long: T) -> T {
        if self.is_long { long } else { short }
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A file of this row.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{}-{name}", self.row))
    }

    /// The flag of a data directory that is there anew.
    pub fn data_dir(&self) -> Result<String> {
        let dir = self.file("data");
        clear(&dir)?;
        Ok(format!("--data-dir={}", dir.display()))
    }

    /// What was given on the command line for every server: it comes last, and so wins over a row's own flags.
    pub fn server_args(&self) -> &[String] {
        &self.server_args
    }
}

/// Waits for a fact; gives how long it took, or nothing if `limit` was not enough.
pub fn wait_for(limit: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<Option<Duration>> {
    let started = Instant::now();
    loop {
        if is_so()? {
            return Ok(Some(started.elapsed()));
        }
        if started.elapsed() > limit {
            return Ok(None);
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

/// Waits for what has to come before anything can be measured.
pub fn expect(what: &str, limit: Duration, is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let waited = wait_for(limit, is_so)?;
    ensure!(waited.is_some(), "{what}: not within {limit:?}");
    Ok(())
}

/// Seconds, with `limit` and more for what did not happen at all.
pub fn seconds_or_over(took: Option<Duration>, limit: Duration) -> f64 {
    took.unwrap_or(limit * 2).as_secs_f64()
}
