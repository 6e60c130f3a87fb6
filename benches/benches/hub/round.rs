//! One event's way to all of its readers: done when the last one has read it.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

#[derive(Default)]
pub(crate) struct Round {
    left: AtomicUsize,
    over: Notify,
}

impl Round {
    pub(crate) fn start(&self, readers: usize) {
        self.left.store(readers, Ordering::Release);
    }

    /// A reader has its frame.
    pub(crate) fn read(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.over.notify_one();
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    pub(crate) async fn over(&self) {
        self.over.notified().await;
    }
}
