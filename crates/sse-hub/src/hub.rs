//! The hub: takes events in, hands subscriptions out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::{Mutex, RwLock};
use slab::Slab;
use smallvec::SmallVec;
use sse_wire::{Event, Frame, FrameDraft};

use crate::budget::{Budget, Charge};
use crate::config::{HubConfig, TopicPolicy};
use crate::gap::end_event;
use crate::merge::Merge;
use crate::order::{Appending, Order};
use crate::publish::check_reserved;
use crate::registry::SelectorRegistry;
use crate::ring::{Entry, EntryKind, Meta};
use crate::signals::Signals;
use crate::table::Table;
use crate::topic::{Life, Topic, TopicState};
use crate::{
    Cursor, Epoch, Feed, Publication, PublishError, Receipt, SubscribeError, SubscribeOptions, Subscription, TopicName,
};

/// A handle to a hub; cloning shares it.
#[derive(Debug, Clone)]
pub struct Hub {
    pub(crate) inner: Arc<HubInner>,
}

/// Lock order: `selectors`, a `Merge`'s reader, append locks in index order, a table's slice, a topic, then the locks
/// that nothing is taken under (marks, group members, floors).
#[derive(Debug)]
pub(crate) struct HubInner {
    pub(crate) config: HubConfig,
    pub(crate) epoch: Epoch,
    pub(crate) order: Order,
    pub(crate) tables: Box<[Table]>,
    pub(crate) selectors: RwLock<SelectorRegistry>,
    /// Subscriptions over several topics, for the sweep.
    pub(crate) merges: Mutex<Slab<Arc<Merge>>>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) signals: Signals,
    pub(crate) topic_count: AtomicUsize,
    /// Whole seconds since the first sweep.
    pub(crate) tick: AtomicU32,
    pub(crate) sweep: Mutex<crate::sweep::SweepState>,
    default_policy: Arc<TopicPolicy>,
    policies: Vec<(crate::Selector, Arc<TopicPolicy>)>,
    hasher: ahash::RandomState,
}

/// Builds a [`Hub`].
#[derive(Debug, Default)]
pub struct HubBuilder {
    config: HubConfig,
    epoch: Option<Epoch>,
}

impl HubBuilder {
    /// Uses these settings.
    #[must_use]
    pub fn config(mut self, config: HubConfig) -> Self {
        self.config = config;
        self
    }

    /// Names the history; a random epoch otherwise.
    #[must_use]
    pub fn epoch(mut self, epoch: Epoch) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// Builds the hub.
    ///
    /// # Errors
    /// When the system has no random number for the epoch.
    pub fn build(self) -> Result<Hub, getrandom::Error> {
        let epoch = self.epoch.map_or_else(Epoch::random, Ok)?;
        let config = self.config;
        let shards = config.shards.max(1);
        // Keys of the process's own: nobody can choose names that collide (FAILURES G11).
        let hasher = ahash::RandomState::new();
        let floors_max = config.floors_max / shards;
        let inner = HubInner {
            epoch,
            order: Order::new(shards, 1),
            tables: (0..shards).map(|_| Table::new(hasher.clone(), floors_max)).collect(),
            selectors: RwLock::default(),
            merges: Mutex::default(),
            budget: Arc::new(Budget::new(config.rings_bytes_max)),
            signals: Signals::new(),
            topic_count: AtomicUsize::new(0),
            tick: AtomicU32::new(0),
            sweep: Mutex::default(),
            default_policy: Arc::new(config.topic_policy.clone()),
            policies: config
                .topic_policies
                .iter()
                .map(|(selector, policy)| (selector.clone(), Arc::new(policy.clone())))
                .collect(),
            hasher,
            config,
        };
        Ok(Hub { inner: Arc::new(inner) })
    }
}

impl Hub {
    /// Starts building a hub.
    pub fn builder() -> HubBuilder {
        HubBuilder::default()
    }

    /// The history that this hub's cursors belong to.
    pub fn epoch(&self) -> Epoch {
        self.inner.epoch
    }

    /// The position after every event given a sequence so far.
    pub fn newest(&self) -> Cursor {
        self.inner.cursor(self.inner.order.newest())
    }

