//! D8: random bytes, and requests with something wrong in them.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use socket2::SockRef;

use super::bench::{Bench, Quota, wait_for};
use super::crash::Random;
use super::finding::Findings;
use super::hello::client_hello;
use super::load::{a_few, is_whole};
use super::server::Server;
use super::spoiled::Spoiler;

const THREADS: u64 = 4;
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// An input that is a sound stream, or part of what is only worth waiting for, is answered so late or not at all.
const ANSWER_WITHIN: Duration = Duration::from_millis(200);

/// What became of the inputs.
#[derive(Debug)]
struct Outcomes {
    sent: AtomicUsize,
    /// By the status of the answer; 0 for what is no answer in HTTP/1.1.
    by_status: Vec<AtomicUsize>,
}

impl Outcomes {
    fn new() -> Self {
        Self { sent: AtomicUsize::default(), by_status: (0..1_000).map(|_| AtomicUsize::default()).collect() }
    }

    fn count(&self, statuses: Range<usize>) -> usize {
        self.by_status[statuses].iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

/// A server lives through whatever is sent to it, in plain text and instead of a handshake.
pub fn is_survived(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let seed = bench.seed();
    println!("seed {seed}: --seed {seed} has the same inputs again");
    findings.note("seed", seed);
    // A topic that some input closes is soon there again for the others.
    let plain = Server::start(bench, &["--closed-topic-age=1ms"])?;
    let outcomes = pelt(bench, plain, "plain", sound_requests(), seed, &mut findings)?;
    let share = |statuses| outcomes.count(statuses) as f64 * 100.0 / outcomes.count(0..1_000).max(1) as f64;
    // Otherwise most of it would be lost at the first byte.
    findings.at_least("plain: inputs that were still requests", share(200..300), 5.0, "%");
    findings.at_least("plain: inputs that were refused as requests", share(400..500), 10.0, "%");
    let hello = client_hello(bench)?;
    pelt(bench, Server::start_secure(bench, &[])?, "TLS", vec![hello], seed, &mut findings)?;
    Ok(findings)
}

/// Sends what comes of spoiling these, each on a connection of its own, and judges what is left of the server.
fn pelt(
    bench: &Bench,
    server: Server,
    name: &str,
    sound: Vec<Vec<u8>>,
    seed: u64,
    findings: &mut Findings,
) -> Result<Arc<Outcomes>> {
    const MORE_MIB_MAX: f64 = 64.0;
    const COMPLAINTS_MAX: f64 = 100.0;
    // Half for each of two servers.
    let quota = bench.quota(20_000, 1_000_000).halved();
    a_few(bench, "warm-up", &server, "1")?.report(CONNECT_WITHIN)?;
    let before = server.usage()?;
    let outcomes = Arc::new(Outcomes::new());
    let threads = (0..THREADS).map(|index| {
        let (spoiler, outcomes, address) =
            (Spoiler::new(sound.clone(), Random::of(seed, index)), outcomes.clone(), server.address());
        std::thread::spawn(move || throw(address, spoiler, &quota, &outcomes))
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().map_err(|_| anyhow!("a throwing thread panicked"))??;
    }
    let freed = wait_for(Duration::from_secs(10), || Ok(server.usage()?.descriptors <= before.descriptors))?;
    let more = server.usage()?.rss_mib() - before.rss_mib();
    findings.amount(&format!("{name}: inputs"), outcomes.sent.load(Ordering::Relaxed), &quota);
    let panicked = server.log_lines()?.iter().filter(|line| line.contains("panicked")).count() as u64;
    findings.none(&format!("{name}: panics"), panicked.max(server.metrics()?.sum("sse_panics_total") as u64));
    findings.none(&format!("{name}: answers of 500"), outcomes.count(500..501) as u64);
    let complaints = server.log_lines()?.iter().filter(|line| !line.contains("\"INFO\"")).count();
    findings.at_most(&format!("{name}: complaints in the log"), complaints as f64, COMPLAINTS_MAX, "");
    findings.at_most(&format!("{name}: memory more than before"), more, MORE_MIB_MAX, "MiB");
    findings.is_so(&format!("{name}: descriptors as before"), freed.is_some());
    let after = a_few(bench, "after", &server, "1")?.report(CONNECT_WITHIN)?;
    findings.is_so(&format!("{name}: a load afterwards is whole"), is_whole(&after));
    for (status, count) in outcomes.by_status.iter().map(|count| count.load(Ordering::Relaxed)).enumerate() {
        if count > 0 {
            findings.note(&format!("{name}: answered {status}"), count);
        }
    }
    server.kill();
    Ok(outcomes)
}

fn throw(address: SocketAddr, mut spoiler: Spoiler, quota: &Quota, outcomes: &Outcomes) -> Result<()> {
    while quota.is_open(outcomes.sent.fetch_add(1, Ordering::Relaxed)) {
        let status = deliver(address, &spoiler.next()).context("after spoiled input")?;
        outcomes.by_status[status.filter(|status| *status < 1_000).unwrap_or(0)].fetch_add(1, Ordering::Relaxed);
    }
    outcomes.sent.fetch_sub(1, Ordering::Relaxed);
    Ok(())
}

/// Sends it and nothing more, and takes the beginning of an answer; its status, if it is one in HTTP/1.1.
fn deliver(address: SocketAddr, input: &[u8]) -> Result<Option<usize>> {
    let mut socket = TcpStream::connect_timeout(&address, CONNECT_WITHIN)?;
    socket.set_read_timeout(Some(ANSWER_WITHIN))?;
    // A server that has heard enough closes, and then nothing of this succeeds.
    let _ = socket.write_all(input).and_then(|()| socket.shutdown(Shutdown::Write));
    let mut answer = [0; 64];
    let len = socket.read(&mut answer).unwrap_or(0);
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    Ok(status(&answer[..len]))
}

fn status(answer: &[u8]) -> Option<usize> {
    std::str::from_utf8(answer.strip_prefix(b"HTTP/1.1 ")?.get(..3)?).ok()?.parse().ok()
}

/// One of everything that clients ask for.
pub fn sound_requests() -> Vec<Vec<u8>> {
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl";
    let heads = [
        "GET /events/a HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nAccept-Encoding: gzip\r\n\r\n".to_owned(),
        "GET /events?topic=a&topic=b%2Fc&envelope=json HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: 0-5\r\n\r\n".to_owned(),
        "GET /.well-known/mercure?topic=https%3A%2F%2Fx%2F%7Bid%7D HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        format!("GET /events/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nCookie: a=b; mercureAuthorization={token}\r\n\r\n"),
        "OPTIONS /events/a HTTP/1.1\r\nHost: localhost\r\nOrigin: https://x\r\nAccess-Control-Request-Method: POST\r\n\r\n".to_owned(),
        "POST /events/a?type=t HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: \"k\"\r\nContent-Length: 5\r\n\r\nhello".to_owned(),
        "POST /events/a HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_owned(),
        "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: 50\r\n\r\n\
         {\"topic\":\"a\",\"data\":\"x\"}\n{\"topic\":\"b\",\"data\":\"y\"}\n".to_owned(),
        "POST /.well-known/mercure HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: 22\r\n\r\ntopic=a&data=x%20y&id=".to_owned(),
        "DELETE /events/z HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
    ];
    heads.into_iter().map(String::into_bytes).chain([http2_request()]).collect()
}

/// The preface, settings, and a stream's head.
fn http2_request() -> Vec<u8> {
    const SETTINGS: &[u8] = &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 255, 255];
    // GET, http, the authority and the path: HPACK without compression.
    let fields = [b"\x82\x86\x41\x09localhost".as_slice(), b"\x04\x09/events/a"].concat();
    let headers = [&[0, 0, fields.len() as u8, 1, 5, 0, 0, 0, 1], fields.as_slice()].concat();
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", SETTINGS, &headers].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_from_the_first_bytes() {
        assert_eq!(status(b"HTTP/1.1 400 Bad Request\r\n"), Some(400));
        assert_eq!(status(b"HTTP/1.1 4"), None);
        assert_eq!(status(b"\0\0\x12\x04\0"), None);
    }
}
