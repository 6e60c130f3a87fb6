//! Heartbeats: a comment on every quiet stream, and on no other.

use std::time::{Duration, Instant};

use crate::harness::{Item, StreamPath, on_all_paths};

on_all_paths![
    a_quiet_stream_gets_heartbeats,
    a_busy_stream_gets_none,
    heartbeats_stop_for_events_and_come_back,
    a_stream_after_a_quiet_time_has_its_first_heartbeat_in_time
];

fn a_quiet_stream_gets_heartbeats(path: StreamPath) {
    let server = path.start(&["--heartbeat-interval", "300ms", "--retry-jitter", "0"]);
    let chunked = server.subscribe("a").open();
    let several = server.follow("/events?topic=a&topic=b").open();
    let old = server.subscribe("a").version("HTTP/1.0").open();
    let started = Instant::now();
    for mut stream in [chunked, several, old] {
        stream.expect_opening(3000);
        stream.expect_text(": ping\n\n: ping\n\n: ping\n\n");
    }
    assert!(started.elapsed() > Duration::from_millis(500), "three heartbeats in {:?}", started.elapsed());
}

fn a_busy_stream_gets_none(path: StreamPath) {
    let server = path.start(&["--heartbeat-interval", "1s"]);
    let mut one = server.subscribe("a").open();
    let mut several = server.follow("/events?topic=a&topic=b").open();
    for stream in [&mut one, &mut several] {
        assert!(matches!(stream.next_item(), Item::Retry(_)));
    }
    for n in 0..25 {
        server.publish("a", &n.to_string());
        for stream in [&mut one, &mut several] {
            let item = stream.next_item();
            assert!(matches!(&item, Item::Event(event) if event.data == n.to_string()), "{item:?}");
        }
        one.expect_quiet(Duration::from_millis(100));
    }
}

fn heartbeats_stop_for_events_and_come_back(path: StreamPath) {
    let server = path.start(&["--heartbeat-interval", "500ms"]);
    let mut stream = server.subscribe("a").open();
    let ping = Item::Comment(" ping".to_owned());
    assert!(matches!(stream.next_item(), Item::Retry(_)));
    assert_eq!(stream.next_item(), ping);
    server.publish("a", "between");
    while stream.next_item() == ping {}
    assert_eq!([stream.next_item(), stream.next_item()], [ping.clone(), ping]);
}

fn a_stream_after_a_quiet_time_has_its_first_heartbeat_in_time(path: StreamPath) {
    let server = path.start(&["--heartbeat-interval", "2s"]);
    assert!(server.connect().is_quiet_for(Duration::from_millis(2500)));
    let started = Instant::now();
    let mut stream = server.subscribe("a").open();
    assert!(matches!(stream.next_item(), Item::Retry(_)));
    assert_eq!(stream.next_item(), Item::Comment(" ping".to_owned()));
    assert!(started.elapsed() > Duration::from_millis(1200), "{:?}", started.elapsed());
}