    /// Publishes an event. It is live for every follower when this returns; this never waits and never calls back.
    ///
    /// # Errors
    /// A [`PublishError`]; then nothing was published.
    pub fn publish(&self, publication: Publication) -> Result<Receipt, PublishError> {
        self.check(&publication)?;
        let Publication { topics, event, private } = publication;
        let receipt = self.inner.append(&topics, &event, private, EntryKind::Event)?;
        self.inner.signals.published.increment(1);
        Ok(receipt)
    }

    /// Whether the publication breaks a rule that does not depend on the state of any topic: a batch is checked whole
    /// before its first event is published.
    ///
    /// # Errors
    /// A [`PublishError`] that says which.
    pub fn check(&self, publication: &Publication) -> Result<(), PublishError> {
        let config = &self.inner.config;
        let bytes = publication.event.data().len();
        if bytes > config.event_bytes_max {
            return Err(PublishError::TooLarge { bytes, bytes_max: config.event_bytes_max });
        }
        let topics = publication.topics.len();
        if topics > config.topics_per_event_max {
            return Err(PublishError::TooManyTopics { topics, topics_max: config.topics_per_event_max });
        }
        check_reserved(&publication.event)
    }

    /// Closes a topic: its followers get what is left, then `sse.end`, and their streams end.
    ///
    /// # Errors
    /// [`PublishError::Closed`] if it is closed already, [`PublishError::TopicsFull`] or [`PublishError::RingsFull`].
    pub fn close(&self, topic: &TopicName) -> Result<Receipt, PublishError> {
        let topics = [topic.clone()];
        self.inner.append(&topics, &end_event(topic.as_str()), false, EntryKind::End)
    }

    /// Follows topics. Dropping the subscription unsubscribes.
    ///
    /// # Errors
    /// A [`SubscribeError`].
    pub fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription, SubscribeError> {
        Subscription::open(self.clone(), options)
    }

    /// A feed of one topic for a host that keeps the cursors of many subscribers itself.
    ///
    /// # Errors
    /// [`SubscribeError::TopicsFull`].
    pub fn feed(&self, topic: &TopicName) -> Result<Feed, SubscribeError> {
        Feed::open(self.clone(), topic)
    }

    /// How many topics there are.
    pub fn topics(&self) -> usize {
        self.inner.topic_count.load(Ordering::Relaxed)
    }
}

impl HubInner {
    pub(crate) fn cursor(&self, sequence: u64) -> Cursor {
        Cursor { epoch: self.epoch, sequence }
    }

    pub(crate) fn shard_of(&self, topic: &TopicName) -> usize {
        // The table's slices use the high bits of the same hash.
        (self.hasher.hash_one(topic.as_str()) % self.tables.len() as u64) as usize
    }

    /// The topic of this name, made if it is new; `None` when there are too many.
    pub(crate) fn topic(&self, name: &TopicName) -> Option<Arc<Topic>> {
        let shard = self.shard_of(name);
        self.tables[shard].find(name.as_str()).or_else(|| self.make_topic(name, shard))
    }

    fn make_topic(&self, name: &TopicName, shard: usize) -> Option<Arc<Topic>> {
        if self.topic_count.load(Ordering::Relaxed) >= self.config.topics_max {
            return None;
        }
        // Held while the topic is put in the table: a selector that arrives meanwhile either is seen here or sees it there.
        let selectors = self.selectors.read();
        let (topic, is_new) = self.tables[shard].find_or_insert(name, |floor| {
            let groups = selectors.matching(name).cloned().collect();
            Topic::new(name.clone(), shard, self.policy_of(name), floor, groups)
        });
        if is_new {
            self.topic_count.fetch_add(1, Ordering::Relaxed);
        }
        Some(topic)
    }

    pub(crate) fn policy_of(&self, name: &TopicName) -> Arc<TopicPolicy> {
        let of_pattern = self.policies.iter().find(|(selector, _)| selector.matches(name.as_str()));
        of_pattern.map_or(&self.default_policy, |(_, policy)| policy).clone()
    }

    /// Runs `with` on the topic of this name and its state, the topic not being collected meanwhile.
    pub(crate) fn with_topic<R>(
        &self,
        name: &TopicName,
        with: impl FnOnce(&Arc<Topic>, &mut TopicState) -> R,
    ) -> Option<R> {
        loop {
            let topic = self.topic(name)?;
            let mut state = topic.lock();
            if state.life() != Life::Collected {
                return Some(with(&topic, &mut state));
            }
        }
    }

