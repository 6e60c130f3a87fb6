//! Compressed streams: who gets one, and that it decodes from any joining point, whatever happens to it.

use std::time::Duration;

use crate::harness::token::{SECRET, subscribe_token};
use crate::harness::{Item, Launch, Request, Server, Stream, StreamPath, also_on_http2, eventually, on_both_paths};

on_both_paths![
    from_the_eighth_follower_on_streams_are_compressed,
    ticks_come_to_a_fifth_of_their_bytes,
    streams_decode_to_their_end,
    a_drain_ends_the_encoding_in_order,
    private_events_are_not_compressed,
    the_log_is_read_compressed,
    who_stalls_is_cut_and_pins_little,
    quiet_streams_are_told_that_they_live,
];
also_on_http2![
    from_the_eighth_follower_on_streams_are_compressed,
    ticks_come_to_a_fifth_of_their_bytes,
    streams_decode_to_their_end,
    a_drain_ends_the_encoding_in_order,
    private_events_are_not_compressed,
    the_log_is_read_compressed,
    quiet_streams_are_told_that_they_live,
];

/// Followers that make a topic worth compressing.
const FOLLOWERS_MIN: usize = 8;

/// 220 B of JSON, as prices come.
fn tick(number: usize) -> String {
    let symbol = ["ACME", "GLOB", "INIT", "UMBR", "SOYL"][number * 7 % 5];
    let price = 100.0 + (number * 37 % 100) as f64 / 20.0;
    let (bid, ask) = (price - 0.01, price + 0.02);
    let (size, volume) = (number * 13 % 20 * 100, 1_000_000 + number * 300);
    let (seconds, millis) = (number / 10 % 60, number * 100 % 1000);
    format!(
        r#"{{"type":"tick","symbol":"{symbol}","price":{price:.2},"bid":{bid:.2},"ask":{ask:.2},"size":{size},"volume":{volume},"exchange":"XNAS","currency":"USD","timestamp":"2026-11-23T11:00:{seconds:02}.{millis:03}Z","conditions":["regular","live"]}}"#
    )
}

/// What hardly compresses.
fn noise(seed: usize, len: usize) -> String {
    let mut random = fastrand::Rng::with_seed(seed as u64);
    std::iter::repeat_with(|| random.alphanumeric()).take(len).collect()
}

fn encoding(stream: &Stream) -> Option<&str> {
    stream.head.field("content-encoding")
}

fn zipped(server: &Server, topic: &str) -> Request {
    server.subscribe(topic).field("Accept-Encoding", "gzip, deflate, br, zstd")
}

/// Enough followers for those that come now to be compressed.
fn crowd(server: &Server, topic: &str) -> Vec<Stream> {
    (1..FOLLOWERS_MIN).map(|_| server.subscribe(topic).open()).collect()
}

