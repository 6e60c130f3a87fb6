//! presence and selectors: what it costs to join and to publish where very much is followed already.

use std::fmt::Write;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::bench::{Bench, expect};
use super::crowd::{Crowd, request};
use super::finding::{Findings, median};
use super::publisher::Publisher;
use super::server::{Server, program};
use crate::program::read as output;

const HUB: &str = "/.well-known/mercure";
const KEY: &str = "5f0c8e1d7b3a4962-a1b2c3d4e5f60718-9e8d7c6b5a493827";
/// More streams than this are not opened at once: they wait to be accepted.
const AT_ONCE: usize = 200;
const PATIENCE: Duration = Duration::from_secs(30);
/// Runs whose median counts.
const RUNS: usize = 5;
/// What two runs of the same differ by on a busy machine.
const SAME: f64 = 1.25;

/// Streams come and go where few others are and where very many are, with Mercure's subscription events on: the cost of one is
/// the same, whether or not somebody follows those events.
pub fn costs_the_same_among_many(bench: &Bench) -> Result<Findings> {
    let visits = bench.pick(4_000, 10_000);
    let (mut few, mut many) = (Place::with(10, bench)?, Place::with(10_000, bench)?);
    let mut findings = Findings::default();
    let mut compare = |what: &str, few: &mut Place, many: &mut Place| -> Result<()> {
        let mut costs = Vec::new();
        for _ in 0..RUNS {
            costs.push((few.cost_of(visits)?, many.cost_of(visits)?));
        }
        let (among_few, among_many) =
            (median(costs.iter().map(|pair| pair.0)), median(costs.iter().map(|pair| pair.1)));
        let ratio = median(costs.iter().map(|(few, many)| many / few));
        findings.at_most(&format!("{what}: cost among 10,000 by that among 10"), ratio, SAME, "");
        findings.note(&format!("{what}: us of CPU for a stream that comes and goes"), vec![among_few, among_many]);
        Ok(())
    };
    compare("nobody follows the events", &mut few, &mut many)?;
    few.follow_events()?;
    many.follow_events()?;
    compare("somebody does", &mut few, &mut many)?;
    findings.all("followers of the events still there", few.watchers.following() + many.watchers.following(), 2);
    few.server.stop()?;
    many.server.stop()?;
    Ok(findings)
}

/// A server at which so many streams are.
struct Place {
    server: Server,
    present: Crowd,
    /// Those who follow the events.
    watchers: Crowd,
}

impl Place {
    fn with(count: usize, bench: &Bench) -> Result<Self> {
        let key = format!("--subscriber-jwt-key={KEY}");
        let server = Server::start_named(&format!("{count}"), bench, &["--subscriptions=on", &key, "--anonymous=on"])?;
        let mut present = Crowd::new(server.address())?;
        follow(&mut present, count, |number| request(&format!("{HUB}?topic=here/{}", number % 100), None))?;
        let watchers = Crowd::new(server.address())?;
        Ok(Self { server, present, watchers })
    }

    /// CPU in microseconds for each of so many streams that come and go.
    fn cost_of(&mut self, visits: usize) -> Result<f64> {
        let streams = self.server.streams()?;
        let before = self.server.usage()?.cpu;
        for _ in 0..visits / AT_ONCE {
            let mut visitors = Crowd::new(self.server.address())?;
            follow(&mut visitors, AT_ONCE, |_| request(&format!("{HUB}?topic=visited"), None))?;
            self.watchers.turn(Duration::ZERO)?;
        }
        expect("the visitors' leaving", PATIENCE, || {
            self.watchers.turn(Duration::ZERO)?;
            Ok(self.server.streams()? == streams)
        })?;
        let cpu = self.server.usage()?.cpu.saturating_sub(before);
        ensure!(self.present.following() > 0, "those who were there are gone");
        Ok(cpu.as_secs_f64() * 1e6 / (visits / AT_ONCE * AT_ONCE) as f64)
    }

    fn follow_events(&mut self) -> Result<()> {
        let mut minting = Command::new(program());
        let token = output(minting.args(["token", "--key", KEY, "--subscribe", "*"]))?;
        let path =
            format!("{HUB}?topic={HUB}/subscriptions%7B/topic%7D%7B/subscriber%7D&authorization={}", token.trim());
        follow(&mut self.watchers, 1, |_| request(&path, None))
    }
}

/// Opens so many streams, a part at a time.
fn follow(crowd: &mut Crowd, count: usize, request: impl Fn(usize) -> Vec<u8>) -> Result<()> {
    for first in (0..count).step_by(AT_ONCE) {
        let last = (first + AT_ONCE).min(count);
        for number in first..last {
            crowd.connect(request(number))?;
        }
        ensure!(crowd.read_until(PATIENCE, |crowd| crowd.following() == last)?, "not all streams were opened");
    }
    Ok(())
}

/// Publishing to a topic costs the same with 20,000 selectors followed as with few: none of them is tried for it.
pub fn selectors_cost_no_publish(bench: &Bench) -> Result<Findings> {
    let events = bench.pick(5_000, 30_000);
    let (few, many) = (Selectors::follow(1, 10, bench)?, Selectors::follow(20, 1_000, bench)?);
    let mut costs = Vec::new();
    for _ in 0..RUNS {
        costs.push((few.cost_of(events, |_| 0)?, many.cost_of(events, |_| 0)?));
    }
    let mut findings = Findings::default();
    let ratio = median(costs.iter().map(|(few, many)| many / few));
    findings.at_most("cost of a publish among 20,000 selectors by that among 10", ratio, SAME, "");
    let medians = vec![median(costs.iter().map(|pair| pair.0)), median(costs.iter().map(|pair| pair.1))];
    findings.note("us of CPU for a publish", medians);
    let new = |number| number + 1;
    findings.note("us of CPU for a publish to a new topic", vec![few.cost_of(500, new)?, many.cost_of(500, new)?]);
    few.server.stop()?;
    many.server.stop()?;
    Ok(findings)
}

/// A server where very many selectors are followed, half of them templates.
struct Selectors {
    server: Server,
    _streams: Crowd,
}

impl Selectors {
    fn follow(streams: usize, each: usize, bench: &Bench) -> Result<Self> {
        let server = Server::start_named(&format!("{}", streams * each), bench, &[])?;
        let mut crowd = Crowd::new(server.address())?;
        let path = |stream: usize| {
            let mut path = format!("{HUB}?");
            for number in 0..each {
                let variable = if number % 2 == 0 { "/%7Bid%7D" } else { "" };
                // Writing to text cannot fail.
                let _ = write!(path, "topic=s/{stream}/{number}{variable}&");
            }
            request(&path, None)
        };
        follow(&mut crowd, streams, path)?;
        Ok(Self { server, _streams: crowd })
    }

    /// CPU in microseconds for each of so many events, to the topics that `topic` numbers.
    fn cost_of(&self, events: usize, topic: impl Fn(usize) -> usize) -> Result<f64> {
        let mut publisher = Publisher::connect(self.server.address())?;
        publisher.publish("t/0", "the topic is there")?;
        let before = self.server.usage()?.cpu;
        for number in 0..events {
            publisher.publish(&format!("t/{}", topic(number)), "x")?;
        }
        Ok(self.server.usage()?.cpu.saturating_sub(before).as_secs_f64() * 1e6 / events as f64)
    }
}
