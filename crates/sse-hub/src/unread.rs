//! A topic that one reader of several has not finished.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::topic::Topic;

/// Ordered by what comes next.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) next: Next,
    pub(crate) topic: Arc<Topic>,
}

/// What comes next in a topic.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Next {
    /// The frame with this sequence.
    Frame(u64),
    /// Frames up to `floor` are gone, as was seen when the reader stood at `from`.
    Gap { floor: u64, from: u64 },
    /// Frames after this sequence are gone, and the log has them: nothing of any topic is read before that was.
    InLog { after: u64 },
}

impl Next {
    pub(crate) fn sequence(self) -> u64 {
        match self {
            Self::Frame(sequence) => sequence,
            Self::Gap { floor, .. } => floor,
            Self::InLog { after } => after,
        }
    }

    /// Up to where other topics may be read before it.
    pub(crate) fn others_up_to(self) -> u64 {
        match self {
            Self::Frame(sequence) => sequence,
            Self::Gap { floor, .. } => floor - 1,
            Self::InLog { after } => after,
        }
    }

    /// The position in its topic of a reader that stands at `cursor`: frames before the next one count as read.
    pub(crate) fn read_from(self, cursor: u64) -> u64 {
        match self {
            Self::Frame(sequence) => cursor.max(sequence - 1),
            Self::Gap { .. } | Self::InLog { .. } => cursor,
        }
    }
}

impl Unread {
    /// A gap comes before the frame that it ends with: an event of several topics may be gone from one and kept in another.
    /// Somebody who comes back with that frame's id must have been told.
    fn key(&self) -> (u64, bool, u64) {
        (self.next.sequence(), matches!(self.next, Next::Frame(_)), self.topic.id)
    }
}

impl Ord for Unread {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl PartialOrd for Unread {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Unread {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Unread {}
