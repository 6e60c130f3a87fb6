//! Another process goes on in the place of the one that serves.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::bench::Bench;
use super::crowd::Crowd;
use super::finding::Findings;
use super::publishing::{Publishing, TOPICS};
use super::server::Server;

const PUBLISHES_PER_SECOND: f64 = 200.0;
/// What a publisher may wait.
const PAUSE_MAX_MS: f64 = 250.0;
/// For all streams to have what was published.
const SETTLED_WITHIN: Duration = Duration::from_secs(20);

/// Upgrades one after the other, under load and with very many idle streams: no stream notices.
pub fn in_a_row(bench: &Bench) -> Result<Findings> {
    let mut findings = Findings::default();
    let upgrades = bench.pick(3, 10);
    let busy = Run { streams: bench.pick(1_000, 10_000), rate: PUBLISHES_PER_SECOND, upgrades, has_log: false };
    busy.judge("", bench, &mut findings)?;
    Run { has_log: true, ..busy }.judge("log: ", bench, &mut findings)?;
    if bench.is_long() {
        Run { streams: 19_000, rate: 5.0, ..busy }.judge("idle: ", bench, &mut findings)?;
    }
    Ok(findings)
}

/// One crowd, and what is done to it.
struct Run {
    streams: usize,
    rate: f64,
    upgrades: usize,
    /// Events are in a data directory.
    has_log: bool,
}

impl Run {
    fn judge(&self, part: &str, bench: &Bench, findings: &mut Findings) -> Result<()> {
        let socket = bench.file("upgrade");
        let socket = socket.to_str().context("a path that is no text")?;
        let directory = bench.data_dir()?;
        let mut args = vec!["--upgrade-socket", socket, "--drain-window", "1s", "--log-level", "warn"];
        args.extend(self.has_log.then_some(&*directory));
        let mut server = Server::start_named("0", bench, &args)?;
        let address = server.address();
        let mut crowd = Crowd::new(address)?;
        for number in 0..self.streams {
            crowd.follow(&format!("/events/up-{}", number % TOPICS), None)?;
            crowd.turn(Duration::ZERO)?;
        }
        let streams = self.streams;
        ensure!(
            crowd.read_until(Duration::from_secs(60), |crowd| crowd.following() == streams)?,
            "not all streams open"
        );
        let publisher = Publishing::start(address, self.rate);
        crowd.read_for(Duration::from_millis(500))?;
        let mut began = Vec::new();
        for number in 1..=self.upgrades {
            began.push(Instant::now());
            let args: Vec<String> = args.iter().copied().map(str::to_owned).collect();
            let (next_bench, address) = (bench.clone(), address.to_string());
            // The crowd is read meanwhile.
            let starting = std::thread::spawn(move || {
                let args: Vec<&str> = args.iter().map(String::as_str).collect();
                Server::start_named_at(&number.to_string(), &address, &next_bench, &args)
            });
            crowd.read_until(Duration::from_secs(60), |_| starting.is_finished())?;
            let next = starting.join().map_err(|_| anyhow!("the start of a successor panicked"))??;
            crowd.read_for(Duration::from_millis(1_500))?;
            let old = std::mem::replace(&mut server, next);
            ensure!(old.has_ended_well(Duration::from_secs(10))?, "the old process did not end well");
        }
        let published = publisher.stop()?;
        let is_complete =
            |crowd: &Crowd| crowd.members().iter().enumerate().all(|(number, member)| published.ends(number, member));
        crowd.read_until(SETTLED_WITHIN, is_complete)?;
        let numbered = || crowd.members().iter().enumerate();
        let open = crowd.following();
        findings.all(&format!("{part}streams that stay open, {} upgrades", self.upgrades), open, streams);
        let exact = numbered().filter(|(number, member)| published.is_exactly(*number, member)).count();
        findings.all(&format!("{part}streams with every event once and in order"), exact, streams);
        findings.none(&format!("{part}publishes refused or not answered"), published.failed as u64);
        began.push(Instant::now());
        let mut pauses: Vec<Duration> =
            began.windows(2).map(|upgrade| published.longest_between(upgrade[0], upgrade[1])).collect();
        pauses.sort_unstable();
        let p99 = pauses.get((pauses.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default();
        findings.at_most(
            &format!("{part}longest wait of a publisher in an upgrade, p99"),
            p99.as_secs_f64() * 1e3,
            PAUSE_MAX_MS,
            "ms",
        );
        let all: Vec<f64> = pauses.iter().map(|pause| pause.as_secs_f64() * 1e3).collect();
        findings.note(&format!("{part}waits in ms"), all);
        findings.note(&format!("{part}events"), published.events);
        findings.note(&format!("{part}the first refusal"), published.first_failure);
        server.stop()
    }
}
