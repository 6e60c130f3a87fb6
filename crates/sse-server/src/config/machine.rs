//! What this machine offers, from which some defaults are taken.

use std::fs;
use std::io::{self, IsTerminal};
use std::thread;

const KIB: u64 = 1024;
const GIB: u64 = 1024 * 1024 * 1024;

/// Assumed where the memory cannot be read: small, so that a guess never takes a machine down.
const MEMORY_GUESS: u64 = GIB;
/// Assumed where the descriptor limit cannot be read: the usual soft limit.
const DESCRIPTORS_GUESS: u64 = 1024;
/// The kernel's own default ceiling (`fs.nr_open`); some container engines report a billion.
const DESCRIPTORS_TOP: u64 = 1 << 20;

/// The facts about a machine that defaults depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    /// Memory this process may use, in bytes.
    pub(super) memory_bytes: u64,
    /// Cores this process may run on.
    pub(super) cores: usize,
    /// Descriptors this process may open once it has raised its limit.
    pub(super) descriptors_max: u64,
    /// Whether logs go to a person.
    pub(super) stderr_is_terminal: bool,
}

impl Machine {
    /// Reads the facts from `/proc` and the control group, with careful guesses where they are missing.
    pub(super) fn detect() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let installed = memory_total(&read("/proc/meminfo")).unwrap_or(MEMORY_GUESS);
        let allowed = group_limit(&read("/sys/fs/cgroup/memory.max")).unwrap_or(u64::MAX);
        let descriptors = descriptor_limit(&read("/proc/self/limits")).unwrap_or(DESCRIPTORS_GUESS);
        Self {
            memory_bytes: installed.min(allowed),
            cores: thread::available_parallelism().map_or(1, usize::from),
            descriptors_max: descriptors.min(DESCRIPTORS_TOP),
            stderr_is_terminal: io::stderr().is_terminal(),
        }
    }

    /// A quarter of the memory in whole MiB, so that it prints and parses back exactly.
    pub(super) fn quarter_of_memory(&self) -> String {
        format!("{}MiB", (self.memory_bytes / 4 / KIB / KIB).max(1))
    }

    /// What is left for streams after listeners, epoll, logs, the admin listener and publishers.
    /// The reserve is a thirty-second of the limit, at least 40 and at most 512.
    pub(super) fn connections(&self) -> String {
        let reserve = (self.descriptors_max / 32).clamp(40, 512);
        self.descriptors_max.saturating_sub(reserve).max(1).to_string()
    }
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn memory_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(KIB)
}

/// The control group's memory bound in bytes; nothing when it says `max`.
fn group_limit(memory_max: &str) -> Option<u64> {
    memory_max.trim().parse().ok()
}

/// The hard `Max open files` of `/proc/self/limits`, to which the server raises its soft limit.
fn descriptor_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    match line.split_whitespace().nth(1)? {
        "unlimited" => Some(DESCRIPTORS_TOP),
        count => count.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_prints() {
        assert_eq!(memory_total("MemTotal:       24683992 kB\nMemFree: 1 kB\n"), Some(24_683_992 * 1024));
        assert_eq!(memory_total("MemFree: 1 kB\n"), None);
        assert_eq!(memory_total("MemTotal: many kB\n"), None);
        assert_eq!(group_limit("1073741824\n"), Some(GIB));
        assert_eq!(group_limit("max\n"), None);
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 20000                files     \n";
        assert_eq!(descriptor_limit(limits), Some(20_000));
        assert_eq!(descriptor_limit("Max open files            1024   unlimited   files\n"), Some(DESCRIPTORS_TOP));
        assert_eq!(descriptor_limit(""), None);
    }

    #[test]
    fn this_machine_has_memory_cores_and_descriptors() {
        let machine = Machine::detect();
        assert!(machine.memory_bytes > 64 * KIB * KIB, "{machine:?}");
        assert!(machine.cores >= 1 && machine.descriptors_max >= 64, "{machine:?}");
    }

    #[test]
    fn reserves_descriptors_in_proportion() {
        let connections = |descriptors_max| Machine { descriptors_max, ..Machine::detect() }.connections();
        assert_eq!(connections(256), "216");
        assert_eq!(connections(20_000), "19488");
        assert_eq!(connections(16), "1");
    }
}
