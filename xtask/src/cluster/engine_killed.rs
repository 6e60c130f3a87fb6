//! J1, J6, J12: the engine is killed and restarted while events are published, again and again.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::engine::Kind;
use super::publishing::Outcome;
use super::stage::{Script, Stage};
use crate::faults::crash::Random;
use crate::faults::finding::Findings;

/// What may pass from the engine's return to a publish on every node.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// How often one that flaps goes.
const FLAP_EVERY: Duration = Duration::from_secs(1);
/// Lines that a node may log for each second of it.
const LINES_PER_SECOND: f64 = 2.0;

/// An engine that has synced what it has answered keeps it, so there is nothing to tell of either.
pub fn syncing_always(stage: &Stage) -> Result<Findings> {
    let (mut findings, gaps) = kill_and_restart(stage, &["--appendfsync", "always"])?;
    findings.none("gaps, as the engine keeps what it has answered", gaps);
    Ok(findings)
}

/// What an engine loses that syncs later is told of.
pub fn syncing_every_second(stage: &Stage) -> Result<Findings> {
    Ok(kill_and_restart(stage, &["--appendfsync", "everysec"])?.0)
}

fn kill_and_restart(stage: &Stage, args: &[&str]) -> Result<(Findings, u64)> {
    let engine = if stage.kind == Kind::Redis { args } else { &[] };
    let mut scene = stage.scene(Script { engine, nodes: &["--log-level=warn"], rate: 300.0 })?;
    let (cycles, mut random) = (stage.bench.pick(5, 50), Random::seeded());
    let mut returns = Vec::new();
    for _ in 0..cycles {
        scene.goes_on()?;
        std::thread::sleep(Duration::from_millis(random.below(300)));
        scene.engine.kill();
        std::thread::sleep(Duration::from_millis(100 + random.below(900)));
        scene.engine.restart()?;
        returns.extend(scene.nodes.publishing_again(BACK_WITHIN)?);
    }
    let mut findings = Findings::default();
    findings.all("times all nodes took events again within 5 s", returns.len(), cycles);
    let slowest = returns.iter().max().map(Duration::as_secs_f64);
    findings.note("slowest return in seconds", slowest);
    let (attempts, judged) = scene.end(stage, &mut findings)?;
    let refused = attempts.iter().filter(|attempt| attempt.outcome == Outcome::Refused(503)).count();
    findings.note("refused", refused);
    Ok((findings, judged.verdict.gaps))
}

/// An engine that comes and goes every second costs a node nothing that stays.
pub fn flapping(stage: &Stage) -> Result<Findings> {
    let engine = if stage.kind == Kind::Redis { &["--appendfsync", "always"][..] } else { &[] };
    let mut scene = stage.scene(Script { engine, nodes: &["--log-level=info"], rate: 300.0 })?;
    scene.goes_on()?;
    let before = Held::of(&scene.nodes)?;
    let (time, started) = (stage.bench.pick(Duration::from_secs(12), Duration::from_secs(300)), Instant::now());
    let mut flaps = 0;
    while started.elapsed() < time {
        scene.engine.kill();
        std::thread::sleep(FLAP_EVERY / 2);
        scene.engine.restart()?;
        flaps += 1;
        std::thread::sleep((FLAP_EVERY * flaps).saturating_sub(started.elapsed()));
    }
    let mut findings = Findings::default();
    let back = scene.nodes.publishing_again(BACK_WITHIN)?;
    findings.is_so("all nodes took events again within 5 s", back.is_some());
    scene.goes_on()?;
    let after = Held::of(&scene.nodes)?;
    findings.at_least("times it went", f64::from(flaps), time.as_secs_f64() * 0.7, "");
    findings.at_most("threads more", after.threads - before.threads, 2.0, "");
    findings.at_most("descriptors more", after.descriptors - before.descriptors, 12.0, "");
    findings.at_most("memory more, of the largest", after.rss_mib - before.rss_mib, 32.0, "MiB");
    let lines = (after.lines - before.lines) / time.as_secs_f64();
    findings.at_most("lines logged by a node each second", lines, LINES_PER_SECOND, "");
    scene.end(stage, &mut findings)?;
    Ok(findings)
}

/// What nodes hold, and what they have said: of the one with most.
#[derive(Debug, Default)]
struct Held {
    threads: f64,
    descriptors: f64,
    rss_mib: f64,
    lines: f64,
}

impl Held {
    fn of(nodes: &super::nodes::Nodes<'_>) -> Result<Self> {
        let mut held = Self::default();
        for server in nodes.running() {
            let usage = server.usage()?;
            let threads = std::fs::read_dir(format!("/proc/{}/task", server.pid()))?.count();
            // What is told of each stream is not the engine's doing.
            let is_of_streams = |line: &String| line.contains("connected");
            let lines = server.log_lines()?.iter().filter(|line| !is_of_streams(line)).count();
            held.threads = held.threads.max(threads as f64);
            held.descriptors = held.descriptors.max(usage.descriptors as f64);
            held.rss_mib = held.rss_mib.max(usage.rss_mib());
            held.lines = held.lines.max(lines as f64);
        }
        Ok(held)
    }
}
