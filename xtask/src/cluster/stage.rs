//! What every row is given: the engine's kind, how many nodes, and the usual steps from a start to a verdict.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use super::engine::{Engine, Kind};
use super::nodes::Nodes;
use super::publishing::{Attempt, Outcome, Pressing, Publishing, publish_surely};
use super::streams::{END, Finished, Streams};
use super::verdict::{Verdict, judge};
use crate::faults::bench::{Bench, expect};
use crate::faults::finding::Findings;

/// What the last events may take to reach everybody.
const END_WITHIN: Duration = Duration::from_secs(30);
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);

/// One row's surroundings.
#[derive(Debug)]
pub struct Stage {
    pub bench: Bench,
    pub kind: Kind,
    pub node_count: usize,
}

/// An engine, nodes on it, streams on all of them, and publishers at work.
#[derive(Debug)]
pub struct Scene<'a> {
    pub engine: Engine,
    pub nodes: Nodes<'a>,
    pub streams: Streams,
    pub publishing: Publishing,
    /// What others have tried, who are done.
    pub besides: Vec<Attempt>,
}

/// What of a scene differs from row to row.
#[derive(Debug, Clone, Copy)]
pub struct Script<'a> {
    pub engine: &'a [&'a str],
    pub nodes: &'a [&'a str],
    /// Events a second.
    pub rate: f64,
}

/// Topics of every scene; each stream follows two of them.
pub const TOPICS: usize = 20;
const STREAMS: usize = 120;

/// The verdict on all streams, and what it was given of.
#[derive(Debug)]
pub struct Judged {
    pub verdict: Verdict,
    pub finished: Finished,
}

impl Stage {
    pub fn engine(&self, args: &[&str]) -> Result<Engine> {
        Engine::start(self.kind, "engine", &self.bench, args)
    }

    /// Nodes that all go to the engine itself.
    pub fn nodes(&self, engine: &Engine, args: &[&str]) -> Result<Nodes<'_>> {
        Nodes::start(&self.bench, &vec![engine.url(); self.node_count], args)
    }

    /// Everything at work.
    pub fn scene(&self, script: Script<'_>) -> Result<Scene<'_>> {
        let engine = self.engine(script.engine)?;
        let nodes = self.nodes(&engine, script.nodes)?;
        self.scene_of(engine, nodes, script.rate)
    }

    /// The same with these nodes.
    pub fn scene_of<'a>(&self, engine: Engine, nodes: Nodes<'a>, rate: f64) -> Result<Scene<'a>> {
        let topics = (0..STREAMS).map(|stream| vec![stream % TOPICS, (stream + 7) % TOPICS]).collect();
        let streams = Streams::open(&nodes.addresses, topics, &beginning(&nodes.addresses)?)?;
        let publishing = Publishing::start(&pressing(&nodes, TOPICS, rate));
        Ok(Scene { engine, nodes, streams, publishing, besides: Vec::new() })
    }

    /// Publishes the last event of each topic, and judges what streams were told until then.
    pub fn judge(&self, nodes: &[SocketAddr], topics: usize, streams: Streams, attempts: &[Attempt]) -> Result<Judged> {
        for topic in 0..topics {
            publish_surely(nodes, topic, &format!("{END}{topic}"), ANSWERED_WITHIN)?;
        }
        let finished = streams.finish(END_WITHIN)?;
        Ok(Judged { verdict: judge(attempts, &finished.clients), finished })
    }
}

/// The id of an event before all others: whoever begins behind it can miss nothing.
pub fn beginning(nodes: &[SocketAddr]) -> Result<String> {
    publish_surely(nodes, 0, "begin", ANSWERED_WITHIN)
}

/// Publishers on all nodes.
pub fn pressing(nodes: &Nodes<'_>, topics: usize, rate: f64) -> Pressing {
    Pressing { nodes: nodes.addresses.clone(), topics, rate, publishers: 16, first: 0, bytes: 100 }
}

impl Scene<'_> {
    /// Waits for so many more acknowledged events.
    pub fn goes_on(&self) -> Result<()> {
        let before = self.publishing.acked();
        expect("acknowledged events", ANSWERED_WITHIN, || Ok(self.publishing.acked() > before + 50))
    }

    /// Ends it: what publishers tried, and the verdict on all streams, which no node had a reason to close.
    pub fn end(self, stage: &Stage, findings: &mut Findings) -> Result<(Vec<Attempt>, Judged)> {
        let Self { nodes, streams, publishing, engine, besides } = self;
        let mut attempts = publishing.finish()?;
        attempts.extend(besides);
        let judged = stage.judge(&nodes.addresses, TOPICS, streams, &attempts)?;
        judged.report(findings);
        let moves: usize = judged.finished.clients.iter().map(|client| client.moves).sum();
        findings.none("streams closed", moves as u64);
        let is_other = |attempt: &&Attempt| matches!(attempt.outcome, Outcome::Refused(status) if status != 503);
        findings.none("refusals with another status than 503", attempts.iter().filter(is_other).count() as u64);
        nodes.stop()?;
        drop(engine);
        Ok((attempts, judged))
    }
}

impl Judged {
    /// What holds in every row: nothing is lost without a word, nothing repeated, nothing out of order.
    pub fn report(&self, findings: &mut Findings) {
        let Self { verdict, finished } = self;
        findings.all("streams that came to their end", finished.whole, finished.clients.len());
        findings.none("acknowledged events lost without a gap", verdict.lost);
        findings.none("events repeated", verdict.repeated);
        findings.none("events out of order", verdict.reordered);
        findings.none("events with another id, of another topic, or of nobody", verdict.foreign);
        findings.note("acknowledged", verdict.acked);
        findings.note("events on all streams", verdict.events);
        findings.note("gaps", verdict.gaps);
        findings.note("acknowledged events in the place of a gap", verdict.told_of);
        findings.note("events whose publisher had no answer", verdict.unasked);
        findings.note("moves", self.finished.clients.iter().map(|client| client.moves).sum::<usize>());
        findings.note("examples", verdict.examples.join("; "));
    }
}
