//! How many compressors there may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::config::Config;
use crate::signals::Signals;

/// The places of all compressors. At the bound a lane goes without one, and new streams are not compressed.
#[derive(Debug)]
pub(crate) struct Compressors {
    max: usize,
    /// Streams that a lane has to have.
    pub(crate) riders_min: usize,
    taken: AtomicUsize,
    signals: Signals,
}

/// One compressor's place, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct CompressorPermit {
    compressors: Arc<Compressors>,
}

impl Compressors {
    pub(crate) fn new(config: &Config, signals: Signals) -> Arc<Self> {
        let (max, riders_min) = (config.compressors_max.get(), config.compression_followers_min.get());
        Arc::new(Self { max, riders_min, taken: AtomicUsize::new(0), signals })
    }

    #[cfg(test)]
    pub(super) fn of(max: usize) -> Arc<Self> {
        Arc::new(Self { max, riders_min: 8, taken: AtomicUsize::new(0), signals: Signals::new() })
    }

    /// Whether one more would have a place just now.
    pub(crate) fn has_room(&self) -> bool {
        self.taken.load(Ordering::Relaxed) < self.max
    }

    pub(crate) fn take(self: &Arc<Self>) -> Option<CompressorPermit> {
        let one_more = |taken| (taken < self.max).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        self.signals.compressor_made();
        Some(CompressorPermit { compressors: self.clone() })
    }
}

impl Drop for CompressorPermit {
    fn drop(&mut self) {
        self.compressors.taken.fetch_sub(1, Ordering::Relaxed);
        self.compressors.signals.compressor_gone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let compressors = Compressors::of(2);
        let (first, second) = (compressors.take(), compressors.take());
        assert!(first.is_some() && second.is_some() && compressors.take().is_none() && !compressors.has_room());
        drop(first);
        assert!(compressors.has_room() && compressors.take().is_some());
    }
}
