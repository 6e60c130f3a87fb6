//! Publishing to random ones of many followed topics: the cost must not grow with their number.

use std::task::Waker;

use criterion::{BatchSize, BenchmarkId, Criterion};
use sse_hub::{Feed, Hub, Publication, SubscribeOptions, Subscription};

use crate::fixture::{self, Random};

/// Rings fill up before measuring, so that each publish drops a frame and memory stays as it is.
const RING_FRAMES_MAX: usize = 16;
/// Publications made ahead, outside the measurement, as a server has them from its requests. Few enough to stay in the
/// nearest cache.
const AHEAD: BatchSize = BatchSize::NumIterations(32);

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("random topics");
    for count in [100, 10_000, 100_000] {
        let mut state = None;
        group.bench_with_input(BenchmarkId::new("publish", count), &count, |b, &count| {
            let Fed { hub, random, .. } = state.get_or_insert_with(|| Fed::new(count));
            b.iter_batched(|| publication(random.below(count)), |publication| hub.publish(publication), AHEAD);
        });
    }
    for count in [100, 10_000, 100_000] {
        let mut state = None;
        group.bench_with_input(BenchmarkId::new("publish and read", count), &count, |b, &count| {
            let Followed { hub, subscriptions, random } = state.get_or_insert_with(|| Followed::new(count));
            b.iter_batched(
                || {
                    let index = random.below(count);
                    (index, publication(index))
                },
                |(index, publication)| {
                    fixture::publish(hub, publication);
                    fixture::catch_up(&mut subscriptions[index], Waker::noop())
                },
                AHEAD,
            );
        });
    }
}

/// The name is made anew, as a request's is.
fn publication(index: usize) -> Publication {
    Publication::new(fixture::topic(index), fixture::event())
}

/// Every topic has a follower that is not waiting for news: what publishing costs by itself.
struct Fed {
    hub: Hub,
    _feeds: Vec<Feed>,
    random: Random,
}

impl Fed {
    fn new(count: usize) -> Self {
        let hub = fixture::hub(RING_FRAMES_MAX);
        let feed = |index| hub.feed(&fixture::topic(index)).expect("there is room for every topic");
        let feeds = (0..count).map(feed).collect();
        let mut random = Random::new();
        fill(&hub, count, &mut random);
        Self { hub, _feeds: feeds, random }
    }
}

/// Every topic has a subscriber that waits for news, is woken and reads.
struct Followed {
    hub: Hub,
    subscriptions: Vec<Subscription>,
    random: Random,
}

impl Followed {
    fn new(count: usize) -> Self {
        let hub = fixture::hub(RING_FRAMES_MAX);
        let mut random = Random::new();
        fill(&hub, count, &mut random);
        let follow = |index| {
            let mut subscription = fixture::follow(&hub, SubscribeOptions::topic(fixture::topic(index)));
            fixture::catch_up(&mut subscription, Waker::noop());
            subscription
        };
        let subscriptions = (0..count).map(follow).collect();
        Self { hub, subscriptions, random }
    }
}

/// In random order, so that what lies side by side in memory is not what is used together. Twice what the rings hold, so
/// that nearly all of them are full.
fn fill(hub: &Hub, count: usize, random: &mut Random) {
    for index in 0..count {
        fixture::publish(hub, publication(index));
    }
    for _ in 0..count * RING_FRAMES_MAX * 2 {
        fixture::publish(hub, publication(random.below(count)));
    }
}
