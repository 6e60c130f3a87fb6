//! Servers that share an engine, each on an address that it keeps over restarts.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::faults::asking::Asking;
use crate::faults::bench::{Bench, expect};
use crate::faults::server::Server;

const READY_WITHIN: Duration = Duration::from_secs(20);

/// All nodes of a row.
#[derive(Debug)]
pub struct Nodes<'a> {
    bench: &'a Bench,
    /// What each is started with.
    args: Vec<Vec<String>>,
    servers: Vec<Option<Server>>,
    pub addresses: Vec<SocketAddr>,
    starts: usize,
}

impl<'a> Nodes<'a> {
    /// Starts one for each address of the engine, and waits until all follow it.
    pub fn start(bench: &'a Bench, engines: &[String], args: &[&str]) -> Result<Self> {
        let mut nodes = Self { bench, args: Vec::new(), servers: Vec::new(), addresses: Vec::new(), starts: 0 };
        for engine in engines {
            let own: Vec<String> = [engine.as_str()].iter().chain(args).map(ToString::to_string).collect();
            nodes.args.push(own);
            nodes.servers.push(None);
            nodes.addresses.push(SocketAddr::from(([127, 0, 0, 1], 0)));
            let node = nodes.servers.len() - 1;
            nodes.restart(node)?;
        }
        for node in 0..engines.len() {
            nodes.expect_ready(node)?;
        }
        Ok(nodes)
    }

    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Starts this one again, where it was.
    pub fn restart(&mut self, node: usize) -> Result<()> {
        self.starts += 1;
        let name = format!("node{node}-{}", self.starts);
        let args: Vec<&str> = self.args[node].iter().map(String::as_str).collect();
        let server = Server::start_named_at(&name, &self.addresses[node].to_string(), self.bench, &args)?;
        self.addresses[node] = server.address();
        self.servers[node] = Some(server);
        Ok(())
    }

    pub fn kill(&mut self, node: usize) {
        if let Some(server) = self.servers[node].take() {
            server.kill();
        }
    }

    pub fn server(&self, node: usize) -> Result<&Server> {
        self.servers[node].as_ref().with_context(|| format!("node {node} does not run"))
    }

    /// Those that run.
    pub fn running(&self) -> impl Iterator<Item = &Server> {
        self.servers.iter().flatten()
    }

    /// The sum of a metric over all that run.
    pub fn sum(&self, metric: &str) -> Result<f64> {
        let sums: Result<Vec<f64>> = self.running().map(|server| Ok(server.metrics()?.sum(metric))).collect();
        Ok(sums?.into_iter().sum())
    }

    /// Resident memory of the largest.
    pub fn rss_mib(&self) -> Result<f64> {
        Ok(self.memory_mib()?.into_iter().fold(0.0, f64::max))
    }

    /// Resident memory of each.
    pub fn memory_mib(&self) -> Result<Vec<f64>> {
        self.running().map(|server| Ok(server.usage()?.rss_mib())).collect()
    }

    /// Waits until no node counts a stream any more.
    pub fn settle(&self) -> Result<()> {
        let are_gone = || Ok(self.running().map(Server::streams).sum::<Result<usize>>()? == 0);
        expect("the end of all streams", READY_WITHIN, are_gone)
    }

    pub fn expect_ready(&self, node: usize) -> Result<()> {
        expect_ready(self.server(node)?)
    }

    /// How long it takes until each of them takes an event.
    pub fn publishing_again(&self, limit: Duration) -> Result<Option<Duration>> {
        let started = Instant::now();
        let takes = |address: SocketAddr| -> Result<bool> {
            let mut asking = Asking::connect(address)?;
            let request = b"POST /events/probe HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n?";
            Ok(asking.answer(request)?.starts_with("HTTP/1.1 200 "))
        };
        for address in &self.addresses {
            while !takes(*address).unwrap_or(false) {
                if started.elapsed() > limit {
                    return Ok(None);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(Some(started.elapsed()))
    }

    /// Stops all as an operator would. That one had died, or panicked, is an error.
    pub fn stop(self) -> Result<()> {
        let count = self.servers.len();
        let running: Vec<Server> = self.servers.into_iter().flatten().collect();
        ensure!(running.len() == count, "{} of {count} nodes run at the end", running.len());
        running.into_iter().try_for_each(Server::stop)
    }
}

/// Waits until it follows its engine: before, it asks who comes to come back.
pub fn expect_ready(server: &Server) -> Result<()> {
    let is_ready = || {
        let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let answer = Asking::connect(server.admin).and_then(|mut asking| asking.answer(request));
        Ok(answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 ")))
    };
    expect("a node that is ready", READY_WITHIN, is_ready)
}
