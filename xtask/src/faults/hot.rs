//! C12 and burst: one topic with very much to do.

use std::time::Duration;

use anyhow::Result;

use super::bench::{Bench, expect};
use super::finding::{Findings, Pairs};
use super::load::{Load, is_whole, p99_of_a_few};
use super::rank::Rank;
use super::server::Server;

const RATIO_MAX: f64 = 1.5;
/// Followers of the hot topic.
const FOLLOWERS: usize = 5_000;
/// Its events, steadily and as many at once.
const STEADY: [&str; 4] = ["--rate", "20", "--burst", "1"];
const BURSTS: [&str; 4] = ["--rate", "20", "--burst", "20"];

/// A topic with 5,000 followers does not slow another topic down, neither steadily nor in bursts.
pub fn leaves_others_alone(bench: &Bench) -> Result<Findings> {
    let server = Server::start_ahead(bench, &[])?;
    let count = FOLLOWERS.to_string();
    let follow =
        ["--topics", "1", "--topic-prefix", "hot-", "--subscribers", &count, "--rate", "0", "--seconds", "900"];
    // Not they are measured: those who read the hot topic take what the others leave of the machine.
    let followers = Load::start_ranked(Rank::Behind, bench, "followers", &server, &follow)?;
    expect("the followers' streams", Duration::from_secs(60), || Ok(server.streams()? == FOLLOWERS))?;
    let (mut steady, mut bursts) = (Pairs::default(), Pairs::default());
    let enough = |pairs: &Pairs| pairs.are_enough(RATIO_MAX, bench.is_long());
    while !enough(&steady) || !enough(&bursts) {
        let calm = cold_p99(bench, &server)?;
        for (load, pairs) in [(&STEADY, &mut steady), (&BURSTS, &mut bursts)] {
            let publish = ["--topics", "1", "--topic-prefix", "hot-", "--subscribers", "0", "--seconds", "600"];
            let publisher = Load::start(bench, "hot", &server, &[&publish[..], &load[..]].concat())?;
            let published = server.metrics()?.sum("sse_events_published_total");
            expect("the first hot events", Duration::from_secs(10), || {
                Ok(server.metrics()?.sum("sse_events_published_total") > published)
            })?;
            pairs.push(calm, cold_p99(bench, &server)?);
            drop(publisher);
        }
    }
    let mut findings = Findings::default();
    findings.pairs("p99 of another topic, 20 events/s", &steady, RATIO_MAX);
    findings.pairs("p99 of another topic, bursts of 20", &bursts, RATIO_MAX);
    findings.all("followers still there", server.streams()?, FOLLOWERS);
    drop(followers);
    server.stop()?;
    Ok(findings)
}

fn cold_p99(bench: &Bench, server: &Server) -> Result<f64> {
    p99_of_a_few(bench, "cold", server, bench.pick("3", "20"))
}

/// 5,000 events at once to 1,000 subscribers that read: all get all, nobody is evicted.
pub fn bursts(bench: &Bench) -> Result<Findings> {
    let runs = bench.pick(1, 5);
    let mut findings = Findings::default();
    let mut whole = 0;
    let mut slowest: f64 = 0.0;
    let mut evicted = 0;
    for _ in 0..runs {
        let server = Server::start(bench, &[])?;
        let load = ["--topics", "1", "--subscribers", "1000", "--rate", "5000", "--burst", "5000", "--seconds", "1"];
        let report = Load::run(bench, "burst", &server, &load)?;
        whole += usize::from(is_whole(&report));
        slowest = slowest.max(report["delivery"]["last_subscriber"]["max_ms"].as_f64().unwrap_or(f64::NAN));
        evicted += server.evictions("lagged")? + server.evictions("stalled")?;
        server.stop()?;
    }
    findings.all("runs in which all got all", whole, runs);
    findings.none("evicted", evicted as u64);
    findings.note("milliseconds until the last had the last event", slowest);
    Ok(findings)
}
