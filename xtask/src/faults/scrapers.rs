//! L1 and L3: what metrics cost, whoever asks for them.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::asking::Asking;
use super::bench::{Bench, expect};
use super::finding::{Findings, Pairs};
use super::load::p99_of_a_few;
use super::server::Server;
use super::topics::publish_to;

/// Many topics, and strangers with words of their own: the number of series does not follow.
pub fn series_are_bounded(bench: &Bench) -> Result<Findings> {
    const SERIES_MAX: f64 = 500.0;
    const BATCH: usize = 1_000;
    let (topics, strangers) = bench.pick((20_000, 200), (100_000, 1_000));
    let server = Server::start(bench, &[])?;
    let mut asking = Asking::connect(server.address())?;
    for first in (0..topics).step_by(BATCH) {
        publish_to(&mut asking, first..first + BATCH)?;
    }
    for number in 0..strangers {
        let request = format!(
            "M{number} /p{number}/x?q{number} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: agent-{number}\r\n\
             X-{number}: y\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        Asking::connect(server.address())?.answer(request.as_bytes())?;
    }
    // Counted when they are swept.
    expect("all topics", Duration::from_secs(10), || Ok(server.metrics()?.sum("sse_topics") >= topics as f64))?;
    let metrics = server.metrics()?;
    let mut findings = Findings::default();
    findings.at_most("series", metrics.series() as f64, SERIES_MAX, "");
    findings.none("series that name a topic or a stranger", metrics.lines_with(&["once/", "agent-", "/p1", "M1"]));
    server.stop()?;
    Ok(findings)
}

/// 50 scrapers that do not read, and one that does: the one is answered, and streams do not notice.
pub fn slow_scrapers(bench: &Bench) -> Result<Findings> {
    const SCRAPERS: usize = 50;
    const MORE_MIB_MAX: f64 = 16.0;
    const RATIO_MAX: f64 = 2.0;
    let server = Server::start_ahead(bench, &[])?;
    let seconds = bench.pick("2", "10");
    // What a server needs once it has served, and been asked for metrics.
    p99_of_a_few(bench, "warm-up", &server, "1")?;
    server.metrics()?;
    let before = server.usage()?.rss_mib();
    let (mut pairs, mut slow) = (Pairs::default(), Vec::new());
    while !pairs.are_enough(RATIO_MAX, bench.is_long()) {
        slow.clear();
        let calm = p99_of_a_few(bench, "calm", &server, seconds)?;
        slow = (0..SCRAPERS).map(|_| never_reads(server.admin)).collect::<Result<Vec<_>>>()?;
        pairs.push(calm, p99_of_a_few(bench, "beside", &server, seconds)?);
    }
    let asked = Instant::now();
    let answer = server.metrics();
    let took = asked.elapsed();
    let more = server.usage()?.rss_mib() - before;
    let mut findings = Findings::default();
    findings.is_so("another scraper is answered", answer.is_ok());
    findings.at_most("after", took.as_secs_f64(), 2.0, "s");
    findings.at_most("memory more than before", more, MORE_MIB_MAX, "MiB");
    findings.pairs("p99 of a topic", &pairs, RATIO_MAX);
    drop(slow);
    server.stop()?;
    Ok(findings)
}

/// Asks for the metrics again and again, and takes none of the answers.
fn never_reads(admin: SocketAddr) -> Result<TcpStream> {
    let mut socket = TcpStream::connect_timeout(&admin, Duration::from_secs(2)).context("connecting as a scraper")?;
    socket.set_nonblocking(true)?;
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    // What the server does not take it does not answer either.
    let _ = socket.write(&request)?;
    Ok(socket)
}
