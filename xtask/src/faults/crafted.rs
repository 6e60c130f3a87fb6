//! G11: topic names made to collide.

use std::hash::{DefaultHasher, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::asking::Asking;
use super::bench::{Bench, wait_for};
use super::finding::{Findings, Pairs, median};
use super::load::p99_of_a_few;
use super::server::Server;

const NAMES: usize = 100_000;
/// Names that a table of this many places would put into one, if it hashed as anybody can.
const PLACES: u64 = 64;
/// Names in one request.
const BATCH: usize = 500;
const RATIO_MAX: f64 = 1.5;

/// A hundred thousand topics with names of one hash value, by a hash without a key, cost what any hundred thousand cost: others
/// do not notice.
pub fn hash_flooding(bench: &Bench) -> Result<Findings> {
    let plain: Arc<[String]> = (0..NAMES).map(|number| format!("plain/{number}")).collect();
    let crafted: Arc<[String]> = (0..).map(|number| format!("craft/{number}")).filter(collides).take(NAMES).collect();
    let (mut pairs, mut costs) = (Pairs::default(), Vec::new());
    while !pairs.are_enough(RATIO_MAX, bench.is_long()) {
        let (calm, of_plain) = beside(bench, plain.clone())?;
        let (hit, of_crafted) = beside(bench, crafted.clone())?;
        pairs.push(calm, hit);
        costs.push(of_crafted / of_plain);
    }
    let mut findings = Findings::default();
    findings.pairs("p99 beside crafted names, by that beside plain ones", &pairs, RATIO_MAX);
    findings.at_most("CPU for crafted names by that for plain ones", median(costs.into_iter()), RATIO_MAX, "");
    Ok(findings)
}

/// Whether the name falls into the first place, by the standard library's hash with the key that everybody knows.
fn collides(name: &String) -> bool {
    let mut hasher = DefaultHasher::new();
    hasher.write(name.as_bytes());
    hasher.finish().is_multiple_of(PLACES)
}

/// p99 of another topic while events go to all these topics again and again, and the CPU in microseconds for each.
fn beside(bench: &Bench, names: Arc<[String]>) -> Result<(f64, f64)> {
    let server = Server::start_ahead(bench, &[])?;
    let before = server.usage()?.cpu;
    publish_to(&mut Asking::connect(server.address())?, &names)?;
    let cost = server.usage()?.cpu.saturating_sub(before).as_secs_f64() * 1e6 / names.len() as f64;
    let flood = Flood::start(server.address(), names)?;
    let p99 = p99_of_a_few(bench, "others", &server, bench.pick("4", "20"))?;
    flood.stop()?;
    let all_there = wait_for(Duration::from_secs(5), || Ok(server.metrics()?.sum("sse_topics") >= NAMES as f64))?;
    all_there.ok_or_else(|| anyhow!("not all topics are there"))?;
    server.stop()?;
    Ok((p99, cost))
}

/// Publishes to the names, one batch after the other.
struct Flood {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Flood {
    fn start(address: SocketAddr, names: Arc<[String]>) -> Result<Self> {
        /// A batch every so often: what is compared is the cost of the names, not of the load.
        const PAUSE: Duration = Duration::from_millis(50);
        let is_over = Arc::<AtomicBool>::default();
        let mut asking = Asking::connect(address)?;
        let thread = std::thread::spawn({
            let is_over = is_over.clone();
            move || {
                for batch in names.chunks(BATCH).cycle() {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    publish_to(&mut asking, batch)?;
                    std::thread::sleep(PAUSE);
                }
                Ok(())
            }
        });
        Ok(Self { is_over, thread })
    }

    fn stop(self) -> Result<()> {
        self.is_over.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the flooding thread panicked"))?
    }
}

fn publish_to(asking: &mut Asking, names: &[String]) -> Result<()> {
    for batch in names.chunks(BATCH) {
        let body: String = batch.iter().map(|name| format!("{{\"topic\":\"{name}\",\"data\":\"x\"}}\n")).collect();
        let head = format!(
            "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        asking.ask(&[head.as_bytes(), body.as_bytes()].concat(), 200)?;
    }
    Ok(())
}
