//! E7: very many small events to clients of HTTP/2 that are slow to read.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::asking::Asking;
use super::bench::{Bench, wait_for};
use super::finding::Findings;
use super::publisher::{Publisher, number};
use super::server::Server;
use super::usage::Usage;
use crate::{program, workspace};

/// Releases of h2. They end a connection on which more than a hundred small DATA frames wait to be read; the second goes by
/// the window.
const CLIENTS: [&str; 2] = ["old", "new"];
/// Milliseconds between two reads.
const PAUSE: &str = "50";
const EVENT_BYTES: usize = 40;

/// How a client is slow, and how fast events come.
struct Case {
    name: &'static str,
    manner: &'static str,
    /// 0 for as fast as they are published one by one.
    events_per_second: f64,
    events: usize,
}

/// A client that reads rarely gets everything, once and in order, whatever its library makes of small frames.
pub fn is_read_slowly(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let events = bench.quota(3_000, 100_000).wanted;
    let few = events.min(300);
    let cases = [
        Case { name: "slow socket", manner: "socket", events_per_second: 0.0, events },
        // Twice as many as h2 bears unread. What comes behind is as small, as it lets in as much as was read.
        Case { name: "slow page", manner: "body", events_per_second: 0.0, events: few },
        Case { name: "slow page, 500/s", manner: "body", events_per_second: 500.0, events: few },
    ];
    for name in CLIENTS {
        build(name)?;
        for case in &cases {
            for coding in ["identity", "gzip"] {
                let what = format!("all come in order: {name}, {coding}, {}", case.name);
                follow(bench, name, coding, case, &mut findings, &what).with_context(|| what.clone())?;
            }
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

/// Has one client follow what is published, and judges what it got.
fn follow(bench: &Bench, name: &str, coding: &str, case: &Case, findings: &mut Findings, what: &str) -> Result<()> {
    let kept =
        ["--ring-frames-max=200000", "--ring-bytes-max=64MiB", "--lag-frames-max=200000", "--lag-bytes-max=64MiB"];
    let server = Server::start(bench, &[&kept[..], &["--compression-followers-min=1"]].concat())?;
    let body = bench.file(if coding == "gzip" { "body.gz" } else { "body" });
    let mut client = Client::start(name, server.address(), coding, case, &body)?;
    let before = Usage::of(server.pid())?.cpu;
    let started = Instant::now();
    let mut publisher = Publisher::connect(server.address())?;
    publisher.publish_numbers("a", 0..case.events as u32, EVENT_BYTES, case.events_per_second)?;
    let published_in = started.elapsed();
    Asking::connect(server.address())?.ask(b"DELETE /events/a HTTP/1.1\r\nHost: localhost\r\n\r\n", 200)?;
    let told = client.end()?;
    let right = in_order(&text(&body, coding)?);
    // Were its connection ended, it might have all the same.
    findings.all(what, if told.ends_with(": whole") { right } else { right.min(case.events - 1) }, case.events);
    let cpu = Usage::of(server.pid())?.cpu - before;
    let filled = server.metrics()?.sum("sse_http2_filled_bytes_total");
    findings.note(
        what,
        json!({
            "told": told,
            "events_per_second": case.events as f64 / published_in.as_secs_f64(),
            "seconds": started.elapsed().as_secs_f64(),
            "cpu_us_per_event": cpu.as_secs_f64() * 1e6 / case.events as f64,
            "filled_bytes": filled,
        }),
    );
    server.kill();
    Ok(())
}

/// The text of what came, as far as it came whole.
fn text(body: &Path, coding: &str) -> Result<String> {
    if coding == "identity" {
        return fs::read_to_string(body).context("reading the body");
    }
    // It says so if the end is missing, and gives what there is.
    let output = Command::new("gzip").arg("-dc").arg(body).output().context("unpacking the body")?;
    String::from_utf8(output.stdout).context("reading the body")
}

/// How many numbers come as they were published; none if anything else does.
fn in_order(text: &str) -> usize {
    let came: Vec<u32> = text.lines().filter_map(|line| number(line.strip_prefix("data: ")?)).collect();
    if came.iter().copied().eq(0..came.len() as u32) { came.len() } else { 0 }
}

/// A client on its way, killed when dropped.
struct Client {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Client {
    /// Starts it and waits until its stream is open.
    fn start(name: &str, address: SocketAddr, coding: &str, case: &Case, body: &Path) -> Result<Self> {
        let mut command = Command::new(target().join(format!("release/h2-client-{name}")));
        command.args([&address.to_string(), "/events/a", coding, case.manner, PAUSE]).arg(body).stdout(Stdio::piped());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_comes_once_and_in_order_counts() {
        let text = |numbers: &[u32]| {
            let events: String = numbers.iter().map(|number| format!("id: x\ndata: {number} xx\n\n")).collect();
            format!("retry: 3000\n\n{events}:   \n\nevent: sse.end\ndata: {{}}\n\n")
        };
        assert_eq!(in_order(&text(&[0, 1, 2])), 3);
        for wrong in [&[0, 2][..], &[0, 1, 1], &[1, 0], &[1]] {
            assert_eq!(in_order(&text(wrong)), 0, "{wrong:?}");
        }
    }
}
