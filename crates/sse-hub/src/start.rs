//! Where a subscription starts.

use sse_wire::EventId;

use crate::grants::Sight;
use crate::ring::{Floor, Ring};
use crate::{Cursor, Epoch, Gap, GapReason};

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

    pub(crate) fn gap(&self, epoch: Epoch, resumed_after: u64, reason: GapReason) -> Gap {
        Gap { requested: self.requested(), resumed_after: Cursor { epoch, sequence: resumed_after }, reason }
    }

    /// The id asked for, as a gap repeats it. Cut to a length that no id of a well-behaved client reaches.
    fn requested(&self) -> String {
        match self {
            Self::Live => String::new(),
            Self::Earliest => "earliest".to_owned(),
            Self::After(id) => id.chars().take(256).collect(),
        }
    }
}

impl Wanted {
    /// The sequence wanted, as far as this ring knows it and somebody with this sight may learn of it.
    fn sequence_in(&self, ring: &Ring, sight: &mut Sight<'_>) -> Option<u64> {
        match self {
            Self::Sequence(sequence) => Some(*sequence),
            Self::Given(id) => ring.sequence_of(id, sight),
            Self::Live | Self::Earliest | Self::Lost(_) => None,
        }
    }

    /// Where a subscriber of the one topic with this ring starts.
    pub(crate) fn resolve(&self, ring: &Ring, sight: &mut Sight<'_>) -> Resolved {
        let floor = ring.floor();
        match self {
            Self::Live => Resolved { cursor: ring.newest(), gap: None },
            Self::Earliest => Resolved { cursor: floor.sequence, gap: None },
            Self::Lost(reason) => Resolved { cursor: floor.sequence, gap: Some(*reason) },
            Self::Sequence(_) | Self::Given(_) => match self.sequence_in(ring, sight) {
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
