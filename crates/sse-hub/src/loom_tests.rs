//! The two rules that hold by the order of memory accesses alone, under every order there can be.
//!
//! The several-topics rule: a merged reader emits in the order of sequences and misses nothing. The notify path: whatever
//! is appended while a reader looks is either seen or wakes it; a wake-up that is lost is a deadlock, which loom reports.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use loom::future::block_on;
use loom::thread;
use smallvec::SmallVec;
use sse_wire::Event;

use crate::batch::Batch;
use crate::budget::Budget;
use crate::config::TopicPolicy;
use crate::merge::Merge;
use crate::order::Order;
use crate::place::Place;
use crate::read::Read;
use crate::reader::{Reader, ReaderStart};
use crate::registry::SelectorRegistry;
use crate::ring::{Entry, EntryKind};
use crate::topic::Topic;
use crate::{Grants, Selector, TopicName};

/// Publishers, topics and what they share.
struct Stage {
    order: Order,
    topics: Vec<Arc<Topic>>,
    budget: Budget,
}

impl Stage {
    /// One topic in each shard.
    fn new(shards: usize) -> Arc<Self> {
        Self::with_groups(shards, &SelectorRegistry::default())
    }

    fn with_groups(shards: usize, registry: &SelectorRegistry) -> Arc<Self> {
        let topic = |shard: usize| {
            let name = TopicName::parse(&format!("t{shard}")).unwrap();
            let groups: SmallVec<_> = registry.matching(&name).cloned().collect();
            let policy = Arc::new(TopicPolicy::default());
            Arc::new(Topic::new(shard as u64, name, (0, shard as u32), policy, groups))
        };
        let (order, budget) = (Order::new(shards, 1), Budget::new(1 << 20));
        Arc::new(Self { order, topics: (0..shards).map(topic).collect(), budget })
    }

    /// The way of an event, as the hub goes it.
    fn publish(&self, topics: &[usize], kind: EntryKind) -> u64 {
        let mut wakers = Vec::new();
        let appending = self.order.enter(topics);
        let sequence = appending.take_sequence();
        let entry = Entry::new(sequence, Event::new("").encode(), kind, None);
        for &topic in topics {
            self.topics[topic].append(entry.clone(), 0, &self.budget, &mut wakers);
        }
        drop(appending);
        wakers.into_iter().for_each(Waker::wake);
        topics.iter().for_each(|&topic| _ = self.topics[topic].wake_singles());
        sequence
    }

    fn publish_in_thread(self: &Arc<Self>, topics: &'static [usize], events: usize) -> thread::JoinHandle<()> {
        let stage = self.clone();
        thread::spawn(move || (0..events).for_each(|_| _ = stage.publish(topics, EntryKind::Event)))
    }

    fn merge(&self) -> Arc<Merge> {
        let shards = (0..self.topics.len()).collect();
        Arc::new(Merge::new(shards, Reader::new(&[], false), Grants::None, Arc::new(TopicPolicy::default()), 99))
    }

    fn merge_all(&self) -> Arc<Merge> {
        let merge = self.merge();
        self.topics.iter().for_each(|topic| _ = topic.lock().follow_merged(merge.clone()));
        start(&merge, 0);
        merge
    }

    /// The next sequences that come, waiting until some do.
    fn read_merge(&self, merge: &Merge) -> Vec<u64> {
        wait(|waker, batch| merge.read(&self.order, waker, batch))
    }
}

fn start(merge: &Merge, cursor: u64) {
    merge.start(ReaderStart { cursor, known: 0, gap: None, topics: Vec::new(), open: None });
}

fn wait(mut read: impl FnMut(&Waker, &mut Batch) -> Read) -> Vec<u64> {
    block_on(poll_fn(|cx| {
        let mut batch = Batch::default();
        match read(cx.waker(), &mut batch) {
            Read::CaughtUp => Poll::Pending,
            Read::Frames => Poll::Ready(batch.items().iter().map(|item| item.sequence).collect()),
            other => panic!("{other:?}"),
        }
    }))
}

fn collect(count: usize, mut read: impl FnMut() -> Vec<u64>) -> Vec<u64> {
    let mut sequences = Vec::new();
    while sequences.len() < count {
        sequences.extend(read());
    }
    sequences
}

/// Every order there can be.
fn every_order(run: impl Fn() + Send + Sync + 'static) {
    loom::model(run);
}

/// Every order with at most so many preemptions, where all orders would take hours.
fn every_order_with_preemptions(preemptions_max: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions_max);
    builder.check(run);
}

#[test]
fn loom_a_merged_reader_of_two_shards_keeps_the_order() {
    every_order_with_preemptions(4, || {
        let stage = Stage::new(2);
        let merge = stage.merge_all();
        let publishers = [stage.publish_in_thread(&[0], 1), stage.publish_in_thread(&[1], 1)];
        assert_eq!(collect(2, || stage.read_merge(&merge)), [1, 2]);
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    });
}

