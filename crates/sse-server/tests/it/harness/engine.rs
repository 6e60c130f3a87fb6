//! The engine between several nodes: Redis or NATS, started for a test.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{Launch, Server, eventually, within};

/// Which engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EngineKind {
    Redis,
    Nats,
}

/// An engine on a port of its own, in a directory that goes with it.
#[derive(Debug)]
pub(crate) struct Engine {
    kind: EngineKind,
    child: Child,
    port: u16,
    dir: TempDir,
}

/// Checks every behaviour with both engines.
macro_rules! with_both_engines {
    ($($test:ident),+ $(,)?) => {
        mod redis {
            $(#[test] fn $test() { super::$test($crate::harness::EngineKind::Redis); })+
        }
        mod nats {
            $(#[test] fn $test() { super::$test($crate::harness::EngineKind::Nats); })+
        }
    };
}
pub(crate) use with_both_engines;

impl Engine {
    pub(crate) fn start(kind: EngineKind) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Given back before it is used again, which nobody else does on this machine as quickly.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let engine = Self { kind, child: spawn(kind, port, &dir), port, dir };
        engine.wait();
        engine
    }

    fn wait(&self) {
        let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok();
        eventually("the engine listens", connect);
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.kind == EngineKind::Redis { "redis" } else { "nats" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// A node that has begun to follow it.
    pub(crate) fn node(&self, flags: &[&str]) -> Server {
        let server = Launch::new(&[&["--backplane", &self.url()], flags].concat()).start();
        eventually("the node has begun", || (server.admin("/readyz").send().status() == 200).then_some(()));
        server
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// It comes back with what it had.
    pub(crate) fn revive(&mut self) {
        self.child = spawn(self.kind, self.port, &self.dir);
        self.wait();
    }

    /// It comes back with nothing.
    pub(crate) fn begin_anew(&mut self) {
        self.kill();
        fs::remove_dir_all(self.dir.path()).unwrap();
        fs::create_dir(self.dir.path()).unwrap();
        self.revive();
    }

    /// What a Redis answers to these commands, one a line.
    pub(crate) fn redis(&self, commands: &str) -> String {
        let mut run = Command::new("redis-cli");
        run.args(["-p", &self.port.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = run.spawn().unwrap();
        child.stdin.take().unwrap().write_all(commands.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }

    pub(crate) fn hang(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).unwrap();
        // Each thread stops by itself, and until then it answers.
        let tasks = format!("/proc/{}/task", self.child.id());
        let stands = |task: std::io::Result<fs::DirEntry>| {
            let stat = fs::read_to_string(task.unwrap().path().join("stat")).unwrap();
            stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
        };
        within(Duration::from_secs(5), "an engine that stands still", || {
            fs::read_dir(&tasks).unwrap().all(stands).then_some(())
        });
    }

    pub(crate) fn go_on(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // If it ended by itself, all the better.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(kind: EngineKind, port: u16, dir: &TempDir) -> Child {
    let (port, dir) = (port.to_string(), dir.path().to_str().unwrap());
    let args = match kind {
        EngineKind::Redis => vec![
            "redis-server",
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--dir",
            dir,
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ],
        EngineKind::Nats => vec!["nats-server", "-a", "127.0.0.1", "-p", &port, "-js", "-sd", dir],
    };
    let mut run = Command::new("setpriv");
    run.args(["--pdeathsig", "KILL"]).args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    run.spawn().unwrap_or_else(|error| panic!("{kind:?}: {error}: cargo xtask setup"))
}

/// What users are promised: a node is back so long after its engine.
pub(crate) const BACK_WITHIN: Duration = Duration::from_secs(5);

/// Waits until the node takes events again, and gives the id of the one that it took.
#[track_caller]
pub(crate) fn back(node: &Server, topic: &str, data: &str) -> String {
    within(BACK_WITHIN, "publishing works again", || {
        let reply = node.post(&format!("/events/{topic}"), data).send();
        (reply.status() == 200).then(|| reply.json()["id"].as_str().unwrap().to_owned())
    })
}
