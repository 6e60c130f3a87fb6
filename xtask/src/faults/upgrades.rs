//! Another process goes on in the place of the one that serves.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::asking::Asking;
use super::bench::Bench;
use super::crash::Random;
use super::crowd::{Crowd, Member};
use super::finding::Findings;
use super::server::{Server, program};

const TOPICS: usize = 100;
const PUBLISHES_PER_SECOND: f64 = 200.0;
/// What a publisher may wait.
const PAUSE_MAX_MS: f64 = 250.0;
/// For all streams to have what was published.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);

/// Upgrades one after the other, under load and with very many idle streams: no stream notices.
pub fn in_a_row(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let upgrades = bench.pick(3, 10);
    let busy = Run { streams: bench.pick(1_000, 10_000), rate: PUBLISHES_PER_SECOND, upgrades };
    busy.judge("", bench, &mut findings)?;
    if bench.is_long() {
        Run { streams: 19_000, rate: 5.0, upgrades }.judge("idle: ", bench, &mut findings)?;
    }
    Ok(findings)
}

/// One crowd, and what is done to it.
struct Run {
    streams: usize,
    rate: f64,
    upgrades: usize,
}

impl Run {
    fn judge(&self, part: &str, bench: &Bench, findings: &mut Findings) -> Result<()> {
        let socket = bench.file("upgrade");
        let socket = socket.to_str().context("a path that is no text")?;
        let args = ["--upgrade-socket", socket, "--drain-window", "1s", "--log-level", "warn"];
        let mut server = Server::start_named("0", bench, &args)?;
        let address = server.address();
        let mut crowd = Crowd::new(address)?;
        for number in 0..self.streams {
            crowd.follow(&format!("/events/up-{}", number % TOPICS), None)?;
            crowd.turn(Duration::ZERO)?;
        }
        let streams = self.streams;
        ensure!(
            crowd.read_until(Duration::from_secs(60), |crowd| crowd.following() == streams)?,
            "not all streams open"
        );
        let publisher = Publishing::start(address, self.rate);
        crowd.read_for(Duration::from_millis(500))?;
        let mut began = Vec::new();
        for number in 1..=self.upgrades {
            began.push(Instant::now());
            let (next_bench, args, address) = (bench.clone(), args.map(str::to_owned), address.to_string());
            // The crowd is read meanwhile.
            let starting = std::thread::spawn(move || {
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                Server::start_named_at(&number.to_string(), &address, &next_bench, &args)
            });
            crowd.read_until(Duration::from_secs(60), |_| starting.is_finished())?;
            let next = starting.join().map_err(|_| anyhow!("the start of a successor panicked"))??;
            crowd.read_for(Duration::from_millis(1_500))?;
            let old = std::mem::replace(&mut server, next);
            ensure!(old.has_ended_well(Duration::from_secs(10))?, "the old process did not end well");
        }
        let published = publisher.stop()?;
        let is_complete =
            |crowd: &Crowd| crowd.members().iter().enumerate().all(|(number, member)| published.ends(number, member));
        crowd.read_until(SETTLED_WITHIN, is_complete)?;
        let numbered = || crowd.members().iter().enumerate();
        let open = crowd.following();
        findings.all(&format!("{part}streams that stay open, {} upgrades", self.upgrades), open, streams);
        let exact = numbered().filter(|(number, member)| published.is_exactly(*number, member)).count();
        findings.all(&format!("{part}streams with every event once and in order"), exact, streams);
        findings.none(&format!("{part}publishes refused or not answered"), published.failed as u64);
        began.push(Instant::now());
        let mut pauses: Vec<Duration> =
            began.windows(2).map(|upgrade| published.longest_between(upgrade[0], upgrade[1])).collect();
        pauses.sort_unstable();
        let p99 = pauses.get((pauses.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default();
        findings.at_most(
            &format!("{part}longest wait of a publisher in an upgrade, p99"),
            p99.as_secs_f64() * 1e3,
            PAUSE_MAX_MS,
            "ms",
        );
        let all: Vec<f64> = pauses.iter().map(|pause| pause.as_secs_f64() * 1e3).collect();
        findings.note(&format!("{part}waits in ms"), all);
        findings.note(&format!("{part}events"), published.events);
        server.stop()
    }
}

/// One publisher on a connection that it keeps for as long as it may.
struct Publishing {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Published>>,
}

/// What was published: to each topic its ids.
#[derive(Debug, Default)]
struct Published {
    ids: HashMap<usize, Vec<String>>,
    events: usize,
    failed: usize,
    /// When each was asked for, and how long its publisher waited.
    waits: Vec<(Instant, Duration)>,
}

impl Publishing {
    fn start(address: SocketAddr, rate: f64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || publish_until(address, rate, &stopped));
        Self { stop, thread }
    }

    fn stop(self) -> Result<Published> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the publisher panicked"))?
    }
}

