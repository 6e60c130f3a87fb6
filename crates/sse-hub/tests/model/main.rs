//! The hub against a plain model, under random operations.
//!
//! Whatever is published, followed, read, dropped, closed and swept: a stream's ids rise, nothing comes twice, nothing
//! comes that was not asked for or may not be seen, and what should have come either came or lies within a gap that was
//! told before the stream was caught up, be it on the next connection. What is kept is never passed over.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod client;
mod feed;
mod operation;
mod world;

use proptest::prelude::*;

use operation::{Operation, Setting};
use world::World;

/// Some seconds' worth; `PROPTEST_CASES` for more.
fn config() -> ProptestConfig {
    let wanted = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: wanted.unwrap_or(600),
        max_shrink_iters: 20_000,
        // What fails is printed in full and becomes a test of its own.
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn streams_are_whole_or_say_where_they_are_not(
        setting in Setting::any(),
        operations in prop::collection::vec(Operation::any(), 1..120),
    ) {
        let mut world = World::new(&setting);
        let mut clients = Vec::new();
        for operation in operations {
            operation.run(&mut world, &mut clients);
            world.check();
        }
        // In the end everybody reads to the end.
        for client in &mut clients {
            client.catch_up(&mut world);
        }
    }
}
