//! L2: nobody asks for metrics, and what they count costs no memory.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::asking::Asking;
use super::bench::Bench;
use super::crowd::request;
use super::finding::Findings;
use super::server::Server;
use crate::soak::slope::Slope;

const EVENTS_PER_SECOND: usize = 20_000;
/// Each has one follower, and its history is full long before memory is looked at.
const TOPICS: usize = 20;
const REQUESTS_PER_SECOND: usize = 200;
const SAMPLE_EVERY: Duration = Duration::from_millis(500);
/// The pages that an allocator comes to keep.
const SHORT_MIB_MAX: f64 = 2.0;
/// In an hour, of a run that is long enough to tell.
const LONG_MIB_MAX: f64 = 1.0;

pub fn memory_is_flat(bench: &Bench) -> Result<Findings> {
    let (warm_up, time) = bench
        .pick((Duration::from_secs(8), Duration::from_secs(20)), (Duration::from_mins(3), Duration::from_mins(30)));
    let server = Server::start(bench, &["--ring-frames-max=1000"])?;
    let followers: Vec<JoinHandle<u64>> =
        (0..TOPICS).map(|topic| follow(server.address(), topic)).collect::<Result<_>>()?;
    let mut asking = Asking::connect(server.address())?;
    let (began, mut samples, mut requests) = (Instant::now(), Vec::new(), 0_u32);
    let mut sample_at = warm_up;
    while began.elapsed() < warm_up + time {
        publish(&mut asking)?;
        requests += 1;
        if began.elapsed() >= sample_at {
            samples.push((began.elapsed().as_secs_f64(), server.usage()?.rss_mib()));
            sample_at += SAMPLE_EVERY;
        }
        // By the clock, so that what was late is made up for.
        let due = Duration::from_secs(1) * requests / REQUESTS_PER_SECOND as u32;
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
    let rate = f64::from(requests) * (EVENTS_PER_SECOND / REQUESTS_PER_SECOND) as f64 / began.elapsed().as_secs_f64();
    let slope = Slope::through(&samples).context("too few samples")?;
    let mut findings = Findings::default();
    findings.at_least("events a second", rate, 0.9 * EVENTS_PER_SECOND as f64, "");
    // What the noise of the samples may hide is no growth.
    let per_second = (slope.per_second - 3.0 * slope.error).max(0.0);
    if bench.is_long() {
        findings.at_most("resident memory more in an hour", per_second * 3600.0, LONG_MIB_MAX, "MiB");
    } else {
        findings.at_most("resident memory more", per_second * slope.seconds, SHORT_MIB_MAX, "MiB");
    }
    findings.note("resident memory in MiB, on average", slope.mean);
    server.stop()?;
    let bytes: u64 = followers.into_iter().filter_map(|follower| follower.join().ok()).sum();
    findings.is_so("followers got all that", bytes as f64 > f64::from(requests) * 100.0 * 50.0);
    Ok(findings)
}

/// Reads a topic to the end of its stream; how many bytes came.
fn follow(address: SocketAddr, topic: usize) -> Result<JoinHandle<u64>> {
    let mut socket = TcpStream::connect(address).context("following")?;
    socket.write_all(&request(&format!("/events/{topic}"), None)).context("asking for a stream")?;
    Ok(std::thread::spawn(move || {
        let (mut bytes, mut room) = (0, vec![0; 64 << 10]);
        while let Ok(len @ 1..) = socket.read(&mut room) {
            bytes += len as u64;
        }
        bytes
    }))
}

/// One request, with some events for each topic.
fn publish(asking: &mut Asking) -> Result<()> {
    let mut body = String::new();
    for number in 0..EVENTS_PER_SECOND / REQUESTS_PER_SECOND {
        writeln!(body, r#"{{"topic":"{}","data":"an event of some length"}}"#, number % TOPICS)?;
    }
    let head = format!(
        "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    asking.ask(&[head.as_bytes(), body.as_bytes()].concat(), 200).map(drop)
}
