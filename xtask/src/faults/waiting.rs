//! D1, D2, D3 and F1: clients that keep the server waiting, by the thousand.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, expect, seconds_or_over, wait_for};
use super::crowd::{Crowd, Member};
use super::finding::{Findings, Pairs};
use super::load::{a_few, p99_ms};
use super::publisher::Publisher;
use super::server::Server;

/// Sockets that say nothing, or too little.
const SOCKETS: usize = 2_000;
/// Opened at once, so that the listener's backlog is not what is tested.
const AT_ONCE: usize = 200;
/// How much longer than its limit a connection is looked for.
const LATE: Duration = Duration::from_secs(10);
const RATIO_MAX: f64 = 2.0;
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Connections on which nothing ever comes.
pub fn says_nothing(bench: &Bench) -> Result<Findings> {
    beside_others(bench, Server::start_ahead(bench, &[])?, &[b""], "silent")
}

/// Connections that begin no handshake, or break off within its first message.
pub fn stalls_a_handshake(bench: &Bench) -> Result<Findings> {
    /// The beginning of a `ClientHello` of 512 bytes.
    const HALF_A_HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3];
    beside_others(bench, Server::start_secure(bench, &[])?, &[b"", HALF_A_HELLO], "tls_timeout")
}

/// Opens the sockets while others follow a topic, and waits until all are closed.
fn beside_others(bench: &Bench, server: Server, first: &[&[u8]], reason: &str) -> Result<Findings> {
    const LIMIT: Duration = Duration::from_secs(5);
    /// Longer than the sockets are there.
    const SECONDS: &str = "6";
    const OTHERS: usize = 100;
    a_few(bench, "warm-up", &server, "1")?.report(LATE)?;
    let before = server.usage()?.descriptors;
    let (mut pairs, mut longest, mut runs) = (Pairs::default(), Duration::ZERO, 0);
    while !pairs.are_enough(RATIO_MAX, bench.is_long()) {
        let calm = p99_ms(&a_few(bench, "calm", &server, SECONDS)?.report(LATE)?);
        let load = a_few(bench, "beside", &server, SECONDS)?;
        expect("the others' streams", ANSWER_WITHIN, || Ok(server.streams()? == OTHERS))?;
        let mut crowd = Crowd::new(server.address())?;
        open(&mut crowd, SOCKETS, first)?;
        crowd.read_until(LIMIT + LATE, all_ended)?;
        longest = longest.max(longest_of(&crowd, LIMIT, Member::lasted));
        pairs.push(calm, p99_ms(&load.report(LATE)?));
        runs += 1;
    }
    let mut findings = Findings::default();
    findings.at_most("closed after", longest.as_secs_f64(), LIMIT.as_secs_f64(), "s");
    let metrics = server.metrics()?;
    let counted = metrics.sum_where("sse_connections_rejected_total", &format!("reason=\"{reason}\""));
    findings.all(&format!("counted as {reason}"), counted as usize, SOCKETS * runs);
    let streams = metrics.sum("sse_connections_total") as usize;
    findings.all("streams that were counted, all of others", streams, OTHERS * (1 + 2 * runs));
    let freed = wait_for(Duration::from_secs(1), || Ok(server.usage()?.descriptors <= before))?;
    findings.is_so("descriptors as before", freed.is_some());
    findings.pairs("p99 of others", &pairs, RATIO_MAX);
    server.stop()?;
    Ok(findings)
}

/// Heads that come a byte every three seconds.
pub fn sends_a_head_slowly(bench: &Bench) -> Result<Findings> {
    const LIMIT: Duration = Duration::from_secs(10);
    const BYTE_EVERY: Duration = Duration::from_secs(3);
    let count = bench.pick(1_000, SOCKETS);
    let server = Server::start(bench, &[])?;
    let before = server.usage()?.descriptors;
    let mut bystander = Bystander::open(&server)?;
    let mut crowd = Crowd::new(server.address())?;
    open(&mut crowd, count, &[b"GET /events/a HTTP/1.1\r\nHost: localhost\r\nX: "])?;
    let (started, mut sent) = (Instant::now(), 1);
    while !all_ended(&crowd) && started.elapsed() < LIMIT + LATE {
        crowd.read_until(BYTE_EVERY * sent - started.elapsed().min(BYTE_EVERY * sent), all_ended)?;
        (0..count).for_each(|number| crowd.member(number).send(b"y"));
        sent += 1;
    }
    let mut findings = Findings::default();
    let longest = longest_of(&crowd, LIMIT, Member::lasted);
    findings.at_most("closed after", longest.as_secs_f64(), LIMIT.as_secs_f64(), "s");
    judge(&mut findings, &server, "slow_head", count, before)?;
    findings.is_so("a stream among them flows on", bystander.is_served(&server)?);
    server.stop()?;
    Ok(findings)
}

