//! J4, J5: the engine hangs, or takes nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::engine::Engine;
use super::publishing::{Attempt, Outcome, Pressing, Publishing};
use super::stage::{Scene, Script, Stage, TOPICS, pressing};
use crate::faults::bench::expect;
use crate::faults::finding::Findings;

/// What a publisher waits at most to be told.
const TOLD_WITHIN: Duration = Duration::from_secs(6);
const BACK_WITHIN: Duration = Duration::from_secs(5);
const SETTLED_WITHIN: Duration = Duration::from_secs(20);
const PASSWORD: &str = "another";

/// It stands still: nobody is kept waiting for long, and nothing piles up.
pub fn hung(stage: &Stage) -> Result<Findings> {
    let nodes = ["--log-level=warn", "--heartbeat-interval=1s"];
    let mut scene = stage.scene(Script { engine: &[], nodes: &nodes, rate: 300.0 })?;
    scene.goes_on()?;
    let (rss_mib, heartbeats) = (scene.nodes.rss_mib()?, scene.streams.heartbeats());
    let seconds = stage.bench.pick(8, 30);
    scene.engine.signal(Signal::STOP)?;
    let since = Instant::now();
    // Large ones, from many.
    let large = Publishing::start(&Pressing {
        bytes: 200_000,
        publishers: 32,
        ..pressing(&scene.nodes, TOPICS, 400.0).named_from(100)
    });
    std::thread::sleep(Duration::from_secs(seconds));
    let (hung_mib, beats) = (scene.nodes.rss_mib()?, scene.streams.heartbeats() - heartbeats);
    let until = Instant::now();
    scene.engine.signal(Signal::CONT)?;
    let back = scene.nodes.publishing_again(BACK_WITHIN)?;
    scene.besides = large.finish()?;
    scene.goes_on()?;
    let mut findings = Findings::default();
    let wanted = scene.streams.count() as f64 * (seconds as f64 - 2.0);
    findings.at_least("heartbeats meanwhile", beats as f64, wanted, "");
    findings.at_most("memory more, of the largest node", hung_mib - rss_mib, 64.0, "MiB");
    findings.is_so("all nodes took events again within 5 s", back.is_some());
    let (attempts, judged) = scene.end(stage, &mut findings)?;
    let began_then = |attempt: &&Attempt| attempt.began > since && attempt.began + TOLD_WITHIN < until;
    let then: Vec<&Attempt> = attempts.iter().filter(began_then).collect();
    let refused = then.iter().filter(|attempt| attempt.outcome == Outcome::Refused(503)).count();
    findings.all("publishes meanwhile that were refused with 503", refused, then.len());
    let slowest = then.iter().map(|attempt| attempt.took).max().unwrap_or(Duration::MAX);
    findings.at_most("until a publisher was told, at most", slowest.as_secs_f64(), TOLD_WITHIN.as_secs_f64(), "s");
    findings.none("gaps, as the engine has kept everything", judged.verdict.gaps);
    Ok(findings)
}

/// A way in which a Redis takes nothing.
struct Refusal {
    name: &'static str,
    begin: fn(&Engine) -> Result<()>,
    end: fn(&Engine) -> Result<()>,
}

const REFUSALS: &[Refusal] = &[
    Refusal {
        name: "OOM",
        begin: |engine| engine.tell("CONFIG SET maxmemory 1mb").map(drop),
        end: |engine| engine.tell("CONFIG SET maxmemory 0").map(drop),
    },
    Refusal {
        name: "MISCONF",
        begin: cannot_save,
        end: |engine| engine.ask(&[b"CONFIG", b"SET", b"save", b""]).map(drop),
    },
    Refusal {
        name: "READONLY",
        // Of a master that is not there.
        begin: |engine| engine.tell("REPLICAOF 127.0.0.1 1").map(drop),
        end: |engine| engine.tell("REPLICAOF NO ONE").map(drop),
    },
    Refusal { name: "NOAUTH", begin: asks_for_a_password, end: asks_for_none },
];

/// It answers, and takes nothing: no publisher is told otherwise, and all goes on once it does.
pub fn refusing(stage: &Stage) -> Result<Findings> {
    // A snapshot cannot take the name of a directory.
    let engine = ["--dbfilename", "taken"];
    let scene = stage.scene(Script { engine: &engine, nodes: &["--log-level=warn"], rate: 300.0 })?;
    let mut findings = Findings::default();
    for refusal in REFUSALS {
        scene.goes_on()?;
        (refusal.begin)(&scene.engine).with_context(|| format!("beginning {}", refusal.name))?;
        let asked = ask_all(&scene, refusal.name)?;
        (refusal.end)(&scene.engine).with_context(|| format!("ending {}", refusal.name))?;
        let refused = asked.iter().filter(|attempt| attempt.outcome == Outcome::Refused(503)).count();
        findings.all(&format!("{}: publishes that are refused with 503", refusal.name), refused, asked.len());
        let slowest = asked.iter().map(|attempt| attempt.took).max().unwrap_or(Duration::MAX);
        let what = format!("{}: until a publisher was told, at most", refusal.name);
        findings.at_most(&what, slowest.as_secs_f64(), TOLD_WITHIN.as_secs_f64(), "s");
        let back = scene.nodes.publishing_again(BACK_WITHIN)?;
        findings.is_so(&format!("{}: all nodes take events within 5 s of its end", refusal.name), back.is_some());
    }
    let (_, judged) = scene.end(stage, &mut findings)?;
    findings.none("gaps, as the engine has kept everything", judged.verdict.gaps);
    Ok(findings)
}

/// Publishes on every node for a while, all of it after the engine began to refuse.
fn ask_all(scene: &Scene<'_>, name: &str) -> Result<Vec<Attempt>> {
    // Nobody follows it, so nobody waits for what may come of these.
    let publishing =
        Publishing::start(&Pressing { topics: 1, ..pressing(&scene.nodes, TOPICS + 1, 50.0).named_from(1_000) });
    std::thread::sleep(Duration::from_secs(2));
    let asked = publishing.finish()?;
    ensure!(!asked.is_empty(), "nothing was published during {name}");
    Ok(asked)
}

/// Its last snapshot failed.
fn cannot_save(engine: &Engine) -> Result<()> {
    std::fs::create_dir_all(engine.dir().join("taken/full")).context("taking a snapshot's name")?;
    engine.ask(&[b"CONFIG", b"SET", b"save", b"3600 1"])?;
    engine.tell("BGSAVE")?;
    expect("a snapshot that fails", SETTLED_WITHIN, || {
        Ok(engine.tell("INFO persistence")?.contains("rdb_last_bgsave_status:err"))
    })
}

/// Whoever is connected stays so, and would not be asked: they are sent away.
fn asks_for_a_password(engine: &Engine) -> Result<()> {
    engine.tell(&format!("CONFIG SET requirepass {PASSWORD}"))?;
    engine.ask_as(PASSWORD, &[b"CLIENT", b"KILL", b"TYPE", b"normal"]).map(drop)
}

fn asks_for_none(engine: &Engine) -> Result<()> {
    engine.ask_as(PASSWORD, &[b"CONFIG", b"SET", b"requirepass", b""]).map(drop)
}
