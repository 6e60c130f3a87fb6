//! One event to 10,000 readers, measured until the last one has read it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use tokio::runtime::{Builder, Runtime};

use crate::hand::Hand;
use crate::round::Round;
use crate::ways::{Fanout, READERS, WAYS};

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("fan-out to 10,000");
    group.sample_size(20).throughput(Throughput::Elements(READERS as u64));
    for (name, way) in WAYS {
        let mut tasks = None;
        group.bench_function(format!("tasks/{name}"), |b| {
            let tasks = tasks.get_or_insert_with(|| Tasks::spawn(way()));
            b.iter_custom(|rounds| tasks.run(rounds));
        });
    }
    for (name, way) in WAYS {
        let mut by_hand = None;
        group.bench_function(format!("one thread/{name}"), |b| {
            let by_hand = by_hand.get_or_insert_with(|| ByHand::new(way()));
            b.iter(|| by_hand.run_once());
        });
    }
}

/// The readers polled by the thread that publishes.
struct ByHand {
    publish: Arc<dyn Fn() + Send + Sync>,
    hand: Hand,
    round: Arc<Round>,
}

impl ByHand {
    fn new(fanout: Fanout) -> Self {
        Self { publish: fanout.publish, hand: Hand::new(fanout.readers), round: fanout.round }
    }

    fn run_once(&mut self) {
        self.round.start(READERS);
        (self.publish)();
        while !self.round.is_over() {
            self.hand.poll_woken();
        }
    }
}

/// The readers as tasks of a runtime with two threads, and the publisher as one more, as in a service.
struct Tasks {
    runtime: Runtime,
    publish: Arc<dyn Fn() + Send + Sync>,
    round: Arc<Round>,
}

impl Tasks {
    fn spawn(fanout: Fanout) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).build().expect("threads can be started");
        fanout.readers.into_iter().for_each(|reader| drop(runtime.spawn(reader)));
        Self { runtime, publish: fanout.publish, round: fanout.round }
    }

    /// How long so many events take, one after the other.
    fn run(&self, rounds: u64) -> Duration {
        let (publish, round) = (self.publish.clone(), self.round.clone());
        let publisher = self.runtime.spawn(async move {
            let start = Instant::now();
            for _ in 0..rounds {
                round.start(READERS);
                publish();
                round.over().await;
            }
            start.elapsed()
        });
        self.runtime.block_on(publisher).expect("the publisher does not panic")
    }
}
