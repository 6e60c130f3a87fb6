//! The server under test: the release program as its own process.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::asking::Asking;
use super::bench::Bench;
use super::metrics::Metrics;
use super::rank::Rank;
use super::usage::Usage;
use crate::certificate::Certificate;
use crate::loadtest::process::Process;
use crate::workspace;

/// A running server, killed when dropped.
#[derive(Debug)]
pub struct Server {
    process: Process,
    /// Every public address, loopback first.
    pub addresses: Vec<SocketAddr>,
    pub admin: SocketAddr,
    log: PathBuf,
    /// What it speaks TLS with, if it does.
    certificate: Option<Certificate>,
}

impl Server {
    /// Starts the server on free ports of loopback.
    pub fn start(bench: &Bench, args: &[&str]) -> Result<Self> {
        Self::start_at("127.0.0.1:0", bench, args)
    }

    /// Starts it on this address.
    pub fn start_at(listen: &str, bench: &Bench, args: &[&str]) -> Result<Self> {
        Self::launch(Command::new(program()), "server", listen, bench, args)
    }

    /// Starts one of several, that is called so in the evidence.
    pub fn start_named(name: &str, bench: &Bench, args: &[&str]) -> Result<Self> {
        Self::launch(Command::new(program()), &format!("server-{name}"), "127.0.0.1:0", bench, args)
    }

    /// The same on this address.
    pub fn start_named_at(name: &str, listen: &str, bench: &Bench, args: &[&str]) -> Result<Self> {
        Self::launch(Command::new(program()), &format!("server-{name}"), listen, bench, args)
    }

    /// Starts it before everything else that wants to run.
    pub fn start_ahead(bench: &Bench, args: &[&str]) -> Result<Self> {
        Self::launch(Rank::Ahead.of(Command::new(program())), "server", "127.0.0.1:0", bench, args)
    }

    /// The same over TLS, with a new certificate.
    pub fn start_secure(bench: &Bench, args: &[&str]) -> Result<Self> {
        let certificate = Certificate::make(bench.dir())?;
        let [cert, key] = certificate.flags();
        let server = Self::start_ahead(bench, &[&[cert.as_str(), key.as_str()], args].concat())?;
        Ok(Self { certificate: Some(certificate), ..server })
    }

    /// Starts it with no more than so many descriptors.
    pub fn start_with_descriptors(count: u32, bench: &Bench, args: &[&str]) -> Result<Self> {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={count}")).arg(program());
        Self::launch(command, "server", "127.0.0.1:0", bench, args)
    }

    /// Starts it as another command that runs it in the end, with the same process.
    pub fn start_as(bench: &Bench, wrap: impl Fn(Command) -> Command, args: &[&str]) -> Result<Self> {
        Self::launch(wrap(Command::new(program())), "server", "127.0.0.1:0", bench, args)
    }

    /// Starts one that is to end by itself.
    pub fn refused(bench: &Bench, wrap: impl Fn(Command) -> Command, args: &[&str]) -> Result<Refusal> {
        let log = bench.file("refused.log");
        let mut command = wrap(Command::new(program()));
        command.args(["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0"]).args(args).args(bench.server_args());
        let started = Instant::now();
        let code = Process::start(&mut command, &log)?.wait(Duration::from_secs(10))?.code();
        let said = fs::read_to_string(&log).context("reading what the server said")?;
        Ok(Refusal { code, took: started.elapsed(), said })
    }

