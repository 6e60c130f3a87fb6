//! What the server's own parts cost: a round of a writer, and a look at a token.

mod bare;
mod clients;
mod cpu;
mod round;
mod token;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4)).sample_size(20);
    targets = round::bench, token::bench
}
criterion_main!(benches);
