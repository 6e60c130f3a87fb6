//! Slow consumers: what becomes of those who do not read, and that those who read are never harmed.

use std::time::{Duration, Instant};

use crate::harness::{Server, Stream, StreamPath, on_all_paths_and_compressed_in_http2};

on_all_paths_and_compressed_in_http2![
    who_takes_nothing_is_cut_after_the_write_timeout,
    who_lags_and_does_not_read_is_evicted_and_can_resume,
    who_lags_on_several_topics_is_evicted_as_well,
    who_lags_beyond_what_is_kept_is_evicted,
    who_keeps_reading_survives_any_burst,
    nobody_waits_for_a_slow_neighbour,
    the_skip_policy_tells_of_the_gap,
    the_latest_policy_sends_the_newest,
];

/// Some 16 KiB that hardly compress, of which a few fill the buffers between the server and a client that does not read.
fn large(n: usize) -> String {
    let mut random = fastrand::Rng::with_seed(n as u64);
    let noise: String = std::iter::repeat_with(|| random.alphanumeric()).take(16_000).collect();
    format!("{n:06} {noise}\u{b7}")
}

/// More than the kernel holds for a client that reads nothing: its tiny buffer and the server's send buffer.
fn fill(server: &Server, topic: &str) -> Vec<String> {
    (0..64).map(|n| server.publish(topic, &large(n))).collect()
}

