//! Publishing through a log: what is accepted waits in one queue, and one committer numbers, writes and delivers it.
//!
//! The hub starts no threads: its host runs the [`Committer`] on one. Loom's models do not come here; shuttle's do.

mod committer;
mod queue;
mod submission;

use std::sync::Arc;

pub use committer::{Commit, Committer};
pub(crate) use queue::{Chain, Pending, Queue};
pub(crate) use submission::Answer;
pub use submission::Submission;

use crate::archive::Archive;
use crate::log::{Durability, Log};

/// What a hub with a log has beyond one without.
#[derive(Debug)]
pub(crate) struct Durable {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) durability: Durability,
    pub(crate) queue: Queue,
    /// Where subscribers read it.
    pub(crate) archive: Arc<Archive>,
}

impl Durable {
    /// A log of which at most so many bytes of events wait to be committed.
    pub(crate) fn new(
        log: Arc<dyn Log>,
        durability: Durability,
        archive: Arc<Archive>,
        queue_bytes_max: usize,
    ) -> Self {
        Self { log, durability, queue: Queue::new(queue_bytes_max), archive }
    }
}
