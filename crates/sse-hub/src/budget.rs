//! The bytes that all rings together may hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A count of bytes with a bound.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    bytes_max: usize,
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { used: AtomicUsize::new(0), bytes_max }
    }

    /// Takes `bytes`, or takes nothing and says no.
    pub(crate) fn charge(&self, bytes: usize) -> bool {
        // A count and nothing else: no other memory is ordered by it.
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        if before + bytes <= self.bytes_max {
            return true;
        }
        self.release(bytes);
        false
    }

    pub(crate) fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }
}

/// Bytes given back when the last holder is gone.
#[derive(Debug)]
pub(crate) struct Charge {
    pub(crate) budget: Arc<Budget>,
    pub(crate) bytes: usize,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}
