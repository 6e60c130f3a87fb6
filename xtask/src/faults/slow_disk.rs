//! A11 and group: a disk that takes its time for each sync.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::asking::Asking;
use super::bench::{Bench, expect};
use super::crash::clear;
use super::crowd::Crowd;
use super::disk_errors::get;
use super::finding::{Findings, Pairs, median};
use super::press::{Journal, Press};
use super::publisher::Publisher;
use super::server::Server;
use super::tracer::{self, Tracer, delayed};

/// Every sync takes 500 ms: publishing does, and nothing else.
pub fn takes_its_time(bench: &Bench) -> Result<Findings> {
    const RATIO_MAX: f64 = 1.2;
    tracer::check()?;
    let dir = bench.file("data");
    clear(&dir)?;
    let data_dir = format!("--data-dir={}", dir.display());
    let flags = [&*data_dir, "--durability=fsync", "--heartbeat-interval=100ms", "--event-bytes-max=1MiB"];
    let server = Server::start_ahead(bench, &flags)?;
    let ids = Publisher::connect(server.address())?.publish_numbers("old", 0..2_000, 200, 0.0)?;
    // Publishers all the while, so that there is always a sync under way.
    let (mut replays, mut heartbeats) = (Pairs::default(), Pairs::default());
    let mut slowest_health = Duration::ZERO;
    while !replays.are_enough(RATIO_MAX, bench.is_long()) || !heartbeats.are_enough(RATIO_MAX, bench.is_long()) {
        let press = Press::start(server.address(), vec![Journal::default(); 4], 200);
        let calm = (replay_ms(&server, &ids)?, heartbeat_ms(&server)?);
        drop(press.finish()?);
        let tracer = Tracer::of_log_thread(bench, &server, &["-e", &delayed(Duration::from_millis(500))])?;
        let press = Press::start(server.address(), vec![Journal::default(); 4], 200);
        let slow = (replay_ms(&server, &ids)?, heartbeat_ms(&server)?);
        for path in ["/readyz", "/readyz", "/readyz", "/readyz"] {
            let started = Instant::now();
            ensure!(get(&server, path)?.starts_with("HTTP/1.1 200 "), "{path} is not well");
            slowest_health = slowest_health.max(started.elapsed());
        }
        let pressed = press.finish()?;
        ensure!(pressed.errors.is_empty(), "publishing fails on a slow disk: {:?}", pressed.errors);
        drop(tracer.detach());
        replays.push(calm.0, slow.0);
        heartbeats.push(calm.1, slow.1);
    }
    let mut findings = Findings::default();
    findings.pairs("p99 of replays", &replays, RATIO_MAX);
    findings.pairs("p99 between heartbeats", &heartbeats, RATIO_MAX);
    findings.at_most("the slowest answer of health", slowest_health.as_secs_f64() * 1e3, 50.0, "ms");
    queue_is_bounded(bench, &server, &mut findings)?;
    server.stop()?;
    Ok(findings)
}

/// p99 of the time until a stream that resumes has 50 events of the log.
fn replay_ms(server: &Server, ids: &[String]) -> Result<f64> {
    let mut times = Vec::new();
    let newest = &ids[ids.len() - 1];
    for number in 0..100 {
        let mut crowd = Crowd::new(server.address())?;
        let started = Instant::now();
        crowd.follow("/events/old", Some(&ids[ids.len() - 51 - number]))?;
        let is_there = |crowd: &Crowd| crowd.members()[0].answer.last_id() == Some(newest);
        ensure!(crowd.read_until(Duration::from_secs(10), is_there)?, "a replay does not come");
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() * 99 / 100])
}

/// The longest that a quiet stream waited for a byte; heartbeats are due every 100 ms.
fn heartbeat_ms(server: &Server) -> Result<f64> {
    let mut socket = TcpStream::connect(server.address())?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.write_all(&super::crowd::request("/events/quiet", None))?;
    let mut buffer = [0; 4096];
    let mut longest = Duration::ZERO;
    ensure!(socket.read(&mut buffer)? > 0, "a stream ended");
    for _ in 0..15 {
        let started = Instant::now();
        ensure!(socket.read(&mut buffer)? > 0, "a stream ended");
        longest = longest.max(started.elapsed());
    }
    Ok(longest.as_secs_f64() * 1e3)
}

