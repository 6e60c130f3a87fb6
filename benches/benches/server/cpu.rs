//! CPU time of threads, by the scheduler's own count in nanoseconds.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Threads of this process.
pub(crate) struct Threads(Vec<PathBuf>);

impl Threads {
    /// Those whose names begin so.
    pub(crate) fn named(prefix: &str) -> Self {
        let tasks = fs::read_dir("/proc/self/task").expect("Linux lists a process's threads");
        let tasks = tasks.map(|task| task.expect("it can be listed").path());
        let is_one = |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|name| name.starts_with(prefix));
        let threads: Vec<PathBuf> = tasks.filter(is_one).collect();
        assert!(!threads.is_empty(), "no thread is called {prefix}");
        Self(threads)
    }

    /// What they have used since they began.
    pub(crate) fn used(&self) -> Duration {
        let used = |task: &PathBuf| {
            let stat = fs::read_to_string(task.join("schedstat")).expect("the kernel counts what threads use");
            stat.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok()).expect("the first number is nanoseconds")
        };
        Duration::from_nanos(self.0.iter().map(used).sum())
    }
}
