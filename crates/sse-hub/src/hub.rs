//! The hub: takes events in, hands subscriptions out.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use slab::Slab;

use crate::budget::Budget;
use crate::config::HubConfig;
use crate::gap::end_event;
use crate::merge::Merge;
use crate::order::Order;
use crate::publish::{check_reserved, text_bytes};
use crate::ring::EntryKind;
use crate::signals::Signals;
use crate::sweep::Rounds;
use crate::sync::Mutex;
use crate::topic::{Life, Topic, TopicState};
use crate::topics::Topics;
use crate::{
    Cursor, Epoch, Feed, HubBuilder, Publication, PublishError, Receipt, SubscribeError, SubscribeOptions,
    Subscription, TopicName,
};

/// A handle to a hub; cloning shares it.
#[derive(Debug, Clone)]
pub struct Hub {
    pub(crate) inner: Arc<HubInner>,
}

/// Lock order: `selectors`, a merge's reader, append locks in index order, a table's own lock, a topic, a group's members,
/// a merge's marks. The floors of a table come after its own lock; `merges` and `watched` are held alone.
#[derive(Debug)]
pub(crate) struct HubInner {
    pub(crate) config: HubConfig,
    pub(crate) epoch: Epoch,
    pub(crate) order: Order,
    pub(crate) topics: Topics,
    /// Subscriptions over several topics, for the sweep.
    pub(crate) merges: Mutex<Slab<Arc<Merge>>>,
    /// Topics with subscribers of their own of whom somebody may be behind, for the sweep; each once.
    pub(crate) watched: Mutex<Vec<Arc<Topic>>>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) signals: Signals,
    /// Whole seconds since the first sweep.
    pub(crate) tick: AtomicU32,
    pub(crate) sweep: Mutex<Rounds>,
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
        let receipt = self.inner.append(&publication, EntryKind::Event)?;
        self.inner.signals.published.increment(1);
        Ok(receipt)
    }

    /// Whether somebody follows the topic, by name or by a selector, or did until just now: who has something to tell only
    /// those who follow need not make an event of it otherwise.
    pub fn is_followed(&self, topic: &TopicName) -> bool {
        self.inner.topics.is_followed(topic)
    }

    /// Takes a place in the order of all events without an event: [`newest`](Self::newest) tells that something happened.
    pub fn skip(&self) {
        if self.inner.order.newest() < Cursor::SEQUENCE_MAX {
            self.inner.order.enter(&[]).take_sequence();
        }
    }

    /// Whether the publication breaks a rule that does not depend on the state of any topic: a batch is checked whole
    /// before its first event is published.
    ///
    /// # Errors
    /// A [`PublishError`] that says which.
    pub fn check(&self, publication: &Publication) -> Result<(), PublishError> {
        let config = &self.inner.config;
        let bytes = text_bytes(&publication.event);
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
        let end = Publication::new(topic.clone(), end_event(topic.as_str()));
        self.inner.append(&end, EntryKind::End)
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
        self.inner.topics.count()
    }

    /// At most `topics_max` topics, in no order.
    pub fn topic_infos(&self, topics_max: usize) -> Vec<TopicInfo> {
        let mut infos = Vec::new();
        for table in self.inner.topics.tables() {
            table.some(topics_max - infos.len(), |topic| infos.push(TopicInfo::of(topic)));
        }
        infos
    }
}

/// One topic as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: TopicName,
    /// Who follows it by name; a feed counts once.
    pub followers: usize,
    /// Frames kept.
    pub frames: usize,
}

impl TopicInfo {
    fn of(topic: &Topic) -> Self {
        let state = topic.lock();
        Self { name: topic.name.clone(), followers: state.followers(), frames: state.ring.frames() }
    }
}

impl HubInner {
    pub(crate) fn cursor(&self, sequence: u64) -> Cursor {
        Cursor { epoch: self.epoch, sequence }
    }

    /// Runs `with` on the topic of this name and its state, the topic not being collected meanwhile. `None` when there are
    /// too many topics.
    pub(crate) fn with_topic<R>(
        &self,
        name: &TopicName,
        with: impl FnOnce(&Arc<Topic>, &mut TopicState) -> R,
    ) -> Option<R> {
        loop {
            let topic = self.topics.obtain(name)?;
            let mut state = topic.lock();
            if state.life() != Life::Collected {
                return Some(with(&topic, &mut state));
            }
            drop(state);
            // Whoever collects it holds this lock until the name is free.
            drop(self.order.enter(&[topic.shard as usize]));
        }
    }

    /// Has the sweep judge the topic's subscribers.
    pub(crate) fn watch(&self, topic: Arc<Topic>) {
        self.watched.lock().push(topic);
    }
}
