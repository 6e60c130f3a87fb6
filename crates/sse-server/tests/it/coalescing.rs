//! `--coalesce-window`: events wait a moment to leave together.

use std::time::{Duration, Instant};

use crate::harness::{Server, Stream};

#[test]
fn events_wait_and_leave_together() {
    let server = Server::start(&["--coalesce-window", "400ms"]);
    let mut streams: Vec<Stream> = (0..3).map(|_| server.subscribe("a").open()).collect();
    let published = Instant::now();
    let ids = server.publish_all("a", ["1", "2", "3"]);
    let all_published = published.elapsed();
    for stream in &mut streams {
        let event = stream.next_event();
        assert!(published.elapsed() >= Duration::from_millis(390), "{:?}", published.elapsed());
        assert_eq!((&event.id, event.data.as_str()), (&ids[0], "1"));
        let first = Instant::now();
        assert_eq!([stream.next_data(), stream.next_data()], ["2", "3"]);
        if all_published < Duration::from_millis(350) {
            assert!(first.elapsed() < Duration::from_millis(200), "the others came {:?} later", first.elapsed());
        }
    }
    // A stream that comes meanwhile, and one that is behind, miss nothing.
    server.publish("a", "4");
    let mut late = server.subscribe("a").last_event_id(&ids[1]).open();
    server.publish("a", "5");
    assert_eq!([late.next_data(), late.next_data(), late.next_data()], ["3", "4", "5"]);
    for stream in &mut streams {
        assert_eq!([stream.next_data(), stream.next_data()], ["4", "5"]);
    }
}
