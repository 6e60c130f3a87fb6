//! What a process uses, from `/proc`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// A process at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pub rss_bytes: u64,
    pub descriptors: usize,
    pub cpu: Duration,
}

impl Usage {
    pub fn of(pid: u32) -> Result<Self> {
        let read = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            fs::read_to_string(&path).with_context(|| format!("reading {path}"))
        };
        let rss_bytes = rss(&read("status")?).context("a process's status names no resident memory")?;
        let ticks = cpu_ticks(&read("stat")?).context("a process's stat names no CPU time")?;
        let cpu = Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).context("counting descriptors")?.count();
        Ok(Self { rss_bytes, descriptors, cpu })
    }

    pub fn rss_mib(&self) -> f64 {
        self.rss_bytes as f64 / 1_048_576.0
    }
}

fn rss(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

/// User and system time; the name before them may hold anything, spaces and brackets included.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_prints() {
        assert_eq!(rss("Name:\tx\nVmRSS:\t    8200 kB\nThreads:\t6\n"), Some(8_396_800));
        assert_eq!(rss("Name:\tx\n"), None);
        assert_eq!(cpu_ticks("7 (a) b) S 1 7 7 0 -1 4194560 99 0 0 0 12 30 0 0 20 0 6 0 1 2 3"), Some(42));
    }

    #[test]
    fn this_process_uses_something() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss_bytes > 0 && usage.descriptors > 2);
    }
}
