//! Streams that are cut come back, and must get what they missed.

use std::time::Duration;

use sse_loadgen::{Report, Scenario};

use crate::scenario;
use crate::server::{Fault, Framing, Server};

/// Eight streams, two for each of four topics, of which some are cut.
fn run(fault: Fault, storm: Option<Duration>, resume: bool) -> Report {
    let server = Server::start(fault, Framing::Chunked);
    sse_loadgen::run(&Scenario { storm, resume, ..scenario(&server) }).unwrap()
}

#[test]
fn a_stream_that_was_cut_gets_what_it_missed() {
    let report = run(Fault::CutAll(50), None, true);
    assert!(report.whole, "{report}");
    assert_eq!((report.delivery.tally.comebacks, report.delivery.tally.delivered), (2, 200));
    assert_eq!(report.streams.away.count, 2);
    assert!(!run(Fault::CutAll(50), None, false).whole, "nobody comes back unless asked to");
}

#[test]
fn what_is_missing_after_a_comeback_is_found() {
    let report = run(Fault::CutAllAndForget(50), None, true);
    assert_eq!((report.whole, report.delivery.tally.comebacks, report.delivery.tally.lost), (false, 2, 2), "{report}");
}

#[test]
fn all_streams_are_cut_in_a_storm_and_come_back() {
    let storm = Some(Duration::from_millis(250));
    let report = run(Fault::Nothing, storm, true);
    assert!(report.whole, "{report}");
    assert_eq!((report.delivery.tally.comebacks, report.delivery.tally.delivered), (8, 200), "{report}");
    // Without their ids they begin anew, and what came meanwhile is nobody's loss.
    let report = run(Fault::Nothing, storm, false);
    assert!(report.whole, "{report}");
    assert_eq!(report.delivery.tally.comebacks, 8);
    assert!(report.delivery.tally.delivered <= 200, "{report}");
}

#[test]
fn a_publish_that_was_not_answered_is_excused_only_where_the_server_may_be_away() {
    assert!(run(Fault::Vanish(50), None, true).whole);
    let report = run(Fault::Vanish(50), None, false);
    assert_eq!((report.whole, report.publishing.unanswered), (false, 1), "{report}");
    assert!(!run(Fault::Refuse(50), None, true).whole, "a refusal is an answer");
}
