//! J2, J3, J7: the engine has lost what it had, or has dropped what a node has not read.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::engine::Engine;
use super::publishing::{Pressing, Publishing};
use super::stage::{Script, Stage, TOPICS, pressing};
use crate::faults::bench::expect;
use crate::faults::finding::Findings;
use crate::faults::server::Server;

/// What may pass until every stream is told.
const TOLD_WITHIN: Duration = Duration::from_secs(5);
/// Longer than that nobody waits for it.
const WAITED: Duration = Duration::from_secs(20);
/// Events that the engine keeps where it drops some.
const KEPT: &str = "--retain-events=500";

/// Somebody empties it.
pub fn emptied(stage: &Stage) -> Result<Findings> {
    everything_goes(stage, |engine| engine.tell("FLUSHALL").map(drop))
}

/// Somebody deletes its stream, which nodes make anew.
pub fn deleted(stage: &Stage) -> Result<Findings> {
    everything_goes(stage, |engine| engine.delete_stream())
}

/// Another process takes its place, which has nothing: a replica that had not come to copy it.
pub fn replaced(stage: &Stage) -> Result<Findings> {
    everything_goes(stage, |engine| {
        engine.kill();
        engine.forget()?;
        engine.restart()
    })
}

fn everything_goes(stage: &Stage, go: impl Fn(&mut Engine) -> Result<()>) -> Result<Findings> {
    let mut scene = stage.scene(Script { engine: &[], nodes: &["--log-level=warn"], rate: 300.0 })?;
    scene.goes_on()?;
    go(&mut scene.engine)?;
    let told = scene.streams.all_gapped(WAITED)?;
    let back = scene.nodes.publishing_again(WAITED)?;
    let mut findings = Findings::default();
    findings.at_most("until every stream is told of a gap", told.map_or(f64::INFINITY, secs), secs(TOLD_WITHIN), "s");
    findings.is_so("all nodes take events again", back.is_some());
    scene.goes_on()?;
    let (_, judged) = scene.end(stage, &mut findings)?;
    findings.at_most("gaps on each stream", judged.verdict.gaps as f64 / judged.finished.clients.len() as f64, 1.0, "");
    Ok(findings)
}

/// One node stands still while the engine drops what it has not read: its streams are told, the others' are not.
pub fn trimmed(stage: &Stage) -> Result<Findings> {
    let mut scene = stage.scene(Script { engine: &[], nodes: &["--log-level=warn", KEPT], rate: 50.0 })?;
    scene.goes_on()?;
    signal(scene.nodes.server(0)?, Signal::STOP)?;
    let flood = Publishing::start(&Pressing {
        nodes: scene.nodes.addresses[1..].to_vec(),
        rate: 2_000.0,
        bytes: 10,
        ..pressing(&scene.nodes, TOPICS, 1.0).named_from(100)
    });
    expect("more events than are kept", WAITED, || Ok(flood.acked() > 4_000))?;
    scene.besides = flood.finish()?;
    signal(scene.nodes.server(0)?, Signal::CONT)?;
    let stood_still = scene.streams.count().div_ceil(stage.node_count);
    let told = scene.streams.gapped_within(stood_still, WAITED)?;
    let mut findings = Findings::default();
    findings.at_most(
        "until every stream of that node is told",
        told.map_or(f64::INFINITY, secs),
        secs(TOLD_WITHIN),
        "s",
    );
    findings.note("events meanwhile", scene.besides.len());
    scene.goes_on()?;
    let (_, judged) = scene.end(stage, &mut findings)?;
    let of_others = judged.finished.clients.iter().filter(|client| client.node != 0 && client.gap_at.is_some());
    findings.none("streams of other nodes that are told of a gap", of_others.count() as u64);
    Ok(findings)
}

fn signal(server: &Server, signal: Signal) -> Result<()> {
    let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw).context("no process")?;
    Ok(kill_process(pid, signal)?)
}

fn secs(time: Duration) -> f64 {
    time.as_secs_f64()
}
