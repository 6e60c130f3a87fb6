//! What the hub costs, in process: no socket, no HTTP.

mod fanout;
mod fixture;
mod hand;
mod publish;
mod round;
mod selectors;
mod subscribe;
mod topics;
mod ways;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = fanout::bench, topics::bench, publish::bench, subscribe::bench, selectors::bench
}
criterion_main!(benches);
