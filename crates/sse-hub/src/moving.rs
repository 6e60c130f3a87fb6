//! A hub's contents on their way to another hub, which goes on in its place: the same epoch, the same sequences, the same rings.
//!
//! Most of it is copied while events are published; what came since is copied again, with nobody publishing, and joins it.
//! Only for a hub without a log or a backplane: there the history is elsewhere.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use sse_wire::{EventId, Frame};

use crate::ring::{Entry, EntryKind, Floor, Meta};
use crate::topic::Topic;
use crate::{Hub, IdempotencyKey, Receipt, TopicName};

/// One topic with what its ring keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedTopic {
    /// Its name.
    pub name: TopicName,
    /// Up to where its events are gone.
    pub floor: u64,
    /// Whether it is known to have had an event there.
    pub is_floor_exact: bool,
    /// When it was closed, if it was, in the hub's own seconds.
    pub closed_at: Option<u32>,
    /// Its events, oldest first.
    pub events: Vec<MovedEvent>,
}

/// One event of a ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedEvent {
    /// Its place in the order of all events.
    pub sequence: u64,
    /// When it was appended, in the hub's own seconds.
    pub appended_at: u32,
    /// The encoded event.
    pub frame: Frame,
    /// Whether it is the end of its topic.
    pub is_end: bool,
    /// What only some events have.
    pub meta: Option<MovedMeta>,
}

/// What only some events have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MovedMeta {
    /// All its topics, the canonical one first.
    pub topics: Vec<TopicName>,
    /// Only those with a grant may see it.
    pub private: bool,
    /// The id that its publisher gave it.
    pub given_id: Option<EventId>,
    /// The sequence of the earliest event with that id.
    pub first_use: u64,
}

impl Hub {
    /// The last sequence given out, once everything up to it is in the rings.
    pub fn settled(&self) -> u64 {
        let order = &self.inner.order;
        order.settled(&(0..order.shards()).collect::<Vec<_>>())
    }

    /// Visits the topics that have had events after `after`, with those of these that their rings keep. No lock is held
    /// meanwhile.
    pub fn moved_topics(&self, after: u64, mut visit: impl FnMut(MovedTopic)) {
        let mut topics: Vec<Arc<Topic>> = Vec::new();
        self.inner.topics.each(|topic| topics.push(topic.clone()));
        topics.iter().filter_map(|topic| topic.moved(after)).for_each(&mut visit);
    }

    /// Visits the floors of topics that were forgotten; the one without a name is for topics of any other name.
    pub fn moved_floors(&self, mut visit: impl FnMut(Option<&TopicName>, u64)) {
        self.inner.topics.each_floor(|name, floor| visit(name, floor.sequence));
    }

    /// The idempotency keys of events after `after`, oldest first, each with when it came, in the hub's own seconds.
    pub fn moved_keys(&self, after: u64) -> Vec<(IdempotencyKey, Receipt, u32)> {
        let mut keys = self.inner.keys.lock().all();
        keys.retain(|(_, receipt, _)| receipt.cursor.sequence > after);
        keys
    }

    /// The hub's own seconds: ages are counted in them.
    pub fn seconds(&self) -> u32 {
        self.inner.tick.load(Ordering::Relaxed)
    }

    /// Goes on in the place of a hub that has given sequences up to `newest`, and has counted so many seconds. Nothing may have
    /// been published yet.
    pub fn go_on_after(&self, newest: u64, seconds: u32) {
        self.inner.order.skip_to(newest);
        self.inner.sweep.lock().go_on_at(seconds);
        self.inner.tick.fetch_max(seconds, Ordering::Relaxed);
    }

    /// Takes a topic over, or what has come to it since it was. What does not fit this hub's bounds is dropped, the oldest first.
    pub fn take_over_topic(&self, moved: MovedTopic) {
        let topic = self.inner.topics.obtain_anyway(&moved.name);
        topic.restore(moved, &self.inner.budget);
    }

    /// Takes the floor of a forgotten topic over, or that of all others.
    pub fn take_over_floor(&self, name: Option<&TopicName>, sequence: u64) {
        match name {
            Some(name) => self.inner.topics.leave_floor(name, Floor { sequence, exact: true }),
            None => self.inner.topics.raise_floors(sequence),
        }
    }

    /// Takes an idempotency key over.
    pub fn take_over_key(&self, key: IdempotencyKey, receipt: Receipt, came_at: u32) {
        self.inner.keys.lock().remember(key, receipt, came_at);
    }
}

impl MovedEvent {
    pub(crate) fn of(entry: &Entry, first_use: impl FnOnce(&EventId) -> Option<u64>) -> Self {
        let meta = entry.meta.as_deref().map(|meta| MovedMeta {
            topics: meta.topics.to_vec(),
            private: meta.private,
            first_use: meta.given_id.as_ref().and_then(first_use).unwrap_or(entry.sequence),
            given_id: meta.given_id.clone(),
        });
        let is_end = entry.kind == EntryKind::End;
        Self { sequence: entry.sequence, appended_at: entry.tick(), frame: entry.frame.clone(), is_end, meta }
    }

    /// As a ring keeps it: each ring by itself is charged for it.
    pub(crate) fn into_entry(self) -> Entry {
        let kind = if self.is_end { EntryKind::End } else { EntryKind::Event };
        let meta = self.meta.map(|MovedMeta { topics, private, given_id, .. }| {
            Arc::new(Meta { topics: topics.into(), private, given_id, shared_charge: None })
        });
        Entry::new(self.sequence, self.frame, kind, meta)
    }
}
