//! Where the topics that were forgotten left off.

use std::collections::{HashMap, VecDeque};

use crate::TopicName;
use crate::ring::Floor;

/// Exact floors of the last so many topics, and one floor for all before them.
#[derive(Debug)]
pub(crate) struct Floors {
    exact: HashMap<TopicName, u64, ahash::RandomState>,
    /// In the order they were left. What was taken since, or left again, is passed over.
    oldest: VecDeque<(TopicName, u64)>,
    exact_max: usize,
    rest: u64,
}

impl Floors {
    /// Topics that nobody has seen yet may have lost events up to `rest`.
    pub(crate) fn new(exact_max: usize, rest: u64) -> Self {
        Self { exact: HashMap::default(), oldest: VecDeque::new(), exact_max, rest }
    }

    /// Remembers the floor of a topic that is forgotten.
    pub(crate) fn leave(&mut self, name: &TopicName, floor: Floor) {
        if !floor.exact {
            // It never had an event of its own beyond what the rest's floor says already.
            return;
        }
        self.exact.insert(name.clone(), floor.sequence);
        self.oldest.push_back((name.clone(), floor.sequence));
        while self.exact.len() > self.exact_max || self.oldest.len() > 2 * self.exact_max {
            let Some((oldest, sequence)) = self.oldest.pop_front() else { break };
            if self.exact.get(&oldest) == Some(&sequence) {
                self.exact.remove(&oldest);
                self.rest = self.rest.max(sequence);
            }
        }
    }

    /// Topics of any name may have lost events up to `sequence`.
    pub(crate) fn raise(&mut self, sequence: u64) {
        self.rest = self.rest.max(sequence);
        self.exact.retain(|_, exact| *exact > sequence);
        if self.exact.is_empty() {
            self.oldest.clear();
        }
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
    fn the_oldest_floors_become_one() {
        let mut floors = Floors::new(2, 0);
        left(&mut floors, [(1, 10), (2, 20), (3, 30), (4, 40)]);
        assert_eq!(floors.take(&name(1)), Floor { sequence: 20, exact: false });
        assert_eq!(floors.take(&name(3)), Floor { sequence: 30, exact: true });
        assert_eq!(floors.take(&name(3)), Floor { sequence: 20, exact: false }, "it was taken");
        assert_eq!(floors.take(&name(4)), Floor { sequence: 40, exact: true });
    }

    #[test]
    fn a_topic_that_comes_and_goes_does_not_push_others_out() {
        let mut floors = Floors::new(3, 0);
        left(&mut floors, [(1, 1)]);
        for sequence in [2, 3, 4] {
            floors.take(&name(2));
            left(&mut floors, [(2, sequence)]);
        }
        assert_eq!(floors.take(&name(1)), Floor { sequence: 1, exact: true });
    }

    #[test]
    fn one_topic_that_comes_and_goes_is_remembered_once() {
        let mut floors = Floors::new(4, 0);
        for sequence in 1..1000 {
            left(&mut floors, [(1, sequence)]);
            assert!(floors.oldest.len() <= 8 && floors.exact.len() == 1);
            assert_eq!(floors.rest, 0);
        }
    }

    #[test]
    fn none_may_be_exact() {
        let mut floors = Floors::new(0, 0);
        left(&mut floors, [(1, 7)]);
        assert_eq!(floors.take(&name(1)), Floor { sequence: 7, exact: false });
    }
}
