//! What every row is given: its form, its place for files, ways to start things and to wait.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

/// How often a fact is looked for.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// The two ways a stream's bytes take, and the flags for each: writer threads, or a body of hyper's.
pub const PATHS: [(&str, &[&str]); 2] = [("writer", &[]), ("body", &["--writers=off"])];

/// One row's surroundings.
#[derive(Debug)]
pub struct Bench {
    row: &'static str,
    dir: PathBuf,
    is_long: bool,
    server_args: Vec<String>,
}

impl Bench {
    pub fn new(row: &'static str, dir: &Path, is_long: bool, server_args: &[String]) -> Self {
        Self { row, dir: dir.to_owned(), is_long, server_args: server_args.to_vec() }
    }

    pub fn is_long(&self) -> bool {
        self.is_long
    }

    /// The value for the form that runs.
    pub fn pick<T>(&self, short: T, long: T) -> T {
        if self.is_long { long } else { short }
    }

    /// A file of this row.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{}-{name}", self.row))
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
