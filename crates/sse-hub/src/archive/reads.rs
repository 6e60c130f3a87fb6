//! Pages of a history on their way to subscribers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use sse_wire::EventId;

use super::Archive;
use crate::log::{LogRead, Page, Record, Step};
use crate::sync::{Condvar, Mutex};
use crate::{GapReason, Selector};

/// What subscribers wait for: at most one thing each. The bytes of pages that were read and not delivered yet are bounded:
/// then nobody's page is read until somebody has taken his.
#[derive(Debug)]
pub(crate) struct Reads {
    state: Mutex<State>,
    news: Condvar,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<(Wish, Arc<ReadSlot>)>,
    /// With so many jobs those of subscribers that are gone are looked for.
    jobs_to_purge: usize,
    /// Of pages that are read or were.
    bytes: usize,
    is_stopped: bool,
}

/// What a subscriber asks a log.
#[derive(Debug)]
pub(crate) enum Wish {
    /// The next page.
    Page { followed: Arc<[Selector]>, after: u64, up_to: u64 },
    /// The events that a publisher gave this id.
    Given { followed: Arc<[Selector]>, id: EventId },
}

/// Where the subscriber finds what it asked for.
#[derive(Debug, Default)]
pub(crate) struct ReadSlot(Mutex<Slot>);

#[derive(Debug, Default)]
struct Slot {
    found: Option<Found>,
    waker: Option<Waker>,
}

/// What a log has answered.
#[derive(Debug)]
pub(crate) enum Found {
    Page(Page, PageShare),
    Given(Vec<Record>),
}

/// A page's part of the bound, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct PageShare {
    archive: Arc<Archive>,
    bytes: usize,
}

impl Drop for PageShare {
    fn drop(&mut self) {
        self.archive.reads.state.lock().bytes -= self.bytes;
        self.archive.reads.news.notify_one();
    }
}

impl ReadSlot {
    /// What was found, or the waker is armed.
    pub(crate) fn poll(&self, waker: &Waker) -> Option<Found> {
        let mut slot = self.0.lock();
        let found = slot.found.take();
        if found.is_none() && !slot.waker.as_ref().is_some_and(|armed| armed.will_wake(waker)) {
            slot.waker = Some(waker.clone());
        }
        found
    }

    fn fill(&self, found: Found) {
        let waker = {
            let mut slot = self.0.lock();
            slot.found = Some(found);
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl State {
    /// Jobs of subscribers that are gone are no more than those of others, and [`JOBS_MIN`](Self::JOBS_MIN): somebody who comes
    /// and goes while nothing is read must not fill the memory.
    fn push(&mut self, wish: Wish, slot: Arc<ReadSlot>) {
        if self.jobs.len() >= self.jobs_to_purge.max(Self::JOBS_MIN) {
            self.jobs.retain(|(_, slot)| Arc::strong_count(slot) > 1);
            self.jobs_to_purge = 2 * self.jobs.len();
        }
        self.jobs.push_back((wish, slot));
    }

    const JOBS_MIN: usize = 64;
}

impl Reads {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { state: Mutex::default(), news: Condvar::new(), bytes_max }
    }

    /// Asks for something.
    pub(crate) fn ask(&self, wish: Wish) -> Arc<ReadSlot> {
        let slot = Arc::new(ReadSlot::default());
        self.state.lock().push(wish, slot.clone());
        self.news.notify_one();
        slot
    }

    pub(crate) fn stop(&self) {
        self.state.lock().is_stopped = true;
        self.news.notify_all();
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.state.lock().is_stopped
    }

    /// Takes the next job and the room for its page.
    fn take(&self, timeout: Duration) -> Option<(Wish, Arc<ReadSlot>)> {
        let mut state = self.state.lock();
        // One page is read however little room there is.
        let may_read = |state: &State| state.bytes == 0 || state.bytes + LogRead::BYTES_MAX <= self.bytes_max;
        if !state.is_stopped && (state.jobs.is_empty() || !may_read(&state)) {
            self.news.wait_for(&mut state, timeout);
        }
        while may_read(&state) {
            let (wish, slot) = state.jobs.pop_front()?;
            // Whoever asked may be gone.
            if Arc::strong_count(&slot) > 1 {
                state.bytes += LogRead::BYTES_MAX;
                return Some((wish, slot));
            }
        }
        None
    }
}

impl Archive {
    /// Reads for one subscriber; false if nobody asked within `timeout`.
    pub(crate) fn serve_read(self: &Arc<Self>, timeout: Duration) -> bool {
        let Some((wish, slot)) = self.reads.take(timeout) else { return false };
        let mut share = PageShare { archive: self.clone(), bytes: LogRead::BYTES_MAX };
        match wish {
            Wish::Page { followed, after, up_to } => {
                let page = self.read_page(&followed, after, up_to);
                share.settle(page_bytes(&page));
                slot.fill(Found::Page(page, share));
            }
            Wish::Given { followed, id } => {
                let mut records = self.history.find_given(&followed, &id).unwrap_or_else(|error| {
                    self.note_read_error(&error);
                    Vec::new()
                });
                // What a failed commit may have left was never published.
                records.retain(|record| record.sequence <= self.written());
                slot.fill(Found::Given(records));
            }
        }
        true
    }

    fn read_page(&self, followed: &[Selector], after: u64, up_to: u64) -> Page {
        if self.written() < up_to && !self.has_failed() {
            self.await_written(up_to);
        }
        let written = self.written().min(up_to);
        let lost = |up_to| Step::Lost { up_to, reason: GapReason::Damaged };
        let mut page = match written > after {
            false => Page { steps: Vec::new(), covered_to: after },
            // Said, rather than passed over: these events may be there and cannot be had.
            true => self.history.read(&LogRead { followed, after, up_to: written }).unwrap_or_else(|error| {
                self.note_read_error(&error);
                Page { steps: vec![Step::Lost { up_to: written, reason: error.gap_reason() }], covered_to: written }
            }),
        };
        if written < up_to && page.covered_to >= written && self.has_failed() {
            // What the log never got is lost with it.
            page.steps.push(lost(up_to));
            page.covered_to = up_to;
        }
        page
    }

    fn note_read_error(&self, _error: &crate::LogError) {
        metrics::counter!("sse_log_read_errors_total").increment(1);
    }
}

impl PageShare {
    /// The page turned out to have so many bytes.
    fn settle(&mut self, bytes: usize) {
        let mut state = self.archive.reads.state.lock();
        state.bytes = state.bytes + bytes - self.bytes;
        self.bytes = bytes;
        drop(state);
        self.archive.reads.news.notify_one();
    }
}

fn page_bytes(page: &Page) -> usize {
    let of_step = |step: &Step| match step {
        Step::Record(record) => record.frame.chunk().len() + size_of::<Step>(),
        Step::Lost { .. } => size_of::<Step>(),
    };
    page.steps.iter().map(of_step).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_of_those_who_left_do_not_pile_up() {
        let reads = Reads::new(0);
        let wish = || Wish::Page { followed: Arc::new([]), after: 0, up_to: 1 };
        let waiting: Vec<_> = (0..100).map(|_| reads.ask(wish())).collect();
        for _ in 0..10_000 {
            drop(reads.ask(wish()));
            assert!(reads.state.lock().jobs.len() <= 2 * waiting.len() + 1);
        }
    }
}