/// FAILURES C2.
fn who_takes_nothing_is_cut_after_the_write_timeout(path: StreamPath) {
    let server = path.start(&["--write-timeout", "1s", "--lag-grace", "1m"]);
    let mut one = server.subscribe("a").open_with_tiny_buffer();
    let mut several = server.follow("/events?topic=a&topic=b").open_with_tiny_buffer();
    let mut healthy = server.subscribe("a").open();
    server.wait_for_metric("sse_connections_active", 3.0);
    for n in 0..64 {
        server.publish("a", &large(n));
        assert_eq!(healthy.next_data(), large(n));
    }
    let filled = Instant::now();
    server.wait_for_metric("sse_connections_active", 1.0);
    // The write timeout and a second, and something for a busy machine.
    assert!(filled.elapsed() < Duration::from_millis(2700), "{:?}", filled.elapsed());
    for stream in [&mut one, &mut several] {
        let addr = stream.local_addr();
        server.log.wait_for("disconnected", |line| line["reason"] == "stalled" && line["remote_addr"] == addr.as_str());
        stream.expect_cut();
    }
    assert_eq!(server.metric(r#"sse_evictions_total{reason="stalled"}"#), Some(2.0));
    server.publish("a", "still here");
    assert_eq!(healthy.next_data(), "still here");
}

/// FAILURES C11: the reason is in the log and the metrics, and the client comes back without a loss.
fn who_lags_and_does_not_read_is_evicted_and_can_resume(path: StreamPath) {
    let flags = ["--lag-frames-max", "8", "--lag-grace", "500ms", "--write-timeout", "5s", "--ring-bytes-max", "16MiB"];
    let server = path.start(&flags);
    let mut stream = server.subscribe("a").open_with_tiny_buffer();
    let ids = fill(&server, "a");
    let evicted = server.log.wait_for("disconnected", |line| line["reason"] == "lagged");
    assert_eq!(evicted["remote_addr"], stream.local_addr().as_str());
    server.wait_for_metric(r#"sse_evictions_total{reason="lagged"}"#, 1.0);
    server.wait_for_metric("sse_connections_active", 0.0);

    let mut seen: Vec<String> = Vec::new();
    while let Some(event) = stream.event_or_end() {
        seen.push(event.id);
    }
    assert!(seen.len() < ids.len(), "it was to lag");
    assert_eq!(seen, ids[..seen.len()], "what came was in order");
    let last = seen.last().map_or("earliest", String::as_str);
    let mut again = server.subscribe("a").last_event_id(last).open();
    for id in &ids[seen.len()..] {
        assert_eq!(&again.next_event().id, id);
    }
}

fn who_lags_on_several_topics_is_evicted_as_well(path: StreamPath) {
    let server = path.start(&["--lag-frames-max", "8", "--lag-grace", "500ms", "--write-timeout", "15s"]);
    let stream = server.follow("/events?topic=a&topic=b").open_with_tiny_buffer();
    fill(&server, "a");
    let filled = Instant::now();
    let evicted = server.log.wait_for("disconnected", |_| true);
    assert_eq!(evicted["reason"], "lagged");
    assert_eq!(evicted["remote_addr"], stream.local_addr().as_str());
    assert!(filled.elapsed() < Duration::from_secs(4), "{:?}", filled.elapsed());
    server.wait_for_metric(r#"sse_evictions_total{reason="lagged"}"#, 1.0);
}

/// What it has not read may be gone before it is over a bound.
fn who_lags_beyond_what_is_kept_is_evicted(path: StreamPath) {
    let server = path.start(&["--ring-bytes-max", "128KiB", "--lag-grace", "500ms", "--write-timeout", "1m"]);
    let one = server.subscribe("a").open_with_tiny_buffer();
    let several = server.follow("/events?topic=a&topic=b").open_with_tiny_buffer();
    let mut healthy = [server.subscribe("a").open(), server.follow("/events?topic=a&topic=b").open()];
    for n in 0..64 {
        server.publish("a", &large(n));
        healthy.iter_mut().for_each(|stream| assert_eq!(stream.next_data(), large(n)));
    }
    for stream in [one, several] {
        let addr = stream.local_addr();
        server.log.wait_for("disconnected", |line| line["reason"] == "lagged" && line["remote_addr"] == addr.as_str());
    }
    server.wait_for_metric(r#"sse_evictions_total{reason="lagged"}"#, 2.0);
    server.publish("a", "still here");
    healthy.iter_mut().for_each(|stream| assert_eq!(stream.next_data(), "still here"));
}

/// Issue 4: a burst evicts nobody who reads.
fn who_keeps_reading_survives_any_burst(path: StreamPath) {
    let server = path.start(&["--retry-jitter", "0"]);
    let mut streams: Vec<Stream> = (0..200).map(|_| server.subscribe("a").open()).collect();
    let ids: Vec<String> = server.publish_burst("a", 5000);
    // By events: on HTTP/2 comments may stand between them, as small frames are filled up for who is slow to take them.
    let read = |stream: &mut Stream| {
        stream.expect_opening(3000);
        for (n, id) in ids.iter().enumerate() {
            let event = stream.next_event();
            assert_eq!((event.id.as_str(), event.data.as_str()), (id.as_str(), n.to_string().as_str()));
        }
    };
    std::thread::scope(|scope| {
        for part in streams.chunks_mut(50) {
            scope.spawn(|| part.iter_mut().for_each(read));
        }
    });
    assert_eq!(server.metric("sse_evictions_total"), Some(0.0));
    assert_eq!(server.metric("sse_connections_active"), Some(200.0));
}

/// FAILURES C1: readers who stopped cost the others nothing.
fn nobody_waits_for_a_slow_neighbour(path: StreamPath) {
    let server = path.start(&["--write-timeout", "30s", "--lag-grace", "1m"]);
    let _stopped: Vec<Stream> = (0..20).map(|_| server.subscribe("a").open_with_tiny_buffer()).collect();
    let mut healthy = server.subscribe("a").open();
    fill(&server, "a");
    for n in 0..64 {
        assert_eq!(healthy.next_data(), large(n));
    }
    for n in 0..20 {
        let published = Instant::now();
        server.publish("a", &n.to_string());
        assert_eq!(healthy.next_data(), n.to_string());
        assert!(published.elapsed() < Duration::from_secs(1), "{:?}", published.elapsed());
    }
    assert_eq!(server.metric("sse_connections_active"), Some(21.0));
}

fn the_skip_policy_tells_of_the_gap(path: StreamPath) {
    let server = path.start(&["--slow-policy", "skip", "--lag-frames-max", "8", "--lag-grace", "500ms"]);
    let one = server.subscribe("a").open_with_tiny_buffer();
    let several = server.follow("/events?topic=a&topic=b").open_with_tiny_buffer();
    fill(&server, "a");
    // They are judged meanwhile, and told when they read again.
    server.subscribe("b").open().stay_for(Duration::from_secs(2));
    let last = server.publish("a", "after the gap");
    for mut stream in [one, several] {
        expect_gap_and_no_hole(&mut stream, &last);
    }
    assert!(server.metric(r#"sse_gaps_total{reason="lagged"}"#) >= Some(2.0));
    assert_eq!(server.metric("sse_evictions_total"), Some(0.0));
}

fn expect_gap_and_no_hole(stream: &mut Stream, last: &str) {
    let (mut before, mut gaps) = (0, 0);
    while before != sequence(last) {
        let event = stream.next_event();
        if event.event_type == "sse.gap" {
            gaps += 1;
            assert_eq!(sequence(event.json()["requested"].as_str().unwrap()), before, "it stood elsewhere");
            assert_eq!(event.json()["resumed_after"], event.id.as_str());
            assert_eq!(event.json()["reason"], "lagged");
            assert!(sequence(&event.id) > before);
        } else {
            assert_eq!(sequence(&event.id), before + 1, "a hole that nobody told of");
        }
        before = sequence(&event.id);
    }
    assert!(gaps > 0, "nothing was skipped");
}

/// The number in one of the server's own ids.
fn sequence(id: &str) -> u64 {
    id.split_once('-').unwrap().1.parse().unwrap()
}

fn the_latest_policy_sends_the_newest(path: StreamPath) {
    let server = path.start(&["--slow-policy", "latest", "--lag-frames-max", "8"]);
    let mut stream = server.subscribe("a").open_with_tiny_buffer();
    let ids = fill(&server, "a");
    let mut seen: Vec<String> = Vec::new();
    while seen.last() != ids.last() {
        seen.push(stream.next_event().id);
    }
    assert!(seen.len() < ids.len(), "nothing was conflated");
    assert!(seen.is_sorted(), "{seen:?}");
    server.publish("a", "and on");
    assert_eq!(stream.next_data(), "and on");
    assert_eq!(server.metric("sse_evictions_total"), Some(0.0));
}

/// FAILURES C3: progress alone does not save a reader that is far too slow.
#[test]
fn who_trickles_is_evicted() {
    let server = Server::start(&["--lag-frames-max", "8", "--lag-grace", "1s", "--write-timeout", "30s"]);
    let mut trickler = server.subscribe("a").open_with_tiny_buffer();
    fill(&server, "a");
    let evicted = std::thread::scope(|scope| {
        let evicted = scope.spawn(|| server.log.wait_for("disconnected", |line| line["reason"] == "lagged"));
        while !evicted.is_finished() {
            trickler.read_a_little();
        }
        evicted.join().unwrap()
    });
    assert_eq!(evicted["remote_addr"], trickler.local_addr().as_str());
}

/// FAILURES C9: a client that reads nothing pins little.
#[test]
fn who_reads_nothing_pins_little() {
    let server = Server::start(&["--write-timeout", "30s", "--lag-grace", "1m", "--ring-bytes-max", "4MiB"]);
    let stopped: Vec<Stream> = (0..100).map(|_| server.subscribe("a").open_with_tiny_buffer()).collect();
    let mut healthy = server.subscribe("a").open();
    let before = server.resident_bytes();
    for n in 0..512 {
        server.publish("a", &large(n));
        assert_eq!(healthy.next_data(), large(n));
    }
    // The ring itself, and little for each of those who stopped.
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < (4 << 20) + 100 * (128 << 10), "{} MiB for {} streams", grown >> 20, stopped.len());
    assert_eq!(server.metric("sse_connections_active"), Some(101.0));
}
