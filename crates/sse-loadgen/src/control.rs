//! What the threads of a run share: where the run stands, and a few counters.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::verify::Published;

/// Where a run stands; it only moves forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Streams are being opened.
    Ramp,
    /// Events are published, visitors come and go.
    Run,
    /// Nothing new happens; readers wait for what is still missing.
    Finish,
    /// Figures are taken; streams are closed and added up.
    Close,
}

/// Shared by reference between the threads of one run.
#[derive(Debug)]
pub(crate) struct Control {
    stage: AtomicU8,
    /// How many events were handed to the network, by topic. Counted before the request is written, so that a
    /// subscriber that reads it with its response head knows what it must get from there on.
    sent: Box<[AtomicU32]>,
    /// Streams that are open, visitors left out.
    pub(crate) opened: AtomicU64,
    /// Events that arrived, whatever their order.
    pub(crate) delivered: AtomicU64,
    /// Reader threads whose subscribers have everything.
    pub(crate) caught_up: AtomicUsize,
    published: OnceLock<Published>,
    failure: Mutex<Option<String>>,
}

impl Control {
    pub(crate) fn new(topics: u32) -> Self {
        Self {
            stage: AtomicU8::new(Stage::Ramp as u8),
            sent: (0..topics).map(|_| AtomicU32::new(0)).collect(),
            opened: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            caught_up: AtomicUsize::new(0),
            published: OnceLock::new(),
            failure: Mutex::new(None),
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Ramp,
            1 => Stage::Run,
            2 => Stage::Finish,
            _ => Stage::Close,
        }
    }

    pub(crate) fn enter(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::Release);
    }

    /// Publishing is over, and this is what it came to.
    pub(crate) fn finish(&self, published: Published) {
        let _ = self.published.set(published);
        self.enter(Stage::Finish);
    }

    /// What was published, from [`Stage::Finish`] on.
    pub(crate) fn published(&self) -> Option<&Published> {
        self.published.get()
    }

    /// Must come before the request is written. `SeqCst` as in [`Self::sent`]: the order that matters runs through
    /// sockets, and this is no hot path.
    pub(crate) fn sending(&self, topic: u32, sequence: u32) {
        self.sent[topic as usize].store(sequence + 1, Ordering::SeqCst);
    }

    pub(crate) fn sent(&self, topic: u32) -> u32 {
        self.sent[topic as usize].load(Ordering::SeqCst)
    }

    /// Gives up; the first reason is kept.
    pub(crate) fn fail(&self, reason: String) {
        self.failure.lock().get_or_insert(reason);
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.failure.lock().clone()
    }
}
