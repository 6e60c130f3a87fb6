//! Telling what a hub does in few words.
//!
//! Sequences begin with 1, so a test can name them. A stream is told as words: `3:c` for the event with sequence 3 and
//! data `c`, `4:end` for an end, `gap:trimmed>5` for a gap after which the stream goes on behind 5, `evicted:lagged` for
//! an eviction, `over` for the end of the stream.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use sse_hub::{
    Commit, Committer, Cursor, Delivery, Durability, Epoch, Gap, Grants, Hub, HubConfig, Item, Publication,
    PublishError, Receipt, Selector, Start, SubscribeError, SubscribeOptions, Subscription, TopicName,
};
use sse_wire::{Event, EventId};

use crate::memory_log::MemoryLog;

/// A hub with a clock that the test moves.
pub(crate) struct Story {
    pub(crate) hub: Hub,
    now: Instant,
    /// With a log, who commits to it.
    committer: Option<RefCell<Committer>>,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(configure: impl FnOnce(&mut HubConfig)) -> Self {
        let mut config = HubConfig { shards: 3, ..HubConfig::default() };
        configure(&mut config);
        let hub = Hub::builder().config(config).epoch(Epoch::from_entropy(7)).build().unwrap();
        let mut story = Self { hub, now: Instant::now(), committer: None };
        story.wait(0);
        story
    }

    /// A hub that goes on with what a log holds.
    pub(crate) fn on(log: &Arc<MemoryLog>, configure: impl FnOnce(&mut HubConfig)) -> Self {
        Self::promising(Durability::Fsync, log, configure)
    }

    /// The same with another promise to publishers.
    pub(crate) fn promising(
        durability: Durability,
        log: &Arc<MemoryLog>,
        configure: impl FnOnce(&mut HubConfig),
    ) -> Self {
        let mut config = HubConfig { shards: 3, ..HubConfig::default() };
        configure(&mut config);
        let hub = Hub::builder().config(config).log(log.clone(), log.open(), durability).build().unwrap();
        let committer = hub.committer().map(RefCell::new);
        let mut story = Self { hub, now: Instant::now(), committer };
        story.wait(0);
        story
    }

    /// A hub that has its order from elsewhere.
    pub(crate) fn sharing(hub: Hub) -> Self {
        let mut story = Self { hub, now: Instant::now(), committer: None };
        story.wait(0);
        story
    }

    /// Commits what was submitted.
    pub(crate) fn commit(&self) {
        let Some(committer) = &self.committer else { return };
        while matches!(committer.borrow_mut().step(|_, deliver| deliver()), Commit::Done(_) | Commit::Full(_)) {}
    }

    /// Rings of this many frames.
    pub(crate) fn with_rings_of(frames_max: usize) -> Self {
        Self::with(|config| config.topic_policy.ring.frames_max = frames_max)
    }

    pub(crate) fn publish(&self, topic: &str, data: &str) -> Receipt {
        self.try_publish(publication(&[topic], data)).unwrap()
    }

    pub(crate) fn publish_to(&self, topics: &[&str], data: &str) -> Receipt {
        self.try_publish(publication(topics, data)).unwrap()
    }

    pub(crate) fn publish_private(&self, topics: &[&str], data: &str) -> Receipt {
        self.try_publish(publication(topics, data).private()).unwrap()
    }

    pub(crate) fn publish_as(&self, topic: &str, id: &str, data: &str) -> Receipt {
        let event = Event::new(data).with_id(EventId::parse(id).unwrap());
        self.try_publish(Publication::new(name(topic), event)).unwrap()
    }

    pub(crate) fn try_publish(&self, publication: Publication) -> Result<Receipt, PublishError> {
        let mut submission = self.hub.submit(publication);
        self.commit();
        match Pin::new(&mut submission).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => panic!("what was committed has its answer"),
        }
    }

    pub(crate) fn publish_all<'a>(&self, topic: &str, data: impl IntoIterator<Item = &'a str>) {
        data.into_iter().for_each(|data| drop(self.publish(topic, data)));
    }

    pub(crate) fn close(&self, topic: &str) -> Receipt {
        self.try_publish(Publication::end_of(name(topic))).unwrap()
    }

    /// Lets so many seconds pass.
    pub(crate) fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.hub.sweep(self.now);
    }

    /// The server's own id for this sequence.
    pub(crate) fn id(&self, sequence: u64) -> String {
        Cursor { epoch: self.hub.epoch(), sequence }.to_string()
    }

    pub(crate) fn follow<'a>(&'a self, selectors: &[&str]) -> Following<'a> {
        let selectors = selectors.iter().map(|text| Selector::parse(text).unwrap()).collect();
        Following { story: self, options: SubscribeOptions::selectors(selectors) }
    }

    /// Frames kept of a topic; `None` if the hub does not know it.
    pub(crate) fn frames(&self, topic: &str) -> Option<usize> {
        self.hub.topic_infos(usize::MAX).iter().find(|info| info.name.as_str() == topic).map(|info| info.frames)
    }
}

