//! Whole hubs under threads whose every switch is drawn at random, run by `cargo xtask shuttle`.
//!
//! Where loom tries all orders of a few steps, shuttle tries many orders of a whole life. No wait times out there: a wake-up
//! that is lost is a deadlock, which it reports. Topics are there before the threads are: the map of topics has locks of
//! its own that shuttle does not know.
#![cfg(shuttle)]
#![expect(clippy::unwrap_used, reason = "these are tests")]

#[allow(dead_code, reason = "other tests use the rest")]
#[path = "support/memory_log.rs"]
mod memory_log;
#[path = "support/pages.rs"]
mod pages;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use memory_log::MemoryLog;
use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::thread::{self, JoinHandle};
use sse_hub::{
    Commit, Cursor, Delivery, Durability, Epoch, Hub, HubConfig, Publication, Selector, Start, SubscribeOptions,
    Subscription, TopicName,
};
use sse_wire::Event;

/// Schedules of each test, unless `SHUTTLE_SCHEDULES` says how many.
const SCHEDULES: usize = 300;

fn schedules(run: fn()) {
    let given = std::env::var("SHUTTLE_SCHEDULES").ok().map(|text| text.parse().unwrap());
    let half = given.unwrap_or(SCHEDULES).div_ceil(2);
    play(RandomScheduler::new(half), run);
    // Threads that stand still for long, where the other has them all move on a little.
    play(PctScheduler::new(3, half), run);
}

fn play(scheduler: impl Scheduler + 'static, run: fn()) {
    let mut config = shuttle::Config::new();
    config.max_steps = shuttle::MaxSteps::FailAfter(200_000);
    shuttle::Runner::new(scheduler, config).run(run);
}

fn name(topic: &str) -> TopicName {
    TopicName::parse(topic).unwrap()
}

fn publication(topics: &[&str]) -> Publication {
    let first = Publication::new(name(topics[0]), Event::new("x"));
    topics[1..].iter().fold(first, |publication, topic| publication.also_to(name(topic)))
}

fn config() -> HubConfig {
    let mut config = HubConfig { shards: 2, ..HubConfig::default() };
    config.topic_policy.ring.frames_max = 2;
    config
}

/// A hub over a log with the threads that its host gives it. Of the topic `a` the log has more than the ring.
struct Stage {
    hub: Hub,
    threads: Vec<JoinHandle<()>>,
}

impl Stage {
    fn new() -> Self {
        let log: Arc<MemoryLog> = Arc::default();
        let contents = log.open();
        let builder = Hub::builder().config(config());
        let hub = builder.log(log.clone(), contents, Durability::Fsync).build().unwrap();
        let mut committer = hub.committer().unwrap();
        let submitted = [&["a"], &["b"], &["a"], &["a"]].map(|topics| hub.submit(publication(topics)));
        committer.step(|_, deliver| deliver());
        submitted.into_iter().for_each(|one| drop(block_on(one).unwrap()));
        let commit = move || {
            loop {
                match committer.step(|_, deliver| deliver()) {
                    Commit::Stopped => return,
                    Commit::Idle => committer.wait(Duration::MAX),
                    _ => (),
                }
            }
        };
        let reader = hub.clone();
        let read = move || {
            while !reader.log_is_stopped() {
                reader.serve_log_read(Duration::MAX);
            }
        };
        Self { hub, threads: vec![thread::spawn(commit), thread::spawn(read)] }
    }

    fn publish(&self, topics: &'static [&'static str], events: usize) -> JoinHandle<()> {
        let hub = self.hub.clone();
        thread::spawn(move || {
            for _ in 0..events {
                block_on(hub.submit(publication(topics))).unwrap();
            }
        })
    }

    fn end(self, threads: impl IntoIterator<Item = JoinHandle<()>>) {
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.hub.stop_publishing();
        self.hub.stop_log_reads();
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn subscribe(hub: &Hub, followed: &[&str], after: u64) -> Subscription {
    let selectors = followed.iter().map(|text| Selector::parse(text).unwrap()).collect();
    let start = Start::After(Cursor { epoch: hub.epoch(), sequence: after }.to_string());
    hub.subscribe(SubscribeOptions::selectors(selectors).from(start)).unwrap()
}

/// Reads so many events, coming back after every few.
fn follow(hub: &Hub, followed: &'static [&'static str], count: usize) -> JoinHandle<()> {
    let hub = hub.clone();
    thread::spawn(move || {
        let (mut last, mut read) = (0, 0);
        while read < count {
            let mut subscription = subscribe(&hub, followed, last);
            for _ in 0..2 {
                if read == count {
                    break;
                }
                let Some(Delivery::Frames(batch)) = block_on(subscription.next()) else { panic!("only frames come") };
                for item in batch.items() {
                    assert!(item.sequence > last, "{} after {last}", item.sequence);
                    (last, read) = (item.sequence, read + 1);
                }
            }
        }
        assert_eq!(read, count, "nothing comes twice");
    })
}

#[test]
fn the_log_and_the_rings_meet_without_a_seam() {
    schedules(|| {
        let stage = Stage::new();
        let threads = [
            stage.publish(&["a"], 3),
            stage.publish(&["a", "b"], 2),
            follow(&stage.hub, &["a"], 8),
            follow(&stage.hub, &["a", "b"], 9),
            follow(&stage.hub, &["*"], 9),
        ];
        stage.end(threads);
    });
}

/// Who has read the log may join others at the place that it came to: nothing at or below it comes to the ring any more.
#[test]
fn nothing_comes_to_the_ring_below_who_goes_on_there() {
    schedules(|| {
        let stage = Stage::new();
        let publisher = stage.publish(&["a"], 3);
        let hub = stage.hub.clone();
        let follower = thread::spawn(move || {
            let mut subscription = subscribe(&hub, &["a"], 0);
            let feed = hub.feed(&name("a")).unwrap();
            block_on(poll_fn(|cx| {
                loop {
                    match subscription.poll_delivery(cx) {
                        Poll::Ready(Some(Delivery::Frames(_))) => (),
                        Poll::Ready(other) => panic!("{other:?}"),
                        Poll::Pending if subscription.ring_cursor().is_some() => return Poll::Ready(()),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            }));
            let Some(cursor) = subscription.ring_cursor() else { return };
            let newest = feed.newest();
            let after = newest.max(cursor);
            let next = block_on(poll_fn(|cx| match feed.newest() {
                came if came > newest => Poll::Ready(came),
                _ if newest == 7 || !feed.arm(newest, cx.waker()) => Poll::Ready(u64::MAX),
                _ => Poll::Pending,
            }));
            assert!(next > after, "{next} comes below {cursor}");
        });
        stage.end([publisher, follower]);
    });
}

#[test]
fn without_a_log_everybody_gets_everything_in_order() {
    schedules(|| {
        let mut config = config();
        config.topic_policy.ring.frames_max = 100;
        let hub = Hub::builder().config(config).epoch(Epoch::from_entropy(1)).build().unwrap();
        ["a", "b"].iter().for_each(|topic| drop(hub.publish(publication(&[topic])).unwrap()));
        let publish = |topics: &'static [&'static str], events: usize| {
            let hub = hub.clone();
            thread::spawn(move || (0..events).for_each(|_| drop(hub.publish(publication(topics)).unwrap())))
        };
        let threads = [
            publish(&["a"], 3),
            publish(&["b", "a"], 2),
            follow(&hub, &["a"], 6),
            follow(&hub, &["b", "a"], 7),
            follow(&hub, &["*"], 7),
        ];
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}