fn from_the_eighth_follower_on_streams_are_compressed(path: StreamPath) {
    let server = path.start(&[]);
    let first: Vec<Stream> = (1..FOLLOWERS_MIN).map(|_| zipped(&server, "a").open()).collect();
    assert!(first.iter().all(|stream| encoding(stream).is_none()));
    let mut eighth = zipped(&server, "a").open();
    assert_eq!(encoding(&eighth), Some("gzip"));
    let mut plain = server.subscribe("a").open();
    assert_eq!(encoding(&plain), None);
    for stream in first.iter().chain([&eighth, &plain]) {
        assert_eq!(stream.head.field("vary"), Some("Accept-Encoding"));
    }
    let id = server.publish("a", "hello");
    for stream in [&mut eighth, &mut plain] {
        let event = stream.next_event();
        assert_eq!((event.id, event.data.as_str()), (id.clone(), "hello"));
    }
    server.wait_for_metric("sse_compressed_streams", 1.0);
    let listed = server.admin("/api/subscribers").send().text();
    assert_eq!(listed.matches(r#""compressed":true"#).count(), 1, "{listed}");
    drop(eighth);
    server.wait_for_metric("sse_compressed_streams", 0.0);
}

#[test]
fn clients_say_whether_they_take_it() {
    let server = Server::start(&[]);
    let _crowd = crowd(&server, "a");
    for (accepted, expected) in [
        ("gzip", Some("gzip")),
        ("*", Some("gzip")),
        ("br, gzip;q=0.1", Some("gzip")),
        ("gzip;q=0", None),
        ("gzip;q=0, *", None),
        ("identity, gzip;q=0.5", None),
        ("br, zstd", None),
        ("", None),
    ] {
        let mut stream = server.subscribe("a").field("Accept-Encoding", accepted).open();
        assert_eq!(encoding(&stream), expected, "{accepted:?}");
        server.publish("a", accepted);
        assert_eq!(stream.next_data(), accepted);
    }
}

#[test]
fn some_streams_never_are() {
    let config =
        "[[topic]]\nmatch = 'pictures'\ncompression = 'off'\n[[topic]]\nmatch = 'prices'\nslow_policy = 'latest'\n";
    let file =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("compression-{}.toml", std::process::id()));
    std::fs::write(&file, config).unwrap();
    let server = Server::start(&["--config", file.to_str().unwrap()]);
    for target in ["/events/pictures", "/events/prices", "/events?topic=a&topic=b", "/events?match=*"] {
        let request = server.follow(target).field("Accept-Encoding", "gzip");
        let streams: Vec<Stream> = (0..=FOLLOWERS_MIN).map(|_| request.open()).collect();
        assert!(streams.iter().all(|stream| encoding(stream).is_none()), "{target}");
    }
    for path in [StreamPath::Writers, StreamPath::Http2] {
        let server = path.start(&["--compression", "off"]);
        let _crowd = crowd(&server, "a");
        assert_eq!(encoding(&zipped(&server, "a").open()), None, "{path:?}");
    }
}

#[test]
fn there_are_so_many_compressors() {
    let server = Server::start(&["--compressors-max", "1", "--writers", "1"]);
    let _crowds = [crowd(&server, "a"), crowd(&server, "b")];
    let mut riders: Vec<Stream> = (0..FOLLOWERS_MIN).map(|_| zipped(&server, "a").open()).collect();
    let all = |riders: &mut Vec<Stream>, text: &str| {
        server.publish("a", text);
        riders.iter_mut().for_each(|stream| assert_eq!(stream.next_data(), text));
    };
    all(&mut riders, "one");
    server.wait_for_metric("sse_compressors", 1.0);
    let mut other = zipped(&server, "b").open();
    assert_eq!(encoding(&other), None, "the bound is reached");
    server.wait_for_metric(r#"sse_compression_declined_total{reason="compressors"}"#, 1.0);
    let id = server.publish("b", "plain");
    assert_eq!(other.next_event().id, id);
    riders.push(zipped(&server, "a").open());
    assert_eq!(encoding(&riders[FOLLOWERS_MIN]), Some("gzip"), "there is one for this topic");
    all(&mut riders, "two");
    riders.truncate(FOLLOWERS_MIN - 1);
    server.wait_for_metric("sse_compressed_streams", (FOLLOWERS_MIN - 1) as f64);
    all(&mut riders, "three");
    server.wait_for_metric("sse_compressors", 0.0);
    assert_eq!(encoding(&zipped(&server, "b").open()), Some("gzip"), "there is room again");
}

/// Issue 7: at least 3.5 times fewer bytes.
fn ticks_come_to_a_fifth_of_their_bytes(path: StreamPath) {
    let server = path.start(&[]);
    let mut plain = server.subscribe("ticks").open();
    let _crowd = crowd(&server, "ticks");
    let mut riders: Vec<Stream> = (0..FOLLOWERS_MIN).map(|_| zipped(&server, "ticks").open()).collect();
    for number in 0..640 {
        server.publish("ticks", &tick(number));
        for stream in riders.iter_mut().chain([&mut plain]) {
            assert_eq!(stream.next_data(), tick(number));
        }
    }
    server.close("ticks");
    let text = plain.bytes_to_end();
    // The gateway's window is narrow: small frames are filled up until it has shown how fast it reads (FAILURES E7).
    let ratio_min = if matches!(path, StreamPath::Http2) { 2.5 } else { 4.5 };
    for rider in riders {
        let ratio = text as f64 / rider.bytes_to_end() as f64;
        assert!(ratio > ratio_min, "{ratio}");
    }
}

/// Riders, newcomers at every point, one that lags, heartbeats, bursts, and the end: all decode to the same.
fn every_stream_decodes_to_its_end(server: &Server, version: &'static str) {
    let _crowd = crowd(server, "a");
    let request = zipped(server, "a").version(version);
    let lagging = request.open_with_tiny_buffer();
    // Each with how many events were there before what it gets.
    let mut streams = vec![(0, lagging)];
    streams.extend((0..20).map(|_| (0, request.open())));
    let mut watched = server.subscribe("a").field("Accept-Encoding", "gzip").open();
    let mut ids: Vec<String> = Vec::new();
    for round in 0..24 {
        ids.push(server.publish("a", &tick(round)));
        if round % 8 == 5 {
            ids.push(server.publish("a", &noise(round, 60_000)));
            ids.extend(server.publish_burst("a", 100));
            streams.push((ids.len(), request.open()));
            streams.push((0, request.clone().last_event_id("earliest").open()));
            let after = ids.len() / 2;
            streams.push((after, request.clone().last_event_id(&ids[after - 1]).open()));
            // All who are caught up are told together.
            while watched.next_item() != Item::Comment(" ping".to_owned()) {}
        }
    }
    ids.push(server.close("a"));
    for (start, mut stream) in streams {
        assert_eq!(encoding(&stream), Some("gzip"));
        for id in &ids[start..] {
            assert_eq!(&stream.next_event().id, id);
        }
        stream.expect_end();
    }
}

const SLOW: [&str; 6] = ["--heartbeat-interval", "300ms", "--lag-grace", "1m", "--write-timeout", "1m"];

fn streams_decode_to_their_end(path: StreamPath) {
    every_stream_decodes_to_its_end(&path.start(&SLOW), "HTTP/1.1");
}

#[test]
fn streams_decode_to_their_end_without_chunks() {
    every_stream_decodes_to_its_end(&Server::start(&SLOW), "HTTP/1.0");
}

#[test]
fn streams_decode_to_their_end_over_tls() {
    every_stream_decodes_to_its_end(&Launch::new(&SLOW).over_tls().start(), "HTTP/1.1");
}

fn a_drain_ends_the_encoding_in_order(path: StreamPath) {
    let mut server = path.start(&["--drain-window", "500ms"]);
    let crowd = crowd(&server, "a");
    let mut streams: Vec<Stream> = (0..20).map(|_| zipped(&server, "a").open()).collect();
    server.publish("a", "one");
    server.publish("a", "two");
    streams.iter_mut().for_each(|stream| assert_eq!([stream.next_data(), stream.next_data()], ["one", "two"]));
    server.signal(rustix::process::Signal::TERM);
    for mut stream in streams {
        assert_eq!(stream.next_event().event_type, "sse.reconnect");
        stream.expect_end();
    }
    drop(crowd);
    assert!(server.wait_exit().success());
}

fn private_events_are_not_compressed(path: StreamPath) {
    let server = path.start(&["--subscriber-jwt-key", SECRET, "--anonymous", "on"]);
    let bearer = subscribe_token(&["a"]);
    let _crowd = crowd(&server, "a");
    let mut granted: Vec<Stream> = (0..FOLLOWERS_MIN).map(|_| zipped(&server, "a").bearer(&bearer).open()).collect();
    let mut others: Vec<Stream> = (0..FOLLOWERS_MIN).map(|_| zipped(&server, "a").open()).collect();
    let text = "the same secret, ".repeat(50);
    for round in 0..3 {
        server.publish("a", &tick(round));
        let before = granted[0].bytes_received();
        let secret = server.publish_to("/events/a?private", &text);
        server.publish("a", &tick(round));
        for stream in &mut granted {
            assert_eq!(stream.next_data(), tick(round));
            let event = stream.next_event();
            assert_eq!((event.id.as_str(), event.data.as_str()), (secret.as_str(), text.as_str()));
            assert_eq!(stream.next_data(), tick(round));
        }
        assert!(granted[0].bytes_received() - before > text.len(), "it is sent as it is");
        for stream in &mut others {
            assert_eq!([stream.next_data(), stream.next_data()], [tick(round), tick(round)]);
        }
    }
}

/// What was logged before a restart is read compressed as well, and those who read it ride together afterwards.
fn the_log_is_read_compressed(path: StreamPath) {
    let home = tempfile::tempdir().unwrap();
    let flags = ["--data-dir", home.path().to_str().unwrap(), "--compression-followers-min", "2"];
    let ids = {
        let server = path.start(&flags);
        (0..300).map(|number| server.publish("a", &tick(number))).collect::<Vec<_>>()
    };
    let server = path.start(&flags);
    let _first = server.subscribe("a").open();
    let request = zipped(&server, "a").last_event_id(&ids[9]);
    let mut streams: Vec<Stream> = (0..10).map(|_| request.open()).collect();
    for stream in &mut streams {
        assert_eq!(encoding(stream), Some("gzip"));
        for id in &ids[10..] {
            assert_eq!(&stream.next_event().id, id);
        }
    }
    eventually("a compressor", || {
        let id = server.publish("a", "now");
        streams.iter_mut().for_each(|stream| assert_eq!(stream.next_event().id, id));
        (server.metric("sse_compressors") == Some(1.0)).then_some(())
    });
}

/// A client that takes gzip and nothing else pins no more than another.
fn who_stalls_is_cut_and_pins_little(path: StreamPath) {
    let server = path.start(&["--write-timeout", "1s", "--lag-grace", "1m"]);
    let _crowd = crowd(&server, "a");
    let stalled: Vec<Stream> = (0..50).map(|_| zipped(&server, "a").open_with_tiny_buffer()).collect();
    let mut healthy = zipped(&server, "a").open();
    let before = server.resident_bytes();
    for round in 0..64 {
        let text = noise(round, 64_000);
        server.publish("a", &text);
        assert_eq!(healthy.next_data(), text);
    }
    // The ring has 4 MiB; each block lies in memory once, whoever waits for the rest of it.
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 24 << 20, "{grown}");
    server.wait_for_metric("sse_compressed_streams", 1.0);
    server.wait_for_metric(r#"sse_evictions_total{reason="stalled"}"#, (50 + FOLLOWERS_MIN - 1) as f64);
    drop(stalled);
    server.publish("a", "still here");
    assert_eq!(healthy.next_data(), "still here");
}

/// Heartbeats reach all who are caught up, at least as often as they have to.
fn quiet_streams_are_told_that_they_live(path: StreamPath) {
    let server = path.start(&["--heartbeat-interval", "400ms"]);
    let _crowd = crowd(&server, "a");
    let mut streams: Vec<Stream> = (0..FOLLOWERS_MIN).map(|_| zipped(&server, "a").open()).collect();
    server.publish("a", "one");
    for stream in &mut streams {
        assert_eq!(stream.next_data(), "one");
        let ping = Item::Comment(" ping".to_owned());
        assert_eq!([stream.next_item(), stream.next_item()], [ping.clone(), ping]);
    }
    let pings = streams[0].items_for(Duration::from_secs(2)).len();
    assert!((3..=12).contains(&pings), "{pings} in two seconds");
}
