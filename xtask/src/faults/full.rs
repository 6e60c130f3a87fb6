//! G1, G2 and full19k: no descriptors left, no room left, and room for very many.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::bench::{Bench, wait_for};
use super::crowd::{Crowd, Member};
use super::finding::Findings;
use super::load::{Load, is_whole};
use super::publisher::Publisher;
use super::server::Server;

const WAIT: Duration = Duration::from_secs(10);

/// A full descriptor table: streams flow on, accepting sleeps and recovers, the metrics still answer.
pub fn no_descriptors(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    // The server keeps clear of the limit by itself; a bound set too high must not harm it either.
    for (name, flags) in [("own bound", &[][..]), ("bound too high", &["--connections-max=100000"])] {
        starve_of_descriptors(bench, name, flags, &mut findings)?;
    }
    Ok(findings)
}

fn starve_of_descriptors(bench: &Bench, name: &str, flags: &[&str], findings: &mut Findings) -> Result<()> {
    const FIRST: usize = 100;
    const MORE: usize = 300;
    let server = Server::start_with_descriptors(256, bench, flags)?;
    let mut publisher = waiting_publisher(&server)?;
    let mut crowd = Crowd::new(server.address())?;
    for _ in 0..FIRST {
        crowd.follow("/events/kept", None)?;
    }
    ensure!(crowd.read_until(WAIT, |crowd| crowd.following() == FIRST)?, "not all of the first streams were opened");
    for _ in 0..MORE {
        crowd.follow("/events/late", None)?;
    }
    crowd.read_for(Duration::from_secs(1))?;
    let (cpu, since) = (server.usage()?.cpu, Instant::now());
    publisher.publish("kept", "still here")?;
    crowd.read_for(Duration::from_secs(2))?;
    let used = (server.usage()?.cpu - cpu).as_secs_f64() / since.elapsed().as_secs_f64();
    findings.at_most(&format!("{name}: CPU while full"), used * 100.0, 5.0, "%");
    let served = crowd.members()[..FIRST].iter().filter(|member| member.answer.data().count() == 1).count();
    findings.all(&format!("{name}: streams that flow on"), served, FIRST);
    findings.note(&format!("{name}: descriptors while full"), server.usage()?.descriptors);
    let scrape = server.metrics();
    findings.note(
        &format!("{name}: scrape"),
        scrape.as_ref().map_or_else(|error| format!("{error:#}"), |_| "answered".to_owned()),
    );
    findings.is_so(&format!("{name}: metrics answer while full"), scrape.is_ok());
    let (waiting, closed) = (crowd.following(), Instant::now());
    for member in 0..FIRST / 2 {
        crowd.member(member).reset()?;
    }
    // Where those who come are turned away at once nobody waits for a place: a newcomer takes it.
    let accepted = |crowd: &Crowd| {
        let is_new = |member: &Member| member.answered_at.is_some_and(|at| at > closed) && !is_turned_away(member);
        crowd.members().iter().any(is_new)
    };
    while closed.elapsed() < WAIT && !crowd.read_until(Duration::from_millis(100), accepted)? {
        crowd.follow("/events/late", None)?;
    }
    findings.at_most(&format!("{name}: streams open once others closed"), closed.elapsed().as_secs_f64(), 1.0, "s");
    findings.note(&format!("{name}: streams while full"), waiting);
    server.stop()
}

/// A publisher that has published: a connection that never said anything would soon be closed.
fn waiting_publisher(server: &Server) -> Result<Publisher> {
    let mut publisher = Publisher::connect(server.address())?;
    publisher.publish("elsewhere", "hello")?;
    Ok(publisher)
}

