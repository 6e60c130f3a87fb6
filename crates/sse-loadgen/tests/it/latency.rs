//! Latency counts from when the schedule meant an event to go out, whatever the server does.

use std::time::Duration;

use crate::run;
use crate::server::Fault;

#[test]
fn a_stall_delays_every_event_that_was_due_in_it() {
    let stall = Duration::from_millis(250);
    let report = run(Fault::Stall(20, stall));
    assert!(report.whole, "{report}");
    // Half of the 500 ms stand still: of the 100 events 50 are late, by 250 ms down to 0. A tool that waits for the
    // server before it looks at the clock would see a single late event and a p90 of next to nothing.
    for times in [report.delivery.latency, report.delivery.last_subscriber, report.publishing.answered] {
        assert!(times.max_ms >= 249.0, "{times:?}");
        assert!(times.p90_ms > 150.0, "{times:?}");
    }
    // The schedule did not slip either: the last event was due at 495 ms, whatever happened before.
    let late = report.publishing.late;
    assert!(late.count > 0 && late.count < 80, "it waited for the clock only when it was on time: {late:?}");
}

#[test]
fn a_prompt_server_is_seen_as_prompt() {
    let report = run(Fault::Nothing);
    assert!(report.delivery.latency.p50_ms < 100.0, "{report}");
    assert!(report.delivery.last_subscriber.p50_ms >= report.delivery.latency.p50_ms, "{report}");
}
