//! How long to stay away before the next attempt.

use std::time::Duration;

use crate::stream::jittered;

/// What a browser waits that was told nothing else, and what our servers say by default.
const RETRY: Duration = Duration::from_secs(3);
/// A server that says `retry: 0` and ends every stream must not make us spin.
const RETRY_MIN: Duration = Duration::from_millis(50);
/// The longest that a server may send us away for.
const RETRY_MAX: Duration = Duration::from_secs(24 * 3600);
/// Failed attempts lengthen the wait up to here, unless the server asks for more.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// So that many who were cut together do not return together.
const JITTER: f64 = 0.25;

/// The waits between attempts: what the server asks for after a cut, then twice as long after each failure.
#[derive(Debug)]
pub(super) struct Backoff {
    retry: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { retry: RETRY, failures: 0 }
    }

    /// The server has said `retry:`.
    pub(super) fn set_retry(&mut self, retry: Duration) {
        self.retry = retry.clamp(RETRY_MIN, RETRY_MAX);
    }

    /// The stream is open again.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// The wait before the first attempt after a cut: exactly what the server asked for, which has its jitter already.
    pub(super) fn after_cut(&self) -> Duration {
        self.retry
    }

    /// The wait after a failed attempt, no shorter than the server asked for with it.
    pub(super) fn after_failure(&mut self, retry_after: Option<Duration>) -> Duration {
        self.failures += 1;
        let doubled = self.retry.saturating_mul(1 << self.failures.min(16)).min(WAIT_MAX).max(self.retry);
        jittered(doubled, JITTER).max(retry_after.unwrap_or_default().min(RETRY_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_double_the_wait_up_to_a_minute() {
        let mut backoff = Backoff::new();
        for expected in [6, 12, 24, 48, 60, 60] {
            let waited = backoff.after_failure(None).as_secs_f64() / f64::from(expected);
            assert!((0.75..=1.25).contains(&waited), "{waited} of {expected} s");
        }
        for _ in 0..100 {
            assert!(backoff.after_failure(None) <= WAIT_MAX.mul_f64(1.25));
        }
        backoff.succeeded();
        assert!(backoff.after_failure(None) <= RETRY * 2 * 5 / 4);
    }

    #[test]
    fn the_server_has_the_say() {
        let mut backoff = Backoff::new();
        backoff.set_retry(Duration::from_secs(300));
        assert_eq!(backoff.after_cut(), Duration::from_secs(300));
        assert!(backoff.after_failure(None) >= Duration::from_secs(225));
        backoff.set_retry(Duration::ZERO);
        assert_eq!(backoff.after_cut(), RETRY_MIN);
        assert_eq!(backoff.after_failure(Some(Duration::from_secs(7))), Duration::from_secs(7));
        backoff.set_retry(Duration::MAX);
        assert_eq!(backoff.after_cut(), RETRY_MAX);
    }
}
