//! Publishers that try again: a key names one event, however often it comes.

use std::collections::{HashMap, VecDeque};

use crate::{PublishError, Receipt};

/// A publisher's name for one event, so that a retry does not publish it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The key, as the host has hashed it.
    pub key: [u8; 16],
    /// A hash of what is published with it: with another, it is no retry.
    pub fingerprint: [u8; 16],
}

/// The keys of the last while, bounded in number: the oldest are forgotten first.
#[derive(Debug)]
pub(crate) struct Keys {
    known: HashMap<[u8; 16], Known, ahash::RandomState>,
    /// In the order they came, with the tick they came at.
    order: VecDeque<([u8; 16], u32)>,
    keys_max: usize,
}

#[derive(Debug, Clone)]
struct Known {
    fingerprint: [u8; 16],
    receipt: Receipt,
}

impl Keys {
    pub(crate) fn new(keys_max: usize) -> Self {
        Self { known: HashMap::default(), order: VecDeque::new(), keys_max }
    }

    /// What was published with this key, if anything was.
    ///
    /// # Errors
    /// [`PublishError::KeyReused`] if that was something else.
    pub(crate) fn find(&self, key: &IdempotencyKey) -> Result<Option<Receipt>, PublishError> {
        match self.known.get(&key.key) {
            Some(known) if known.fingerprint != key.fingerprint => Err(PublishError::KeyReused),
            known => Ok(known.map(|known| known.receipt.clone())),
        }
    }

    pub(crate) fn remember(&mut self, key: IdempotencyKey, receipt: Receipt, tick: u32) {
        while self.order.len() >= self.keys_max {
            self.forget_oldest();
        }
        self.known.insert(key.key, Known { fingerprint: key.fingerprint, receipt });
        self.order.push_back((key.key, tick));
    }

    /// All of them, oldest first, with the ticks they came at.
    pub(crate) fn all(&self) -> Vec<(IdempotencyKey, Receipt, u32)> {
        let whole = |(key, tick): &([u8; 16], u32)| {
            let known = self.known.get(key)?;
            Some((IdempotencyKey { key: *key, fingerprint: known.fingerprint }, known.receipt.clone(), *tick))
        };
        self.order.iter().filter_map(whole).collect()
    }

    /// Forgets what came before `tick`.
    pub(crate) fn forget_before(&mut self, tick: u32) {
        while self.order.front().is_some_and(|(_, came)| *came < tick) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((key, _)) = self.order.pop_front() {
            self.known.remove(&key);
        }
    }
}
