//! What a subscriber costs: to find out whether a topic is meant, to come and go, to catch up.

use std::hint::black_box;
use std::task::Waker;

use criterion::{Criterion, Throughput};
use sse_hub::{Publication, Selector, Start, SubscribeOptions};

use crate::fixture;

const RING_FRAMES: usize = 8_192;

pub(crate) fn bench(c: &mut Criterion) {
    selector(c);
    come_and_go(c);
    resume(c);
}

fn selector(c: &mut Criterion) {
    let mut group = c.benchmark_group("selector match");
    let topic = "https://example.com/orders/4711/lines";
    for (name, selector) in [
        ("one topic", topic),
        ("template, yes", "https://example.com/orders/{id}/lines"),
        ("template, no", "https://example.com/orders/{id}"),
        ("template, no at once", "https://example.org/books/{id}"),
    ] {
        let selector = Selector::parse(selector).expect("it is a valid template");
        group.bench_function(name, |b| b.iter(|| selector.matches(black_box(topic))));
    }
}

fn come_and_go(c: &mut Criterion) {
    let mut group = c.benchmark_group("subscribe and leave");
    let hub = fixture::hub(16);
    let _stays = fixture::follow(&hub, SubscribeOptions::topic(fixture::topic(0)));
    group.bench_function("one topic", |b| {
        b.iter(|| fixture::follow(&hub, SubscribeOptions::topic(fixture::topic(0))));
    });
    group.bench_function("ten topics", |b| {
        let selectors = || (0..10).map(|index| Selector::exact(fixture::topic(index))).collect();
        b.iter(|| fixture::follow(&hub, SubscribeOptions::selectors(selectors())));
    });
}

fn resume(c: &mut Criterion) {
    let mut group = c.benchmark_group("resume from a ring of 8,192 frames");
    let (hub, topic) = (fixture::hub(RING_FRAMES), fixture::topic(0));
    let publish = |_| hub.publish(Publication::new(topic.clone(), fixture::event())).expect("there is room");
    let receipts: Vec<_> = (0..RING_FRAMES).map(publish).collect();
    for (name, start, frames) in [
        ("all of it", Start::Earliest, RING_FRAMES),
        ("the newer half", Start::After(receipts[RING_FRAMES / 2 - 1].id()), RING_FRAMES / 2),
        ("the last ten", Start::After(receipts[RING_FRAMES - 11].id()), 10),
    ] {
        group.throughput(Throughput::Elements(frames as u64));
        group.bench_function(name, |b| {
            b.iter(|| {
                let options = SubscribeOptions::topic(topic.clone()).from(start.clone());
                let mut subscription = fixture::follow(&hub, options);
                assert_eq!(fixture::catch_up(&mut subscription, Waker::noop()), frames);
            });
        });
    }
}
