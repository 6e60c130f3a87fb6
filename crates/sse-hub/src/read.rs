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

/// What comes next for a host that gives a subscriber the frames of its one topic's ring itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// The ring has something after this position, be it only what the subscriber may not see.
    InRing {
        /// Where the subscriber stands.
        after: u64,
    },
    /// Something else, which [`poll_delivery`](crate::Subscription::poll_delivery) brings: a gap, what only the log has, the
    /// end.
    Delivery,
}
