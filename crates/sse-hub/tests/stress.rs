//! Publishers on several threads, and readers that leave and come back with their last id all the while.
//!
//! Each reader knows in the end what it should have got: every event of its topics from where it began on, once, in the
//! order of the ids, or a gap that tells of it.
#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use sse_hub::{
    Cursor, Delivery, Hub, HubConfig, Item, Publication, Selector, Start, SubscribeOptions, Subscription, TopicName,
};
use sse_wire::Event;

const TOPICS: usize = 8;
const PUBLISHERS: usize = 3;
const EVENTS_PER_PUBLISHER: usize = 6_000;

/// The last event of all goes to every topic, so that every reader knows when it is done.
const LAST: &str = "last";

/// No read of a test takes longer than this, unless a wake-up was lost.
const DEADLINE: Duration = Duration::from_secs(60);

struct Published {
    sequence: u64,
    topics: Vec<usize>,
}

struct Reader {
    hub: Hub,
    selectors: Vec<Selector>,
    last_id: String,
    last: u64,
    came: Vec<u64>,
    /// Everything up to here that is missing has been told of.
    told: u64,
    /// The two positions whenever there was nothing left to read.
    pauses: Vec<(u64, u64)>,
    random: u64,
}

#[test]
fn nothing_is_lost_while_everything_is_kept() {
    let (published, readers) = run(1 << 20);
    for reader in &readers {
        assert_eq!(reader.told, 0, "nothing is lost");
        assert_eq!(
            reader.came,
            expected(&published, reader).into_iter().collect::<Vec<u64>>(),
            "{:?}",
            reader.selectors
        );
    }
}

#[test]
fn what_is_lost_is_told_while_rings_overflow() {
    let (published, readers) = run(16);
    for reader in &readers {
        let came: BTreeSet<u64> = reader.came.iter().copied().collect();
        let expected = expected(&published, reader);
        assert!(came.is_subset(&expected) && came.len() == reader.came.len(), "{:?}", reader.selectors);
        let missing: BTreeSet<u64> = expected.difference(&came).copied().collect();
        // A ring may go on while it is read; then the reader is told when it reads on.
        for pauses in reader.pauses.windows(2) {
            let ((last, _), (_, told)) = (pauses[0], pauses[1]);
            let silent = missing.range(told + 1..).next().filter(|missing| **missing <= last);
            assert_eq!(silent, None, "{:?} had read up to {last} and was told up to {told}", reader.selectors);
        }
    }
    assert!(readers.iter().any(|reader| reader.told > 0), "the rings are small enough to overflow");
}

fn expected(published: &[Published], reader: &Reader) -> BTreeSet<u64> {
    let follows = |topic: &usize| reader.selectors.iter().any(|selector| selector.matches(name(*topic).as_str()));
    published.iter().filter(|event| event.topics.iter().any(follows)).map(|event| event.sequence).collect()
}

/// Everything published, and what the readers saw of it.
fn run(ring_frames_max: usize) -> (Vec<Published>, Vec<Reader>) {
    let mut config = HubConfig { shards: 4, ..HubConfig::default() };
    config.topic_policy.ring.frames_max = ring_frames_max;
    config.topic_policy.lag.grace = Duration::from_secs(3600);
    let hub = Hub::builder().config(config).build().unwrap();
    // Followed from before the first event on.
    let readers: Vec<Reader> = ways().into_iter().map(|way| Reader::new(&hub, &way)).collect();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> =
            readers.into_iter().map(|reader| scope.spawn(move || reader.read_to_the_last())).collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                hub.sweep(Instant::now());
                thread::yield_now();
            }
        });
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|index| {
                let hub = &hub;
                scope.spawn(move || publish_many(hub, index))
            })
            .collect();
        let mut published: Vec<Published> =
            publishers.into_iter().flat_map(|publisher| publisher.join().unwrap()).collect();
        published.push(publish(&hub, (0..TOPICS).collect(), LAST));
        let readers = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
        done.store(true, Ordering::Relaxed);
        (published, readers)
    })
}

fn ways() -> Vec<Vec<String>> {
    let topic = |index: usize| format!("/t/{index}");
    vec![
        vec![topic(0)],
        vec![topic(1)],
        vec![topic(0), topic(1)],
        (0..TOPICS).map(topic).collect(),
        vec!["*".to_owned()],
        vec!["/t/{x}".to_owned()],
    ]
}

