//! Publishing through a log: what is accepted waits in one queue, and one committer numbers, writes and delivers it.
//!
//! The hub starts no threads: its host runs the [`Committer`] on one, and [`Hub::serve_log_read`](crate::Hub::serve_log_read)
//! on a few others. Loom's models do not come here; shuttle's do.

mod committer;
mod queue;
mod reads;
mod submission;

use std::sync::Arc;

pub use committer::{Commit, Committer};
pub(crate) use queue::{Chain, Pending, Queue};
pub(crate) use reads::{Found, PageShare, ReadSlot, Reads, Wish};
pub(crate) use submission::Answer;
pub use submission::Submission;

use crate::log::{Durability, Log};
use crate::sync::{AtomicU64, Condvar, Mutex, Ordering};

/// What a hub with a log has beyond one without.
#[derive(Debug)]
pub(crate) struct Durable {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) durability: Durability,
    pub(crate) queue: Queue,
    pub(crate) reads: Reads,
    /// Everything up to here is in the log.
    written: AtomicU64,
    written_news: (Mutex<()>, Condvar),
}

impl Durable {
    pub(crate) fn new(log: Arc<dyn Log>, durability: Durability, newest: u64, bounds: &DurableBounds) -> Self {
        Self {
            log,
            durability,
            queue: Queue::new(bounds.queue_bytes_max),
            reads: Reads::new(bounds.replay_bytes_max),
            written: AtomicU64::new(newest),
            written_news: (Mutex::new(()), Condvar::new()),
        }
    }

    /// Everything up to here is in the log.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    fn note_written(&self, sequence: u64) {
        self.written.fetch_max(sequence, Ordering::AcqRel);
        drop(self.written_news.0.lock());
        self.written_news.1.notify_all();
    }

    /// Waits a moment for the log to hold `sequence`.
    fn await_written(&self, sequence: u64) {
        let mut guard = self.written_news.0.lock();
        if self.written() < sequence {
            self.written_news.1.wait_for(&mut guard, WRITTEN_WAIT);
        }
    }
}

/// Only with [`Durability::Memory`] are events delivered before they are written, and then for the time of one write.
const WRITTEN_WAIT: std::time::Duration = std::time::Duration::from_millis(100);

/// What a log's host may keep in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DurableBounds {
    /// Bytes of events that wait to be committed.
    pub(crate) queue_bytes_max: usize,
    /// Bytes of pages that were read for subscribers.
    pub(crate) replay_bytes_max: usize,
}
