//! The histories that a log has seen.

use crate::{Cursor, Epoch};

/// The present epoch and those before it, each with its last sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epochs {
    current: Epoch,
    /// Its sequences are above this.
    begins_after: u64,
    /// The oldest first.
    past: Vec<PastEpoch>,
}

/// An epoch that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastEpoch {
    /// Its name.
    pub epoch: Epoch,
    /// The last sequence given in it that the log knows of.
    pub last: u64,
}

/// What a cursor says in a log's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// It names this position.
    At(u64),
    /// It is of an epoch that ended at this position, before it.
    Beyond(u64),
    /// It is of an epoch that nobody remembers.
    Not,
}

impl Epochs {
    /// Most epochs that are remembered; a cursor of an older one is of an unknown history.
    pub const PAST_MAX: usize = 1000;

    /// A history that begins.
    pub fn new(current: Epoch) -> Self {
        Self { current, begins_after: 0, past: Vec::new() }
    }

    /// One that goes on after others, the oldest first.
    pub fn with_past(current: Epoch, mut past: Vec<PastEpoch>) -> Self {
        past.drain(..past.len().saturating_sub(Self::PAST_MAX));
        let begins_after = past.last().map_or(0, |past| past.last);
        Self { current, begins_after, past }
    }

    /// The same, where sequences behind the last one that is left of the past were given as well, up to this one.
    #[must_use]
    pub fn beginning_after(self, sequence: u64) -> Self {
        Self { begins_after: sequence, ..self }
    }

    /// Begins another epoch; the present one ends with `last`.
    #[must_use]
    pub fn followed_by(self, next: Epoch, last: u64) -> Self {
        let mut past = self.past;
        past.push(PastEpoch { epoch: self.current, last });
        Self::with_past(next, past)
    }

    /// The present epoch.
    pub fn current(&self) -> Epoch {
        self.current
    }

    /// Those before, the oldest first.
    pub fn past(&self) -> &[PastEpoch] {
        &self.past
    }

    /// The position, in the words of those who had it live.
    pub(crate) fn cursor(&self, sequence: u64) -> Cursor {
        if sequence >= self.begins_after {
            return Cursor { epoch: self.current, sequence };
        }
        let past = self.past.iter().find(|past| sequence <= past.last).or(self.past.last());
        Cursor { epoch: past.map_or(self.current, |past| past.epoch), sequence }
    }

    /// What `cursor` says, when `newest` is the last sequence given out.
    pub(crate) fn look_up(&self, cursor: Cursor, newest: u64) -> Known {
        let last = if cursor.epoch == self.current {
            newest
        } else {
            match self.past.iter().rfind(|past| past.epoch == cursor.epoch) {
                Some(past) => past.last,
                None => return Known::Not,
            }
        };
        if cursor.sequence <= last { Known::At(cursor.sequence) } else { Known::Beyond(last) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(n: u64) -> Epoch {
        Epoch::from_entropy(n)
    }

    #[test]
    fn cursors_of_past_epochs_are_good_up_to_their_last_sequence() {
        let epochs = Epochs::new(epoch(1)).followed_by(epoch(2), 10).followed_by(epoch(3), 20);
        let known = |of, sequence| epochs.look_up(Cursor { epoch: epoch(of), sequence }, 25);
        assert_eq!(known(1, 10), Known::At(10));
        assert_eq!(known(1, 11), Known::Beyond(10));
        assert_eq!(known(2, 11), Known::At(11));
        assert_eq!(known(3, 25), Known::At(25));
        assert_eq!(known(3, 26), Known::Beyond(25));
        assert_eq!(known(4, 1), Known::Not);
    }

    #[test]
    fn a_position_bears_the_name_that_it_was_told_by() {
        let epochs = Epochs::new(epoch(1)).followed_by(epoch(2), 10).followed_by(epoch(3), 20).beginning_after(100);
        let names: Vec<_> = [5, 10, 11, 20, 21, 99, 100, 101].map(|sequence| epochs.cursor(sequence).epoch).into();
        assert_eq!(names, [1, 1, 2, 2, 2, 2, 3, 3].map(epoch));
        assert_eq!(Epochs::new(epoch(1)).cursor(0).epoch, epoch(1));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let many =
            (0..=Epochs::PAST_MAX as u64).fold(Epochs::new(epoch(0)), |epochs, n| epochs.followed_by(epoch(n + 1), n));
        assert_eq!(many.past().len(), Epochs::PAST_MAX);
        assert_eq!(many.look_up(Cursor { epoch: epoch(0), sequence: 0 }, 9), Known::Not);
    }
}
