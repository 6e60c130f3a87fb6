//! What the benches publish, and to whom.

use std::hint::black_box;
use std::task::{Context, Poll, Waker};

use sse_hub::{Delivery, Hub, HubConfig, Publication, SubscribeOptions, Subscription, TopicName};
use sse_wire::Event;

/// The payload of every bench.
const DATA_BYTES: usize = 200;

/// A hub of two shards, whatever the machine, with rings of this many frames.
pub(crate) fn hub(ring_frames_max: usize) -> Hub {
    let mut config = HubConfig { shards: 2, ..HubConfig::default() };
    config.topic_policy.ring.frames_max = ring_frames_max;
    Hub::builder().config(config).build().expect("the system has random numbers")
}

pub(crate) fn topic(index: usize) -> TopicName {
    TopicName::parse(&format!("prices/{index}")).expect("it is short and printable")
}

/// Cloning it shares the data.
pub(crate) fn event() -> Event {
    Event::new("x".repeat(DATA_BYTES))
}

pub(crate) fn publish(hub: &Hub, publication: Publication) {
    hub.publish(publication).expect("nothing here is at its bound");
}

pub(crate) fn follow(hub: &Hub, options: SubscribeOptions) -> Subscription {
    hub.subscribe(options).expect("nothing here is at its bound")
}

/// Reads all there is and arms `waker`; how many frames it was.
pub(crate) fn catch_up(subscription: &mut Subscription, waker: &Waker) -> usize {
    let mut cx = Context::from_waker(waker);
    let mut frames = 0;
    while let Poll::Ready(delivery) = subscription.poll_delivery(&mut cx) {
        let Some(Delivery::Frames(batch)) = delivery else { panic!("nothing is lost here") };
        batch.items().iter().for_each(|item| _ = black_box(item.frame.chunk()));
        frames += batch.items().len();
    }
    frames
}

/// A quick generator of indexes (xorshift64*); the same run after run.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let random = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d);
        ((u128::from(random) * bound as u128) >> 64) as usize
    }
}
