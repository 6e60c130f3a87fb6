//! Where a subscription starts.

use sse_wire::EventId;

use crate::epochs::{Epochs, Known};
use crate::grants::Sight;
use crate::replay::From;
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
    /// After something that is not part of this history, which goes on after this sequence.
    Lost {
        after: u64,
        reason: GapReason,
    },
}

impl Start {
    /// Reads the id, given the epochs and the last sequence given out.
    pub(crate) fn wanted(&self, epochs: &Epochs, newest: u64) -> Wanted {
        let id = match self {
            Self::Live => return Wanted::Live,
            Self::Earliest => return Wanted::Earliest,
            Self::After(id) => id,
        };
        let unknown = Wanted::Lost { after: 0, reason: GapReason::Unknown };
        let Some(cursor) = Cursor::parse(id) else {
            return EventId::parse(id).map_or(unknown, Wanted::Given);
        };
        match epochs.look_up(cursor, newest) {
            Known::At(sequence) => Wanted::Sequence(sequence),
            Known::Beyond(_) if cursor.epoch == epochs.current() => unknown,
            Known::Beyond(last) => Wanted::Lost { after: last, reason: GapReason::Epoch },
            Known::Not => Wanted::Lost { after: 0, reason: GapReason::Epoch },
        }
    }

    pub(crate) fn gap(&self, epoch: Epoch, resumed_after: u64, reason: GapReason) -> Gap {
        Gap { requested: self.requested(), resumed_after: Cursor { epoch, sequence: resumed_after }, reason }
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
    /// The sequence wanted, as far as this ring knows it and somebody with this sight may learn of it.
    fn sequence_in(&self, ring: &Ring, sight: &mut Sight<'_>) -> Option<u64> {
        match self {
            Self::Sequence(sequence) => Some(*sequence),
            Self::Given(id) => ring.sequence_of(id, sight),
            Self::Live | Self::Earliest | Self::Lost { .. } => None,
        }
    }

    /// Whether this ring keeps the event asked for, and all that came after it.
    pub(crate) fn is_kept_in(&self, ring: &Ring, sight: &mut Sight<'_>) -> bool {
        self.sequence_in(ring, sight).is_some_and(|sequence| sequence >= ring.floor().sequence)
    }

    /// Where a subscriber of the one topic with this ring starts.
    pub(crate) fn resolve(&self, ring: &Ring, sight: &mut Sight<'_>) -> Resolved {
        let floor = ring.floor();
        match self {
            Self::Live => Resolved { cursor: ring.newest(), gap: None },
            Self::Earliest => Resolved { cursor: floor.sequence, gap: None },
            Self::Lost { after, reason } => Resolved { cursor: floor.sequence.max(*after), gap: Some(*reason) },
            Self::Sequence(_) | Self::Given(_) => match self.sequence_in(ring, sight) {
                Some(cursor) if cursor >= floor.sequence => Resolved { cursor, gap: None },
                Some(_) => Resolved { cursor: floor.sequence, gap: Some(floor.reason()) },
                None => Resolved { cursor: floor.sequence, gap: Some(GapReason::Unknown) },
            },
        }
    }
}

impl Wanted {
    /// Where the log has to be read from, if the rings of which the highest is trimmed to `floor` do not suffice.
    pub(crate) fn in_log(&self, floor: u64) -> Option<From> {
        match self {
            Self::Live => None,
            Self::Sequence(sequence) => (*sequence < floor).then_some(From::Sequence(*sequence)),
            // An earlier use may be in the log.
            Self::Given(id) => Some(From::Given(id.clone())),
            Self::Earliest => (floor > 0).then_some(From::Earliest),
            Self::Lost { after, reason } => Some(From::Lost { after: *after, reason: *reason }),
        }
    }
}

impl Floor {
    /// Why a cursor below it has missed something.
    pub(crate) fn reason(self) -> GapReason {
        if self.exact { GapReason::Trimmed } else { GapReason::Unknown }
    }
}
