//! What a log knows of its topics, in memory.

use std::collections::{HashMap, VecDeque};

use crate::TopicName;
use crate::log::Extent;

/// Every topic that the log has a row for.
#[derive(Debug, Default)]
pub(super) struct LoggedTopics {
    by_name: HashMap<TopicName, LoggedTopic, ahash::RandomState>,
    /// Those without an event that is kept, in the order they came to be so; some may have events again.
    emptied: VecDeque<TopicName>,
    /// Up to where topics that were forgotten may have had events.
    pub(super) forgotten_to: u64,
    /// The last sequence in the log.
    pub(super) newest: u64,
    /// Events kept, and the bytes of their records.
    pub(super) events: u64,
    pub(super) bytes: u64,
    /// The furthest that any topic is trimmed.
    pub(super) trimmed_max: u64,
    /// Sequences that stand for losses of which nobody knows more.
    pub(super) holes: Vec<u64>,
}

/// One topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LoggedTopic {
    pub(super) id: i64,
    pub(super) newest: u64,
    pub(super) trimmed_to: u64,
    pub(super) events: u64,
    pub(super) bytes: u64,
    /// The sequence of its end, if it is closed, and when it was.
    pub(super) closed: u64,
    pub(super) closed_at: u64,
    /// Which of the patterns with a retention of their own it is under.
    pub(super) rule: Option<usize>,
    /// Its index is damaged: it had an event here that cannot be found.
    pub(super) damaged_to: u64,
}

/// Topics without events that are remembered by name.
pub(super) const EMPTIED_MAX: usize = 100_000;

impl LoggedTopics {
    pub(super) fn get(&self, name: &TopicName) -> Option<&LoggedTopic> {
        self.by_name.get(name)
    }

    pub(super) fn id_of(&self, name: &TopicName) -> Option<i64> {
        Some(self.get(name)?.id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&TopicName, &LoggedTopic)> {
        self.by_name.iter()
    }

    pub(super) fn set(&mut self, name: &TopicName, topic: LoggedTopic) {
        self.trimmed_max = self.trimmed_max.max(topic.trimmed_to);
        if topic.events == 0 && self.by_name.get(name).is_none_or(|before| before.events > 0) {
            self.emptied.push_back(name.clone());
        }
        self.by_name.insert(name.clone(), topic);
    }

    /// A topic to forget, if too many without events are remembered.
    pub(super) fn next_to_forget(&mut self) -> Option<(TopicName, LoggedTopic)> {
        while self.emptied.len() > EMPTIED_MAX {
            let name = self.emptied.pop_front()?;
            if let Some(topic) = self.by_name.get(&name).filter(|topic| topic.events == 0) {
                return Some((name, *topic));
            }
        }
        None
    }

    pub(super) fn forget(&mut self, name: &TopicName) {
        if let Some(topic) = self.by_name.remove(name) {
            self.forgotten_to = self.forgotten_to.max(topic.newest);
        }
    }

    pub(super) fn extent(&self, name: &TopicName) -> Extent {
        match self.by_name.get(name) {
            Some(topic) => Extent { newest: topic.newest, trimmed_to: topic.trimmed_to, exact: true },
            None => Extent { newest: self.forgotten_to, trimmed_to: self.forgotten_to, exact: false },
        }
    }
}

impl LoggedTopics {
    /// Whether there is a hole behind `after`.
    pub(super) fn holes_after(&self, after: u64) -> bool {
        self.holes.iter().any(|hole| *hole > after)
    }
}
