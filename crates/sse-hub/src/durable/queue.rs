//! What waits to be committed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sse_wire::FrameDraft;

use super::Answer;
use crate::sync::{Condvar, Mutex};
use crate::{Publication, PublishError};

/// Events in the order they came, bounded in bytes.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    news: Condvar,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    pending: VecDeque<Pending>,
    bytes: usize,
    /// Whoever waits is to look around.
    is_nudged: bool,
    /// Why nothing more is taken.
    closed: Option<Closed>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Closed {
    /// The host is stopping; what waits is still committed.
    Stopped,
    /// The log failed.
    Failed,
}

/// One event that was accepted, or only its place in the order.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are events")]
pub(crate) enum Pending {
    Event { publication: Publication, draft: FrameDraft, answer: Arc<Answer>, chain: Option<Arc<Chain>> },
    Skip,
}

/// Events that are published in their order, up to the first that is refused.
#[derive(Debug, Default)]
pub(crate) struct Chain(AtomicBool);

impl Chain {
    pub(crate) fn is_broken(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn break_off(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What one more entry costs beyond its frame.
const OVERHEAD: usize = 256;

impl Pending {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Event { draft, .. } => draft.chunk_len() + OVERHEAD,
            Self::Skip => OVERHEAD,
        }
    }
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { waiting: Mutex::default(), news: Condvar::new(), bytes_max }
    }

    pub(crate) fn push(&self, pending: Pending) -> Result<(), PublishError> {
        let bytes = pending.bytes();
        let mut waiting = self.waiting.lock();
        match waiting.closed {
            Some(Closed::Stopped) => return Err(PublishError::LogStopped),
            Some(Closed::Failed) => return Err(PublishError::LogFailed),
            None => (),
        }
        // One event goes in however large it is.
        if waiting.bytes + bytes > self.bytes_max && !waiting.pending.is_empty() {
            return Err(PublishError::LogBusy { bytes_max: self.bytes_max });
        }
        waiting.bytes += bytes;
        waiting.pending.push_back(pending);
        drop(waiting);
        self.news.notify_one();
        Ok(())
    }

    /// Takes what fits a batch, at least one entry if there is one.
    pub(super) fn take(&self, events_max: usize, bytes_max: usize) -> Vec<Pending> {
        let mut waiting = self.waiting.lock();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while let Some(next) = waiting.pending.front() {
            let more = next.bytes();
            if !taken.is_empty() && (taken.len() >= events_max || bytes + more > bytes_max) {
                break;
            }
            bytes += more;
            taken.extend(waiting.pending.pop_front());
        }
        waiting.bytes -= bytes;
        taken
    }

    /// Waits for entries, a nudge or the end.
    pub(super) fn wait(&self, timeout: Duration) {
        let mut waiting = self.waiting.lock();
        if waiting.pending.is_empty() && waiting.closed.is_none() && !waiting.is_nudged {
            self.news.wait_for(&mut waiting, timeout);
        }
        waiting.is_nudged = false;
    }

    /// Ends the wait that is under way, or the next one.
    pub(crate) fn nudge(&self) {
        self.waiting.lock().is_nudged = true;
        self.news.notify_all();
    }

    /// Takes no more; what waits is still committed.
    pub(crate) fn stop(&self) {
        self.close(Closed::Stopped);
    }

    /// Takes no more, and gives back what waits.
    pub(super) fn fail(&self) -> VecDeque<Pending> {
        self.close(Closed::Failed);
        let mut waiting = self.waiting.lock();
        waiting.bytes = 0;
        std::mem::take(&mut waiting.pending)
    }

    fn close(&self, closed: Closed) {
        let mut waiting = self.waiting.lock();
        if waiting.closed != Some(Closed::Failed) {
            waiting.closed = Some(closed);
        }
        drop(waiting);
        self.news.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.waiting.lock().closed.is_some()
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.waiting.lock().closed == Some(Closed::Failed)
    }
}
