//! One event as a log keeps it.

use std::sync::Arc;

use sse_wire::{EventId, Frame};

use crate::ring::{Entry, EntryKind, Meta};
use crate::{IdempotencyKey, TopicName};

/// One event as a log keeps it: all that its followers will ever need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the order of all events.
    pub sequence: u64,
    /// What it is.
    pub kind: RecordKind,
    /// Its topics, the canonical one first; never empty.
    pub topics: Box<[TopicName]>,
    /// The encoded event, its id included.
    pub frame: Frame,
    /// Only those with a grant may see it.
    pub private: bool,
    /// The id, if its publisher gave it one.
    pub given_id: Option<EventId>,
    /// The key of its publisher's attempt, to be remembered as long as keys are.
    pub key: Option<IdempotencyKey>,
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// An event.
    Event,
    /// The end of a closed topic.
    End,
}

impl From<EntryKind> for RecordKind {
    fn from(kind: EntryKind) -> Self {
        match kind {
            EntryKind::Event => Self::Event,
            EntryKind::End => Self::End,
        }
    }
}

impl Record {
    /// Its id, as its followers see it.
    #[cfg(feature = "disk")]
    pub(crate) fn id(&self) -> Option<EventId> {
        if let Some(id) = &self.given_id {
            return Some(id.clone());
        }
        let text = std::str::from_utf8(self.frame.text_bytes()).ok()?;
        EventId::parse(text.lines().find_map(|line| line.strip_prefix("id: "))?).ok()
    }

    /// As the rings keep it.
    pub(crate) fn to_entry(&self) -> Entry {
        let kind = match self.kind {
            RecordKind::Event => EntryKind::Event,
            RecordKind::End => EntryKind::End,
        };
        let is_plain = self.topics.len() == 1 && !self.private && self.given_id.is_none();
        let meta = || Meta {
            topics: self.topics.clone(),
            private: self.private,
            given_id: self.given_id.clone(),
            shared_charge: None,
        };
        Entry::new(self.sequence, self.frame.clone(), kind, (!is_plain).then(|| Arc::new(meta())))
    }
}
