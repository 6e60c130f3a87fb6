//! Whether every event came once and in order, for each subscriber on its own.

/// How many separate holes one subscriber's record keeps; what is lost beyond them is only counted.
const HOLES_MAX: usize = 256;

/// One subscriber's record. It is small while nothing is wrong, for there is one for every stream.
#[derive(Debug)]
pub(crate) struct Check {
    slots: Box<[Slot]>,
    holes: Vec<Hole>,
    holes_untracked: u64,
    last_id: Option<Position>,
}

/// What is known of one topic.
#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    /// The sequence that must come next.
    next: u32,
    /// Whether an event has come. Until then an earlier one may: it was on its way when the stream opened.
    seen: bool,
}

/// Events that were passed over and have not come since, `from..to` of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hole {
    pub(crate) topic: u32,
    pub(crate) from: u32,
    pub(crate) to: u32,
}

/// How an event stands to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Next,
    /// Events before it are missing so far.
    AfterHole,
    /// One that was missing, too late.
    Late,
    Repeated,
}

/// How an id stands to the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdOrder {
    Rising,
    NotRising,
    /// The history changed its name.
    OtherEpoch,
    /// A form without a known order.
    Unknown,
}

impl Check {
    /// A record for a stream over some topics, each of which must bring what follows the number `required` gives.
    pub(crate) fn new(required: impl Iterator<Item = u32>) -> Self {
        let slots = required.map(|next| Slot { next, seen: false }).collect();
        Self { slots, holes: Vec::new(), holes_untracked: 0, last_id: None }
    }

    /// An event of the topic in `slot` has come.
    pub(crate) fn event(&mut self, slot: usize, topic: u32, sequence: u32) -> Order {
        let state = &mut self.slots[slot];
        let next = state.next;
        let first = !std::mem::replace(&mut state.seen, true);
        if sequence == next || (first && sequence < next) {
            state.next = sequence.saturating_add(1);
            Order::Next
        } else if sequence > next {
            state.next = sequence.saturating_add(1);
            self.add_hole(Hole { topic, from: next, to: sequence });
            Order::AfterHole
        } else if self.fill(topic, sequence) {
            Order::Late
        } else {
            Order::Repeated
        }
    }

    /// An event's own id has come.
    pub(crate) fn id(&mut self, id: &str) -> IdOrder {
        let Some(position) = Position::parse(id) else { return IdOrder::Unknown };
        match self.last_id.replace(position) {
            Some(last) if last.epoch != position.epoch => IdOrder::OtherEpoch,
            Some(last) if last.sequence >= position.sequence => IdOrder::NotRising,
            _ => IdOrder::Rising,
        }
    }

    /// Whether the last event of every topic has come; `expected` gives how many each topic had.
    pub(crate) fn caught_up(&self, expected: impl Iterator<Item = u32>) -> bool {
        self.slots.iter().zip(expected).all(|(slot, expected)| slot.next >= expected)
    }

    /// What has not come, up to the last event seen of each topic.
    pub(crate) fn into_holes(self) -> (Vec<Hole>, u64) {
        (self.holes, self.holes_untracked)
    }

    /// What has not come at the end of each topic; gives the topics and how many events each had.
    pub(crate) fn tails(&self, expected: impl Iterator<Item = (u32, u32)>) -> Vec<Hole> {
        let tails = self.slots.iter().zip(expected);
        tails
            .filter(|(slot, (_, expected))| slot.next < *expected)
            .map(|(slot, (topic, expected))| Hole { topic, from: slot.next, to: expected })
            .collect()
    }

    fn add_hole(&mut self, hole: Hole) {
        if self.holes.len() < HOLES_MAX {
            self.holes.push(hole);
        } else {
            self.holes_untracked += u64::from(hole.to - hole.from);
        }
    }

    /// Takes `sequence` out of the hole it is in.
    fn fill(&mut self, topic: u32, sequence: u32) -> bool {
        let inside = |hole: &Hole| hole.topic == topic && (hole.from..hole.to).contains(&sequence);
        let Some(at) = self.holes.iter().position(inside) else { return false };
        let hole = self.holes.swap_remove(at);
        let parts = [Hole { to: sequence, ..hole }, Hole { from: sequence + 1, ..hole }];
        for part in parts.into_iter().filter(|part| part.from < part.to) {
            self.add_hole(part);
        }
        true
    }
}

/// An id that can be compared: `<epoch>-<sequence>`, or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    /// The eight characters of the epoch; 0 for a plain number.
    epoch: u64,
    sequence: u64,
}

impl Position {
    fn parse(id: &str) -> Option<Self> {
        let (epoch, digits) = match id.as_bytes() {
            [epoch @ .., b'-', _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] => {
                let epoch = <[u8; 8]>::try_from(epoch).ok()?;
                (u64::from_be_bytes(epoch), &id.as_bytes()[9..])
            }
            digits => (0, digits),
        };
        if digits.is_empty() || digits.len() > 19 {
            return None;
        }
        let sequence = digits.iter().try_fold(0_u64, |value, digit| {
            digit.is_ascii_digit().then(|| value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
        })?;
        Some(Self { epoch, sequence })
    }
}

/// What each topic had, known once publishing is over.
#[derive(Debug, Default)]
pub(crate) struct Published {
    topics: Vec<PublishedTopic>,
}

#[derive(Debug, Default)]
struct PublishedTopic {
    /// One more than the last sequence the server confirmed.
    expected: u32,
    /// Those below it that it refused or never answered for, sorted.
    unconfirmed: Vec<u32>,
}

impl Published {
    /// From how many events each topic was sent and which of them were not confirmed.
    pub(crate) fn new(sent: impl Iterator<Item = u32>, unconfirmed: &[(u32, u32)]) -> Self {
        let mut topics: Vec<PublishedTopic> =
            sent.map(|expected| PublishedTopic { expected, unconfirmed: Vec::new() }).collect();
        for &(topic, sequence) in unconfirmed {
            topics[topic as usize].unconfirmed.push(sequence);
        }
        for topic in &mut topics {
            topic.unconfirmed.sort_unstable();
            while topic.unconfirmed.last().is_some_and(|last| last + 1 == topic.expected) {
                topic.unconfirmed.pop();
                topic.expected -= 1;
            }
        }
        Self { topics }
    }