/// Connections that asked once, were answered, and then are kept for nothing.
pub fn idles(bench: &Bench) -> Result<Findings> {
    const COUNT: usize = 1_000;
    const LIMIT: Duration = Duration::from_secs(60);
    /// Who is let go of much sooner pays for another connection.
    const NOT_BEFORE: f64 = 55.0;
    let server = Server::start(bench, &[])?;
    let before = server.usage()?.descriptors;
    let mut bystander = Bystander::open(&server)?;
    let mut crowd = Crowd::new(server.address())?;
    open(&mut crowd, COUNT, &[b"POST /events/idle HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"])?;
    let is_answered = |member: &Member| member.answer.status() == Some(200);
    let all_answered = crowd.read_until(ANSWER_WITHIN, |crowd| crowd.members().iter().all(is_answered))?;
    ensure!(all_answered, "not all requests were answered");
    crowd.read_until(LIMIT + LATE, all_ended)?;
    let mut findings = Findings::default();
    let idle = |member: &Member| Some(member.ended_at?.duration_since(member.answered_at?));
    let longest = longest_of(&crowd, LIMIT, idle);
    findings.at_most("idle ones closed after", longest.as_secs_f64(), LIMIT.as_secs_f64(), "s");
    let shortest = crowd.members().iter().filter_map(idle).min().context("none was closed")?;
    findings.at_least("and not before", shortest.as_secs_f64(), NOT_BEFORE, "s");
    judge(&mut findings, &server, "idle", COUNT, before)?;
    findings.is_so("a stream among them flows on", bystander.is_served(&server)?);
    server.stop()?;
    Ok(findings)
}

fn open(crowd: &mut Crowd, count: usize, first: &[&[u8]]) -> Result<()> {
    for number in 0..count {
        crowd.connect(first[number % first.len()].to_vec())?;
        if number % AT_ONCE == AT_ONCE - 1 {
            crowd.read_for(Duration::from_millis(20))?;
        }
    }
    Ok(())
}

fn all_ended(crowd: &Crowd) -> bool {
    crowd.members().iter().all(|member| member.ended_at.is_some())
}

/// The longest of these times; far over the limit where there is none.
fn longest_of(crowd: &Crowd, limit: Duration, time: impl Fn(&Member) -> Option<Duration>) -> Duration {
    let seconds = crowd.members().iter().map(|member| seconds_or_over(time(member), limit));
    Duration::from_secs_f64(seconds.fold(0.0, f64::max))
}

/// Each is counted under its reason, and nothing of them is left but the bystander.
fn judge(findings: &mut Findings, server: &Server, reason: &str, count: usize, before: usize) -> Result<()> {
    let label = format!("reason=\"{reason}\"");
    let counted = server.metrics()?.sum_where("sse_connections_rejected_total", &label);
    findings.all(&format!("counted as {reason}"), counted as usize, count);
    let freed = wait_for(Duration::from_secs(1), || Ok(server.usage()?.descriptors <= before + 1))?;
    findings.is_so("descriptors as before", freed.is_some());
    Ok(())
}

/// A stream that does nothing wrong.
struct Bystander(Crowd);

impl Bystander {
    fn open(server: &Server) -> Result<Self> {
        let mut crowd = Crowd::new(server.address())?;
        crowd.follow("/events/bystander", None)?;
        ensure!(crowd.read_until(ANSWER_WITHIN, |crowd| crowd.following() == 1)?, "a stream was not opened");
        Ok(Self(crowd))
    }

    /// Whether an event still comes.
    fn is_served(&mut self, server: &Server) -> Result<bool> {
        Publisher::connect(server.address())?.publish("bystander", "still here")?;
        self.0.read_until(ANSWER_WITHIN, |crowd| crowd.members()[0].answer.data().any(|data| data == "still here"))
    }
}
