//! What the server's own parts cost: a round of a writer, and a look at a token.

mod bare;
mod clients;
mod cpu;
mod round;
mod token;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use sse_server::{Command, Config};

/// The settings that these flags make.
fn config(flags: impl IntoIterator<Item = String>) -> Config {
    let args = ["sse-server".to_owned()].into_iter().chain(flags).map(Into::into);
    let Ok(Command::Serve(config)) = Config::load(args, &|_| None, &[]) else { panic!("these are good settings") };
    *config
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4)).sample_size(20);
    targets = round::bench, token::bench
}
criterion_main!(benches);
