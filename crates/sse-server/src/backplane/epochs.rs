//! Which of an engine's entries belong to which history.
//!
//! An engine numbers its entries 1, 2, 3, .., and may lose its last ones, or all, and give their numbers again. What was
//! numbered since such a loss is another epoch. The list of epochs is a document in the engine, which nodes replace in turn;
//! a sequence is `base + number`, and each epoch's base is so far above all before that sequences rise for ever.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sse_hub::{Cursor, Epoch, GapReason, PastEpoch};

/// Most epochs that are remembered.
const EPOCHS_MAX: usize = 32;

/// One history of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SharedEpoch {
    name: String,
    base: u64,
    /// Its entries have higher numbers than this.
    after: u64,
}

/// All that are remembered, the oldest first; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SharedEpochs {
    v: u32,
    epochs: Vec<SharedEpoch>,
}

/// What a sequence stands for in the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind this entry; the epoch's entries are numbered up to `last`.
    Number { number: u64, last: u64, base: u64, epoch: Epoch },
    /// Nothing of its epoch is left behind it: what comes next begins behind this sequence.
    Lost { up_to: u64, reason: GapReason },
}

/// A document that no node can have written.
#[derive(Debug, thiserror::Error)]
#[error("the list of epochs in the backplane cannot be read: {0}")]
pub(super) struct EpochsError(String);

impl SharedEpochs {
    /// A history that begins with the first entry.
    pub(super) fn first(name: Epoch) -> Self {
        let base = micros_since_1970();
        Self { v: 1, epochs: vec![SharedEpoch { name: name.as_str().to_owned(), base, after: 0 }] }
    }

    /// Another that begins behind the entry `after`, with sequences above `newest`.
    #[must_use]
    pub(super) fn followed_by(&self, name: Epoch, after: u64, newest: u64) -> Self {
        let base = micros_since_1970().max(newest + 1);
        let mut epochs = self.epochs.clone();
        epochs.push(SharedEpoch { name: name.as_str().to_owned(), base, after });
        epochs.drain(..epochs.len().saturating_sub(EPOCHS_MAX));
        Self { v: 1, epochs }
    }

    pub(super) fn parse(document: &[u8]) -> Result<Self, EpochsError> {
        let epochs: Self = serde_json::from_slice(document).map_err(|error| EpochsError(error.to_string()))?;
        if epochs.v != 1 || epochs.epochs.is_empty() {
            return Err(EpochsError("it is of another version, or empty".to_owned()));
        }
        let is_good = |epoch: &SharedEpoch| {
            Epoch::parse(epoch.name.as_bytes()).is_some()
                && epoch.base.saturating_add(epoch.after) <= Cursor::SEQUENCE_MAX
        };
        match epochs.epochs.iter().find(|epoch| !is_good(epoch)) {
            Some(epoch) => Err(EpochsError(format!("{epoch:?} is none"))),
            None => Ok(epochs),
        }
    }

    pub(super) fn document(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers have a JSON form")
    }

    fn current(&self) -> &SharedEpoch {
        self.epochs.last().expect("there is one")
    }

    /// The entry behind which the present epoch begins.
    pub(super) fn begins_after(&self) -> u64 {
        self.current().after
    }

    /// Whether all that is to come lies above this sequence.
    pub(super) fn is_above(&self, sequence: u64) -> bool {
        self.current().begin() > sequence
    }

    pub(super) fn knows(&self, epoch: Epoch) -> bool {
        self.epochs.iter().any(|known| known.epoch() == epoch)
    }

    /// The sequence of an entry of the present epoch.
    pub(super) fn sequence(&self, number: u64) -> u64 {
        self.current().base + number
    }

    pub(super) fn cursor(&self, number: u64) -> Cursor {
        Cursor { epoch: self.current().epoch(), sequence: self.sequence(number) }
    }

    /// The same of an entry of any epoch that is remembered.
    pub(super) fn cursor_of_any(&self, number: u64) -> Cursor {
        let epoch = self.epochs.iter().rfind(|epoch| epoch.after < number).unwrap_or(self.current());
        Cursor { epoch: epoch.epoch(), sequence: epoch.base + number }
    }

    /// As a hub knows them.
    pub(super) fn for_hub(&self) -> sse_hub::Epochs {
        let past = self.epochs[..self.epochs.len() - 1].iter().enumerate();
        let past = past.map(|(index, epoch)| PastEpoch { epoch: epoch.epoch(), last: self.end(index) });
        sse_hub::Epochs::with_past(self.current().epoch(), past.collect()).beginning_after(self.current().begin())
    }

    /// The last sequence of a past epoch that the engine kept: a later loss may have reached back beyond its end.
    fn end(&self, index: usize) -> u64 {
        let kept = self.epochs[index + 1..].iter().map(|later| later.after).min().unwrap_or(u64::MAX);
        self.epochs[index].base + kept.max(self.epochs[index].after)
    }

