//! What the kernel says about a process, a thread and the machine.

use std::fs;
use std::io::{self, ErrorKind};
use std::ops::Add;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// One process, by its id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    pid: u32,
}

/// What a process used up to now and holds at present.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// User and system time of all its threads, dead ones included, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory.
    pub rss_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub descriptors: u64,
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds + other.cpu_seconds,
            rss_bytes: self.rss_bytes + other.rss_bytes,
            threads: self.threads + other.threads,
            descriptors: self.descriptors + other.descriptors,
        }
    }
}

impl Process {
    pub(crate) fn new(pid: u32) -> Self {
        Self { pid }
    }

    pub(crate) fn myself() -> Self {
        Self::new(std::process::id())
    }

    /// Reads `/proc`; fails when the process is gone or not ours to look at.
    pub(crate) fn usage(self) -> io::Result<Usage> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        Ok(Usage {
            cpu_seconds: self.cpu_seconds()?,
            rss_bytes: field(&status, "VmRSS:").unwrap_or(0) * 1024,
            threads: field(&status, "Threads:").unwrap_or(0),
            descriptors: self.descriptors()?,
        })
    }

    fn cpu_seconds(self) -> io::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let ticks = cpu_ticks(&stat).ok_or(ErrorKind::InvalidData)?;
        Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
    }

    /// The directory's size is the count since Linux 6.2; counting its entries works everywhere.
    fn descriptors(self) -> io::Result<u64> {
        let path = format!("/proc/{}/fd", self.pid);
        match fs::metadata(&path)?.len() {
            0 => Ok(fs::read_dir(path)?.count() as u64),
            count => Ok(count),
        }
    }
}

/// The CPU time of the calling thread.
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Memory in the kernel's object caches, in which sockets live.
pub(crate) fn slab_bytes() -> Option<u64> {
    field(&fs::read_to_string("/proc/meminfo").ok()?, "Slab:").map(|kib| kib * 1024)
}

/// User and system time; the name before them may contain anything, parentheses too.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The number behind `name` in a file of `Name:   number unit` lines.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_does_not_confuse() {
        let stat = "12 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 700 42 0 0 20 0 1 0";
        assert_eq!(cpu_ticks(stat), Some(742));
    }

    #[test]
    fn this_process_is_seen() {
        let before = Process::myself().usage().unwrap();
        assert!(before.rss_bytes > 100_000 && before.threads >= 1, "{before:?}");
        let _files: Vec<_> = (0..10).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        let after = Process::myself().usage().unwrap();
        // Other tests open and close files at the same time.
        assert!(after.descriptors >= 10, "{after:?}");
        assert!(slab_bytes().unwrap() > 0);
    }

    #[test]
    fn a_thread_counts_its_own_time() {
        let before = thread_cpu();
        let mut sum = 0_u64;
        while thread_cpu() < before + Duration::from_millis(2) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(thread_cpu() > before);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(Process::new(u32::MAX).usage().is_err());
    }
}
