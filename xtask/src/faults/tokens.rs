//! H10: tokens that do not count, by the thousand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::asking::Asking;
use super::bench::{Bench, expect};
use super::finding::{Findings, Pairs};
use super::load::p99_of_a_few;
use super::server::Server;

/// A public key whose private half nobody has kept.
const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE6814HbUi/EYeZFQrS4KeKm6sk/ID
+Mpr/srjO2/oEnmzZOAinVq3fRGhKuv9Ol+2iPqaUDov/YrLUjN6v4R/XA==
-----END PUBLIC KEY-----";
const PER_SECOND: f64 = 1_000.0;
const CONNECTIONS: u32 = 4;
const RATIO_MAX: f64 = 2.0;

/// A thousand tokens a second with signatures that have to be checked, each refused: those who follow do not notice.
pub fn flood(bench: &Bench) -> Result<Findings> {
    let key = format!("--subscriber-jwt-key={PUBLIC_KEY}");
    let server = Server::start_ahead(bench, &["--subscriber-jwt-alg=ES256", &key, "--anonymous=on"])?;
    let (mut pairs, mut refused, mut seconds) = (Pairs::default(), 0, 0.0);
    while !pairs.are_enough(RATIO_MAX, bench.is_long()) {
        let calm = p99_of_innocents(bench, &server)?;
        let flood = Flood::start(server.address())?;
        expect("the first refusals", Duration::from_secs(5), || Ok(flood.refused.load(Ordering::Relaxed) > 0))?;
        pairs.push(calm, p99_of_innocents(bench, &server)?);
        let (count, took) = flood.stop()?;
        refused += count;
        seconds += took.as_secs_f64();
    }
    let mut findings = Findings::default();
    findings.pairs("p99 of those who follow", &pairs, RATIO_MAX);
    findings.at_least("bad tokens per second, all refused", refused as f64 / seconds, PER_SECOND * 0.95, "");
    let counted = server.metrics()?.sum_where("sse_connections_rejected_total", "reason=\"bad_token\"");
    findings.all("refusals that the metrics count", counted as usize, refused as usize);
    server.stop()?;
    Ok(findings)
}

fn p99_of_innocents(bench: &Bench, server: &Server) -> Result<f64> {
    p99_of_a_few(bench, "innocents", server, bench.pick("4", "20"))
}

/// Connections that ask for a stream again and again, each time with another bad token.
struct Flood {
    refused: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    started: Instant,
    threads: Vec<JoinHandle<Result<()>>>,
}

impl Flood {
    fn start(address: SocketAddr) -> Result<Self> {
        let (refused, is_over, started) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default(), Instant::now());
        let thread = |number: u32| {
            let (asking, refused, is_over) = (Asking::connect(address)?, refused.clone(), is_over.clone());
            Ok(std::thread::spawn(move || ask_on(asking, number, started, &refused, &is_over)))
        };
        let threads = (0..CONNECTIONS).map(thread).collect::<Result<_>>()?;
        Ok(Self { refused, is_over, started, threads })
    }

    /// How many were refused, and in what time. That one was not is an error.
    fn stop(self) -> Result<(u64, Duration)> {
        self.is_over.store(true, Ordering::Relaxed);
        let took = self.started.elapsed();
        for thread in self.threads {
            thread.join().map_err(|_| anyhow!("a flooding thread panicked"))??;
        }
        Ok((self.refused.load(Ordering::Relaxed), took))
    }
}

fn ask_on(mut asking: Asking, number: u32, started: Instant, refused: &AtomicU64, is_over: &AtomicBool) -> Result<()> {
    for count in 0_u32.. {
        let due = started + Duration::from_secs_f64(f64::from(count * CONNECTIONS + number) / PER_SECOND);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let head = format!("GET /events/x HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n", bad(count));
        asking.ask(head.as_bytes(), 401)?;
        refused.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// A token in good form, `{"alg":"ES256"}` and `{"sub":"x"}`, with 64 bytes for a signature that are none.
fn bad(number: u32) -> String {
    format!("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.{number:7>85}A")
}
