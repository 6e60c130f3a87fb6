//! Where the topics that were forgotten left off.

use std::collections::HashMap;

use crate::TopicName;
use crate::ring::Floor;

/// Exact floors of the topics that left off last, and one floor for all others.
#[derive(Debug)]
pub(crate) struct Floors {
    exact: HashMap<TopicName, u64, ahash::RandomState>,
    exact_max: usize,
    rest: u64,
}

/// The part of the exact floors that goes at once when there are too many: looking for the lowest takes a walk over all.
const GOES: usize = 8;

impl Floors {
    /// Topics that nobody has seen yet may have lost events up to `rest`.
    pub(crate) fn new(exact_max: usize, rest: u64) -> Self {
        Self { exact: HashMap::default(), exact_max, rest }
    }

    /// Remembers the floor of a topic that is forgotten.
    pub(crate) fn leave(&mut self, name: &TopicName, floor: Floor) {
        if !floor.exact {
            // It never had an event of its own beyond what the rest's floor says already.
            return;
        }
        self.exact.insert(name.clone(), floor.sequence);
        if self.exact.len() > self.exact_max {
            self.forget_lowest();
        }
    }

    fn forget_lowest(&mut self) {
        let mut sequences: Vec<u64> = self.exact.values().copied().collect();
        let last_to_go = sequences.len() / GOES;
        let (_, &mut sequence, _) = sequences.select_nth_unstable(last_to_go);
        self.raise(sequence);
    }

    /// Topics of any name may have lost events up to `sequence`.
    pub(crate) fn raise(&mut self, sequence: u64) {
        self.rest = self.rest.max(sequence);
        self.exact.retain(|_, exact| *exact > sequence);
    }

    /// The floor that a topic of this name begins with.
    pub(crate) fn take(&mut self, name: &TopicName) -> Floor {
        match self.exact.remove(name) {
            Some(sequence) => Floor { sequence, exact: true },
            None => Floor { sequence: self.rest, exact: false },
        }
    }

    /// Every floor with its topic's name, and the one that stands for the rest.
    pub(crate) fn each(&self, mut visit: impl FnMut(Option<&TopicName>, Floor)) {
        self.exact.iter().for_each(|(name, &sequence)| visit(Some(name), Floor { sequence, exact: true }));
        visit(None, Floor { sequence: self.rest, exact: false });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(index: u64) -> TopicName {
        TopicName::parse(&index.to_string()).unwrap()
    }

    fn left(floors: &mut Floors, topics: impl IntoIterator<Item = (u64, u64)>) {
        for (topic, sequence) in topics {
            floors.leave(&name(topic), Floor { sequence, exact: true });
        }
    }

    #[test]
    fn the_lowest_floors_become_one() {
        let mut floors = Floors::new(2, 0);
        left(&mut floors, [(2, 20), (1, 10), (4, 40), (3, 30)]);
        assert_eq!(floors.take(&name(1)), Floor { sequence: 20, exact: false });
        assert_eq!(floors.take(&name(3)), Floor { sequence: 30, exact: true });
        assert_eq!(floors.take(&name(3)), Floor { sequence: 20, exact: false }, "it was taken");
        assert_eq!(floors.take(&name(4)), Floor { sequence: 40, exact: true });
    }

    #[test]
    fn an_eighth_goes_when_there_are_too_many() {
        let mut floors = Floors::new(800, 0);
        left(&mut floors, (1..=800).map(|topic| (topic, topic)));
        assert_eq!((floors.exact.len(), floors.rest), (800, 0));
        left(&mut floors, [(801, 801)]);
        assert_eq!((floors.exact.len(), floors.rest), (700, 101));
    }

    #[test]
    fn a_topic_that_comes_and_goes_does_not_push_others_out() {
        let mut floors = Floors::new(3, 0);
        left(&mut floors, [(1, 1)]);
        for sequence in 2..1000 {
            floors.take(&name(2));
            left(&mut floors, [(2, sequence)]);
        }
        left(&mut floors, [(2, 1000)]);
        assert_eq!(floors.exact.len(), 2);
        assert_eq!(floors.take(&name(1)), Floor { sequence: 1, exact: true });
    }

    #[test]
    fn none_may_be_exact() {
        let mut floors = Floors::new(0, 0);
        left(&mut floors, [(1, 7)]);
        assert_eq!(floors.take(&name(1)), Floor { sequence: 7, exact: false });
    }
}
