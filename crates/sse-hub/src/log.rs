//! Where events outlive the process: what a hub asks of a log.
//!
//! One thread appends, any number read. A log keeps events in the order of their sequences, finds those of a topic after a
//! cursor, and knows of each topic up to where its history was dropped. What it cannot read back it names.

#[cfg(feature = "disk")]
mod disk;
mod page;
mod record;

use std::fmt;

use sse_wire::EventId;

#[cfg(feature = "disk")]
pub use disk::{
    ClosedLog, DiskLog, DiskLogOptions, ExportHead, ExportedEvent, LogSummary, OpenLogError, Retained, Retention,
};
pub use page::{LogRead, Page, Step};
pub use record::{Record, RecordKind};

use crate::epochs::Epochs;
use crate::{GapReason, IdempotencyKey, Selector, TopicName};

/// What the rings no longer hold.
///
/// A hub calls it from its host's reading threads only: see [`Hub::serve_read`](crate::Hub::serve_log_read).
pub trait History: fmt::Debug + Send + Sync {
    /// Reads on: a bounded page of what is after a cursor.
    ///
    /// # Errors
    /// A [`LogError`]. Single records that cannot be read are no error but a [`Step::Lost`].
    fn read(&self, read: &LogRead<'_>) -> Result<Page, LogError>;

    /// The kept events that a publisher gave this id in a topic that one of these selects, the earliest first.
    ///
    /// # Errors
    /// A [`LogError`].
    fn find_given(&self, followed: &[Selector], id: &EventId) -> Result<Vec<Record>, LogError>;
}

/// A log of events.
///
/// A hub calls it from its host's log threads only, never from a publisher's or a subscriber's, except for
/// [`extent`](Self::extent), which must answer from memory.
pub trait Log: History {
    /// Appends records behind all others, their sequences rising: all of them or none. With [`SyncWhen::Now`] they are on the
    /// disk when this returns.
    ///
    /// # Errors
    /// [`LogError::Full`] if nothing was written and a later append may succeed; every other error means that it is not
    /// known what the disk holds, and the hub never appends again.
    fn append(&self, records: &[Record], sync: SyncWhen) -> Result<(), LogError>;

    /// Has everything appended so far on the disk.
    ///
    /// # Errors
    /// As [`append`](Self::append), but never [`LogError::Full`].
    fn sync(&self) -> Result<(), LogError>;

    /// Notes that the hub gives out sequences that it does not append: unless it is closed after it, the log has to be opened
    /// with a new epoch. Called once, before the first of them.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    fn note_unlogged(&self) -> Result<(), LogError>;

    /// What the log knows of a topic.
    fn extent(&self, topic: &TopicName) -> Extent;

    /// Notes that nothing follows and that `newest` is the last sequence given: the next start may go on with the same epoch.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    fn close(&self, newest: u64) -> Result<(), LogError>;
}

/// When an append is to be on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncWhen {
    /// Before it returns.
    Now,
    /// With a later [`Log::sync`].
    Later,
}

/// What a log knows of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// The sequence of its last event, kept or not; 0 if it never had one.
    pub newest: u64,
    /// The highest sequence of its events that are no longer kept; 0 if none was dropped.
    pub trimmed_to: u64,
    /// Whether both are this topic's own: otherwise the topic was forgotten, and they stand for every forgotten one.
    pub exact: bool,
}

/// What a log held when it was opened.
#[derive(Debug)]
pub struct LogContents {
    /// Its histories, with the one that the hub goes on with or begins.
    pub epochs: Epochs,
    /// The last sequence of all that were given; 0 before the first.
    pub newest: u64,
    /// Topics that were closed and are still to be known as such.
    pub closed: Vec<TopicName>,
    /// The idempotency keys of the last while, the oldest first.
    pub keys: Vec<KeptKey>,
    /// Something was damaged: whoever comes back from before is told of a loss.
    pub is_damaged: bool,
    /// Bytes at the end that were dropped, as they belong to a commit that was never completed.
    pub incomplete_bytes: u64,
}

/// A key with the event that was published with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptKey {
    /// The key.
    pub key: IdempotencyKey,
    /// The event's id.
    pub id: EventId,
    /// Its sequence.
    pub sequence: u64,
}

/// Why a log did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// There is no room for it just now.
    #[error("there is no room for it on the disk")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The storage failed.
    #[error("the log failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The engine that several nodes share cannot be asked just now.
    #[error("the backplane is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl LogError {
    /// Why a subscriber misses what could not be read for it.
    pub(crate) fn gap_reason(&self) -> GapReason {
        match self {
            Self::Unavailable(_) => GapReason::Unknown,
            Self::Full(_) | Self::Failed(_) => GapReason::Damaged,
        }
    }
}

/// What an acknowledged publish stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The event is in memory; with a log, on its way there.
    #[default]
    Memory,
    /// It was written, and is synced within the host's interval.
    Interval,
    /// It is on the disk.
    Fsync,
    /// The engine that several nodes share has it.
    Backplane,
}

impl Durability {
    /// The word that answers carry.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Interval => "interval",
            Self::Fsync => "fsync",
            Self::Backplane => "backplane",
        }
    }
}
