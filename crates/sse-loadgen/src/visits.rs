//! When visitors come and when they leave.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::nanos;

/// The churn of one reader thread: visitors at even intervals, each for the same time.
#[derive(Debug)]
pub(crate) struct Visits {
    /// Nanoseconds between two visitors; `None` when nobody comes.
    interval: Option<f64>,
    visit: u64,
    /// When the first came; the schedule counts from there.
    since: Option<u64>,
    count: u32,
    /// The number of the first visitor, so that threads begin at different topics.
    first: u32,
    /// Who is here, in the order of leaving.
    here: VecDeque<(u64, usize)>,
}

impl Visits {
    pub(crate) fn new(per_second: f64, visit: Duration, first: u32) -> Self {
        let interval = (per_second > 0.0).then(|| 1e9 / per_second);
        Self { interval, visit: nanos(visit), since: None, count: 0, first, here: VecDeque::new() }
    }

    pub(crate) fn is_none(&self) -> bool {
        self.interval.is_none()
    }

    /// The number of the next visitor, if it is due.
    pub(crate) fn coming(&mut self, now: u64) -> Option<u32> {
        let interval = self.interval?;
        let since = *self.since.get_or_insert(now);
        let due = since + (interval * f64::from(self.count)) as u64;
        if due > now {
            return None;
        }
        self.count += 1;
        Some(self.first.wrapping_add(self.count))
    }

    pub(crate) fn came(&mut self, key: usize, now: u64) {
        self.here.push_back((now + self.visit, key));
    }

    /// The next whose time is over.
    pub(crate) fn leaving(&mut self, now: u64) -> Option<usize> {
        self.here.pop_front_if(|(at, _)| *at <= now).map(|(_, key)| key)
    }

    /// One was sent away before its time.
    pub(crate) fn left(&mut self, key: usize) {
        self.here.retain(|(_, other)| *other != key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visitors_come_at_their_rate_and_leave_in_order() {
        let mut visits = Visits::new(100.0, Duration::from_millis(15), 0);
        let mut here = Vec::new();
        for now in (5..=45).map(|millis| millis * 1_000_000) {
            while let Some(key) = visits.leaving(now) {
                assert_eq!(here.remove(0), key);
            }
            while let Some(number) = visits.coming(now) {
                visits.came(number as usize, now);
                here.push(number as usize);
            }
        }
        assert_eq!(here, [4, 5], "came at 5, 15, 25, 35 and 45 ms; three have left");
        visits.left(5);
        assert_eq!(visits.leaving(u64::MAX), Some(4));
        assert_eq!(visits.leaving(u64::MAX), None);
        assert_eq!(Visits::new(0.0, Duration::ZERO, 0).coming(u64::MAX), None);
    }
}
