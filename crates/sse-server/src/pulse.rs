//! How long ago a thread came round: one that hangs in a call to the system cannot tell of it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Pulse {
    began_at: Instant,
    /// Milliseconds since then.
    beat_at: AtomicU64,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self { began_at: Instant::now(), beat_at: AtomicU64::new(0) }
    }

    /// The thread comes round.
    pub(crate) fn beat(&self) {
        self.beat_at.store(self.began_at.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// Since it did.
    pub(crate) fn age(&self) -> Duration {
        self.began_at.elapsed().saturating_sub(Duration::from_millis(self.beat_at.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ages_until_the_next_beat() {
        let pulse = Pulse { began_at: Instant::now() - Duration::from_secs(60), beat_at: AtomicU64::new(0) };
        assert!(pulse.age() >= Duration::from_secs(60));
        pulse.beat();
        assert!(pulse.age() < Duration::from_secs(30));
    }
}
