//! Reading what the rings no longer hold: from a log, or from the engine that several nodes share.
//!
//! The hub starts no threads: its host runs [`Hub::serve_log_read`](crate::Hub::serve_log_read) on a few. Loom's models do not
//! come here; shuttle's do.

mod reads;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use reads::Reads;
pub(crate) use reads::{Found, PageShare, ReadSlot, Wish};

use crate::log::History;
use crate::sync::{AtomicU64, Condvar, Mutex, Ordering};

/// A history, and the subscribers that wait for pages of it.
#[derive(Debug)]
pub(crate) struct Archive {
    history: Arc<dyn History>,
    pub(crate) reads: Reads,
    /// Everything up to here can be read.
    written: AtomicU64,
    written_news: (Mutex<()>, Condvar),
    /// Nothing is written any more.
    has_failed: AtomicBool,
}

/// Only with [`Durability::Memory`](crate::Durability::Memory) are events delivered before they are written, and then for the
/// time of one write.
const WRITTEN_WAIT: Duration = Duration::from_millis(100);

impl Archive {
    /// A history of which everything up to `written` can be read; subscribers' pages have at most so many bytes together.
    pub(crate) fn new(history: Arc<dyn History>, written: u64, replay_bytes_max: usize) -> Self {
        Self {
            history,
            reads: Reads::new(replay_bytes_max),
            written: AtomicU64::new(written),
            written_news: (Mutex::new(()), Condvar::new()),
            has_failed: AtomicBool::new(false),
        }
    }

    /// Everything up to here can be read.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    pub(crate) fn note_written(&self, sequence: u64) {
        self.written.fetch_max(sequence, Ordering::AcqRel);
        drop(self.written_news.0.lock());
        self.written_news.1.notify_all();
    }

    /// Nothing more will be written.
    pub(crate) fn note_failed(&self) {
        self.has_failed.store(true, Ordering::Release);
    }

    fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }

    /// Waits a moment until `sequence` can be read.
    fn await_written(&self, sequence: u64) {
        let mut guard = self.written_news.0.lock();
        if self.written() < sequence {
            self.written_news.1.wait_for(&mut guard, WRITTEN_WAIT);
        }
    }
}