fn publish_many(hub: &Hub, publisher: usize) -> Vec<Published> {
    let mut random = publisher as u64 + 1;
    let publish_one = |number| {
        let first = next(&mut random) as usize % TOPICS;
        // One event in four has two topics or three.
        let more = [0, 0, 0, 0, 0, 0, 1, 2][next(&mut random) as usize % 8];
        let topics = (0..=more).map(|step| (first + 3 * step) % TOPICS).collect();
        publish(hub, topics, &format!("{publisher} {number}"))
    };
    (0..EVENTS_PER_PUBLISHER).map(publish_one).collect()
}

fn publish(hub: &Hub, topics: Vec<usize>, data: &str) -> Published {
    let publication = Publication::new(name(topics[0]), Event::new(data));
    let publication = topics[1..].iter().fold(publication, |publication, topic| publication.also_to(name(*topic)));
    Published { sequence: hub.publish(publication).unwrap().cursor.sequence, topics }
}

impl Reader {
    fn new(hub: &Hub, way: &[String]) -> Self {
        let selectors = way.iter().map(|text| Selector::parse(text).unwrap()).collect();
        let (last_id, random) = (Cursor { epoch: hub.epoch(), sequence: 0 }.to_string(), way.len() as u64 + 99);
        Self { hub: hub.clone(), selectors, last_id, last: 0, came: Vec::new(), told: 0, pauses: Vec::new(), random }
    }

    fn read_to_the_last(mut self) -> Self {
        loop {
            let options = SubscribeOptions::selectors(self.selectors.clone()).from(Start::parse(&self.last_id));
            let mut subscription = self.hub.subscribe(options).unwrap();
            // Some connections last for one delivery, some for many.
            for _ in 0..=next(&mut self.random) % 40 {
                let delivery = self.wait(&mut subscription);
                match self.take(delivery) {
                    After::ReadOn => (),
                    After::ComeBack => break,
                    After::Stop => return self,
                }
            }
        }
    }

    /// The next delivery; the thread sleeps until it is woken.
    fn wait(&mut self, subscription: &mut Subscription) -> Delivery {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let started = Instant::now();
        loop {
            match subscription.poll_delivery(&mut Context::from_waker(&waker)) {
                Poll::Ready(delivery) => return delivery.unwrap(),
                Poll::Pending => thread::park_timeout(DEADLINE),
            }
            self.pauses.push((self.last, self.told));
            assert!(started.elapsed() < DEADLINE, "a wake-up was lost");
        }
    }

    fn take(&mut self, delivery: Delivery) -> After {
        match delivery {
            Delivery::Gap(gap) => {
                assert!(gap.resumed_after.sequence > self.last, "a gap goes back");
                self.last = gap.resumed_after.sequence;
                self.told = self.last;
                self.last_id = gap.resumed_after.to_string();
                After::ReadOn
            }
            Delivery::Frames(batch) => batch
                .items()
                .iter()
                .map(|item| self.take_item(item))
                .find(|after| *after != After::ReadOn)
                .unwrap_or(After::ReadOn),
            Delivery::Evicted(_) => panic!("nobody is evicted"),
        }
    }

    fn take_item(&mut self, item: &Item) -> After {
        assert!(item.sequence > self.last, "{} comes after {}", item.sequence, self.last);
        self.last = item.sequence;
        self.last_id = Cursor { epoch: self.hub.epoch(), sequence: self.last }.to_string();
        self.came.push(item.sequence);
        if item.frame.text_bytes().ends_with(format!("data: {LAST}\n\n").as_bytes()) {
            self.pauses.push((self.last, self.told));
            return After::Stop;
        }
        // Some connections break in the middle of a batch; what is left of it has to come again.
        if next(&mut self.random).is_multiple_of(100) { After::ComeBack } else { After::ReadOn }
    }
}

/// What a reader does after a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    ReadOn,
    ComeBack,
    Stop,
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn name(topic: usize) -> TopicName {
    TopicName::parse(&format!("/t/{topic}")).unwrap()
}

/// xorshift64: the same run after run, as far as threads allow.
fn next(random: &mut u64) -> u64 {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    *random
}
