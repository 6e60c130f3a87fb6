//! How many of something each client has.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::Exceeded;

/// Counts by key. A key is there for as long as something of it is counted, so there are never more than connections.
#[derive(Debug)]
pub(crate) struct Tally<K: Hash + Eq> {
    counts: Mutex<HashMap<K, usize, ahash::RandomState>>,
    max: AtomicUsize,
    surplus_max: usize,
}

/// What one more comes to.
#[derive(Debug)]
pub(crate) enum Entry<K: Hash + Eq> {
    Within(TallyPermit<K>),
    /// Above the bound, among the few that are counted all the same.
    Surplus(TallyPermit<K>),
    Refused,
}

/// One of those counted; dropping it takes it off.
#[derive(Debug)]
pub(crate) struct TallyPermit<K: Hash + Eq> {
    tally: Arc<Tally<K>>,
    key: K,
}

impl<K: Hash + Eq + Clone> Tally<K> {
    /// At most `max` for each key, and `surplus_max` more that learn of it.
    pub(crate) fn new(max: usize, surplus_max: usize) -> Arc<Self> {
        Arc::new(Self { counts: Mutex::default(), max: max.into(), surplus_max })
    }

    /// Sets another bound. Whoever is above it stays.
    pub(super) fn bound(&self, max: usize) {
        self.max.store(max, Ordering::Relaxed);
    }

    pub(crate) fn enter(self: &Arc<Self>, key: K) -> Entry<K> {
        let max = self.max.load(Ordering::Relaxed);
        let before = {
            let mut counts = self.counts.lock();
            let count = counts.entry(key.clone()).or_insert(0);
            if *count >= max.saturating_add(self.surplus_max) {
                return Entry::Refused;
            }
            *count += 1;
            *count - 1
        };
        let permit = TallyPermit { tally: self.clone(), key };
        if before < max { Entry::Within(permit) } else { Entry::Surplus(permit) }
    }

    /// Counts one that is there already, whatever the bound.
    pub(super) fn adopt(self: &Arc<Self>, key: K) -> TallyPermit<K> {
        *self.counts.lock().entry(key.clone()).or_insert(0) += 1;
        TallyPermit { tally: self.clone(), key }
    }
}

impl<K: Hash + Eq> Entry<K> {
    /// The permit of one within its bound.
    pub(super) fn within(self, exceeded: Exceeded) -> Result<TallyPermit<K>, Exceeded> {
        match self {
            Self::Within(permit) => Ok(permit),
            Self::Surplus(_) | Self::Refused => Err(exceeded),
        }
    }
}

impl<K: Hash + Eq> Drop for TallyPermit<K> {
    fn drop(&mut self) {
        let mut counts = self.tally.counts.lock();
        let Some(count) = counts.get_mut(&self.key) else { return };
        *count -= 1;
        if *count == 0 {
            counts.remove(&self.key);
        }
        if counts.is_empty() {
            *counts = HashMap::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_own_bound() {
        let tally = Tally::new(2, 1);
        let mut permits = Vec::new();
        for _ in 0..2 {
            let Entry::Within(permit) = tally.enter("a") else { panic!("within the bound") };
            permits.push(permit);
        }
        let Entry::Surplus(surplus) = tally.enter("a") else { panic!("above the bound") };
        assert!(matches!(tally.enter("a"), Entry::Refused));
        assert!(matches!(tally.enter("b"), Entry::Within(_)));
        drop(surplus);
        permits.pop();
        assert!(matches!(tally.enter("a"), Entry::Within(_)));
        permits.extend([tally.adopt("a"), tally.adopt("a")]);
        assert!(matches!(tally.enter("a"), Entry::Refused), "those that were there already are counted");
        permits.clear();
        assert!(tally.counts.lock().is_empty());
    }
}
