//! What a subscriber asks for, and where that makes it start.

use std::sync::Arc;

use sse_wire::EventId;

use crate::ring::{Floor, Ring};
use crate::{Cursor, Epoch, Gap, GapReason, Selector, TopicName};

/// What a subscription follows, from where, and what it may see.
#[derive(Debug, Clone)]
pub struct SubscribeOptions {
    pub(crate) selectors: Vec<Selector>,
    pub(crate) start: Start,
    pub(crate) grants: Grants,
}

impl SubscribeOptions {
    /// Follows one topic from now on, public events only.
    pub fn topic(topic: TopicName) -> Self {
        Self::selectors(vec![Selector::exact(topic)])
    }

    /// Follows several topics and templates on one stream.
    pub fn selectors(selectors: Vec<Selector>) -> Self {
        Self { selectors, start: Start::Live, grants: Grants::None }
    }

    /// Starts there.
    #[must_use]
    pub fn from(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Sees private events of these topics as well.
    #[must_use]
    pub fn with_grants(mut self, grants: Grants) -> Self {
        self.grants = grants;
        self
    }
}

/// Where a subscription starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// With the next event published.
    Live,
    /// With the oldest event kept.
    Earliest,
    /// After the event with this id: the server's own, or a publisher's.
    After(String),
}

impl Start {
    /// What a `Last-Event-ID` asks for: `earliest` for all that is kept, an empty one for nothing special.
    pub fn parse(last_event_id: &str) -> Self {
        match last_event_id {
            "" => Self::Live,
            "earliest" => Self::Earliest,
            id => Self::After(id.to_owned()),
        }
    }
}

/// Which private events a subscriber may see.
#[derive(Debug, Clone, Default)]
pub enum Grants {
    /// None: an anonymous subscriber.
    #[default]
    None,
    /// Those with a topic that one of these matches.
    Selectors(Arc<[Selector]>),
    /// All.
    All,
}

/// Why there is no subscription.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// Nothing to follow was named.
    #[error("no topic is named")]
    NoTopic,
    /// More is named than one subscription may follow.
    #[error("{selectors} topics are named, more than {selectors_max}")]
    TooManyTopics {
        /// How many.
        selectors: usize,
        /// `HubConfig::topics_per_subscription_max`.
        selectors_max: usize,
    },
    /// The hub has as many topics as it may have, and this would be a new one.
    #[error("there are {topics_max} topics already")]
    TopicsFull {
        /// `HubConfig::topics_max`.
        topics_max: usize,
    },
    /// Every topic named is closed and has nothing after the cursor: there is nothing left to follow.
    #[error("the topic has ended")]
    Ended,
}

/// Where one topic's subscriber starts, and what it has to be told first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) cursor: u64,
    pub(crate) gap: Option<GapReason>,
}

/// What an id says before any topic is asked.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    Live,
    Earliest,
    /// After this sequence of the present epoch.
    Sequence(u64),
    /// After the event that a publisher gave this id.
    Given(EventId),
    /// After something that is not part of this history.
    Lost(GapReason),
}

impl Start {
    /// Reads the id, given the present epoch and the last sequence given out.
    pub(crate) fn wanted(&self, epoch: Epoch, newest: u64) -> Wanted {
        let id = match self {
            Self::Live => return Wanted::Live,
            Self::Earliest => return Wanted::Earliest,
            Self::After(id) => id,
        };
        match Cursor::parse(id) {
            Some(cursor) if cursor.epoch != epoch => Wanted::Lost(GapReason::Epoch),
            Some(cursor) if cursor.sequence > newest => Wanted::Lost(GapReason::Unknown),
            Some(cursor) => Wanted::Sequence(cursor.sequence),
            None => match EventId::parse(id) {
                Ok(given) => Wanted::Given(given),
                Err(_) => Wanted::Lost(GapReason::Unknown),
            },
        }
    }

    /// The id asked for, as a gap repeats it. Cut to a length that no id of a well-behaved client reaches.
    pub(crate) fn requested(&self) -> String {
        match self {
            Self::Live => String::new(),
            Self::Earliest => "earliest".to_owned(),
            Self::After(id) => id.chars().take(256).collect(),
        }
    }
}

impl Wanted {
    /// The sequence wanted, as far as this ring knows it.
    pub(crate) fn sequence_in(&self, ring: &Ring) -> Option<u64> {
        match self {
            Self::Sequence(sequence) => Some(*sequence),
            Self::Given(id) => ring.sequence_of(id),
            Self::Live | Self::Earliest | Self::Lost(_) => None,
        }
    }

    /// Where a subscriber of the one topic with this ring starts.
    pub(crate) fn resolve(&self, ring: &Ring) -> Resolved {
        let floor = ring.floor();
        match self {
            Self::Live => Resolved { cursor: ring.newest(), gap: None },
            Self::Earliest => Resolved { cursor: floor.sequence, gap: None },
            Self::Lost(reason) => Resolved { cursor: floor.sequence, gap: Some(*reason) },
            Self::Sequence(_) | Self::Given(_) => match self.sequence_in(ring) {
                Some(cursor) if cursor >= floor.sequence => Resolved { cursor, gap: None },
                Some(_) => Resolved { cursor: floor.sequence, gap: Some(floor.reason()) },
                None => Resolved { cursor: floor.sequence, gap: Some(GapReason::Unknown) },
            },
        }
    }
}

impl Floor {
    /// Why a cursor below it has missed something.
    pub(crate) fn reason(self) -> GapReason {
        if self.exact { GapReason::Trimmed } else { GapReason::Unknown }
    }
}

impl Start {
    pub(crate) fn gap(&self, epoch: Epoch, resumed_after: u64, reason: GapReason) -> Gap {
        Gap { requested: self.requested(), resumed_after: Cursor { epoch, sequence: resumed_after }, reason }
    }
}
