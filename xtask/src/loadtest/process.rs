//! A program that runs beside the chore, and ends with it whatever happens.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::program;

/// How long a program may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// How long it may take to end when asked, before it is killed.
const STOPPED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// So much of a log's end is shown when its program failed.
const LOG_SHOWN: usize = 2_000;

/// A running program whose output goes to a file.
#[derive(Debug)]
pub struct Process {
    child: Child,
    shown: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, both outputs to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let shown = program::shown(command);
        let file = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {shown}"))?;
        Ok(Self { child, shown, log: log.to_owned() })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `file` is there, which the program writes when it is ready.
    pub fn ready(&mut self, file: &Path) -> Result<String> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Ok(text) = fs::read_to_string(file)
                && !text.is_empty()
            {
                return Ok(text);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended instead of getting ready, {status}:\n{}", self.shown, self.log_end());
            }
            if Instant::now() > deadline {
                bail!("{} was not ready within {READY_WITHIN:?}:\n{}", self.shown, self.log_end());
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Waits until the program ends by itself, at most for `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        match self.ended_within(limit)? {
            Some(status) => Ok(status),
            None => bail!("{} did not end within {limit:?}:\n{}", self.shown, self.log_end()),
        }
    }

    /// Ends the program: asks, then kills. An error tells of a program that had already failed.
    pub fn stop(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} had ended before its time, {status}:\n{}", self.shown, self.log_end());
        }
        self.terminate();
        match self.ended_within(STOPPED_WITHIN)? {
            Some(_) => Ok(()),
            None => bail!("{} did not stop within {STOPPED_WITHIN:?} of SIGTERM and was killed", self.shown),
        }
    }

    /// The end of what it has printed.
    pub fn log_end(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(LOG_SHOWN)..]).into_owned()
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // Failing means it is gone already.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// How it ended, if it does within `limit`.
    pub fn ended_within(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            match self.child.try_wait()? {
                None if Instant::now() < deadline => std::thread::sleep(LOOK_INTERVAL),
                status => return Ok(status),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, name: &str) -> (Process, PathBuf) {
        let log = std::env::temp_dir().join(format!("xtask-{}-{name}.log", std::process::id()));
        let ready = log.with_extension("ready");
        let _ = fs::remove_file(&ready);
        let process = Process::start(Command::new("sh").args(["-c", script, "sh"]).arg(&ready), &log).unwrap();
        (process, ready)
    }

    #[test]
    fn a_program_gets_ready_and_is_stopped() {
        let (mut process, ready) = sh("echo up > \"$1\"; exec sleep 60", "ready");
        assert_eq!(process.ready(&ready).unwrap(), "up\n");
        assert!(process.stop().is_ok());
    }

    #[test]
    fn a_program_that_fails_is_shown_with_its_log() {
        let (mut process, ready) = sh("echo no port left; exit 3", "fails");
        let error = process.ready(&ready).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("no port left"), "{error}");
        assert!(process.stop().is_err());
    }

    #[test]
    fn a_program_that_is_dropped_is_gone() {
        let (process, _) = sh("exec sleep 60", "dropped");
        let stat = format!("/proc/{}/stat", process.pid());
        drop(process);
        assert!(!Path::new(&stat).exists());
    }
}
