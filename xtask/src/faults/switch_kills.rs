//! Either process is killed at a random step of an upgrade: whoever is left has all streams, or they come again and resume.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::answer::Event;
use super::asking::Asking;
use super::bench::{Bench, expect};
use super::crash::Random;
use super::crowd::Crowd;
use super::finding::Findings;
use super::publishing::{Published, Publishing, TOPICS};
use super::server::Server;
use super::slow_switch::{HOLD, Phase, SlowSuccessor};
use super::tracer;

/// Streams in one kill.
const STREAMS: usize = 400;
const PUBLISHES_PER_SECOND: f64 = 200.0;
const SETTLED_WITHIN: Duration = Duration::from_secs(20);
/// Numbers of what is published before the load, and after it.
const BEFORE: usize = 1_000_000;
const AFTER: usize = 2_000_000;

/// Kills, each at a step that was drawn.
pub fn anywhere(bench: &Bench) -> Result<Findings> {
    tracer::check()?;
    let (quota, seed) = (bench.quota(10, 200), bench.seed());
    let mut random = Random::of(seed, 0);
    let mut tally = Tally::default();
    while quota.is_open(tally.kills) {
        tally.kills += 1;
        let has_log = tally.kills.is_multiple_of(2);
        let kill = Kill::draw(&mut random, has_log);
        kill.run(bench, &mut tally).with_context(|| format!("kill {}, seed {seed}", tally.kills))?;
    }
    let mut findings = Findings::default();
    findings.amount("kills", tally.kills, &quota);
    findings.none("streams with wrong data, an event twice or out of order", tally.wrong);
    findings.none("streams without what was answered for, nor told so", tally.lost);
    findings.none("streams cut although a process goes on", tally.cut);
    findings.none("kills of a successor without all of it that end both", tally.dragged);
    for (case, count) in &tally.cases {
        println!("upgrade: {case}: {count}");
    }
    findings.note("cases", json!(tally.cases));
    findings.note("seed", seed);
    Ok(findings)
}

#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    wrong: u64,
    lost: u64,
    cut: u64,
    dragged: u64,
    /// Who was killed in which phase, and who was left.
    cases: BTreeMap<String, usize>,
}

/// One kill: of whom, and when.
struct Kill {
    phase: Phase,
    after: Duration,
    is_of_old: bool,
    /// Events are in a data directory.
    has_log: bool,
}

impl Kill {
    fn draw(random: &mut Random, has_log: bool) -> Self {
        // Of xorshift's numbers the upper bits are the better ones.
        let mut below = |bound: u64| (random.next() >> 20) % bound;
        let phase = Phase::COMMON[below(Phase::COMMON.len() as u64) as usize];
        // A switch has more messages than the successor's own.
        let most = HOLD * if phase == Phase::Switching { 16 } else { 2 };
        let after = Duration::from_micros(below(most.as_micros() as u64));
        Self { phase, after, is_of_old: below(2) == 0, has_log }
    }

    fn run(&self, bench: &Bench, tally: &mut Tally) -> Result<()> {
        let socket = bench.file("upgrade");
        let socket = socket.to_str().context("a path that is no text")?;
        let directory = bench.data_dir()?;
        let mut args = vec!["--upgrade-socket", socket, "--drain-window", "1s", "--log-level", "info"];
        args.extend(self.has_log.then_some(&*directory));
        let mut old = Some(Server::start_named("old", bench, &args)?);
        let address = old.as_ref().map(Server::address).context("a server")?;
        let (mut crowd, before) = crowd(address)?;
        let publisher = Publishing::start(address, PUBLISHES_PER_SECOND);
        let mut new = SlowSuccessor::start(bench, old.as_ref().context("a server")?, &args)?;
        let is_there = |_: &Crowd| new.phase() >= self.phase;
        ensure!(crowd.read_until(SETTLED_WITHIN, is_there)?, "the successor does not come to {:?}", self.phase);
        crowd.read_for(self.after)?;
        let phase = new.phase();
        if self.is_of_old {
            old.take().into_iter().for_each(Server::kill);
        } else {
            new.kill()?;
        }
        crowd.read_for(Duration::from_millis(1_000))?;
        let goes_on = goes_on(address, &mut old, &mut new)?;
        let mut published = before.and(publisher.stop()?);
        crowd.read_for(Duration::from_millis(100))?;
        let next = if goes_on {
            tally.cut += (STREAMS - crowd.following()) as u64;
            None
        } else {
            tally.dragged += u64::from(!self.is_of_old && phase < Phase::Taking);
            Some(Server::start_named_at("next", &address.to_string(), bench, &args)?)
        };
        let had = come_again(&mut crowd)?;
        published.publish_to_all(address, AFTER)?;
        crowd.read_until(SETTLED_WITHIN, |crowd| {
            crowd.members().iter().enumerate().all(|(number, member)| published.ends(number, member))
        })?;
        for (number, member) in crowd.members().iter().enumerate() {
            let events = [&had[number][..], &member.answer.events].concat();
            let verdict = judge(&events, &published, number, goes_on || self.has_log);
            tally.wrong += u64::from(verdict == Verdict::Wrong);
            tally.lost += u64::from(verdict == Verdict::Lost);
        }
        let (killed, left) = match (self.is_of_old, goes_on) {
            (true, true) => ("old", "the new one goes on"),
            (true, false) => ("old", "nobody is left"),
            (false, true) => ("new", "the old one goes on"),
            (false, false) => ("new", "nobody is left"),
        };
        let kept = if self.has_log { "log" } else { "memory" };
        *tally.cases.entry(format!("{} {phase:?}, {kept}, {killed} killed, {left}", phase as u8)).or_default() += 1;
        next.map_or(Ok(()), Server::stop)
    }
}

