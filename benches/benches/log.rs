//! What group commit gains, in process and with syncs as fast as the disk has them: 64 publishers at once, against one whose
//! every event has a sync of its own. In turns, so that the disk's mood hits both.
//!
//! `cargo xtask bench --bench log` prints the rates, and the median of their ratios.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sse_hub::{
    Commit, Committer, DiskLog, DiskLogOptions, Durability, Hub, HubConfig, Publication, Retention, TopicName,
};
use sse_wire::Event;

const PUBLISHERS: usize = 64;
const PAIRS: usize = 7;
const RUN: Duration = Duration::from_millis(1_000);
/// As the server does.
const TEND_EVERY: Duration = Duration::from_millis(10);
const DATA_BYTES: usize = 200;

fn main() {
    // Criterion's benches do the same when they are only to be tried.
    let is_trial = !std::env::args().any(|arg| arg == "--bench");
    let (pairs, run) = if is_trial { (1, Duration::from_millis(20)) } else { (PAIRS, RUN) };
    let dir = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("log-{}", std::process::id()));
    let (log, contents) = DiskLog::open(options(&dir)).expect("a log can be begun here");
    let log = Arc::new(log);
    let builder = Hub::builder().config(HubConfig { shards: 2, ..HubConfig::default() });
    let hub = builder.log(log.clone(), contents, Durability::Fsync).build().expect("a hub can be made");
    let committer = hub.committer().expect("it has a log");
    thread::scope(|scope| {
        scope.spawn(|| commit(committer, &log));
        let mut ratios: Vec<f64> = (0..pairs).map(|pair| measure(&hub, pair, run)).collect();
        ratios.sort_by(f64::total_cmp);
        println!(
            "{PUBLISHERS} publishers, of one event per sync: {:.1}x (median of {pairs}, {:.1} to {:.1})",
            ratios[pairs / 2],
            ratios[0],
            ratios[pairs - 1]
        );
        hub.stop_publishing();
    });
    std::fs::remove_dir_all(&dir).expect("it is this program's own");
}

/// One pair; how many times the rate many have.
fn measure(hub: &Hub, pair: usize, run: Duration) -> f64 {
    let mut rates = [0.0; 2];
    // Who goes first alternates.
    for place in [pair % 2, 1 - pair % 2] {
        rates[place] = rate(hub, [1, PUBLISHERS][place], run);
    }
    let [one, many] = rates;
    println!("one publisher {one:.0}/s, {PUBLISHERS} publishers {many:.0}/s: {:.1}x", many / one);
    many / one
}

/// Events published per second, each waited for.
fn rate(hub: &Hub, publishers: usize, run: Duration) -> f64 {
    let (published, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let started = Instant::now();
    thread::scope(|scope| {
        for number in 0..publishers {
            let topic = TopicName::parse(&format!("group/{number}")).expect("it is short and printable");
            let event = Event::new("x".repeat(DATA_BYTES));
            scope.spawn({
                let (published, is_over) = (&published, &is_over);
                move || {
                    while !is_over.load(Ordering::Relaxed) {
                        hub.publish(Publication::new(topic.clone(), event.clone())).expect("nothing is at its bound");
                        published.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        thread::sleep(run);
        is_over.store(true, Ordering::Relaxed);
    });
    published.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64()
}

/// The committer's thread, as a host runs it.
fn commit(mut committer: Committer, log: &DiskLog) {
    let mut tended_at = Instant::now();
    loop {
        if tended_at.elapsed() > TEND_EVERY {
            tended_at = Instant::now();
            log.tend().expect("there is room");
        }
        match committer.step(|_, deliver| deliver()) {
            Commit::Done(_) => (),
            Commit::Idle => committer.wait(Duration::from_secs(1)),
            Commit::Stopped => return,
            failed => panic!("{failed:?}"),
        }
    }
}

fn options(dir: &std::path::Path) -> DiskLogOptions {
    DiskLogOptions {
        dir: dir.to_owned(),
        durability: Durability::Fsync,
        retention: Retention { age_max: Duration::MAX, events_max: u64::MAX, bytes_max: u64::MAX },
        retention_by_topic: Vec::new(),
        closed_topic_age: Duration::MAX,
        idempotency_window: Duration::from_secs(120),
    }
}
