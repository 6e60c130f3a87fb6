//! Publishers that wait for the engine, by the nonces of their entries.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sse_hub::{Cursor, Promise, PublishError};

/// How long an event that the engine has taken may be on its way back. Then its publisher is answered all the same: it is
/// kept, and numbered.
const RETURN_WITHIN: Duration = Duration::from_secs(2);

/// How long it may be on its way while the engine is away.
const AWAY_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(super) struct Pending(Mutex<HashMap<u64, Waiting, ahash::RandomState>>);

#[derive(Debug)]
struct Waiting {
    promise: Promise,
    /// The engine has taken it, there and then.
    taken: Option<(Cursor, Instant)>,
}

impl Pending {
    /// The entry is about to leave.
    pub(super) fn expect(&self, nonce: u64, promise: Promise) {
        self.0.lock().insert(nonce, Waiting { promise, taken: None });
    }

    /// When the publisher of this entry began, if it is one of this node's.
    pub(super) fn began_at(&self, nonce: u64) -> Option<Instant> {
        self.0.lock().get(&nonce)?.promise.began_at
    }

    /// The engine has it; its publisher hears of it when it has come back.
    pub(super) fn taken(&self, nonce: u64, cursor: Cursor) {
        if let Some(waiting) = self.0.lock().get_mut(&nonce) {
            waiting.taken = Some((cursor, Instant::now()));
        }
    }

    /// It has come back, or had come before: this is what became of it.
    pub(super) fn settle(&self, nonce: u64, outcome: Result<Cursor, PublishError>) {
        let Some(waiting) = self.0.lock().remove(&nonce) else { return };
        match outcome {
            Ok(cursor) => waiting.promise.keep(cursor),
            Err(error) => waiting.promise.break_with(error),
        }
    }

    /// The engine has lost its last entries, or all: what it took and has not given back may be among them.
    pub(super) fn distrust(&self) {
        self.take_taken(|_| true).for_each(|(promise, _)| promise.break_with(PublishError::BackplaneDown));
    }

    /// Gives up those that wait for an engine that is away.
    pub(super) fn distrust_overdue(&self, now: Instant) {
        let overdue = self.take_taken(|at| now - at >= AWAY_WITHIN);
        overdue.for_each(|(promise, _)| promise.break_with(PublishError::BackplaneDown));
    }

    /// Answers those whose entries should have come back by now.
    pub(super) fn settle_overdue(&self, now: Instant) {
        self.take_taken(|at| now - at >= RETURN_WITHIN).for_each(|(promise, cursor)| promise.keep(cursor));
    }

    /// Those that the engine took at such a time.
    fn take_taken(&self, at: impl Fn(Instant) -> bool) -> impl Iterator<Item = (Promise, Cursor)> {
        let is_wanted = |waiting: &Waiting| waiting.taken.is_some_and(|(_, taken_at)| at(taken_at));
        let wanted: Vec<_> = self.0.lock().extract_if(|_, waiting| is_wanted(waiting)).collect();
        wanted.into_iter().filter_map(|(_, Waiting { promise, taken })| Some((promise, taken?.0)))
    }
}
