//! Publishing to random ones of many followed topics: what that costs beyond what the memory itself costs.

use std::collections::HashMap;
use std::hint::black_box;
use std::task::Waker;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion};
use sse_hub::{Feed, Hub, Publication, SubscribeOptions, Subscription};
use sse_wire::Event;
use tokio::sync::broadcast;

use crate::fixture::{self, Random};

type Broadcasts = HashMap<String, (broadcast::Sender<Bytes>, broadcast::Receiver<Bytes>), ahash::RandomState>;

const COUNTS: [usize; 3] = [100, 10_000, 100_000];
/// Rings fill up before measuring, so that each publish drops a frame and memory stays as it is.
const RING_FRAMES_MAX: usize = 16;
/// What a frame of the fixture's event takes.
const FRAME_BYTES: usize = 256;
/// Publications made ahead, outside the measurement, as a server has them from its requests. Few enough to stay in the
/// nearest cache.
const AHEAD: BatchSize = BatchSize::NumIterations(32);

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("random topics");
    for count in COUNTS {
        let mut state = None;
        group.bench_function(BenchmarkId::new("publish", count), |b| {
            let Fed { hub, event, random, .. } = state.get_or_insert_with(|| Fed::new(count));
            b.iter_batched(|| publication(random.below(count), event), |publication| hub.publish(publication), AHEAD);
        });
    }
    for count in COUNTS {
        let mut state = None;
        group.bench_function(BenchmarkId::new("publish and read", count), |b| {
            let Followed { hub, event, subscriptions, random } = state.get_or_insert_with(|| Followed::new(count));
            b.iter_batched(
                || {
                    let index = random.below(count);
                    (index, publication(index, event))
                },
                |(index, publication)| {
                    fixture::publish(hub, publication);
                    fixture::catch_up(&mut subscriptions[index], Waker::noop())
                },
                AHEAD,
            );
        });
    }
    for count in COUNTS {
        let mut state = None;
        group.bench_function(BenchmarkId::new("map of broadcasts: publish", count), |b| {
            let (map, event, random) =
                state.get_or_insert_with(|| (broadcasts(count), fixture::event(), Random::new()));
            let send = |publication: Publication| {
                let frame = event.encode().chunk().clone();
                map.get(publication.topics()[0].as_str()).map(|topic| topic.0.send(frame).is_ok())
            };
            b.iter_batched(|| publication(random.below(count), event), send, AHEAD);
        });
    }
    for count in COUNTS {
        let mut state = None;
        group.bench_function(BenchmarkId::new("bare: replace one kept buffer", count), |b| {
            let (kept, random) = state.get_or_insert_with(|| (buffers(count), Random::new()));
            b.iter(|| kept[random.below(count)][0] = black_box(buffer()));
        });
    }
}

/// The name is made anew, as a request's is.
fn publication(index: usize, event: &Event) -> Publication {
    Publication::new(fixture::topic(index), event.clone())
}

/// What many services do: a channel for each topic, found by its name. A receiver that never reads follows each.
fn broadcasts(count: usize) -> Broadcasts {
    let topic = |index| {
        let channel = broadcast::channel(RING_FRAMES_MAX);
        let event = fixture::event();
        (0..RING_FRAMES_MAX).for_each(|_| assert!(channel.0.send(event.encode().chunk().clone()).is_ok()));
        (fixture::topic(index).as_str().to_owned(), channel)
    };
    (0..count).map(topic).collect()
}

/// As many buffers as `count` topics keep frames: replacing a random one is the least that a history of separately
/// allocated frames costs, with no hub around it.
fn buffers(count: usize) -> Vec<Vec<Box<[u8]>>> {
    let mut random = Random::new();
    let mut kept: Vec<Vec<Box<[u8]>>> = (0..count).map(|_| Vec::with_capacity(RING_FRAMES_MAX)).collect();
    for _ in 0..count * RING_FRAMES_MAX * 2 {
        let topic = &mut kept[random.below(count)];
        if topic.len() < RING_FRAMES_MAX {
            topic.push(buffer());
        }
    }
    kept.iter_mut().for_each(|topic| topic.resize_with(RING_FRAMES_MAX, buffer));
    kept
}

fn buffer() -> Box<[u8]> {
    vec![b'x'; FRAME_BYTES].into_boxed_slice()
}

/// Every topic has a follower that is not waiting for news: what publishing costs by itself.
struct Fed {
    hub: Hub,
    event: Event,
    _feeds: Vec<Feed>,
    random: Random,
}

impl Fed {
    fn new(count: usize) -> Self {
        let (hub, event, mut random) = (fixture::hub(RING_FRAMES_MAX), fixture::event(), Random::new());
        let feed = |index| hub.feed(&fixture::topic(index)).expect("there is room for every topic");
        let feeds = (0..count).map(feed).collect();
        fill(&hub, &event, count, &mut random);
        Self { hub, event, _feeds: feeds, random }
    }
}

/// Every topic has a subscriber that waits for news, is woken and reads.
struct Followed {
    hub: Hub,
    event: Event,
    subscriptions: Vec<Subscription>,
    random: Random,
}

impl Followed {
    fn new(count: usize) -> Self {
        let (hub, event, mut random) = (fixture::hub(RING_FRAMES_MAX), fixture::event(), Random::new());
        fill(&hub, &event, count, &mut random);
        let follow = |index| {
            let mut subscription = fixture::follow(&hub, SubscribeOptions::topic(fixture::topic(index)));
            fixture::catch_up(&mut subscription, Waker::noop());
            subscription
        };
        let subscriptions = (0..count).map(follow).collect();
        Self { hub, event, subscriptions, random }
    }
}

/// In random order, so that what lies side by side in memory is not what is used together. Twice what the rings hold, so
/// that nearly all of them are full.
fn fill(hub: &Hub, event: &Event, count: usize, random: &mut Random) {
    for index in 0..count {
        fixture::publish(hub, publication(index, event));
    }
    for _ in 0..count * RING_FRAMES_MAX * 2 {
        fixture::publish(hub, publication(random.below(count), event));
    }
}
