//! One shard's topics, and the floors of those it has forgotten.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::TopicName;
use crate::ring::Floor;
use crate::sync::Mutex;
use crate::topic::Topic;

type Hasher = ahash::RandomState;

#[derive(Debug)]
pub(crate) struct Table {
    topics: DashMap<TopicName, Arc<Topic>, Hasher>,
    floors: Mutex<Floors>,
}

impl Table {
    pub(crate) fn new(hasher: Hasher, floors_max: usize) -> Self {
        Self { topics: DashMap::with_hasher(hasher), floors: Mutex::new(Floors::new(floors_max)) }
    }

    /// The topic of this name. The table's own lock is released before this returns (TRAPS S9): nobody holds it and another.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.get(name).map(|topic| topic.clone())
    }

    /// The topic of this name, made by `make` from the floor it left if it was here before. The second value tells whether
    /// it is new.
    pub(crate) fn find_or_insert(&self, name: &TopicName, make: impl FnOnce(Floor) -> Topic) -> (Arc<Topic>, bool) {
        match self.topics.entry(name.clone()) {
            Entry::Occupied(topic) => (topic.get().clone(), false),
            Entry::Vacant(vacant) => {
                let topic = Arc::new(make(self.floors.lock().take(name)));
                (vacant.insert(topic).clone(), true)
            }
        }
    }

    /// Forgets the topic, with the floor it leaves.
    pub(crate) fn remove(&self, topic: &Topic, floor: Floor) {
        // The floor is there before the name is free: who makes the topic anew finds it.
        if floor.sequence > 0 {
            self.floors.lock().leave(&topic.name, floor);
        }
        self.topics.remove(&topic.name);
    }

    /// Visits every topic. The visitor runs under the table's own lock, so it must not wake or publish.
    pub(crate) fn each(&self, mut visit: impl FnMut(&Arc<Topic>)) {
        self.topics.iter().for_each(|topic| visit(&topic));
    }
}

/// Where the topics that were collected left off: exact for the last so many, and one bound for all before them.
#[derive(Debug)]
struct Floors {
    exact: HashMap<TopicName, u64, Hasher>,
    oldest: VecDeque<TopicName>,
    exact_max: usize,
    rest: u64,
}

impl Floors {
    fn new(exact_max: usize) -> Self {
        Self { exact: HashMap::default(), oldest: VecDeque::new(), exact_max, rest: 0 }
    }

    fn leave(&mut self, name: &TopicName, floor: Floor) {
        if !floor.exact {
            // It never had an event of its own beyond what the shard's floor says already.
            return;
        }
        self.exact.insert(name.clone(), floor.sequence);
        self.oldest.push_back(name.clone());
        while self.oldest.len() > self.exact_max {
            let Some(oldest) = self.oldest.pop_front() else { break };
            if let Some(sequence) = self.exact.remove(&oldest) {
                self.rest = self.rest.max(sequence);
            }
        }
    }

    fn take(&mut self, name: &TopicName) -> Floor {
        match self.exact.remove(name) {
            Some(sequence) => Floor { sequence, exact: true },
            None => Floor { sequence: self.rest, exact: false },
        }
    }
}