#[test]
fn loom_an_event_of_both_shards_comes_once_and_in_order() {
    every_order_with_preemptions(3, || {
        let stage = Stage::new(2);
        let merge = stage.merge_all();
        let publishers = [stage.publish_in_thread(&[0, 1], 1), stage.publish_in_thread(&[1], 1)];
        assert_eq!(collect(2, || stage.read_merge(&merge)), [1, 2]);
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    });
}

#[test]
fn loom_a_selectors_follower_keeps_the_order() {
    every_order(|| {
        let mut registry = SelectorRegistry::default();
        // The merge has to know the shards before there are topics.
        let merge = Arc::new(Merge::new(
            [0, 1].into(),
            Reader::new(&[], false),
            Grants::None,
            Arc::new(TopicPolicy::default()),
            99,
        ));
        registry.join(&Selector::parse("*").unwrap(), merge.clone());
        start(&merge, 0);
        let stage = Stage::with_groups(2, &registry);
        let publisher = stage.publish_in_thread(&[0], 1);
        stage.publish(&[1], EntryKind::Event);
        assert_eq!(collect(2, || stage.read_merge(&merge)), [1, 2]);
        publisher.join().unwrap();
    });
}

#[test]
fn loom_whoever_joins_live_misses_nothing_after_its_start() {
    fn run(events: usize) {
        let stage = Stage::new(2);
        let publisher = stage.publish_in_thread(&[0], events);
        let merge = stage.merge();
        stage.topics.iter().for_each(|topic| _ = topic.lock().follow_merged(merge.clone()));
        let settled = stage.order.settled(&[0, 1]);
        start(&merge, settled);
        let expected: Vec<u64> = (settled + 1..=events as u64).collect();
        assert_eq!(collect(expected.len(), || stage.read_merge(&merge)), expected);
        publisher.join().unwrap();
    }
    every_order(|| run(1));
    every_order_with_preemptions(3, || run(2));
}

#[test]
fn loom_marking_and_arming_lose_no_wake_up() {
    fn run(events: usize) {
        let stage = Stage::new(1);
        let merge = stage.merge_all();
        let publisher = stage.publish_in_thread(&[0], events);
        assert_eq!(collect(events, || stage.read_merge(&merge)), (1..=events as u64).collect::<Vec<u64>>());
        publisher.join().unwrap();
    }
    every_order(|| run(1));
    every_order_with_preemptions(3, || run(2));
}

#[test]
fn loom_appending_and_arming_a_single_place_lose_no_wake_up() {
    every_order(|| {
        let stage = Stage::new(1);
        let topic = stage.topics[0].clone();
        let (key, _) = topic.follow_alone(&mut topic.lock(), Place::new(0, Grants::None, false));
        let publisher = stage.publish_in_thread(&[0], 2);
        let read = || wait(|waker, batch| topic.read_place(key, waker, batch));
        assert_eq!(collect(2, read), [1, 2]);
        publisher.join().unwrap();
    });
}

#[test]
fn loom_two_publishers_wake_a_single_place() {
    every_order_with_preemptions(4, || {
        let stage = Stage::new(1);
        let topic = stage.topics[0].clone();
        let (key, _) = topic.follow_alone(&mut topic.lock(), Place::new(0, Grants::None, false));
        let publishers = [stage.publish_in_thread(&[0], 1), stage.publish_in_thread(&[0], 1)];
        let read = || wait(|waker, batch| topic.read_place(key, waker, batch));
        assert_eq!(collect(2, read), [1, 2]);
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    });
}

#[test]
fn loom_appending_and_arming_a_feed_lose_no_wake_up() {
    every_order(|| {
        let stage = Stage::new(1);
        let topic = stage.topics[0].clone();
        let key = topic.lock().follow_feed();
        let publisher = stage.publish_in_thread(&[0], 2);
        let mut cursor = 0;
        while cursor < 2 {
            cursor = block_on(poll_fn(|cx| {
                if topic.arm_feed(key, cursor, cx.waker()) {
                    return Poll::Pending;
                }
                let newest = topic.lock().ring.newest();
                assert!(newest > cursor, "it is armed or there is something");
                Poll::Ready(newest)
            }));
        }
        publisher.join().unwrap();
    });
}

/// Somebody comes with an id of one topic while the end of another, which has a lower one, is on its way: the end is in
/// the ring when it is looked for.
#[test]
fn loom_what_is_settled_is_in_the_ring() {
    every_order(|| {
        let stage = Stage::new(2);
        let closing = {
            let stage = stage.clone();
            thread::spawn(move || stage.publish(&[0], EntryKind::End))
        };
        let seen = stage.publish(&[1], EntryKind::Event);
        let settled = stage.order.settled(&[0]);
        let newest = stage.topics[0].lock().ring.newest();
        let end = closing.join().unwrap();
        assert!(settled >= seen);
        assert!(end > settled || newest == end, "the end {end} is below {settled}");
    });
}