/// More than the queue takes is refused, and memory grows by no more than that.
fn queue_is_bounded(bench: &Bench, server: &Server, findings: &mut Findings) -> Result<()> {
    const QUEUE_MIB: f64 = 64.0;
    const BYTES: usize = 1_000_000;
    /// What is queued last waits for some ten commits with several syncs of two seconds each.
    const PATIENCE: Duration = Duration::from_secs(120);
    let before = server.usage()?.rss_mib();
    let tracer = Tracer::of_log_thread(bench, server, &["-e", &delayed(Duration::from_secs(2))])?;
    let mut crowd = Crowd::new(server.address())?;
    let data = "x".repeat(BYTES);
    let request = format!("POST /events/large HTTP/1.1\r\nHost: localhost\r\nContent-Length: {BYTES}\r\n\r\n{data}");
    let asking = std::thread::scope(|scope| {
        let askers: Vec<_> = (0..120)
            .map(|_| scope.spawn(|| Asking::connect_patient(server.address(), PATIENCE)?.answer(request.as_bytes())))
            .collect();
        let mut most = before;
        while askers.iter().any(|asker| !asker.is_finished()) {
            most = most.max(server.usage()?.rss_mib());
            crowd.turn(Duration::from_millis(10))?;
        }
        let answers: Vec<String> = askers.into_iter().filter_map(|asker| asker.join().ok()?.ok()).collect();
        anyhow::Ok((answers, most))
    });
    let (answers, most) = asking?;
    let refused = answers
        .iter()
        .filter(|answer| answer.starts_with("HTTP/1.1 503 ") && answer.contains(r#""reason":"log_busy""#));
    let refused = refused.count();
    let taken = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 200 ")).count();
    findings.at_least("refused with 503, log_busy, beyond 64 MiB", refused as f64, 1.0, "");
    findings.all("taken or refused so", taken + refused, 120);
    // What is read of bodies, and what a commit holds, comes on top.
    findings.at_most("memory more with a full queue", most - before, QUEUE_MIB * 3.0, "MiB");
    drop(tracer.detach());
    Ok(())
}

/// Syncs of 5 ms each: 64 publishers share them.
pub fn commits_are_shared(bench: &Bench) -> Result<Findings> {
    const RATIO_MIN: f64 = 20.0;
    tracer::check()?;
    let dir = bench.file("data");
    clear(&dir)?;
    let server = Server::start(bench, &[&format!("--data-dir={}", dir.display()), "--durability=fsync"])?;
    let tracer = Tracer::of_log_thread(bench, &server, &["-e", &delayed(Duration::from_millis(5))])?;
    let (mut ratios, mut many, mut ones) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.pick(3, 9) {
        let one = rate(&server, 1, bench.pick(1.0, 5.0))?;
        let all = rate(&server, 64, bench.pick(1.0, 5.0))?;
        ratios.push(all / one);
        many.push(all);
        ones.push(one);
    }
    drop(tracer.detach());
    let mut findings = Findings::default();
    findings.at_least("rate of 64 publishers, of one event per sync", median(ratios.into_iter()), RATIO_MIN, "x");
    findings.at_most("rate of one event per sync", median(ones.into_iter()), 200.0, "/s");
    findings.note("rate of 64 publishers", median(many.into_iter()));
    server.stop()?;
    Ok(findings)
}

/// Events acknowledged per second.
fn rate(server: &Server, publishers: usize, seconds: f64) -> Result<f64> {
    let press = Press::start(server.address(), vec![Journal::default(); publishers], 200);
    expect("the first answers", Duration::from_secs(10), || Ok(press.acked() > 2 * publishers as u64))?;
    let (before, started) = (press.acked(), Instant::now());
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let rate = (press.acked() - before) as f64 / started.elapsed().as_secs_f64();
    let pressed = press.finish()?;
    ensure!(pressed.errors.is_empty(), "publishing fails: {:?}", pressed.errors);
    Ok(rate)
}
