//! J10: some nodes cannot reach the engine, and nobody is told: packets go nowhere, both ways or one.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use super::nodes::Nodes;
use super::publishing::{Attempt, Outcome};
use super::stage::Stage;
use crate::faults::finding::Findings;

/// How often a link looks whether it is cut.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const BUFFER: usize = 64 << 10;
const BACK_WITHIN: Duration = Duration::from_secs(5);
const TOLD_WITHIN: Duration = Duration::from_secs(6);

/// A wire between a node and its engine that can be cut in either direction. What is sent into a cut waits, as it would in
/// the kernels of both ends.
#[derive(Debug)]
struct Wire {
    address: SocketAddr,
    cut: Arc<Cut>,
}

#[derive(Debug, Default)]
struct Cut {
    to_engine: AtomicBool,
    to_node: AtomicBool,
    is_over: AtomicBool,
}

impl Wire {
    fn to(engine: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listening for a node")?;
        let (address, cut) = (listener.local_addr()?, Arc::new(Cut::default()));
        let shared = cut.clone();
        std::thread::spawn(move || {
            for node in listener.incoming() {
                if shared.is_over.load(Ordering::Relaxed) {
                    return;
                }
                // An engine that is not there is a connection that ends.
                let Ok((node, engine)) = node.and_then(|node| Ok((node, TcpStream::connect(engine)?))) else {
                    continue;
                };
                let _ = link(&shared, node, engine);
            }
        });
        Ok(Self { address, cut })
    }

    fn set(&self, to_engine: bool, to_node: bool) {
        self.cut.to_engine.store(to_engine, Ordering::Relaxed);
        self.cut.to_node.store(to_node, Ordering::Relaxed);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.cut.is_over.store(true, Ordering::Relaxed);
        // The listener hears of it.
        let _ = TcpStream::connect(self.address);
    }
}

fn link(cut: &Arc<Cut>, node: TcpStream, engine: TcpStream) -> std::io::Result<()> {
    let (from_node, from_engine) = (node.try_clone()?, engine.try_clone()?);
    for socket in [&node, &engine] {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(LOOK_EVERY))?;
    }
    let (up, down) = (cut.clone(), cut.clone());
    std::thread::spawn(move || copy(from_node, engine, &up, &up.to_engine));
    std::thread::spawn(move || copy(from_engine, node, &down, &down.to_node));
    Ok(())
}

fn copy(mut from: TcpStream, mut to: TcpStream, cut: &Cut, is_cut: &AtomicBool) {
    let mut buffer = vec![0; BUFFER];
    while !cut.is_over.load(Ordering::Relaxed) {
        if is_cut.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK_EVERY);
            continue;
        }
        let passed = match from.read(&mut buffer) {
            Ok(0) => false,
            Ok(len) => {
                // What was read as the wire was cut does not come through either.
                while is_cut.load(Ordering::Relaxed) && !cut.is_over.load(Ordering::Relaxed) {
                    std::thread::sleep(LOOK_EVERY);
                }
                to.write_all(&buffer[..len]).is_ok()
            }
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted),
        };
        if !passed {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}

/// The ways in which a wire is cut: to the engine, to the node.
const WAYS: [(&str, bool, bool); 3] =
    [("both ways", true, true), ("to the engine", true, false), ("to the nodes", false, true)];

/// All nodes but the last are cut off, and come back.
pub fn cut_off(stage: &Stage) -> Result<Findings> {
    let engine = stage.engine(&[])?;
    let wires: Result<Vec<Wire>> = (1..stage.node_count).map(|_| Wire::to(engine.address)).collect();
    let wires = wires?;
    let mut urls: Vec<String> = wires.iter().map(|wire| engine.url_through(wire.address)).collect();
    urls.push(engine.url());
    let nodes = Nodes::start(&stage.bench, &urls, &["--log-level=warn"])?;
    let scene = stage.scene_of(engine, nodes, 300.0)?;
    let mut findings = Findings::default();
    for (name, to_engine, to_node) in WAYS {
        scene.goes_on()?;
        wires.iter().for_each(|wire| wire.set(to_engine, to_node));
        std::thread::sleep(stage.bench.pick(Duration::from_secs(7), Duration::from_secs(20)));
        wires.iter().for_each(|wire| wire.set(false, false));
        let back = scene.nodes.publishing_again(BACK_WITHIN)?;
        findings.is_so(&format!("cut {name}: all nodes take events within 5 s of its end"), back.is_some());
    }
    scene.goes_on()?;
    let (attempts, judged) = scene.end(stage, &mut findings)?;
    let slowest = attempts.iter().map(|attempt| attempt.took).max().unwrap_or(Duration::MAX);
    findings.at_most("until a publisher was told, at most", slowest.as_secs_f64(), TOLD_WITHIN.as_secs_f64(), "s");
    findings.none("gaps, as the engine has kept everything", judged.verdict.gaps);
    let is_refused = |attempt: &&Attempt| attempt.outcome == Outcome::Refused(503);
    findings.note("refused", attempts.iter().filter(is_refused).count());
    Ok(findings)
}
