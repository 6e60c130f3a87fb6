//! One origin of time for a run: every time in it is a number of nanoseconds since then.

use std::time::{Duration, Instant};

/// A monotonic clock that counts from the start of the run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Nanoseconds since the origin; enough for centuries.
    pub(crate) fn nanos(self) -> u64 {
        nanos(self.origin.elapsed())
    }

    /// How long to wait until `nanos`, nothing when it has passed.
    pub(crate) fn until(self, nanos: u64) -> Duration {
        Duration::from_nanos(nanos.saturating_sub(self.nanos()))
    }
}

/// A duration in nanoseconds, at most what fits.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
