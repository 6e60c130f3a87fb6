//! What a subscriber's read comes to.

use crate::{EvictReason, GapReason};

#[derive(Debug)]
pub(crate) enum Read {
    /// Something was added to the batch.
    Frames,
    /// The last thing to come was added to the batch: the topic's end, or the last topic's.
    Ended,
    /// Nothing is left, and the waker is armed.
    CaughtUp,
    /// Frames are lost to this subscriber.
    Gap(Missed),
    /// Frames after this sequence are gone from the rings, and the log has them.
    Below(u64),
    /// The gap that was known when it joined is reached.
    StartGap,
    /// The subscription is over.
    Evicted(EvictReason),
}

/// Frames that a reader's cursor had to pass over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Missed {
    /// Where the reader stood.
    pub(crate) from: u64,
    pub(crate) resumed_after: u64,
    pub(crate) reason: GapReason,
}
