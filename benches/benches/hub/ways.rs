//! Ways to hand one event to many readers: the hub, and two others to hold it against.

use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use sse_hub::{Delivery, Publication, SubscribeOptions};
use sse_wire::EventId;
use tokio::sync::{broadcast, mpsc};

use crate::fixture;
use crate::round::Round;

pub(crate) const READERS: usize = 10_000;
/// Frames that a ring, the broadcast or each channel holds; a reader is never more than one behind.
const CAPACITY: usize = 16;

/// Tells the round of every frame it reads, for ever.
pub(crate) type Reader = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) struct Fanout {
    pub(crate) publish: Arc<dyn Fn() + Send + Sync>,
    pub(crate) readers: Vec<Reader>,
    pub(crate) round: Arc<Round>,
}

/// A name, and what sets the way up.
pub(crate) type Way = (&'static str, fn() -> Fanout);

pub(crate) const WAYS: [Way; 3] = [("hub", through_hub), ("broadcast", through_broadcast), ("mpsc", through_channels)];

fn through_hub() -> Fanout {
    let (hub, topic, event) = (fixture::hub(CAPACITY), fixture::topic(0), fixture::event());
    let round = Arc::new(Round::default());
    let reader = |_| {
        let mut subscription = fixture::follow(&hub, SubscribeOptions::topic(topic.clone()));
        let round = round.clone();
        let reader = async move {
            while let Some(Delivery::Frames(batch)) = subscription.next().await {
                for item in batch.items() {
                    black_box(item.frame.chunk());
                    round.read();
                }
            }
        };
        Box::pin(reader) as Reader
    };
    let readers = (0..READERS).map(reader).collect();
    let publish = move || fixture::publish(&hub, Publication::new(topic.clone(), event.clone()));
    Fanout { publish: Arc::new(publish), readers, round }
}

/// What most services do: tokio's broadcast channel, the encoded bytes shared.
fn through_broadcast() -> Fanout {
    let (sender, _) = broadcast::channel::<Bytes>(CAPACITY);
    let round = Arc::new(Round::default());
    let reader = |_| {
        let (mut receiver, round) = (sender.subscribe(), round.clone());
        let reader = async move {
            while let Ok(bytes) = receiver.recv().await {
                black_box(&bytes);
                round.read();
            }
        };
        Box::pin(reader) as Reader
    };
    let readers = (0..READERS).map(reader).collect();
    let encode = encoder();
    let publish = move || assert_eq!(sender.send(encode()).ok(), Some(READERS));
    Fanout { publish: Arc::new(publish), readers, round }
}

/// What hubs with a queue per subscriber do: a bounded channel each, the encoded bytes shared.
fn through_channels() -> Fanout {
    let round = Arc::new(Round::default());
    let reader = |_| {
        let (sender, mut receiver) = mpsc::channel::<Bytes>(CAPACITY);
        let round = round.clone();
        let reader = async move {
            while let Some(bytes) = receiver.recv().await {
                black_box(&bytes);
                round.read();
            }
        };
        (sender, Box::pin(reader) as Reader)
    };
    let (senders, readers): (Vec<_>, _) = (0..READERS).map(reader).unzip();
    let encode = encoder();
    let publish = move || {
        let bytes = encode();
        senders.iter().for_each(|sender| sender.try_send(bytes.clone()).expect("every reader has caught up"));
    };
    Fanout { publish: Arc::new(publish), readers, round }
}

/// The event as the hub would encode it, with an id of its own each time.
fn encoder() -> impl Fn() -> Bytes + Send + Sync {
    let (event, sequence) = (fixture::event(), AtomicU64::new(1));
    move || {
        let id = format!("00000000-{:016}", sequence.fetch_add(1, Ordering::Relaxed));
        let id = EventId::parse(&id).expect("digits are one line");
        event.clone().with_id(id).encode().chunk().clone()
    }
}