/// A subscription to come.
pub(crate) struct Following<'a> {
    story: &'a Story,
    options: SubscribeOptions,
}

impl Following<'_> {
    pub(crate) fn live(self) -> Stream {
        self.open().unwrap()
    }

    pub(crate) fn earliest(mut self) -> Stream {
        self.options = self.options.from(Start::Earliest);
        self.open().unwrap()
    }

    pub(crate) fn after(self, sequence: u64) -> Stream {
        let id = self.story.id(sequence);
        self.after_id(&id)
    }

    pub(crate) fn after_id(self, id: &str) -> Stream {
        self.from(id).open().unwrap()
    }

    /// As a `Last-Event-ID` would ask.
    pub(crate) fn from(mut self, id: &str) -> Self {
        self.options = self.options.from(Start::parse(id));
        self
    }

    pub(crate) fn granted(mut self, grants: &[&str]) -> Self {
        let grants = grants.iter().map(|text| Selector::parse(text).unwrap()).collect();
        self.options = self.options.with_grants(Grants::Selectors(grants));
        self
    }

    pub(crate) fn granted_all(mut self) -> Self {
        self.options = self.options.with_grants(Grants::All);
        self
    }

    pub(crate) fn open(self) -> Result<Stream, SubscribeError> {
        Ok(Stream { hub: Some(self.story.hub.clone()), ..Stream::new(self.story.hub.subscribe(self.options)?) })
    }

    pub(crate) fn refused(self) -> SubscribeError {
        self.open().err().expect("the subscription should be refused")
    }
}

/// Far more pages than any story has.
const READS_MAX: usize = 200;

/// An open stream.
pub(crate) struct Stream {
    pub(crate) subscription: Subscription,
    flag: Arc<Flag>,
    /// Whom to have read what the rings do not hold.
    hub: Option<Hub>,
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Stream {
    pub(crate) fn new(subscription: Subscription) -> Self {
        Self { subscription, flag: Arc::default(), hub: None }
    }

    /// All there is to read, until it waits or is over.
    pub(crate) fn read(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        while let Some(delivery) = self.poll() {
            match delivery {
                Some(Delivery::Frames(batch)) => words.extend(batch.items().iter().map(told)),
                Some(Delivery::Gap(gap)) => {
                    words.push(format!("gap:{}>{}", gap.reason.as_str(), gap.resumed_after.sequence));
                }
                Some(Delivery::Evicted(reason)) => words.push(format!("evicted:{}", reason.as_str())),
                None => {
                    words.push("over".to_owned());
                    break;
                }
            }
        }
        words
    }

    /// The gap that comes next.
    pub(crate) fn next_gap(&mut self) -> Gap {
        match self.poll() {
            Some(Some(Delivery::Gap(gap))) => gap,
            other => panic!("a gap should come, not {other:?}"),
        }
    }

    /// The frames of the next batch.
    pub(crate) fn next_batch(&mut self) -> Vec<Item> {
        match self.poll() {
            Some(Some(Delivery::Frames(batch))) => batch.into_iter().collect(),
            other => panic!("frames should come, not {other:?}"),
        }
    }

    /// Whether it was woken since it was asked last.
    pub(crate) fn was_woken(&self) -> bool {
        self.flag.0.swap(false, Ordering::SeqCst)
    }

    /// What its waker holds.
    pub(crate) fn flag(&self) -> Arc<impl Sized + use<>> {
        self.flag.clone()
    }

    fn poll(&mut self) -> Option<Option<Delivery>> {
        let waker = Waker::from(self.flag.clone());
        for _ in 0..READS_MAX {
            if let Poll::Ready(delivery) = self.subscription.poll_delivery(&mut Context::from_waker(&waker)) {
                return Some(delivery);
            }
            if !self.hub.as_ref().is_some_and(|hub| hub.serve_log_read(Duration::ZERO)) {
                return None;
            }
        }
        panic!("the log is read and read, and nothing comes of it");
    }
}

fn told(item: &Item) -> String {
    let text = std::str::from_utf8(item.frame.text_bytes()).unwrap();
    let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let data = if item.is_end { "end" } else { data };
    format!("{}:{data}", item.sequence)
}

pub(crate) fn name(topic: &str) -> TopicName {
    TopicName::parse(topic).unwrap()
}

pub(crate) fn publication(topics: &[&str], data: &str) -> Publication {
    let first = Publication::new(name(topics[0]), Event::new(data));
    topics[1..].iter().fold(first, |publication, topic| publication.also_to(name(topic)))
}
