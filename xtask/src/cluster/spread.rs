//! Many streams over many topics on all nodes, in peace and while nodes are killed.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::nodes::Nodes;
use super::publishing::{Outcome, Publishing};
use super::stage::{Stage, beginning, pressing};
use super::streams::Streams;
use crate::faults::finding::Findings;

const TOPICS: usize = 1_000;
const STREAMS: usize = 6_000;
const RATE: f64 = 500.0;
/// Every so many streams one follows several topics, so that the order across topics is judged as well.
const SEVERAL_EVERY: usize = 10;
const SEVERAL: usize = 5;
const KILL_EVERY: Duration = Duration::from_secs(5);
/// How long a killed node stays away.
const AWAY: Duration = Duration::from_secs(2);

/// Everybody gets everything, once and in order.
pub fn in_peace(stage: &Stage) -> Result<Findings> {
    spread(stage, |_, time| {
        std::thread::sleep(time);
        Ok(0)
    })
}

/// The same while one node after another is killed and comes back, and its clients move.
pub fn nodes_are_killed(stage: &Stage) -> Result<Findings> {
    spread(stage, |nodes, time| {
        let started = Instant::now();
        let mut kills = 0;
        while started.elapsed() < time {
            let node = kills % nodes.len();
            nodes.kill(node);
            std::thread::sleep(AWAY);
            nodes.restart(node)?;
            kills += 1;
            std::thread::sleep((KILL_EVERY * kills as u32).saturating_sub(started.elapsed()));
        }
        Ok(kills)
    })
}

fn spread(stage: &Stage, happen: impl Fn(&mut Nodes<'_>, Duration) -> Result<usize>) -> Result<Findings> {
    let engine = stage.engine(&[])?;
    let mut nodes = stage.nodes(&engine, &["--log-level=warn"])?;
    let streams = Streams::open(&nodes.addresses, following(), &beginning(&nodes.addresses)?)?;
    let publishing = Publishing::start(&pressing(&nodes, TOPICS, RATE));
    let started = Instant::now();
    let kills = happen(&mut nodes, stage.bench.pick(Duration::from_secs(20), Duration::from_secs(120)))?;
    let seconds = started.elapsed().as_secs_f64();
    let attempts = publishing.finish()?;
    let judged = stage.judge(&nodes.addresses, TOPICS, streams, &attempts)?;
    let mut findings = Findings::default();
    judged.report(&mut findings);
    findings.none("gaps, as the engine has kept everything", judged.verdict.gaps);
    let rate = judged.verdict.acked as f64 / seconds;
    findings.at_least("events acknowledged", rate, RATE * if kills == 0 { 0.95 } else { 0.5 }, "/s");
    if kills > 0 {
        findings.at_least("nodes killed", kills as f64, stage.bench.pick(3.0, 20.0), "");
    }
    let unanswered = attempts.iter().filter(|attempt| attempt.outcome == Outcome::Unanswered).count();
    findings.note("publishers without an answer", unanswered);
    findings.note("seconds until the last events were everywhere", judged.finished.waited.map(|t| t.as_secs_f64()));
    nodes.stop()?;
    Ok(findings)
}

/// The topics of each stream.
fn following() -> Vec<Vec<usize>> {
    let topics = |stream: usize| match stream % SEVERAL_EVERY {
        0 => (0..SEVERAL).map(|place| (stream / SEVERAL_EVERY * SEVERAL + place * 211) % TOPICS).collect(),
        _ => vec![stream % TOPICS],
    };
    (0..STREAMS).map(topics).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_is_followed_and_none_twice_by_one() {
        let all = following();
        assert!((0..TOPICS).all(|topic| all.iter().any(|topics| topics.contains(&topic))));
        for topics in all {
            let mut once = topics.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), topics.len());
        }
    }
}