    pub(crate) fn expected(&self, topic: u32) -> u32 {
        self.topics[topic as usize].expected
    }

    /// How many confirmed events there are in a hole.
    pub(crate) fn lost(&self, hole: Hole) -> u64 {
        let topic = &self.topics[hole.topic as usize];
        let to = hole.to.min(topic.expected);
        if hole.from >= to {
            return 0;
        }
        let below = |bound: u32| topic.unconfirmed.partition_point(|sequence| *sequence < bound);
        u64::from(to - hole.from) - (below(to) - below(hole.from)) as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(sequences: &[u32]) -> (Vec<Order>, Check) {
        let mut check = Check::new([0].into_iter());
        let orders = sequences.iter().map(|sequence| check.event(0, 7, *sequence)).collect();
        (orders, check)
    }

    fn lost(check: Check, expected: u32) -> u64 {
        let published = Published::new(std::iter::repeat_n(expected, 8), &[]);
        let tails = check.tails([(7, expected)].into_iter());
        let (holes, untracked) = check.into_holes();
        holes.into_iter().chain(tails).map(|hole| published.lost(hole)).sum::<u64>() + untracked
    }

    #[test]
    fn lost_late_and_repeated_events_are_told_apart() {
        use Order::{AfterHole, Late, Next, Repeated};
        let (orders, check) = record(&[0, 1, 4, 3, 3, 1, 5]);
        assert_eq!(orders, [Next, Next, AfterHole, Late, Repeated, Repeated, Next]);
        assert!(check.caught_up([6].into_iter()));
        assert!(!check.caught_up([7].into_iter()));
        assert_eq!(lost(check, 8), 3, "2, 6 and 7 never came");
    }

    #[test]
    fn a_stream_that_opened_late_may_begin_with_what_was_on_its_way() {
        let mut check = Check::new([5].into_iter());
        assert_eq!(check.event(0, 7, 3), Order::Next);
        assert_eq!(check.event(0, 7, 4), Order::Next);
        assert_eq!(check.event(0, 7, 3), Order::Repeated);
        let mut check = Check::new([5].into_iter());
        assert_eq!(check.event(0, 7, 6), Order::AfterHole, "5 was published after the stream had opened");
    }

    proptest! {
        /// Against a plain model: a set of what came and the highest number so far.
        #[test]
        fn agrees_with_a_plain_model(sequences in prop::collection::vec(0_u32..40, 0..60)) {
            let mut check = Check::new([0].into_iter());
            let mut came = std::collections::BTreeSet::new();
            for &sequence in &sequences {
                let next = came.last().map_or(0, |last| last + 1);
                let expected = match sequence {
                    _ if came.contains(&sequence) => Order::Repeated,
                    _ if sequence == next => Order::Next,
                    _ if sequence > next => Order::AfterHole,
                    _ => Order::Late,
                };
                came.insert(sequence);
                prop_assert_eq!(check.event(0, 7, sequence), expected);
            }
            prop_assert_eq!(lost(check, 40), 40 - came.len() as u64);
        }
    }

    #[test]
    fn holes_beyond_the_bound_are_still_counted() {
        let sequences: Vec<u32> = (0..1_000).map(|n| n * 2).collect();
        let (_, check) = record(&sequences);
        assert_eq!(lost(check, 1_999), 999);
    }

    #[test]
    fn what_was_not_confirmed_is_not_missed() {
        let published = Published::new([10, 4].into_iter(), &[(0, 9), (0, 3), (0, 8), (1, 0)]);
        assert_eq!((published.expected(0), published.expected(1)), (8, 4));
        assert_eq!(published.lost(Hole { topic: 0, from: 2, to: 10 }), 5);
        assert_eq!(published.lost(Hole { topic: 0, from: 8, to: 10 }), 0);
        assert_eq!(published.lost(Hole { topic: 1, from: 0, to: 1 }), 0);
    }

    #[test]
    fn ids_must_rise_within_an_epoch() {
        let mut check = Check::new([0].into_iter());
        let steps = [
            ("0abcdefg-0000000000000009", IdOrder::Rising),
            ("0abcdefg-0000000000000010", IdOrder::Rising),
            ("0abcdefg-0000000000000010", IdOrder::NotRising),
            ("1abcdefg-0000000000000001", IdOrder::OtherEpoch),
            ("1abcdefg-0000000000000002", IdOrder::Rising),
            ("urn:uuid:whatever", IdOrder::Unknown),
            ("1abcdefg-0000000000000001", IdOrder::NotRising),
        ];
        for (id, order) in steps {
            assert_eq!(check.id(id), order, "{id}");
        }
        let mut check = Check::new([0].into_iter());
        assert_eq!(
            [check.id("9"), check.id("10"), check.id("7")],
            [IdOrder::Rising, IdOrder::Rising, IdOrder::NotRising]
        );
    }
}
