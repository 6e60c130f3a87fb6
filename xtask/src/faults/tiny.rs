//! E7: very many small events to clients of HTTP/2 that are slow to read.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::asking::Asking;
use super::bench::{Bench, wait_for};
use super::finding::Findings;
use super::publisher::Publisher;
use super::server::Server;
use crate::{program, workspace};

/// Releases of h2. They end a connection on which some 140 small DATA frames wait to be read; the second goes by the window.
const CLIENTS: [&str; 2] = ["old", "new"];
/// Milliseconds between two reads.
const PAUSE: &str = "50";
/// Each is a frame of its own, and some 25 wait for each read. A busy machine may make that a hundred.
const EVENTS_PER_SECOND: f64 = 500.0;
const EVENT_BYTES: usize = 40;

/// A client that reads its socket rarely gets everything, whatever its library makes of small frames.
pub fn is_read_slowly(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let events = bench.quota(3_000, 100_000).wanted;
    for name in CLIENTS {
        build(name)?;
        for coding in ["identity", "gzip"] {
            let what = format!("h2 {name}, {coding}");
            let told = follow(bench, name, coding, events).with_context(|| what.clone())?;
            findings.is_so(&format!("{what}: the stream was whole"), told.ends_with(": whole"));
            if coding == "identity" {
                // The opening, the events and the end.
                findings.is_so(&format!("{what}: every event came"), told.contains(&format!(" {} events", events + 2)));
            }
            findings.note(&what, told);
        }
    }
    Ok(findings)
}

fn build(name: &str) -> Result<()> {
    let manifest = workspace::root().join(format!("clients/h2/{name}/Cargo.toml"));
    let mut cargo = workspace::cargo(&["build", "--release", "--locked", "--manifest-path"]);
    program::run(cargo.arg(manifest).arg("--target-dir").arg(target())).context("building the client")
}

fn target() -> std::path::PathBuf {
    workspace::target().join("h2-clients")
}

/// What the client says at the end.
fn follow(bench: &Bench, name: &str, coding: &str, events: usize) -> Result<String> {
    let kept =
        ["--ring-frames-max=200000", "--ring-bytes-max=64MiB", "--lag-frames-max=200000", "--lag-bytes-max=64MiB"];
    let server = Server::start(bench, &[&kept[..], &["--compression-followers-min=1"]].concat())?;
    let mut client = Client::start(name, server.address(), coding)?;
    Publisher::connect(server.address())?.publish_numbers("a", 0..events as u32, EVENT_BYTES, EVENTS_PER_SECOND)?;
    Asking::connect(server.address())?.ask(b"DELETE /events/a HTTP/1.1\r\nHost: localhost\r\n\r\n", 200)?;
    let told = client.end()?;
    server.kill();
    Ok(told)
}

/// A client on its way, killed when dropped.
struct Client {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Client {
    /// Starts it and waits until its stream is open.
    fn start(name: &str, address: SocketAddr, coding: &str) -> Result<Self> {
        let mut command = Command::new(target().join(format!("release/h2-client-{name}")));
        command.args([&address.to_string(), "/events/a", coding, "socket", PAUSE]).stdout(Stdio::piped());
        let mut child = command.spawn().context("starting the client")?;
        let said = BufReader::new(child.stdout.take().context("its output is piped")?);
        let mut client = Self { child, said };
        let mut line = String::new();
        client.said.read_line(&mut line).context("reading what the client says")?;
        ensure!(line == "open\n", "the client said {line:?}");
        Ok(client)
    }

    /// What it says when it has everything.
    fn end(&mut self) -> Result<String> {
        const WITHIN: Duration = Duration::from_secs(180);
        let ended = wait_for(WITHIN, || Ok(self.child.try_wait()?.is_some()))?;
        ensure!(ended.is_some(), "the client has not ended within {WITHIN:?}");
        let mut told = String::new();
        self.said.read_to_string(&mut told).context("reading what the client says")?;
        Ok(told.trim().to_owned())
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
