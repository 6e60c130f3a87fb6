//! B6, B7 and B11: reading the log while it is written, by many at once, and too slowly.

use std::collections::HashMap;
use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::answer::Event;
use super::asking::Asking;
use super::bench::{Bench, Quota};
use super::crash::{Random, clear};
use super::crowd::Crowd;
use super::finding::{Findings, Pairs};
use super::load::p99_of_a_few;
use super::publisher::{Publisher, number};
use super::replaying::{Replayed, Replaying};
use super::server::Server;

const TOPICS: u64 = 50;
/// Each with topics of its own, whose numbers it counts.
const PUBLISHERS: u64 = 5;
/// How long a client stays, and is away, at most.
const STAY_MS: u64 = 250;
const AWAY_MS: u64 = 150;
/// So few in memory that a resume has to read the log.
const SMALL_RINGS: [&str; 2] = ["--ring-frames-max=10", "--lag-frames-max=10"];

/// One client's place: what comes next in each of its topics.
struct Reader {
    path: String,
    last_id: Option<String>,
    next: HashMap<u64, u64>,
    /// When it leaves, or comes again.
    due: Instant,
    is_away: bool,
}

/// Clients leave and resume at random while events are published: what each sees is contiguous, or a gap is told.
pub fn meet_live_events(bench: &Bench) -> Result<Findings> {
    let (clients, rate) = bench.pick((60, 2_000), (500, 5_000));
    let resumes = bench.quota(5_000, 1_000_000);
    let server = Server::start(bench, &[&[&*bench.data_dir()?], &SMALL_RINGS[..]].concat())?;
    let address = server.address();
    let is_over = AtomicBool::new(false);
    let mut tally = Tally::default();
    let started = Instant::now();
    let published = std::thread::scope(|scope| {
        let publish = |publisher| publish_at(address, publisher, rate / PUBLISHERS, &is_over);
        let publishers: Vec<_> = (0..PUBLISHERS).map(|publisher| scope.spawn(move || publish(publisher))).collect();
        let read = come_and_go(address, clients, &resumes, &mut tally);
        is_over.store(true, Ordering::Relaxed);
        let joined = publishers.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a publisher panicked"))?);
        let published = joined.sum::<Result<u64>>();
        read.and(published)
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let mut findings = Findings::default();
    findings.none("holes that nobody told of", tally.holes);
    findings.none("repeated or out of order", tally.repeats);
    findings.amount("resumes", tally.resumes, &resumes);
    findings.at_least("published per second", published as f64 / seconds, rate as f64 * 0.8, "/s");
    findings.note("seconds", seconds);
    findings.note("gaps told", tally.gaps);
    findings.note("events read", tally.events);
    server.stop()?;
    Ok(findings)
}

#[derive(Debug, Default)]
struct Tally {
    resumes: usize,
    events: u64,
    holes: u64,
    repeats: u64,
    gaps: u64,
}

fn come_and_go(address: SocketAddr, clients: usize, resumes: &Quota, tally: &mut Tally) -> Result<()> {
    let mut random = Random::seeded();
    let mut crowd = Crowd::new(address)?;
    let mut readers = Vec::new();
    for _ in 0..clients {
        let topics: Vec<String> =
            (0..=random.below(3)).map(|_| format!("topic=seam/{}", random.below(TOPICS))).collect();
        let path = format!("/events?{}", topics.join("&"));
        crowd.follow(&path, None)?;
        readers.push(Reader { path, last_id: None, next: HashMap::new(), due: Instant::now(), is_away: false });
    }
    while resumes.is_open(tally.resumes) {
        crowd.turn(Duration::from_millis(5))?;
        for (place, reader) in readers.iter_mut().enumerate() {
            let member = crowd.member(place);
            member.answer.events.drain(..).for_each(|event| reader.take(event, tally));
            if Instant::now() < reader.due || !reader.is_away && !member.is_following() && member.ended_at.is_none() {
                continue;
            }
            let pause_ms = if reader.is_away {
                crowd.come_again(place, &reader.path, reader.last_id.as_deref())?;
                tally.resumes += usize::from(reader.last_id.is_some());
                STAY_MS
            } else {
                member.reset()?;
                AWAY_MS
            };
            reader.is_away = !reader.is_away;
            reader.due = Instant::now() + Duration::from_millis(random.below(pause_ms));
        }
    }
    Ok(())
}

impl Reader {
    fn take(&mut self, event: Event, tally: &mut Tally) {
        self.last_id = Some(event.id);
        if event.kind == "sse.gap" {
            tally.gaps += 1;
            self.next.clear();
            return;
        }
        let Some((topic, number)) = event.data.split_once(' ') else { return };
        let (Ok(topic), Ok(number)) = (topic.parse(), number.parse::<u64>()) else { return };
        tally.events += 1;
        if let Some(next) = self.next.insert(topic, number + 1) {
            tally.holes += u64::from(number > next);
            tally.repeats += u64::from(number < next);
        }
    }
}

/// Publishes to random topics of this publisher, each event with its topic's next number, until it is over; how many.
fn publish_at(address: SocketAddr, publisher: u64, rate: u64, is_over: &AtomicBool) -> Result<u64> {
    const PER_REQUEST: u64 = 20;
    let mut asking = Asking::connect(address)?;
    let (mut random, mut next) = (Random::seeded(), vec![0_u64; TOPICS as usize]);
    let (started, mut published) = (Instant::now(), 0);
    while !is_over.load(Ordering::Relaxed) {
        let due = started + Duration::from_secs(1) * published as u32 / rate as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut body = String::new();
        for _ in 0..PER_REQUEST {
            let topic = random.below(TOPICS / PUBLISHERS) * PUBLISHERS + publisher;
            let number = &mut next[topic as usize];
            writeln!(body, r#"{{"topic":"seam/{topic}","data":"{topic} {number}"}}"#)?;
            *number += 1;
        }
        let head = format!(
            "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        asking.ask(&[head.as_bytes(), body.as_bytes()].concat(), 200)?;
        published += PER_REQUEST;
    }
    Ok(published)
}

/// Very many replay at once: live events go first, and memory stays bounded.
pub fn storm(bench: &Bench) -> Result<Findings> {
    const EVENTS: u32 = 500;
    const RATIO_MAX: f64 = 2.0;
    let clients = bench.pick(600, 5_000);
    let data = InMemory::create()?;
    let server = Server::start_ahead(bench, &[&[&*data.flag()], &SMALL_RINGS[..]].concat())?;
    Publisher::connect(server.address())?.publish_numbers("storm", 0..EVENTS, 200, 0.0)?;
    let mut pairs = Pairs::default();
    let mut sum = Replayed::default();
    let mut before = f64::NAN;
    while !pairs.are_enough(RATIO_MAX, bench.is_long()) {
        let calm = p99_of_a_few(bench, "calm", &server, "3")?;
        before = before.min(server.usage()?.rss_mib());
        let replaying = Replaying::start(bench, &server, clients, EVENTS)?;
        let stormy = p99_of_a_few(bench, "stormy", &server, "3")?;
        let replayed = replaying.finish()?;
        sum.add(&replayed);
        pairs.push(calm, stormy);
    }
    let mut findings = Findings::default();
    findings.pairs("p99 of live events beside it", &pairs, RATIO_MAX);
    findings.all("replays that were whole", sum.whole, sum.asked);
    findings.at_least("replays", sum.asked as f64, clients as f64, "");
    findings.at_most("memory more than before", sum.rss_mib - before, 128.0, "MiB");
    findings.note("events replayed while live ones were measured", sum.while_measured);
    server.stop()?;
    Ok(findings)
}

/// A data directory in memory, where there is such a place: a p99 would be that of a disk which others use as well.
struct InMemory(PathBuf);

impl InMemory {
    fn create() -> Result<Self> {
        let shared = PathBuf::from("/dev/shm");
        let parent = if shared.is_dir() { shared } else { std::env::temp_dir() };
        let dir = parent.join(format!("sse-faults-{}", std::process::id()));
        clear(&dir)?;
        Ok(Self(dir))
    }

    fn flag(&self) -> String {
        format!("--data-dir={}", self.0.display())
    }
}

impl Drop for InMemory {
    fn drop(&mut self) {
        // What is left is small, and gone with the next start of the machine.
        let _ = clear(&self.0);
    }
}

/// A reader is so slow that what it is to get next is dropped: it is told, and goes on behind the gap.
pub fn outrun(bench: &Bench) -> Result<Findings> {
    const EVENTS: u32 = 3_000;
    const BYTES: usize = 4_000;
    const AT_ONCE: usize = 500;
    let readers = bench.pick(5, 50);
    let flags = ["--retain-events=2000", "--lag-grace=1h", "--write-timeout=1h"];
    let server = Server::start(bench, &[&[&*bench.data_dir()?], &SMALL_RINGS[..], &flags].concat())?;
    let mut publisher = Publisher::connect(server.address())?;
    publisher.publish_numbers("outrun", 0..EVENTS, BYTES, 0.0)?;
    let mut crowd = Crowd::new(server.address())?;
    crowd.receive_bytes = Some(32 << 10);
    for _ in 0..readers {
        crowd.follow("/events/outrun", Some("earliest"))?;
    }
    let has_begun = |crowd: &Crowd| crowd.members().iter().all(|member| !member.answer.events.is_empty());
    ensure!(crowd.read_until(Duration::from_secs(10), has_begun)?, "the replays do not begin");
    // Next to nothing is read now, and all that was there goes. A client that takes nothing at all the kernel gives up.
    let mut last = None;
    for next in (EVENTS..EVENTS * 3).step_by(AT_ONCE) {
        last = publisher.publish_numbers("outrun", next..next + AT_ONCE as u32, BYTES, 0.0)?.pop();
        crowd.turn(Duration::ZERO)?;
    }
    let last = last.context("no id")?;
    let has_end = |crowd: &Crowd| crowd.members().iter().all(|member| member.answer.last_id() == Some(&last));
    let ended = crowd.read_until(Duration::from_secs(60), has_end)?;
    let (mut told, mut silent, mut examples) = (0, 0, Vec::new());
    for member in crowd.members() {
        let (mut next, mut after_gap, mut gaps) = (None, true, 0);
        for event in &member.answer.events {
            if event.kind == "sse.gap" {
                (after_gap, gaps) = (true, gaps + u32::from(next.is_some()));
            } else if let Some(number) = number(&event.data) {
                if !after_gap && next != Some(number) {
                    silent += 1;
                    examples.push(format!("{number} in place of {next:?}, {}", event.id));
                }
                (next, after_gap) = (Some(number + 1), false);
            }
        }
        told += usize::from(gaps > 0);
    }
    let mut findings = Findings::default();
    findings.is_so("all come to the end", ended);
    findings.all("told of a gap in the middle", told, readers);
    findings.none("jumps that nobody told of", silent);
    findings.note("examples", examples);
    server.stop()?;
    Ok(findings)
}