    /// The way of every event: encode, number, append, wake.
    fn append(
        &self,
        names: &[TopicName],
        event: &Event,
        private: bool,
        kind: EntryKind,
    ) -> Result<Receipt, PublishError> {
        let draft = FrameDraft::new(event, Cursor::TEXT_LEN);
        let tick = self.tick.load(Ordering::Relaxed);
        let mut wakers = Vec::new();
        let (topics, sequence) = loop {
            let topics = self.topics_of(names)?;
            let appending = self.order.enter(&shards_of(&topics));
            if topics.iter().any(|topic| topic.lock().life() == Life::Collected) {
                continue;
            }
            self.admit(&topics, draft.chunk_len())?;
            let sequence = appending.take_sequence();
            let entry = self.entry(names, event, draft, private, kind, sequence);
            append_to_all(&topics, entry, tick, &self.budget, &mut wakers, &appending);
            break (topics, sequence);
        };
        wakers.into_iter().for_each(Waker::wake);
        topics.iter().for_each(|topic| topic.wake_followers());
        Ok(Receipt { cursor: self.cursor(sequence), given_id: event.id().cloned() })
    }

    fn topics_of(&self, names: &[TopicName]) -> Result<SmallVec<[Arc<Topic>; 1]>, PublishError> {
        let full = PublishError::TopicsFull { topics_max: self.config.topics_max };
        names.iter().map(|name| self.topic(name)).collect::<Option<_>>().ok_or(full)
    }

    /// Whether every topic takes the event; if so its bytes are charged. Nothing has happened if not.
    fn admit(&self, topics: &[Arc<Topic>], chunk_len: usize) -> Result<(), PublishError> {
        let closed = topics.iter().find(|topic| topic.lock().life() != Life::Open);
        if let Some(topic) = closed {
            return Err(PublishError::Closed { topic: topic.name.clone() });
        }
        if self.order.newest() >= Cursor::SEQUENCE_MAX {
            return Err(PublishError::Exhausted);
        }
        let cost = Entry::cost(chunk_len);
        while !self.budget.charge(cost) {
            // Only this event's own topics make room for it: nobody else's history pays.
            if !topics.iter().any(|topic| topic.lock().ring.drop_oldest(&self.budget)) {
                return Err(PublishError::RingsFull { bytes_max: self.budget.bytes_max() });
            }
        }
        Ok(())
    }

    fn entry(
        &self,
        names: &[TopicName],
        event: &Event,
        draft: FrameDraft,
        private: bool,
        kind: EntryKind,
        sequence: u64,
    ) -> Entry {
        let cost = Entry::cost(draft.chunk_len());
        let frame = self.finish(draft, sequence);
        let shared = names.len() > 1;
        let meta = (shared || private || event.id().is_some()).then(|| {
            let shared_charge = shared.then(|| Charge { budget: self.budget.clone(), bytes: cost });
            Arc::new(Meta { topics: names.into(), private, given_id: event.id().cloned(), shared_charge })
        });
        Entry::new(sequence, frame, kind, meta)
    }

    fn finish(&self, draft: FrameDraft, sequence: u64) -> Frame {
        draft.finish(|room| {
            if !room.is_empty() {
                self.cursor(sequence).write(room);
            }
        })
    }
}

fn append_to_all(
    topics: &[Arc<Topic>],
    entry: Entry,
    tick: u32,
    budget: &Budget,
    wakers: &mut Vec<Waker>,
    _numbered_under: &Appending<'_>,
) {
    let Some((last, others)) = topics.split_last() else { return };
    for topic in others {
        topic.append(entry.clone(), tick, budget, wakers);
    }
    last.append(entry, tick, budget, wakers);
}

/// The shards of these topics, sorted and each once.
pub(crate) fn shards_of(topics: &[Arc<Topic>]) -> SmallVec<[usize; 1]> {
    let mut shards: SmallVec<[usize; 1]> = topics.iter().map(|topic| topic.shard).collect();
    shards.sort_unstable();
    shards.dedup();
    shards
}
