//! Coming and going while events flow: nobody misses one, gets one twice, or sees another's.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{Server, StreamPath, on_all_paths};

on_all_paths![everybody_sees_an_unbroken_run];

fn everybody_sees_an_unbroken_run(path: StreamPath) {
    let server = path.start(&[]);
    let done = AtomicBool::new(false);
    let visit = |seed| come_and_go(&server, seed, &done);
    std::thread::scope(|scope| {
        let visitors: Vec<_> = (0..6).map(|seed| scope.spawn(move || visit(seed))).collect();
        for round in 0..150 {
            server.publish_burst(["a", "b"][round % 2], 1 + round % 40);
        }
        done.store(true, Ordering::Release);
        // Whoever waits for an event gets one more.
        while !visitors.iter().all(|visitor| visitor.is_finished()) {
            server.post_json(r#"{"topics":["a","b"],"data":"0"}"#).send();
        }
        let events: usize = visitors.into_iter().map(|visitor| visitor.join().unwrap()).sum();
        assert!(events > 1000, "the visitors saw {events} events: not much of a test");
    });
    server.wait_for_metric("sse_connections_active", 0.0);
}

/// Follows, reads a while, leaves, and comes back with its last id. How many events it saw.
fn come_and_go(server: &Server, seed: u64, done: &AtomicBool) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    let target = ["/events/a", "/events/b", "/events?topic=a&topic=b"][seed as usize % 3];
    let both = target.contains("topic");
    let (mut last_id, mut seen) = (String::new(), 0);
    // Data is numbered within each burst: after n comes n + 1, or the 0 of the next burst.
    let mut last_data: Option<usize> = None;
    while !done.load(Ordering::Acquire) {
        let mut stream = server.follow(target).last_event_id(&last_id).open();
        for _ in 0..random.usize(..120) {
            if done.load(Ordering::Acquire) {
                break;
            }
            let event = stream.next_event();
            assert_eq!(event.event_type, "message", "{event:?}");
            assert!(event.id > last_id, "{} after {last_id}", event.id);
            let data: usize = event.data.parse().unwrap();
            if let Some(last) = last_data.filter(|_| both) {
                let sequence = |id: &str| id.split_once('-').unwrap().1.parse::<u64>().unwrap();
                assert_eq!(sequence(&event.id), sequence(&last_id) + 1, "a hole behind {last}");
            }
            if let Some(last) = last_data.filter(|_| !both) {
                assert!(data == last + 1 || data == 0, "{data} after {last}");
            }
            (last_id, last_data) = (event.id, Some(data));
            seen += 1;
        }
    }
    seen
}
