//! C2, C3 and C9: clients that take nothing, or next to nothing.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::bench::{Bench, PATHS, expect, seconds_or_over, wait_for};
use super::finding::Findings;
use super::publisher::Publisher;
use super::server::Server;
use super::silent::{stalled, trickle};
use super::sockets::kernel_bytes;
use super::watch::Watch;

/// Larger than what the kernel takes for a client that does not read, and no more than one event behind.
const LARGE_EVENT_BYTES: usize = 700 << 10;
/// How long a stalled connection may outlast the write timeout.
const LATE: Duration = Duration::from_secs(1);

fn stalled_streams(server: &Server, topic: &str, count: usize) -> Result<Vec<TcpStream>> {
    let path = format!("/events/{topic}");
    let streams = (0..count).map(|_| stalled(server.address(), &path)).collect::<Result<_>>()?;
    expect("stalled streams", Duration::from_secs(10), || Ok(server.streams()? == count))?;
    Ok(streams)
}

/// Zero windows: the connection is closed at the write timeout, though nothing ever asks the stream for more.
pub fn takes_nothing(bench: &Bench) -> Result<Findings> {
    let (count, timeout) = bench.pick((50, Duration::from_secs(2)), (500, Duration::from_secs(10)));
    let flag = format!("--write-timeout={}s", timeout.as_secs());
    let mut findings = Findings::default();
    for (path, flags) in PATHS {
        let server = Server::start(bench, &[flags, &[&flag]].concat())?;
        let before = server.usage()?.descriptors;
        let streams = stalled_streams(&server, "large", count)?;
        let mut watch = Watch::connections_to(server.address().port())?;
        ensure!(watch.count() == count, "{} of {count} connections are there", watch.count());
        Publisher::connect(server.address())?.publish("large", &"x".repeat(LARGE_EVENT_BYTES))?;
        let limit = timeout + LATE * 10;
        wait_for(limit, || watch.look())?;
        let longest = seconds_or_over(watch.longest_wait(), limit);
        findings.at_most(&format!("{path}: closed after"), longest, (timeout + LATE).as_secs_f64(), "s");
        findings.all(&format!("{path}: counted as stalled"), server.evictions("stalled")?, count);
        let freed = wait_for(LATE, || Ok(server.usage()?.descriptors <= before))?;
        findings.is_so(&format!("{path}: descriptors as before"), freed.is_some());
        drop(streams);
        server.stop()?;
    }
    Ok(findings)
}

/// One byte per second is progress, but does not save a client that falls behind.
pub fn trickles(bench: &Bench) -> Result<Findings> {
    const EVENTS_PER_SECOND: f64 = 400.0;
    const EVENT_BYTES: usize = 1_000;
    /// The ring is full before the measuring begins, so that growth is the readers' own.
    const RING: [&str; 2] = ["--ring-bytes-max=1MiB", "--event-bytes-max=64KiB"];
    let (count, limit) = bench.pick((100, 12_u32), (1_000, 30));
    let mut findings = Findings::default();
    for (path, flags) in PATHS {
        let server = Server::start(bench, &[flags, &RING].concat())?;
        let mut publisher = Publisher::connect(server.address())?;
        publisher.publish_numbers("slow", 0..1_200, EVENT_BYTES, 0.0)?;
        let mut streams = stalled_streams(&server, "slow", count)?;
        let before = server.usage()?;
        let publishing = std::thread::spawn(move || {
            publisher.publish_numbers("slow", 0..limit * 400, EVENT_BYTES, EVENTS_PER_SECOND)
        });
        let (mut rss_max, mut second) = (before.rss_bytes, Instant::now());
        let took = wait_for(Duration::from_secs(limit.into()), || {
            rss_max = rss_max.max(server.usage()?.rss_bytes);
            if second.elapsed() >= Duration::from_secs(1) {
                second += Duration::from_secs(1);
                streams.iter_mut().try_for_each(trickle)?;
            }
            Ok(server.streams()? == 0)
        })?;
        findings.all(&format!("{path}: evicted"), server.evictions("lagged")? + server.evictions("stalled")?, count);
        findings.note(&format!("{path}: seconds to the last"), took.map(|took| took.as_secs_f64()));
        let grown = (rss_max - before.rss_bytes) as f64 / 1024.0 / count as f64;
        findings.at_most(&format!("{path}: memory per stream"), grown, 64.0, "KiB");
        drop(streams);
        server.stop()?;
        // It ends with the server, however far it came.
        let _ = publishing.join();
    }
    Ok(findings)
}

/// What a stalled client pins, in the server and in the kernel together.
pub fn pins_memory(bench: &Bench) -> Result<Findings> {
    const BOUND_KIB: f64 = 256.0;
    /// Nobody is evicted here: it is measured what is pinned until then.
    const PATIENCE: [&str; 4] =
        ["--lag-grace=10m", "--write-timeout=10m", "--lag-frames-max=1000000", "--lag-bytes-max=1GiB"];
    let count = bench.pick(300, 5_000);
    let mut findings = Findings::default();
    for (path, flags) in PATHS {
        let server = Server::start(bench, &[flags, &PATIENCE].concat())?;
        let mut publisher = Publisher::connect(server.address())?;
        publisher.publish_numbers("pinned", 0..9_000, 200, 0.0)?;
        let streams = stalled_streams(&server, "pinned", count)?;
        let before = server.usage()?.rss_bytes;
        publisher.publish_numbers("pinned", 0..3_000, 200, 0.0)?;
        publisher.publish_numbers("pinned", 0..30, 60_000, 0.0)?;
        drop(publisher);
        expect("the publisher's leaving", Duration::from_secs(5), || {
            Ok(kernel_bytes(server.address().port())?.len() == count)
        })?;
        let kernel = kernel_bytes(server.address().port())?;
        let most = kernel.into_iter().max().unwrap_or(0) as f64 / 1024.0;
        let own = server.usage()?.rss_bytes.saturating_sub(before) as f64 / 1024.0 / count as f64;
        findings.note(&format!("{path}: KiB in the kernel, at most"), most);
        findings.note(&format!("{path}: KiB in the server, on average"), own);
        findings.at_most(&format!("{path}: pinned by a client"), most + own, BOUND_KIB, "KiB");
        findings.all(&format!("{path}: streams still open"), server.streams()?, count);
        drop(streams);
        server.stop()?;
    }
    Ok(findings)
}
