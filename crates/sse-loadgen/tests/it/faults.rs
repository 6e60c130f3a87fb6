//! Every fault of a server is found, counted once, and blamed for what it is.

use std::time::Duration;

use sse_loadgen::{Report, Scenario, Tally};

use crate::server::{Fault, Framing, Server};
use crate::{run, scenario};

/// What a sound run of the scenario counts.
fn sound() -> Tally {
    Tally { delivered: 200, ..Tally::default() }
}

/// Runs with `fault` and compares the counts with those of a sound run after `change`.
fn check(fault: Fault, change: impl FnOnce(&mut Tally)) -> Report {
    let report = run(fault);
    let mut expected = sound();
    change(&mut expected);
    let found = Tally { bytes: 0, examples: Vec::new(), ..report.delivery.tally.clone() };
    assert_eq!(found, expected, "{fault:?}: {:?}", report.delivery.tally.examples);
    assert_eq!(report.whole, fault == Fault::Nothing);
    report
}

#[test]
fn a_sound_server_is_found_sound() {
    let report = check(Fault::Nothing, |_| ());
    assert_eq!((report.publishing.sent, report.publishing.confirmed), (100, 100));
    assert_eq!((report.delivery.expected, report.delivery.latency.count), (200, 200));
    assert_eq!(report.delivery.last_subscriber.count, 100);
    assert!(report.to_string().contains("everything arrived, once and in order"), "{report}");
}

#[test]
fn a_lost_event_is_found() {
    let report = check(Fault::Drop(50), |tally| {
        tally.delivered -= 1;
        tally.lost = 1;
    });
    assert_eq!(report.delivery.expected, 200);
    assert!((report.delivery.share - 0.995).abs() < 1e-9);
    assert!(report.to_string().contains("topic 2: 12..13 never came"), "{report}");
}

/// A server that puts the data into JSON of its own, as a publish body can have the tiny one do.
fn run_wrapped(fault: Fault, wrapped: bool) -> Report {
    let server = Server::start(fault, Framing::Chunked);
    let publish_body = r#"{"channel":"{topic}","data":"{data}"}"#.to_owned();
    sse_loadgen::run(&Scenario { wrapped, publish_body, ..scenario(&server) }).unwrap()
}

#[test]
fn what_lies_within_an_event_is_verified_too() {
    assert_eq!(run_wrapped(Fault::Nothing, true).delivery.tally, {
        let bytes = run_wrapped(Fault::Nothing, true).delivery.tally.bytes;
        Tally { bytes, ..sound() }
    });
    assert_eq!(run_wrapped(Fault::Drop(50), true).delivery.tally.lost, 1);
    // The byte that is changed is one of the JSON around it or of the data, and both are events that did not come.
    assert!(!run_wrapped(Fault::Damage(50), true).whole);
    assert_eq!(run_wrapped(Fault::Nothing, false).delivery.tally.foreign, 200);
}

#[test]
fn a_loss_at_the_very_end_is_found() {
    check(Fault::Drop(99), |tally| {
        tally.delivered -= 1;
        tally.lost = 1;
    });
}

#[test]
fn a_loss_at_the_very_beginning_is_found() {
    check(Fault::Drop(0), |tally| {
        tally.delivered -= 1;
        tally.lost = 1;
    });
}

#[test]
fn a_repeated_event_is_found() {
    check(Fault::Repeat(50), |tally| {
        tally.repeated = 1;
        tally.ids_not_rising = 1;
    });
}

#[test]
fn events_out_of_order_are_found() {
    let report = check(Fault::Swap(50), |tally| {
        tally.reordered = 1;
        tally.ids_not_rising = 1;
    });
    assert!(report.to_string().contains("topic 2: 12 came late"), "{report}");
}

#[test]
fn a_changed_event_is_found() {
    check(Fault::Damage(50), |tally| {
        tally.damaged = 1;
        tally.delivered -= 1;
        tally.lost = 1;
    });
}

#[test]
fn ids_that_do_not_rise_are_found() {
    check(Fault::OldId(50), |tally| tally.ids_not_rising = 2);
}

#[test]
fn a_change_of_epoch_is_found() {
    check(Fault::NewEpoch(50), |tally| tally.epoch_changes = 8);
}

#[test]
fn an_announced_gap_is_found() {
    check(Fault::Gap(50), |tally| tally.gaps = 1);
}

#[test]
fn a_stream_that_is_cut_loses_the_rest() {
    // Topic 2 has 25 events, of which 12 went out before the cut.
    for fault in [Fault::Cut(50), Fault::End(50)] {
        check(fault, |tally| {
            tally.closed_early = 1;
            tally.delivered -= 13;
            tally.lost = 13;
        });
    }
}

#[test]
fn bytes_that_are_no_chunk_are_found() {
    check(Fault::Garbage(50), |tally| {
        tally.malformed = 1;
        tally.closed_early = 1;
        tally.delivered -= 13;
        tally.lost = 13;
    });
}

#[test]
fn a_refused_publish_is_not_a_lost_event() {
    let report = run(Fault::Refuse(50));
    assert!(!report.whole);
    assert_eq!(report.publishing.refused.get(&503), Some(&1));
    assert_eq!((report.publishing.sent, report.publishing.confirmed), (100, 99));
    assert_eq!((report.delivery.tally.lost, report.delivery.tally.delivered), (0, 198));
}

#[test]
fn an_event_whose_answer_did_not_come_may_have_arrived_or_not() {
    for (fault, delivered) in [(Fault::NoAnswer(50), 200), (Fault::Vanish(50), 198)] {
        let report = run(fault);
        assert!(!report.whole);
        assert_eq!((report.publishing.unanswered, report.publishing.confirmed), (1, 99));
        assert!(report.publishing.failure.is_some());
        assert_eq!((report.delivery.tally.lost, report.delivery.tally.delivered), (0, delivered));
    }
}

#[test]
fn a_server_that_dies_under_load_still_gets_a_report() {
    let server = Server::start(Fault::Nothing, Framing::Chunked);
    // The server runs in this process; what dies is the one that is measured.
    let mut measured = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let scenario =
        Scenario { server_pids: vec![measured.id()], sample_interval: Duration::from_millis(20), ..scenario(&server) };
    let run = std::thread::spawn(move || sse_loadgen::run(&scenario));
    server.wait_until_published(10);
    measured.kill().unwrap();
    measured.wait().unwrap();
    let report = run.join().unwrap().unwrap();
    assert!(report.server.is_none() && report.server_failure.is_some(), "{report}");
    assert_eq!(report.delivery.tally.delivered, 200);
}
