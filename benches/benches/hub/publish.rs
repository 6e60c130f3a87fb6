//! What one publish costs, by who follows and how many topics it names.

use std::task::Waker;

use criterion::{BatchSize, BenchmarkId, Criterion};
use sse_hub::{Hub, Publication, Selector, SubscribeOptions, Subscription};

use crate::fixture;

const RING_FRAMES_MAX: usize = 16;
const AHEAD: BatchSize = BatchSize::NumIterations(32);
/// Selectors followed beside the topic.
const SELECTORS: usize = 1_000;

pub(crate) fn bench(c: &mut Criterion) {
    followers(c);
    selectors(c);
    several_topics(c);
}

fn followers(c: &mut Criterion) {
    let mut group = c.benchmark_group("publish");
    let hub = fixture::hub(RING_FRAMES_MAX);
    group.bench_function("no follower", |b| {
        b.iter_batched(publication, |publication| hub.publish(publication), AHEAD);
    });
    let mut subscription = fixture::follow(&hub, SubscribeOptions::topic(fixture::topic(0)));
    group.bench_function("one follower, which reads", |b| {
        let publish_and_read = |publication| {
            fixture::publish(&hub, publication);
            fixture::catch_up(&mut subscription, Waker::noop())
        };
        b.iter_batched(publication, publish_and_read, AHEAD);
    });
}

fn selectors(c: &mut Criterion) {
    let mut group = c.benchmark_group("publish with 1,000 selectors followed");
    let hub = fixture::hub(RING_FRAMES_MAX);
    let _others: Vec<Subscription> = (0..SELECTORS).map(|n| follow(&hub, &format!("/orders/{n}/{{id}}"))).collect();
    group.bench_function("none matches", |b| {
        b.iter_batched(publication, |publication| hub.publish(publication), AHEAD);
    });
    let mut matching = follow(&hub, "prices/{id}");
    group.bench_function("one matches and reads", |b| {
        let publish_and_read = |publication| {
            fixture::publish(&hub, publication);
            fixture::catch_up(&mut matching, Waker::noop())
        };
        b.iter_batched(publication, publish_and_read, AHEAD);
    });
}

fn several_topics(c: &mut Criterion) {
    let mut group = c.benchmark_group("publish to several topics");
    let hub = fixture::hub(RING_FRAMES_MAX);
    for count in [1, 4, 16] {
        let publication = || (1..count).map(fixture::topic).fold(publication(), Publication::also_to);
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter_batched(publication, |publication| hub.publish(publication), AHEAD);
        });
    }
}

fn publication() -> Publication {
    Publication::new(fixture::topic(0), fixture::event())
}

fn follow(hub: &Hub, selector: &str) -> Subscription {
    let selector = Selector::parse(selector).expect("it is a valid template");
    fixture::follow(hub, SubscribeOptions::selectors(vec![selector]))
}