/// More connections than the bound: those who are there stay, those who come are told when to come again.
pub fn no_room(bench: &Bench) -> Result<Findings> {
    const BOUND: usize = 500;
    const MORE: usize = 300;
    let server = Server::start(bench, &[&format!("--connections-max={BOUND}")])?;
    let mut publisher = waiting_publisher(&server)?;
    let mut crowd = Crowd::new(server.address())?;
    // The publisher's connection counts as well.
    let followers = BOUND - 1;
    for _ in 0..followers {
        crowd.follow("/events/kept", None)?;
    }
    ensure!(crowd.read_until(WAIT, |crowd| crowd.following() == followers)?, "not all streams were opened");
    // Every other one is a program rather than an EventSource, and gets a status.
    for number in 0..MORE {
        if number % 2 == 0 {
            crowd.follow("/events/kept", None)?;
        } else {
            crowd.connect(
                b"GET /events/kept HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nConnection: close\r\n\r\n".to_vec(),
            )?;
        }
    }
    let turned_away = |crowd: &Crowd| crowd.members()[followers..].iter().filter(|m| is_turned_away(m)).count();
    crowd.read_until(WAIT, |crowd| turned_away(crowd) == MORE)?;
    publisher.publish("kept", "still here")?;
    let have = |crowd: &Crowd| crowd.members()[..followers].iter().filter(|m| m.answer.data().count() == 1).count();
    crowd.read_until(WAIT, |crowd| have(crowd) == followers)?;
    let mut findings = Findings::default();
    findings.all("streams that flow on", have(&crowd), followers);
    let late = &crowd.members()[followers..];
    findings.all("others turned away: told, or closed", turned_away(&crowd), MORE);
    findings.none("others served", late.iter().filter(|member| member.answer.data().count() > 0).count() as u64);
    let rejected = server.metrics()?.sum_where("sse_connections_rejected_total", "reason=\"full\"");
    findings.all("others counted as rejected", rejected as usize, MORE);
    let asked = late.iter().filter_map(|member| Some(member.answer.retry?.as_millis()));
    let retries: HashSet<u128> = asked.filter(|retry| (5_000..=15_000).contains(retry)).collect();
    let statuses: Vec<&str> =
        late.iter().filter(|m| m.answer.status() == Some(503)).filter_map(|m| m.answer.field("retry-after")).collect();
    let waits: HashSet<&str> = statuses.iter().copied().collect();
    // Few are told at a time, the rest of a crowd is closed: descriptors are kept back for them.
    findings.at_least("different retry: times told", retries.len() as f64, 3.0, "");
    findings.at_least("503 with Retry-After", statuses.len() as f64, 3.0, "");
    findings.at_least("different Retry-After times", waits.len() as f64, 2.0, "");
    findings.note("closed without an answer", late.iter().filter(|member| member.answer.status().is_none()).count());
    findings.note("told, and still connected", late.iter().filter(|member| member.ended_at.is_none()).count());
    server.stop()?;
    Ok(findings)
}

/// The connection was closed, or got the answer that asks an EventSource to come back later.
fn is_turned_away(member: &Member) -> bool {
    member.ended_at.is_some() || member.answer.events.iter().any(|event| event.kind == "sse.reconnect")
}

/// 19,000 streams in one process, near the limit of descriptors: nothing is lost.
pub fn very_many(bench: &Bench) -> Result<Findings> {
    const STREAMS: u32 = 19_000;
    let server = Server::start(bench, &[])?;
    let streams = STREAMS.to_string();
    let load = bench.pick(
        ["--topics", "10", "--rate", "10", "--seconds", "4"],
        ["--topics", "1", "--rate", "2", "--seconds", "60"],
    );
    let report = Load::run(bench, "streams", &server, &[&["--subscribers", &streams][..], &load].concat())?;
    let delivery = &report["delivery"];
    let count = |field: &str| delivery[field].as_u64().with_context(|| format!("the report has no {field}"));
    let mut findings = Findings::default();
    findings.all("streams open at once", report["streams"]["opened"].as_u64().unwrap_or(0) as usize, STREAMS as usize);
    findings.none("events lost", count("lost")?);
    findings.none("streams that ended early", count("closed_early")?);
    findings.is_so("every stream got everything once and in order", is_whole(&report));
    findings.note("deliveries", count("delivered")?);
    findings.note(
        "KiB per idle stream",
        report["server"]["rss_bytes_per_idle_stream"].as_f64().map(|bytes| bytes / 1024.0),
    );
    let gone = wait_for(WAIT, || Ok(server.streams()? == 0))?;
    findings.is_so("all gone when the clients are", gone.is_some());
    server.stop()?;
    Ok(findings)
}
