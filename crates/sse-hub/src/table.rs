//! A slice of the topics by name, with the floors of those it has forgotten.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use crate::TopicName;
use crate::floors::Floors;
use crate::ring::Floor;
use crate::sync::Mutex;
use crate::topic::Topic;

#[derive(Debug)]
pub(crate) struct Table {
    topics: DashMap<ByName, (), ahash::RandomState>,
    floors: Mutex<Floors>,
}

/// A topic as the key of its own name: the map's slots stay small enough for the caches, and the name lies in the topic,
/// which is needed next anyway.
#[derive(Debug)]
struct ByName(Arc<Topic>);

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        self.0.name.as_str()
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for ByName {}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

/// Locks in one table's map. There are many tables, so few do.
const LOCKS: usize = 4;

/// Slots that a table keeps whatever becomes of its topics.
const SHRINK_FROM: usize = 256;

impl Table {
    pub(crate) fn new(hasher: ahash::RandomState, floors: Floors) -> Self {
        let topics = DashMap::with_hasher_and_shard_amount(hasher, LOCKS);
        Self { topics, floors: Mutex::new(floors) }
    }

    /// The topic of this name. The table's own lock is released before this returns (TRAPS S9): nobody holds it and another.
    pub(crate) fn find(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.get(name).map(|topic| topic.key().0.clone())
    }

    /// The topic of `new`'s name: that one, with the floor that was left if it was here before, unless the table has one.
    /// What `logged` says of its history is better known. The second value tells whether it is new.
    pub(crate) fn find_or_insert(&self, new: Arc<Topic>, logged: impl FnOnce() -> Option<Floor>) -> (Arc<Topic>, bool) {
        match self.topics.entry(ByName(new.clone())) {
            Entry::Occupied(topic) => (topic.key().0.clone(), false),
            Entry::Vacant(vacant) => {
                let left = self.floors.lock().take(&new.name);
                new.lock().begin_at(match logged() {
                    Some(logged) if !left.exact || logged.sequence > left.sequence => logged,
                    _ => left,
                });
                vacant.insert(());
                (new, true)
            }
        }
    }

    /// Forgets the topic, with the floor it leaves.
    pub(crate) fn remove(&self, topic: &Topic, floor: Floor) {
        // The floor is there before the name is free: who makes the topic anew finds it.
        self.floors.lock().leave(&topic.name, floor);
        self.topics.remove(topic.name.as_str());
    }

    /// Notes that a topic that is not here has had something up to this floor.
    pub(crate) fn leave_floor(&self, name: &TopicName, floor: Floor) {
        self.floors.lock().leave(name, floor);
    }

    /// Any topic that is not here may have had events up to `sequence`.
    pub(crate) fn raise_floors(&self, sequence: u64) {
        self.floors.lock().raise(sequence);
    }

    /// Gives back the room of topics that were forgotten: a map keeps the slots of the most it ever held.
    pub(crate) fn shrink(&self) {
        if self.topics.capacity() >= SHRINK_FROM.max(4 * self.topics.len()) {
            self.topics.shrink_to_fit();
        }
    }

    /// Visits every topic. The visitor runs under the table's own lock, so it must not wake or publish.
    pub(crate) fn each(&self, mut visit: impl FnMut(&Arc<Topic>)) {
        self.topics.iter().for_each(|topic| visit(&topic.key().0));
    }

    /// Visits at most `topics_max` topics, likewise.
    pub(crate) fn some(&self, topics_max: usize, mut visit: impl FnMut(&Arc<Topic>)) {
        self.topics.iter().take(topics_max).for_each(|topic| visit(&topic.key().0));
    }

    /// Visits the floor of every topic that was forgotten; the floor without a name stands for the rest.
    pub(crate) fn each_floor(&self, visit: impl FnMut(Option<&TopicName>, Floor)) {
        self.floors.lock().each(visit);
    }
}

#[cfg(test)]
mod tests {
    use smallvec::SmallVec;

    use super::*;
    use crate::config::HubConfig;

    fn topic(index: u64) -> Arc<Topic> {
        let name = TopicName::parse(&index.to_string()).unwrap();
        Arc::new(Topic::new(index, name, (0, 0), Arc::new(HubConfig::default().topic_policy), SmallVec::new()))
    }

    #[test]
    fn a_table_shrinks_with_its_topics() {
        let table = Table::new(ahash::RandomState::new(), Floors::new(0, 0));
        let topics = (0..10_000).map(topic).collect::<Vec<_>>();
        topics.iter().for_each(|topic| _ = table.find_or_insert(topic.clone(), || None));
        table.shrink();
        let full = table.topics.capacity();
        assert!(full >= 10_000);
        topics[100..].iter().for_each(|topic| table.remove(topic, Floor { sequence: 0, exact: false }));
        table.shrink();
        assert!(table.topics.capacity() < SHRINK_FROM.max(400), "{} of {full}", table.topics.capacity());
        topics[..100].iter().for_each(|topic| assert!(table.find(topic.name.as_str()).is_some()));
    }
}
