//! A stream's life: when it is told to come back, and how old it gets.

use std::time::{Duration, Instant};

use crate::harness::{End, Item, Server, StreamPath, on_all_paths};

on_all_paths![
    streams_are_told_to_come_back_at_different_times,
    without_jitter_the_time_is_exact,
    an_old_stream_is_asked_to_reconnect,
    ages_are_spread,
    a_stream_after_a_quiet_time_lives_its_whole_life,
];

fn streams_are_told_to_come_back_at_different_times(path: StreamPath) {
    let server = path.start(&["--retry", "2s", "--retry-jitter", "0.5"]);
    let retries: Vec<u128> = (0..60).map(|_| retry(&server).as_millis()).collect();
    assert!(retries.iter().all(|retry| (1000..=3000).contains(retry)), "{retries:?}");
    assert!(retries.iter().any(|retry| *retry < 1700) && retries.iter().any(|retry| *retry > 2300), "{retries:?}");
}

fn without_jitter_the_time_is_exact(path: StreamPath) {
    let server = path.start(&["--retry", "750ms", "--retry-jitter", "0"]);
    for _ in 0..5 {
        assert_eq!(retry(&server), Duration::from_millis(750));
    }
}

fn retry(server: &Server) -> Duration {
    match server.subscribe("a").open().next_item() {
        Item::Retry(retry) => retry,
        other => panic!("{other:?} before the retry: line"),
    }
}

fn an_old_stream_is_asked_to_reconnect(path: StreamPath) {
    let server = path.start(&["--connection-age-max", "1s", "--retry-jitter", "0"]);
    let id = server.publish("a", "kept");
    let started = Instant::now();
    let mut one = server.subscribe("a").last_event_id("earliest").open();
    let several = server.follow("/events?topic=a&topic=b").last_event_id("earliest").open();
    let old = server.subscribe("a").last_event_id("earliest").version("HTTP/1.0").open();
    one.expect_text(&format!("retry: 3000\n\nid: {id}\ndata: kept\n\n"));
    one.expect_text("event: sse.reconnect\ndata: {\"reason\":\"age\"}\n\n");
    let took = started.elapsed();
    assert!((Duration::from_millis(650)..Duration::from_millis(2500)).contains(&took), "{took:?}");
    let mut connection = one.expect_end();
    if path == StreamPath::Writers {
        assert_eq!(connection.expect_closed(), End::Fin);
    }
    for mut stream in [several, old] {
        assert_eq!(stream.next_data(), "kept");
        let event = stream.next_event();
        // Without an id of its own: the client keeps its place.
        assert_eq!((event.event_type.as_str(), &event.id), ("sse.reconnect", &id));
        stream.expect_end();
    }
    server.log.wait_for("disconnected", |line| line["reason"] == "age" && line["topics"] == "a");
}

/// Streams that came together do not leave together.
fn ages_are_spread(path: StreamPath) {
    let server = path.start(&["--connection-age-max", "3s"]);
    let ages: Vec<Duration> = std::thread::scope(|scope| {
        let age = || {
            let started = Instant::now();
            let event = server.subscribe("a").open().next_event();
            assert_eq!(event.event_type, "sse.reconnect");
            started.elapsed()
        };
        let streams: Vec<_> = (0..60).map(|_| scope.spawn(age)).collect();
        streams.into_iter().map(|stream| stream.join().unwrap()).collect()
    });
    let (first, last) = (ages.iter().min().unwrap(), ages.iter().max().unwrap());
    assert!(*first > Duration::from_millis(2300) && *last < Duration::from_secs(5), "from {first:?} to {last:?}");
    assert!(*last - *first > Duration::from_millis(250), "all within {:?}", *last - *first);
}

/// The age counts from the stream's own beginning, however long nobody was there before.
fn a_stream_after_a_quiet_time_lives_its_whole_life(path: StreamPath) {
    let server = path.start(&["--connection-age-max", "2s"]);
    assert!(server.connect().is_quiet_for(Duration::from_millis(2500)));
    let started = Instant::now();
    let mut stream = server.subscribe("a").open();
    assert_eq!(stream.next_event().event_type, "sse.reconnect");
    assert!(started.elapsed() > Duration::from_millis(1500), "{:?}", started.elapsed());
}
