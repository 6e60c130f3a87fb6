//! Who is too slow.

use std::time::Instant;

use crate::{Lag, LagBounds};

/// Watches one subscriber: it is too slow when it was over a bound, or below what is kept, for the whole grace and read less than
/// `LagBounds::bytes_max` in that time. One that keeps reading at that rate is never too slow, however large the burst.
///
/// The host asks now and then. A subscriber that was caught up in between starts anew: give it a new judge then.
#[derive(Debug, Clone, Copy, Default)]
pub struct LagJudge {
    /// Since when it is over a bound, and how much it had read by then.
    over: Option<(Instant, u64)>,
}

impl LagJudge {
    /// Whether the subscriber, now `lag` behind and having read `bytes_read` in all, is too slow.
    pub fn is_too_slow(&mut self, now: Instant, lag: Lag, bytes_read: u64, bounds: &LagBounds) -> bool {
        if !bounds.are_exceeded_by(lag) && !lag.lost {
            self.over = None;
            return false;
        }
        match self.over {
            Some((since, read_before)) if bytes_read.saturating_sub(read_before) < bounds.bytes_max => {
                now.saturating_duration_since(since) >= bounds.grace
            }
            _ => {
                self.over = Some((now, bytes_read));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::TopicPolicy;

    fn verdicts(steps: &[(u64, usize, u64)]) -> Vec<bool> {
        let (start, bounds) = (Instant::now(), TopicPolicy::default().lag);
        let mut judge = LagJudge::default();
        let verdict = |&(millis, frames, bytes_read): &(u64, usize, u64)| {
            judge.is_too_slow(
                start + Duration::from_millis(millis),
                Lag { frames, ..Lag::default() },
                bytes_read,
                &bounds,
            )
        };
        steps.iter().map(verdict).collect()
    }

    #[test]
    fn grace_ends_for_those_who_do_not_read() {
        assert_eq!(verdicts(&[(0, 257, 0), (2900, 300, 0), (3000, 300, 0)]), [false, false, true]);
        assert_eq!(verdicts(&[(0, 257, 0), (3000, 400, (4 << 20) - 1)]), [false, true]);
    }

    #[test]
    fn reading_on_or_catching_up_starts_anew() {
        assert_eq!(
            verdicts(&[(0, 5000, 0), (3000, 5000, 4 << 20), (5900, 5000, 5 << 20), (6000, 9, 6 << 20)]),
            [false; 4]
        );
        assert_eq!(verdicts(&[(0, 257, 0), (2000, 256, 0), (3500, 257, 0), (6400, 257, 0)]), [false; 4]);
    }

    #[test]
    fn bytes_and_losses_count_as_frames_do() {
        let bounds = TopicPolicy::default().lag;
        let start = Instant::now();
        let lags = [Lag { frames: 5, bytes: (4 << 20) + 1, lost: false }, Lag { frames: 1, bytes: 9, lost: true }];
        for lag in lags {
            let mut judge = LagJudge::default();
            assert!(!judge.is_too_slow(start, lag, 0, &bounds));
            assert!(judge.is_too_slow(start + Duration::from_secs(3), lag, 0, &bounds));
        }
    }
}
