//! A bounded read of a log.

use crate::log::Record;
use crate::{GapReason, Selector};

/// What to read.
#[derive(Debug, Clone, Copy)]
pub struct LogRead<'a> {
    /// Events of a topic that one of these selects.
    pub followed: &'a [Selector],
    /// Behind this sequence.
    pub after: u64,
    /// At or below this one.
    pub up_to: u64,
}

impl LogRead<'_> {
    /// A page is full with so many events.
    pub const EVENTS_MAX: usize = 256;
    /// Or when their frames have this many bytes; one event may go beyond.
    pub const BYTES_MAX: usize = 64 << 10;
    /// Or when so many records were looked at, wanted or not.
    pub const SCANNED_MAX: usize = 4096;
}

/// What a read found, in the order of sequences.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Events, and what is missing between them.
    pub steps: Vec<Step>,
    /// Everything wanted up to here is among them. Below the read's `up_to` the page was full, and there may be more.
    pub covered_to: u64,
}

/// One thing that a page tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// An event.
    Record(Record),
    /// Wanted events up to here are no longer kept, or cannot be read. Of several topics some may have events below it: those
    /// come before it.
    Lost {
        /// The last of them.
        up_to: u64,
        /// Why.
        reason: GapReason,
    },
}

impl Step {
    /// Where it stands.
    pub fn sequence(&self) -> u64 {
        match self {
            Self::Record(record) => record.sequence,
            Self::Lost { up_to, .. } => *up_to,
        }
    }
}