fn publish_until(address: SocketAddr, rate: f64, stop: &AtomicBool) -> Result<Published> {
    let mut published = Published::default();
    let started = Instant::now();
    let mut connection = Some(Asking::connect(address)?);
    for number in 0_usize.. {
        let due = started + Duration::from_secs_f64(number as f64 / rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let (topic, asked) = (number % TOPICS, Instant::now());
        let answer = match &mut connection {
            Some(connection) => publish(connection, topic, number),
            None => Asking::connect(address).and_then(|asking| publish(connection.insert(asking), topic, number)),
        };
        published.waits.push((asked, asked.elapsed()));
        match answer {
            Ok((id, is_last)) => {
                published.ids.entry(topic).or_default().push(id);
                published.events += 1;
                if is_last {
                    connection = None;
                }
            }
            Err(error) => {
                eprintln!("publish {number}: {error:#}");
                published.failed += 1;
                connection = None;
            }
        }
    }
    Ok(published)
}

/// Its id, and whether the connection closes behind the answer.
fn publish(asking: &mut Asking, topic: usize, number: usize) -> Result<(String, bool)> {
    let data = number.to_string();
    let request =
        format!("POST /events/up-{topic} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{data}", data.len());
    let answer = asking.ask(request.as_bytes(), 200)?;
    let id = answer.split_once(r#""id":""#).and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()));
    Ok((id.context("the answer names no id")?, answer.to_ascii_lowercase().contains("connection: close")))
}

impl Published {
    fn longest_between(&self, from: Instant, to: Instant) -> Duration {
        let waits = self.waits.iter().filter(|(at, _)| (from..to).contains(at));
        waits.map(|(_, wait)| *wait).max().unwrap_or_default()
    }

    fn of(&self, stream: usize) -> &[String] {
        self.ids.get(&(stream % TOPICS)).map_or(&[], Vec::as_slice)
    }

    /// Whether the stream has the last of its topic.
    fn ends(&self, stream: usize, member: &Member) -> bool {
        self.of(stream).last().is_none_or(|last| member.answer.events.last().is_some_and(|event| event.id == *last))
    }

    /// Whether it has each of its topic, and nothing else.
    fn is_exactly(&self, stream: usize, member: &Member) -> bool {
        member.answer.events.iter().map(|event| &event.id).eq(self.of(stream))
    }
}

/// Either process is killed at a random moment of an upgrade: whoever is left has all streams, or they resume.
pub fn killed_anywhere(bench: &Bench) -> Result<Findings> {
    let quota = bench.quota(10, 200);
    let mut random = Random::of(bench.seed(), 0);
    let mut tally = Tally::default();
    while quota.is_open(tally.kills) {
        tally.kills += 1;
        kill_once(bench, &mut random, &mut tally).with_context(|| format!("kill {}", tally.kills))?;
    }
    let mut findings = Findings::default();
    findings.amount("kills", tally.kills, &quota);
    findings.none("streams with wrong bytes, an event twice or out of order", tally.wrong);
    findings.none("events lost in silence", tally.lost);
    findings.none("streams cut although the old process lives", tally.cut);
    for (what, count) in
        [("old killed", tally.old_killed), ("taken over all the same", tally.taken), ("nobody left", tally.nobody)]
    {
        findings.note(what, count);
    }
    Ok(findings)
}

#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    old_killed: usize,
    taken: usize,
    nobody: usize,
    wrong: u64,
    lost: u64,
    cut: u64,
}

/// Streams in one kill, and their topics.
const STREAMS: usize = 400;
/// An upgrade takes about so long here, from the start of the new process.
const UPGRADE_MS: u64 = 160;

fn kill_once(bench: &Bench, random: &mut Random, tally: &mut Tally) -> Result<()> {
    let socket = bench.file("upgrade");
    let socket = socket.to_str().context("a path that is no text")?;
    let args = ["--upgrade-socket", socket, "--drain-window", "1s", "--log-level", "warn"];
    let old = Server::start_named("old", bench, &args)?;
    let address = old.address();
    let mut crowd = Crowd::new(address)?;
    for number in 0..STREAMS {
        crowd.follow(&format!("/events/up-{}", number % TOPICS), None)?;
    }
    ensure!(crowd.read_until(SETTLED_WITHIN, |crowd| crowd.following() == STREAMS)?, "not all streams open");
    let publisher = Publishing::start(address, PUBLISHES_PER_SECOND);
    crowd.read_for(Duration::from_millis(300))?;
    let mut new = successor(bench, address, &args)?;
    crowd.read_for(Duration::from_millis(random.below(UPGRADE_MS)))?;
    let kills_old = random.below(2) == 0;
    let mut old = Some(old);
    if kills_old {
        tally.old_killed += 1;
        if let Some(old) = old.take() {
            old.kill();
        }
    } else {
        new.kill().context("killing the successor")?;
    }
    crowd.read_for(Duration::from_millis(1_500))?;
    let mut published = publisher.stop()?;
    // Whoever is left serves; if nobody is, somebody starts a server.
    let is_new_alive = new.try_wait()?.is_none();
    let is_old_alive = old.as_ref().is_some_and(|_| Asking::connect(address).is_ok());
    let next = if is_new_alive || is_old_alive {
        None
    } else {
        Some(Server::start_named_at("next", &address.to_string(), bench, &args)?)
    };
    tally.taken += usize::from(kills_old && is_new_alive);
    tally.nobody += usize::from(next.is_some());
    if is_old_alive && crowd.following() < STREAMS {
        tally.cut += (STREAMS - crowd.following()) as u64;
    }
    let last: Vec<Option<String>> =
        crowd.members().iter().map(|member| member.answer.last_id().map(str::to_owned)).collect();
    let before: Vec<Vec<String>> = crowd.members().iter().map(ids).collect();
    for (number, last) in last.iter().enumerate() {
        if !crowd.members()[number].is_following() {
            crowd.come_again(
                number,
                &format!("/events/up-{}", number % TOPICS),
                last.as_deref().or(Some("earliest")),
            )?;
        }
    }
    let mut asking = Asking::connect(address)?;
    for topic in 0..TOPICS {
        let (id, is_last) = publish(&mut asking, topic, topic)?;
        published.ids.entry(topic).or_default().push(id);
        if is_last {
            asking = Asking::connect(address)?;
        }
    }
    crowd.read_until(SETTLED_WITHIN, |crowd| {
        crowd.members().iter().enumerate().all(|(number, member)| published.ends(number, member))
    })?;
    for (number, member) in crowd.members().iter().enumerate() {
        let has_gap = member.answer.events.iter().any(|event| event.kind == "sse.gap");
        let mut had = before[number].clone();
        let now = ids(member);
        if now.starts_with(&had) {
            had = now
        } else {
            had.extend(now)
        }
        let mut unique = had.clone();
        unique.dedup();
        tally.wrong += u64::from(unique.len() != had.len() || !is_within(&had, published.of(number)));
        tally.lost += u64::from(!has_gap && had != published.of(number));
    }
    let _ = new.kill();
    let _ = new.wait();
    if let Some(server) = old.filter(|_| is_old_alive) {
        server.kill();
    }
    if let Some(server) = next {
        server.stop()?;
    }
    Ok(())
}

/// The ids of published events.
fn ids(member: &Member) -> Vec<String> {
    let published = member.answer.events.iter().filter(|event| event.kind.is_empty());
    published.map(|event| event.id.clone()).collect()
}

/// Whether all of `part` are in `whole`, in its order. An event that was taken and whose publisher had no answer is in neither.
fn is_within(part: &[String], whole: &[String]) -> bool {
    let mut rest = whole.iter();
    part.iter().all(|id| rest.any(|other| other == id))
}

/// A new process that asks for everything; nobody waits for it.
fn successor(bench: &Bench, address: SocketAddr, args: &[&str]) -> Result<Child> {
    let log = std::fs::File::create(bench.file("successor.log"))?;
    let mut command = Command::new(program());
    command
        .args(["--listen", &address.to_string(), "--admin-listen", "127.0.0.1:0"])
        .args(args)
        .args(bench.server_args());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().context("starting a successor")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_got_is_in_order_among_what_was_published() {
        let texts = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        let whole = texts(&["1", "2", "3"]);
        assert!(is_within(&texts(&["1", "3"]), &whole) && is_within(&[], &whole));
        assert!(!is_within(&texts(&["3", "1"]), &whole) && !is_within(&texts(&["4"]), &whole));
        assert!(!is_within(&texts(&["1", "1"]), &whole));
    }
}
