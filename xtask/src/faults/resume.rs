//! B1 and B4: ids of a history that is no more, and ids older than what is kept.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::answer::{Answer, Event};
use super::bench::{Bench, PATHS};
use super::crowd::Crowd;
use super::finding::Findings;
use super::publisher::{Publisher, number};
use super::server::Server;

const WAIT: Duration = Duration::from_secs(10);
/// One topic and several: two ways to a subscriber's position.
const STREAMS: [(&str, &str); 2] = [("one topic", "/events/a"), ("two topics", "/events?topic=a&topic=b")];

/// After a restart numbers begin anew: whoever comes with an old id is told of the gap, and never waits in silence until
/// the numbers have caught up.
pub fn after_a_restart(bench: &Bench) -> Result<Findings> {
    let count = bench.pick(50, 500);
    let mut findings = Findings::default();
    for (path, flags) in PATHS {
        let server = Server::start(bench, flags)?;
        let ids = Publisher::connect(server.address())?.publish_numbers("a", 0..count, 100, 0.0)?;
        server.kill();
        let server = Server::start(bench, flags)?;
        let mut publisher = Publisher::connect(server.address())?;
        publisher.publish_numbers("a", 0..3, 100, 0.0)?;
        for (name, url) in STREAMS {
            let mut crowd = Crowd::new(server.address())?;
            for id in &ids {
                crowd.follow(url, Some(id))?;
            }
            let right = |answer: &Answer| is_gap(answer.events.first(), "epoch") && numbers(answer) == [0, 1, 2];
            findings.all(&format!("{path}, {name}: told of the gap, then all"), settle(&mut crowd, right)?, ids.len());
        }
        server.stop()?;
    }
    Ok(findings)
}

/// A cursor that the ring has passed: the gap is told first, with the id after which reading goes on, then everything
/// that is kept, without a hole.
pub fn older_than_kept(bench: &Bench) -> Result<Findings> {
    const KEPT: u32 = 100;
    let (events, readers) = bench.pick((400, 50), (5_000, 500));
    let ring = format!("--ring-frames-max={KEPT}");
    let mut findings = Findings::default();
    for (path, flags) in PATHS {
        let server = Server::start(bench, &[flags, &[&ring]].concat())?;
        let ids = Publisher::connect(server.address())?.publish_numbers("a", 0..events, 100, 0.0)?;
        let floor = &ids[(events - KEPT - 1) as usize];
        let expected: Vec<u32> = (events - KEPT..events).collect();
        for (name, url) in STREAMS {
            let mut crowd = Crowd::new(server.address())?;
            for id in ids.iter().take(readers) {
                crowd.follow(url, Some(id))?;
            }
            let right = |answer: &Answer| {
                let gap = answer.events.first();
                is_gap(gap, "trimmed") && gap.is_some_and(|gap| gap.id == *floor) && numbers(answer) == expected
            };
            findings.all(&format!("{path}, {name}: gap, then contiguous"), settle(&mut crowd, right)?, readers);
        }
        // The last id that was trimmed is the first that needs no gap.
        let mut crowd = Crowd::new(server.address())?;
        crowd.follow("/events/a", Some(floor))?;
        let right = |answer: &Answer| answer.events.len() == KEPT as usize && numbers(answer) == expected;
        findings.all(&format!("{path}: no gap where nothing is missing"), settle(&mut crowd, right)?, 1);
        server.stop()?;
    }
    Ok(findings)
}

/// Reads until all of the crowd have what is right, or long enough; how many have.
fn settle(crowd: &mut Crowd, right: impl Fn(&Answer) -> bool) -> Result<usize> {
    let count = crowd.members().len();
    ensure!(crowd.read_until(WAIT, |crowd| crowd.following() == count)?, "not all streams were opened");
    let good = |crowd: &Crowd| crowd.members().iter().filter(|member| right(&member.answer)).count();
    crowd.read_until(Duration::from_secs(3), |crowd| good(crowd) == count)?;
    Ok(good(crowd))
}

fn numbers(answer: &Answer) -> Vec<u32> {
    answer.data().filter_map(number).collect()
}

/// Whether this tells of a gap for this reason, in the way the interface says.
fn is_gap(event: Option<&Event>, reason: &str) -> bool {
    let read = |event: &Event| -> Result<bool> {
        let data: Value = serde_json::from_str(&event.data).context("a gap's data is no JSON")?;
        let resumed_after = data["resumed_after"].as_str() == Some(&event.id);
        Ok(event.kind == "sse.gap" && resumed_after && data["reason"] == reason && data["requested"].is_string())
    };
    event.is_some_and(|event| read(event).unwrap_or(false))
}
