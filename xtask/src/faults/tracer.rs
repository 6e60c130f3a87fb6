//! strace on the server: it makes system calls fail or wait, and writes down what was called.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, expect};
use super::server::Server;
use crate::loadtest::process::Process;

/// What a log is synced with.
pub const SYNCS: &str = "fsync,fdatasync";

/// An strace at work; detached when dropped.
#[derive(Debug)]
pub struct Tracer {
    process: Process,
    output: PathBuf,
}

impl Tracer {
    /// Attaches to the thread that commits, and to no other: the rest of the server runs at its usual speed.
    pub fn of_log_thread(bench: &Bench, server: &Server, args: &[&str]) -> Result<Self> {
        let tasks = PathBuf::from(format!("/proc/{}/task", server.pid()));
        let thread = thread_named(&tasks, "log")?.context("the server has no log thread")?;
        Self::attach(bench, &[&["-p", &thread], args].concat(), 1)
    }

    /// Attaches to every thread.
    pub fn of_all(bench: &Bench, server: &Server, args: &[&str]) -> Result<Self> {
        let pid = server.pid().to_string();
        let threads = fs::read_dir(format!("/proc/{pid}/task")).context("listing threads")?.count();
        Self::attach(bench, &[&["-f", "-p", &pid], args].concat(), threads)
    }

    fn attach(bench: &Bench, args: &[&str], threads: usize) -> Result<Self> {
        let (output, log) = (bench.file("strace"), bench.file("strace.log"));
        let mut command = Command::new("strace");
        command.arg("-o").arg(&output).args(args);
        let process = Process::start(&mut command, &log)?;
        // With several threads it says so in one line.
        let is_attached = || {
            let said = fs::read_to_string(&log).unwrap_or_default();
            said.contains(" attached with ") || said.matches(" attached").count() >= threads
        };
        expect("strace at its work", Duration::from_secs(10), || Ok(is_attached()))?;
        Ok(Self { process, output })
    }

    /// Lets go of the server; the file of what was called, a line each.
    pub fn detach(self) -> PathBuf {
        // It has ended by itself if the thread has.
        let _ = self.process.stop();
        self.output
    }
}

fn thread_named(tasks: &Path, name: &str) -> Result<Option<String>> {
    for task in fs::read_dir(tasks).context("listing threads")? {
        let task = task?;
        let comm = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        if comm.trim_end() == name {
            return Ok(task.file_name().into_string().ok());
        }
    }
    Ok(None)
}

/// Makes syncs wait this much longer before they return.
pub fn delayed(by: Duration) -> String {
    format!("inject={SYNCS}:delay_exit={}", by.as_micros())
}

/// Nothing works without the program.
pub fn check() -> Result<()> {
    ensure!(crate::program::find("strace").is_some(), "there is no strace: run cargo xtask setup");
    Ok(())
}
