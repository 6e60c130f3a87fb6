//! Engines, started for a test: on a port of their own, in a directory that goes with them.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// How long a fact may take to come about.
pub(in crate::backplane) const DEADLINE: Duration = Duration::from_secs(15);

/// A port below those that the system gives to connections, so that an engine can come back to it.
pub(in crate::backplane) fn port() -> u16 {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Other processes of tests begin elsewhere.
    let start = (std::process::id() % 997) as u16 * 12;
    loop {
        let port = FIRST + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// A program that runs until this is dropped, or the thread that started it ends.
#[derive(Debug)]
pub(in crate::backplane) struct Process {
    child: Child,
    command: Vec<String>,
    pub(in crate::backplane) port: u16,
    pub(in crate::backplane) dir: TempDir,
}

impl Process {
    /// Starts `program` with the arguments that are made of a port and a directory.
    pub(in crate::backplane) fn start(program: &str, args: impl FnOnce(u16, &str) -> Vec<String>) -> Self {
        let (port, dir) = (port(), tempfile::tempdir().unwrap());
        let args = args(port, dir.path().to_str().unwrap());
        let command: Vec<String> = std::iter::once(program.to_owned()).chain(args).collect();
        Self { child: spawn(&command, &dir), command, port, dir }
    }

    /// Until something listens there.
    pub(in crate::backplane) async fn listening(&self) {
        until("it listens", async || {
            tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await.ok().map(drop)
        })
        .await;
    }

    pub(in crate::backplane) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(in crate::backplane) async fn restart(&mut self) {
        self.kill();
        self.revive().await;
    }

    pub(in crate::backplane) async fn revive(&mut self) {
        self.child = spawn(&self.command, &self.dir);
        self.listening().await;
    }

    pub(in crate::backplane) fn hang(&self) {
        self.signal(Signal::STOP);
    }

    pub(in crate::backplane) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // If it ended by itself, all the better.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(command: &[String], dir: &TempDir) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(dir.path().join("out")).unwrap();
    let mut run = Command::new("setpriv");
    run.args(["--pdeathsig", "KILL"]).args(command);
    run.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    run.spawn().unwrap_or_else(|error| panic!("{}: {error}: cargo xtask setup", command[0]))
}

/// Waits until something is so.
pub(in crate::backplane) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
