//! F2: handshakes that are none, by the hundred each second.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use socket2::SockRef;

use super::bench::{Bench, expect, wait_for};
use super::finding::{Findings, Pairs};
use super::hello::client_hello;
use super::load::p99_of_a_few;
use super::server::Server;

const PER_SECOND: f64 = 500.0;
const THREADS: usize = 4;
const RATIO_MAX: f64 = 2.0;
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

/// 500 connections a second that shake no hands: each is closed, and those who follow do not notice.
pub fn flood(bench: &Bench) -> Result<Findings> {
    let server = Server::start_secure(bench, &[])?;
    let junk: Arc<[Vec<u8>]> = junk(&client_hello(bench)?).into();
    let seconds = bench.pick("4", "20");
    let (mut pairs, mut sent, mut unclosed, mut took) = (Pairs::default(), 0, 0, Duration::ZERO);
    p99_of_a_few(bench, "warm-up", &server, "1")?;
    while !pairs.are_enough(RATIO_MAX, bench.is_long()) {
        let calm = p99_of_a_few(bench, "calm", &server, seconds)?;
        let flood = Flood::start(server.address(), &junk);
        expect("the first of the flood", CLOSED_WITHIN, || Ok(flood.tally.closed.load(Ordering::Relaxed) > 0))?;
        pairs.push(calm, p99_of_a_few(bench, "beside", &server, seconds)?);
        took += flood.started.elapsed();
        let tally = flood.stop()?;
        sent += tally.sent.load(Ordering::Relaxed);
        unclosed += tally.sent.load(Ordering::Relaxed) - tally.closed.load(Ordering::Relaxed);
    }
    let mut findings = Findings::default();
    findings.pairs("p99 of those who follow", &pairs, RATIO_MAX);
    findings.at_least("junk handshakes per second", sent as f64 / took.as_secs_f64(), PER_SECOND * 0.95, "");
    findings.none("not closed in time", unclosed as u64);
    let label = "reason=\"tls_handshake\"";
    let counted = || anyhow::Ok(server.metrics()?.sum_where("sse_connections_rejected_total", label) as usize);
    wait_for(Duration::from_secs(2), || Ok(counted()? >= sent))?;
    findings.all("counted as no handshakes", counted()?, sent);
    let complaints = server.log_lines()?.iter().filter(|line| !line.contains("\"INFO\"")).count();
    findings.at_most("complaints in the log", complaints as f64, 20.0, "");
    server.stop()?;
    Ok(findings)
}

/// What is no TLS from its first byte, a hello that is broken, and one that is sound with junk behind it: for that one
/// the server has worked out keys before it can tell.
fn junk(hello: &[u8]) -> Vec<Vec<u8>> {
    let mut broken = hello.to_vec();
    // The length of the handshake's message, beyond the record.
    broken[6] = 0xFF;
    let sound = [hello, &[0xFF; 64]].concat();
    vec![b"GET /events/a HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(), vec![0x55; 300], broken, sound]
}

/// What the flood did.
#[derive(Debug, Default)]
struct Tally {
    sent: AtomicUsize,
    closed: AtomicUsize,
}

/// Connections at a fixed rate, each with some junk.
struct Flood {
    tally: Arc<Tally>,
    is_over: Arc<AtomicBool>,
    started: Instant,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Flood {
    fn start(address: SocketAddr, junk: &Arc<[Vec<u8>]>) -> Self {
        let (tally, is_over, started) = (Arc::<Tally>::default(), Arc::<AtomicBool>::default(), Instant::now());
        let thread = |number| {
            let (junk, tally, is_over) = (junk.clone(), tally.clone(), is_over.clone());
            std::thread::spawn(move || send_on(address, number, started, &junk, &tally, &is_over))
        };
        let threads = (0..THREADS).map(thread).collect();
        Self { tally, is_over, started, threads }
    }

    fn stop(self) -> Result<Arc<Tally>> {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("a flooding thread panicked"))??;
        }
        Ok(self.tally)
    }
}

fn send_on(
    address: SocketAddr,
    number: usize,
    started: Instant,
    junk: &[Vec<u8>],
    tally: &Tally,
    is_over: &AtomicBool,
) -> Result<()> {
    for count in (number..).step_by(THREADS) {
        let due = started + Duration::from_secs_f64(count as f64 / PER_SECOND);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        // Each thread sends each kind: the numbers of one thread leave the same rest.
        let is_closed = send(address, &junk[(count / THREADS) % junk.len()])?;
        tally.sent.fetch_add(1, Ordering::Relaxed);
        tally.closed.fetch_add(usize::from(is_closed), Ordering::Relaxed);
    }
    Ok(())
}

/// Whether the server closes upon these bytes.
fn send(address: SocketAddr, bytes: &[u8]) -> Result<bool> {
    let mut socket = TcpStream::connect_timeout(&address, CLOSED_WITHIN).context("connecting with junk")?;
    socket.set_read_timeout(Some(CLOSED_WITHIN))?;
    // It may have closed already.
    let _ = socket.write_all(bytes).and_then(|()| socket.shutdown(Shutdown::Write));
    let read = socket.read_to_end(&mut Vec::new());
    let is_late = read.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    Ok(!is_late)
}
