//! What a subscriber gets at a time.

use smallvec::SmallVec;
use sse_wire::Frame;

use crate::ring::{Entry, EntryKind};
use crate::{Gap, TopicName};

/// One frame on its way to a subscriber.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The encoded event, shared with every other subscriber.
    pub frame: Frame,
    /// Its place in the order of all events.
    pub sequence: u64,
    /// The first of its topics that the subscriber follows, in its publisher's order.
    pub topic: TopicName,
    /// Whether it is the `sse.end` of a closed topic.
    pub is_end: bool,
    /// Whether only subscribers that were granted it see it.
    pub is_private: bool,
}

impl Item {
    pub(crate) fn new(entry: &Entry, topic: &TopicName) -> Self {
        let is_end = entry.kind == EntryKind::End;
        let is_private = entry.meta.as_ref().is_some_and(|meta| meta.private);
        Self { frame: entry.frame.clone(), sequence: entry.sequence, topic: topic.clone(), is_end, is_private }
    }
}

/// Frames read together, in the order of their ids. Bounded, so that a long replay goes in steps.
#[derive(Debug, Default)]
pub struct Batch {
    /// The first in place: a subscriber that keeps up gets one at a time.
    items: SmallVec<[Item; 1]>,
    bytes: usize,
}

impl Batch {
    /// Most frames in one batch.
    pub const FRAMES_MAX: usize = 512;
    /// A batch is full when it has this many bytes; one frame may go beyond.
    pub const BYTES_MAX: usize = 64 << 10;

    pub(crate) fn push(&mut self, item: Item) {
        self.bytes += item.frame.chunk().len();
        self.items.push(item);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.items.len() >= Self::FRAMES_MAX || self.bytes >= Self::BYTES_MAX
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many of its frames have this sequence or a lower one: what was there when a subscriber joined is replayed to it.
    pub fn frames_up_to(&self, sequence: u64) -> usize {
        self.items.partition_point(|item| item.sequence <= sequence)
    }

    /// Whether one of its frames is private.
    pub fn has_private(&self) -> bool {
        self.items.iter().any(|item| item.is_private)
    }

    /// The frames.
    pub fn items(&self) -> &[Item] {
        &self.items
    }
}

impl IntoIterator for Batch {
    type Item = Item;
    type IntoIter = BatchIter;

    fn into_iter(self) -> Self::IntoIter {
        BatchIter(self.items.into_iter())
    }
}

/// A batch's frames, one after the other.
#[derive(Debug)]
pub struct BatchIter(smallvec::IntoIter<[Item; 1]>);

impl Iterator for BatchIter {
    type Item = Item;

    fn next(&mut self) -> Option<Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

/// Why the hub ended a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EvictReason {
    /// It stayed behind for longer than the topic's grace.
    Lagged,
}

impl EvictReason {
    /// The word that logs and metrics carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lagged => "lagged",
        }
    }
}

/// What a [`Subscription`](crate::Subscription) yields.
#[derive(Debug)]
pub enum Delivery {
    /// The next frames.
    Frames(Batch),
    /// Something is missing before the next frames.
    Gap(Gap),
    /// The subscriber was too slow; nothing follows.
    Evicted(EvictReason),
}
