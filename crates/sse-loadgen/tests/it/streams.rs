//! The kinds of streams: over several topics, unframed, slow, visiting, idle.

use std::time::Duration;

use sse_loadgen::{Report, Scenario};

use crate::scenario;
use crate::server::{Fault, Framing, Server};

fn sound() -> Server {
    Server::start(Fault::Nothing, Framing::Chunked)
}

#[test]
fn streams_over_several_topics_are_verified_for_each() {
    let server = sound();
    let scenario = Scenario {
        follow_url: server.url("/events?{topic=*}"),
        topics_per_subscriber: 3,
        threads: 2,
        publishers: 3,
        ..scenario(&server)
    };
    let report = sse_loadgen::run(&scenario).unwrap();
    assert!(report.whole, "{report}");
    assert_eq!(report.delivery.tally.delivered, 100 * 8 * 3 / 4);
}

#[test]
fn streams_that_end_with_the_connection_are_read() {
    let report = sse_loadgen::run(&scenario(&Server::start(Fault::Nothing, Framing::UntilClose))).unwrap();
    assert!(report.whole, "{report}");
    assert_eq!(report.delivery.tally.delivered, 200);
}

#[test]
fn bursts_go_out_at_once() {
    let server = sound();
    let report = sse_loadgen::run(&Scenario { burst: 25, ..scenario(&server) }).unwrap();
    assert!(report.whole, "{report}");
    // Four bursts, one for each topic, which has two subscribers.
    assert_eq!((report.publishing.sent, report.delivery.tally.delivered), (100, 200));
    assert!(report.publishing.late.count <= 4, "no waiting within a burst: {report}");
}

#[test]
fn visitors_come_follow_and_leave() {
    let server = sound();
    let scenario = Scenario { churn: 200.0, visit: Duration::from_millis(300), ..scenario(&server) };
    let report = sse_loadgen::run(&scenario).unwrap();
    assert!(report.whole, "{report}");
    let tally = &report.delivery.tally;
    // 100 come in half a second; those of the last moments may not have opened yet.
    assert!((60..=110).contains(&tally.visits), "{tally:?}");
    assert!(tally.delivered > 200, "visitors are counted too: {tally:?}");
}

#[test]
fn slow_readers_are_dropped_and_harm_nobody() {
    let server = sound();
    // Twice as long as it takes to fill a socket and to be dropped for it.
    let duration = Duration::from_secs(1);
    let scenario = Scenario { slow_readers: 4, event_bytes: 200_000, duration, ..scenario(&server) };
    let report = sse_loadgen::run(&scenario).unwrap();
    assert!(report.whole, "{report}");
    let tally = &report.delivery.tally;
    assert_eq!((tally.delivered, tally.evicted_slow), (400, 4));
    assert!(tally.delivered_slow < 150, "{tally:?}");
}

#[test]
fn slow_readers_that_read_on_are_followed_up() {
    let server = sound();
    let scenario = Scenario { slow_readers: 4, slow_hold: Some(Duration::from_millis(100)), ..scenario(&server) };
    let report = sse_loadgen::run(&scenario).unwrap();
    assert!(report.whole, "{report}");
    let tally = &report.delivery.tally;
    // Little enough that all of it fits into the sockets.
    assert_eq!((tally.delivered_slow, tally.evicted_slow, tally.skipped_slow), (100, 0, 0));
}

#[test]
fn idle_streams_cost_nothing_but_memory() {
    let server = sound();
    let scenario = Scenario {
        rate: 0.0,
        duration: Duration::from_millis(50),
        server_pids: vec![std::process::id()],
        sample_interval: Duration::from_millis(10),
        ..scenario(&server)
    };
    let report = sse_loadgen::run(&scenario).unwrap();
    assert!(report.whole, "{report}");
    assert_eq!((report.publishing.sent, report.delivery.tally.delivered), (0, 0));
    let used = report.server.unwrap();
    assert!(used.idle.descriptors >= 16, "both ends of eight streams are ours: {used:?}");
    assert!(report.samples.len() >= 2, "{:?}", report.samples);
}

#[test]
fn topics_and_data_go_where_the_templates_say() {
    let server = sound();
    let scenario = Scenario { topics: 1, topic_prefix: Some("news-".to_owned()), ..scenario(&server) };
    let fixed = Scenario {
        follow_url: server.url("/events/news-0"),
        publish_url: server.url("/events/news-0"),
        ..scenario.clone()
    };
    for scenario in [scenario, fixed] {
        let report = sse_loadgen::run(&scenario).unwrap();
        assert!(report.whole, "{report}");
        assert_eq!(report.delivery.tally.delivered, 800);
    }
}

#[test]
fn a_report_survives_json() {
    let report = sse_loadgen::run(&scenario(&sound())).unwrap();
    let back: Report = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(back.delivery.tally, report.delivery.tally);
    assert_eq!((back.load, back.machine, back.whole), (report.load, report.machine, true));
    // Whole milliseconds of nanoseconds may differ in the last digit once they are decimal.
    assert!((back.delivery.latency.p99_ms - report.delivery.latency.p99_ms).abs() < 1e-9);
}