    fn launch(mut command: Command, name: &str, listen: &str, bench: &Bench, args: &[&str]) -> Result<Self> {
        let (ready, log) = (bench.file(&format!("{name}.ready")), bench.file(&format!("{name}.log")));
        if ready.exists() {
            fs::remove_file(&ready).context("removing the last start's ready file")?;
        }
        // Settings of whoever runs this are not the server's.
        let surroundings = std::env::vars_os().map(|(name, _)| name);
        let is_setting = |name: &str| name.starts_with("SSE_") || name.starts_with("OTEL_");
        for name in surroundings.filter(|name| is_setting(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command.args(["--listen", listen, "--admin-listen", "127.0.0.1:0", "--drain-window", "0", "--ready-file"]);
        command.arg(&ready).args(args).args(bench.server_args());
        let mut process = Process::start(&mut command, &log)?;
        let text = process.ready(&ready)?;
        let (addresses, admin) = addresses(&text).context("the ready file does not say where the server listens")?;
        Ok(Self { process, addresses, admin, log, certificate: None })
    }

    /// Where streams are opened and events published.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The certificates to trust, if it speaks TLS.
    pub fn ca_file(&self) -> Option<&Path> {
        self.certificate.as_ref().map(|certificate| certificate.chain.as_path())
    }

    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::scrape(self.admin)
    }

    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid())
    }

    /// Streams that the server counts as open.
    pub fn streams(&self) -> Result<usize> {
        Ok(self.metrics()?.sum("sse_connections_active") as usize)
    }

    /// Subscribers that the server cut for this reason.
    pub fn evictions(&self, reason: &str) -> Result<usize> {
        Ok(self.metrics()?.sum_where("sse_evictions_total", &format!("reason=\"{reason}\"")) as usize)
    }

    /// The lines it has logged.
    pub fn log_lines(&self) -> Result<Vec<String>> {
        let text = fs::read(&self.log).context("reading the server's log")?;
        Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect())
    }

    /// Kills it without a word, as a crash would.
    pub fn kill(self) {
        drop(self.process);
    }

    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.process.ended_within(Duration::ZERO)?.is_none())
    }

    /// Whether it ends by itself within `limit`, and well.
    pub fn has_ended_well(mut self, limit: Duration) -> Result<bool> {
        Ok(self.process.ended_within(limit)?.is_some_and(|status| status.success()))
    }

    /// Asks it to end, as an operator would.
    pub fn terminate(self) -> Result<Ending> {
        self.process.terminate();
        Ok(Ending { server: self, asked: Instant::now() })
    }

    /// Stops it as an operator would. That it had died, or that a thread panicked, is an error.
    pub fn stop(self) -> Result<()> {
        let panicked = self.log_lines()?.into_iter().find(|line| line.contains("panicked"));
        ensure!(panicked.is_none(), "the server panicked: {}", panicked.unwrap_or_default());
        self.process.stop()
    }
}

/// A server that was asked to end.
#[derive(Debug)]
pub struct Ending {
    server: Server,
    asked: Instant,
}

/// How it ended.
#[derive(Debug, Clone, Copy)]
pub struct Exit {
    pub is_success: bool,
    /// Since it was asked.
    pub after: Duration,
}

impl Ending {
    /// What its readiness says; one that does not answer any more is not ready either.
    pub fn is_ready(&self) -> Result<bool> {
        let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let answer = Asking::connect(self.server.admin).and_then(|mut asking| asking.answer(request));
        Ok(answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 ")))
    }

    /// Waits until it is gone, at most for `limit`.
    pub fn exits_within(mut self, limit: Duration) -> Result<Option<Exit>> {
        let status = self.server.process.ended_within(limit)?;
        Ok(status.map(|status| Exit { is_success: status.success(), after: self.asked.elapsed() }))
    }
}

/// How a server ended that should not have started.
#[derive(Debug)]
pub struct Refusal {
    pub code: Option<i32>,
    pub took: Duration,
    /// All that it printed.
    pub said: String,
}

impl Refusal {
    /// A failed start, told in one line.
    pub fn is_clear(&self) -> bool {
        let errors = self.said.lines().filter(|line| !line.contains(" INFO ")).count();
        self.code == Some(1) && errors == 1
    }
}

/// The program that is put to the test.
pub fn program() -> PathBuf {
    workspace::built("sse-server")
}

/// The public addresses and the admin listener's, from what a ready file says.
pub fn addresses(ready: &str) -> Option<(Vec<SocketAddr>, SocketAddr)> {
    let ready: Value = serde_json::from_str(ready).ok()?;
    let address = |value: &Value| value.as_str()?.parse().ok();
    let listen: Option<Vec<SocketAddr>> = ready["listen"].as_array()?.iter().map(address).collect();
    Some((listen.filter(|listen| !listen.is_empty())?, address(&ready["admin"])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_are_read_from_the_ready_file() {
        let ready = r#"{"listen":["127.0.0.1:41234","192.0.2.1:5"],"admin":"127.0.0.1:41235"}"#;
        let (listen, admin) = addresses(ready).unwrap();
        assert_eq!((listen[1].port(), admin.port()), (5, 41235));
        assert!(addresses(r#"{"listen":[],"admin":"127.0.0.1:1"}"#).is_none());
        assert!(addresses("").is_none());
    }
}
