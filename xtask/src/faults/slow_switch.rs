//! A switch between two servers, of which every message is held up: what takes some milliseconds takes a second, and a kill
//! at any of its steps is no matter of luck.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use super::bench::Bench;
use super::server::{Server, program};
use super::tracer::Tracer;

/// Before and after each message that a process sends or waits for.
pub const HOLD: Duration = Duration::from_millis(15);

/// How far a successor has come, by what it last began to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Starting,
    Greeting,
    Copying,
    Switching,
    Prepared,
    /// It is saying that it has everything, or has just said so.
    Taking,
    Serving,
}

impl Phase {
    /// Those in which the two processes know of each other.
    pub const COMMON: [Self; 6] =
        [Self::Greeting, Self::Copying, Self::Switching, Self::Prepared, Self::Taking, Self::Serving];

    fn of(trace: &str) -> Self {
        if let Some((_, rest)) = trace.split_once(r#"\"taken\""#) {
            return if rest.contains("(DELAYED)") { Self::Serving } else { Self::Taking };
        }
        let said = [
            (Self::Prepared, r#"{\"prepared\""#),
            (Self::Switching, r#"\"ready\""#),
            (Self::Copying, r#"\"copy\""#),
            (Self::Greeting, r#"{\"hello\""#),
        ];
        said.into_iter().find(|(_, word)| trace.contains(word)).map_or(Self::Starting, |(phase, _)| phase)
    }
}

/// A new process that asks for everything, slowly. Killed when dropped.
#[derive(Debug)]
pub struct SlowSuccessor {
    child: Child,
    trace: PathBuf,
    /// Holds up what the old process says; it ends with it.
    _incumbent: Tracer,
}

impl SlowSuccessor {
    pub fn start(bench: &Bench, old: &Server, args: &[&str]) -> Result<Self> {
        let hold = HOLD.as_micros();
        let inject = |calls: &str| format!("inject={calls}:delay_enter={hold}:delay_exit={hold}");
        let incumbent = Tracer::of_all(bench, old, &["-e", "trace=sendmsg", "-e", &inject("sendmsg")])?;
        let trace = bench.file("successor.strace");
        // The file of an earlier one would tell of its steps.
        File::create(&trace)?;
        let log = File::create(bench.file("successor.log"))?;
        let mut command = Command::new("strace");
        // Detached: the child is the server itself.
        command.args(["-D", "-f", "--seccomp-bpf", "-s", "60", "-e", "trace=sendmsg,recvmsg", "-e"]);
        command.arg(inject("sendmsg,recvmsg")).arg("-o").arg(&trace).arg(program());
        command.args(["--listen", &old.address().to_string(), "--admin-listen", "127.0.0.1:0"]);
        command.args(args).args(bench.server_args());
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().context("starting a successor")?;
        Ok(Self { child, trace, _incumbent: incumbent })
    }

    pub fn phase(&self) -> Phase {
        Phase::of(&fs::read_to_string(&self.trace).unwrap_or_default())
    }

    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().context("killing the successor")?;
        self.child.wait().map(drop).context("waiting for the successor")
    }
}

impl Drop for SlowSuccessor {
    fn drop(&mut self) {
        // It fails where the process has ended.
        let _ = self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_phase_is_what_was_said_last() {
        let said = |text: &str| format!("7 sendmsg(9, {{msg_iov=[{{iov_base=\"\\17\\0{text}\"..");
        let mut trace = String::new();
        let words = [r#"{\"hello\":{"#, r#"\"copy\""#, r#"\"ready\""#, r#"{\"prepared\":"#, r#"\"taken\""#];
        assert_eq!(Phase::of(&trace), Phase::Starting);
        for (word, phase) in words.into_iter().zip(Phase::COMMON) {
            trace += &said(word);
            assert_eq!(Phase::of(&trace), phase);
            if phase < Phase::Taking {
                trace += ") = 27 (DELAYED)\n";
                assert_eq!(Phase::of(&trace), phase);
            }
        }
        assert_eq!(Phase::of(&(trace + ") = 19 (DELAYED)\n")), Phase::Serving);
    }
}
