//! The one order of all events: the sequence counter and the shards' append locks.
//!
//! A publisher takes its sequence, appends and marks the followers while it holds the append locks of its topics' shards.
//! A reader of several topics loads the counter and then passes once through the lock of each shard it follows: whatever
//! was numbered below what it loaded is appended and marked by then, and whatever is appended later wakes it again.

use smallvec::SmallVec;

use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

#[derive(Debug)]
pub(crate) struct Order {
    /// The sequence that the next event gets.
    next: AtomicU64,
    append_locks: Box<[Mutex<()>]>,
}

/// The right to number events of some shards.
pub(crate) struct Appending<'a> {
    next: &'a AtomicU64,
    _locks: SmallVec<[MutexGuard<'a, ()>; 1]>,
}

impl Appending<'_> {
    /// Takes the next sequence.
    pub(crate) fn take_sequence(&self) -> u64 {
        // Released so that whoever loads a later count, acquiring, comes after this publisher's append lock was taken.
        self.next.fetch_add(1, Ordering::AcqRel)
    }
}

impl Order {
    /// The first event gets `first`.
    pub(crate) fn new(shards: usize, first: u64) -> Self {
        Self { next: AtomicU64::new(first), append_locks: (0..shards.max(1)).map(|_| Mutex::new(())).collect() }
    }

    pub(crate) fn shards(&self) -> usize {
        self.append_locks.len()
    }

    /// Locks `shards`, which are sorted and differ from each other: the lock order is the index order.
    pub(crate) fn enter(&self, shards: &[usize]) -> Appending<'_> {
        debug_assert!(shards.windows(2).all(|pair| pair[0] < pair[1]), "locks are taken in index order");
        let locks = shards.iter().map(|&shard| self.append_locks[shard].lock()).collect();
        Appending { next: &self.next, _locks: locks }
    }

    /// Gives no sequence up to `sequence` from now on: nobody has an event there, or it is in the rings.
    pub(crate) fn skip_to(&self, sequence: u64) {
        self.next.fetch_max(sequence + 1, Ordering::AcqRel);
    }

    /// The last sequence given; 0 before the first.
    pub(crate) fn newest(&self) -> u64 {
        self.next.load(Ordering::Acquire) - 1
    }

    /// The last sequence given, once everything up to it is appended and marked in `shards`.
    pub(crate) fn settled(&self, shards: &[usize]) -> u64 {
        let newest = self.newest();
        for &shard in shards {
            drop(self.append_locks[shard].lock());
        }
        newest
    }
}