/// Streams that all have had an event, and what was published to them.
fn crowd(address: SocketAddr) -> Result<(Crowd, Published)> {
    let (mut crowd, mut before) = (Crowd::new(address)?, Published::default());
    for number in 0..STREAMS {
        crowd.follow(&format!("/events/up-{}", number % TOPICS), None)?;
    }
    ensure!(crowd.read_until(SETTLED_WITHIN, |crowd| crowd.following() == STREAMS)?, "not all streams open");
    before.publish_to_all(address, BEFORE)?;
    ensure!(crowd.read_until(SETTLED_WITHIN, |crowd| crowd.reached() == STREAMS)?, "not all have an event");
    Ok((crowd, before))
}

/// Whether one of them serves. One that has handed over and ends does not.
fn goes_on(address: SocketAddr, old: &mut Option<Server>, new: &mut SlowSuccessor) -> Result<bool> {
    let request = b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let patience = Duration::from_millis(300);
    let answers = || Asking::connect_patient(address, patience).and_then(|mut asking| asking.answer(request)).is_ok();
    let mut goes_on = false;
    expect("a process that serves, or the end of both", SETTLED_WITHIN, || {
        goes_on = answers();
        let is_old_running = old.as_mut().map_or(Ok(false), Server::is_running)?;
        Ok(goes_on || !(is_old_running || new.is_running()?))
    })?;
    Ok(goes_on)
}

/// Whoever was cut comes again, after the last that it has had; what each had before that.
fn come_again(crowd: &mut Crowd) -> Result<Vec<Vec<Event>>> {
    let mut had = Vec::with_capacity(STREAMS);
    for number in 0..STREAMS {
        let member = crowd.member(number);
        if member.is_following() {
            had.push(Vec::new());
            continue;
        }
        let last = member.answer.last_id().map(str::to_owned);
        had.push(std::mem::take(&mut member.answer.events));
        crowd.come_again(number, &format!("/events/up-{}", number % TOPICS), last.as_deref())?;
    }
    Ok(had)
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Exact,
    Wrong,
    Lost,
}

/// What a stream got, against what was answered for. Where the history in memory is gone, those that resume are told of the
/// gap. What nobody was answered for may be there.
fn judge(events: &[Event], published: &Published, stream: usize, has_history: bool) -> Verdict {
    let answered = published.of(stream);
    let is_gap_told = events.iter().any(|event| event.kind == "sse.gap");
    let plain: Vec<&Event> = events.iter().filter(|event| event.kind.is_empty()).collect();
    let got: Vec<(&str, &str)> = plain
        .iter()
        .filter(|event| !published.is_open(&event.data))
        .map(|event| (event.id.as_str(), event.data.as_str()))
        .collect();
    let whole: Vec<(&str, &str)> = answered.iter().map(|(id, data)| (id.as_str(), data.as_str())).collect();
    let mut rest = whole.iter();
    let is_within = got.iter().all(|event| rest.any(|other| other == event));
    let rises = plain.windows(2).all(|pair| is_after(&pair[0].id, &pair[1].id));
    if !is_within || !rises {
        Verdict::Wrong
    } else if got == whole || (!has_history && is_gap_told && got.last() == whole.last()) {
        Verdict::Exact
    } else {
        Verdict::Lost
    }
}

/// Whether `next` may come behind `id`: a larger number, or another history.
fn is_after(id: &str, next: &str) -> bool {
    let parts =
        |id: &str| id.rsplit_once('-').and_then(|(epoch, at)| Some((epoch.to_owned(), at.parse::<u64>().ok()?)));
    match (parts(id), parts(next)) {
        (Some((epoch, at)), Some((next_epoch, next_at))) => epoch != next_epoch || next_at > at,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, id: &str, data: &str) -> Event {
        Event { kind: kind.to_owned(), id: id.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn a_stream_is_judged_by_what_was_answered() {
        let published = Published::of_one(0, &[("e-1", "a"), ("e-3", "b"), ("f-1", "c")], &["open"]);
        let judged = |events: &[(&str, &str)], goes_on| {
            let events: Vec<Event> =
                events.iter().map(|(id, data)| event(if *data == "gap" { "sse.gap" } else { "" }, id, data)).collect();
            judge(&events, &published, 0, goes_on)
        };
        assert_eq!(judged(&[("e-1", "a"), ("e-3", "b"), ("f-1", "c")], true), Verdict::Exact);
        assert_eq!(judged(&[("e-1", "a"), ("e-2", "open"), ("e-3", "b"), ("f-1", "c")], true), Verdict::Exact);
        assert_eq!(judged(&[("e-1", "a"), ("e-3", "b")], true), Verdict::Lost);
        assert_eq!(judged(&[("e-1", "a"), ("f-0", "gap"), ("f-1", "c")], true), Verdict::Lost);
        assert_eq!(judged(&[("e-1", "a"), ("f-0", "gap"), ("f-1", "c")], false), Verdict::Exact);
        assert_eq!(judged(&[("e-1", "a"), ("f-1", "c")], false), Verdict::Lost);
        assert_eq!(judged(&[("e-1", "a"), ("e-1", "a"), ("e-3", "b"), ("f-1", "c")], true), Verdict::Wrong);
        assert_eq!(judged(&[("e-1", "x"), ("e-3", "b"), ("f-1", "c")], true), Verdict::Wrong);
        let twice = [("e-1", "a"), ("e-2", "open"), ("e-2", "open"), ("e-3", "b"), ("f-1", "c")];
        assert_eq!(judged(&twice, true), Verdict::Wrong);
    }
}
