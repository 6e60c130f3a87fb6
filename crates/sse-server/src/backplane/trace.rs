//! What a node remembers of the entries it has read: enough to find out from where on an engine has other ones.

use std::collections::VecDeque;

/// Entries of the last while, each with its hash.
const RECENT_MAX: usize = 4096;
/// Of those before, one in so many is remembered.
const SAMPLE_EVERY: u64 = 1024;
/// Most of those.
const SAMPLES_MAX: usize = 4096;

/// Numbers with the hashes of their entries, rising.
#[derive(Debug, Default)]
pub(super) struct Trace {
    samples: VecDeque<(u64, u64)>,
    recent: VecDeque<(u64, u64)>,
}

impl Trace {
    /// The entry `number` was read, with this hash.
    pub(super) fn note(&mut self, number: u64, hash: u64) {
        if self.recent.len() == RECENT_MAX
            && let Some(old) = self.recent.pop_front()
            && (old.0 == 1 || old.0.is_multiple_of(SAMPLE_EVERY))
        {
            if self.samples.len() == SAMPLES_MAX {
                // The first of all is kept: it tells an engine that was emptied.
                self.samples.remove(1);
            }
            self.samples.push_back(old);
        }
        self.recent.push_back((number, hash));
    }

    /// Everything behind `number` was lost.
    pub(super) fn forget_after(&mut self, number: u64) {
        for entries in [&mut self.recent, &mut self.samples] {
            while entries.back().is_some_and(|(last, _)| *last > number) {
                entries.pop_back();
            }
        }
    }

    /// What is remembered of the entries `from..=to`, rising.
    pub(super) fn between(&self, from: u64, to: u64) -> Vec<(u64, u64)> {
        let all = self.samples.iter().chain(&self.recent);
        all.filter(|(number, _)| (from..=to).contains(number)).copied().collect()
    }

    /// The last entry remembered.
    pub(super) fn last(&self) -> Option<(u64, u64)> {
        self.recent.back().or(self.samples.back()).copied()
    }

    /// Whether every entry from this one on is remembered.
    pub(super) fn is_recent(&self, number: u64) -> bool {
        self.recent.front().is_some_and(|(first, _)| *first <= number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn much_is_remembered_of_what_is_recent_and_little_of_the_rest() {
        let mut trace = Trace::default();
        assert_eq!(trace.last(), None);
        (1..=20_000).for_each(|number| trace.note(number, number * 2));
        assert_eq!(trace.last(), Some((20_000, 40_000)));
        assert_eq!(trace.between(0, 3_000), [(1, 2), (1_024, 2_048), (2_048, 4_096)]);
        assert_eq!(trace.between(19_999, 30_000), [(19_999, 39_998), (20_000, 40_000)]);
        assert!(trace.is_recent(19_000) && !trace.is_recent(15_000));
        trace.forget_after(5_000);
        assert_eq!(trace.last(), Some((4_096, 8_192)));
        (0..10_000_000).for_each(|number| trace.note(number, 0));
        assert!(trace.recent.len() == RECENT_MAX && trace.samples.len() <= SAMPLES_MAX);
    }
}
