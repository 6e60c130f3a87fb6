//! C4 and C5: clients that are gone without the server being told.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::bench::{Bench, PATHS, expect, seconds_or_over, wait_for};
use super::crowd::Crowd;
use super::finding::Findings;
use super::namespace::Namespace;
use super::publisher::{Publisher, number};
use super::server::Server;
use super::silent::silent;

const WAIT: Duration = Duration::from_secs(30);

/// Peers that vanished are reaped, by the heartbeats they do not acknowledge.
pub fn vanishes(bench: &Bench) -> Result<Findings> {
    const REAPED_WITHIN: Duration = Duration::from_secs(60);
    let (count, heartbeat) = bench.pick((500, "--heartbeat-interval=1s"), (10_000, "--heartbeat-interval=25s"));
    let namespace = Namespace::create()?;
    let far = format!("{}:0", namespace.here);
    let server = Server::start(bench, &["--listen", &far, "--insecure=on", heartbeat])?;
    let before = server.usage()?.descriptors;
    let target: SocketAddr = server.addresses[1];
    let streams =
        namespace.enter(move || (0..count).map(|_| silent(target, "/events/far")).collect::<Result<Vec<_>>>())?;
    expect("streams of the far clients", WAIT, || Ok(server.streams()? == count))?;
    let held = server.usage()?.descriptors - before;
    ensure!(held >= count, "the server holds {held} descriptors for {count} streams");
    namespace.cut()?;
    let cut = Instant::now();
    let gone = wait_for(REAPED_WITHIN + Duration::from_secs(10), || {
        Ok(server.streams()? == 0 && server.usage()?.descriptors <= before)
    })?;
    let mut findings = Findings::default();
    let took = seconds_or_over(gone, cut.elapsed());
    findings.at_most("streams and descriptors back to none", took, REAPED_WITHIN.as_secs_f64(), "s");
    findings.all("reaped", count - server.streams()?, count);
    drop(streams);
    server.stop()?;
    Ok(findings)
}

/// A browser that died behind a proxy which still takes everything: only the connection's age ends that.
///
/// To the server such a proxy is a client that reads and has no opinion, which is what these are.
pub fn dies_behind_a_proxy(bench: &Bench) -> Result<Findings> {
    /// The server's timers are this coarse, which shows where the age is short.
    const COARSE: f64 = 0.3;
    let (count, age) = bench.pick((100, 4.0), (1_000, 60.0));
    let flag = format!("--connection-age-max={age}s");
    let mut findings = Findings::default();
    for (path, flags) in PATHS {
        let server = Server::start(bench, &[flags, &[&flag]].concat())?;
        let mut crowd = Crowd::new(server.address())?;
        for _ in 0..count {
            crowd.follow("/events/news", None)?;
        }
        ensure!(crowd.read_until(WAIT, |crowd| crowd.following() == count)?, "not all streams were opened");
        let mut publisher = Publisher::connect(server.address())?;
        let ids = publisher.publish_numbers("news", 0..20, 100, 0.0)?;
        let ended = |crowd: &Crowd| crowd.members().iter().all(|member| member.ended_at.is_some());
        crowd.read_until(Duration::from_secs_f64(age * 1.5), ended)?;
        let ages: Vec<f64> =
            crowd.members().iter().filter_map(|m| Some((m.ended_at? - m.answered_at?).as_secs_f64() / age)).collect();
        let (least, most) =
            ages.iter().fold((f64::NAN, f64::NAN), |(least, most), age| (least.min(*age), most.max(*age)));
        findings.all(&format!("{path}: closed"), ages.len(), count);
        findings.at_least(&format!("{path}: first closed, in ages"), least, 0.9 - COARSE / age, "");
        findings.at_most(&format!("{path}: last closed, in ages"), most, 1.1 + COARSE / age, "");
        findings.at_least(&format!("{path}: spread, in ages"), most - least, 0.1, "");
        let clean =
            crowd.members().iter().filter(|m| m.answer.is_ended && ends_with_reconnect(m.answer.events.last())).count();
        findings.all(&format!("{path}: asked to reconnect, ended cleanly"), clean, count);
        // Each browser had seen another part before it died.
        for member in 0..count {
            crowd.come_again(member, "/events/news", Some(&ids[member % ids.len()]))?;
        }
        let newest = ids.len() as u32 - 1;
        let resumed = |crowd: &Crowd, member: usize| {
            let numbers: Vec<u32> = crowd.members()[member].answer.data().filter_map(number).collect();
            let has_no_gap = crowd.members()[member].answer.events.iter().all(|event| event.kind.is_empty());
            has_no_gap && numbers == ((member % ids.len()) as u32 + 1..=newest).collect::<Vec<_>>()
        };
        crowd.read_until(Duration::from_secs(2), |crowd| {
            crowd.following() == count && (0..count).all(|member| resumed(crowd, member))
        })?;
        let whole = (0..count).filter(|member| resumed(&crowd, *member)).count();
        findings.all(&format!("{path}: resumed without a hole"), whole, count);
        server.stop()?;
    }
    Ok(findings)
}

fn ends_with_reconnect(last: Option<&super::answer::Event>) -> bool {
    last.is_some_and(|event| event.kind == "sse.reconnect" && event.data.contains("age"))
}