    /// Where in the engine to read on behind this sequence.
    pub(super) fn place(&self, sequence: u64) -> Place {
        let Some(index) = self.epochs.iter().rposition(|epoch| epoch.begin() <= sequence) else {
            // Of what was before nothing is known, so nothing is kept.
            return Place::Lost { up_to: self.epochs[0].begin(), reason: GapReason::Trimmed };
        };
        let epoch = &self.epochs[index];
        let Some(next) = self.epochs.get(index + 1) else {
            return Place::Number {
                number: sequence - epoch.base,
                last: u64::MAX,
                base: epoch.base,
                epoch: epoch.epoch(),
            };
        };
        // What was acknowledged in an epoch's last moments may be lost to all: passing its end is always told.
        let end = self.end(index);
        if sequence >= end {
            return Place::Lost { up_to: next.begin(), reason: GapReason::Epoch };
        }
        let last = end - epoch.base;
        Place::Number { number: sequence - epoch.base, last, base: epoch.base, epoch: epoch.epoch() }
    }
}

impl SharedEpoch {
    fn epoch(&self) -> Epoch {
        Epoch::parse(self.name.as_bytes()).expect("it was checked when it was read")
    }

    /// The sequence behind which its events lie.
    fn begin(&self) -> u64 {
        self.base + self.after
    }
}

fn micros_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(n: u64) -> Epoch {
        Epoch::from_entropy(n)
    }

    fn list(epochs: &[(u64, u64, u64)]) -> SharedEpochs {
        let one = |&(n, base, after): &(u64, u64, u64)| SharedEpoch { name: epoch(n).as_str().to_owned(), base, after };
        SharedEpochs { v: 1, epochs: epochs.iter().map(one).collect() }
    }

    #[test]
    fn a_document_comes_back_as_it_was() {
        let first = SharedEpochs::first(epoch(1));
        let next = first.followed_by(epoch(2), 17, first.sequence(30));
        assert_eq!(SharedEpochs::parse(&next.document()).unwrap(), next);
        assert!(next.sequence(17) > first.sequence(30));
        for document in [
            &b"{}"[..],
            b"",
            br#"{"v":1,"epochs":[]}"#,
            br#"{"v":2,"epochs":[{"name":"aaaaaaaa","base":1,"after":0}]}"#,
            br#"{"v":1,"epochs":[{"name":"a","base":1,"after":0}]}"#,
            br#"{"v":1,"epochs":[{"name":"aaaaaaaa","base":18446744073709551615,"after":1}]}"#,
        ] {
            assert!(SharedEpochs::parse(document).is_err(), "{}", String::from_utf8_lossy(document));
        }
    }

    #[test]
    fn only_so_many_are_remembered() {
        let many = (0..100).fold(SharedEpochs::first(epoch(0)), |epochs, n| epochs.followed_by(epoch(n), n, n));
        assert_eq!(many.epochs.len(), EPOCHS_MAX);
    }

    #[test]
    fn a_sequence_has_a_place_in_its_epoch() {
        // 1..=30 were given, the engine kept 17, and numbers went on with 18.
        let epochs = list(&[(1, 1_000, 0), (2, 5_000, 17)]);
        let number = |number, last, base, n| Place::Number { number, last, base, epoch: epoch(n) };
        assert_eq!(epochs.place(999), Place::Lost { up_to: 1_000, reason: GapReason::Trimmed });
        assert_eq!(epochs.place(1_000), number(0, 17, 1_000, 1));
        assert_eq!(epochs.place(1_016), number(16, 17, 1_000, 1));
        for lost in [1_017, 1_030, 5_016] {
            assert_eq!(epochs.place(lost), Place::Lost { up_to: 5_017, reason: GapReason::Epoch }, "{lost}");
        }
        assert_eq!(epochs.place(5_017), number(17, u64::MAX, 5_000, 2));
        assert_eq!(epochs.cursor_of_any(17), Cursor { epoch: epoch(1), sequence: 1_017 });
        assert_eq!(epochs.cursor_of_any(18), epochs.cursor(18));
        let known = epochs.for_hub();
        assert_eq!((known.current(), known.past()), (epoch(2), &[PastEpoch { epoch: epoch(1), last: 1_017 }][..]));
    }

    #[test]
    fn an_engine_that_lost_all_begins_again() {
        let epochs = list(&[(1, 1_000, 0), (2, 5_000, 17), (3, 9_000, 0)]);
        // Of the second nothing is left, of the first neither: what has their numbers now is of the third.
        assert_eq!(epochs.place(1_010), Place::Lost { up_to: 5_017, reason: GapReason::Epoch });
        assert_eq!(epochs.place(5_017), Place::Lost { up_to: 9_000, reason: GapReason::Epoch });
        assert_eq!(epochs.place(9_000), Place::Number { number: 0, last: u64::MAX, base: 9_000, epoch: epoch(3) });
    }
}
