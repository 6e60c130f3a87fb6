//! All of a hub's topics, by name.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::config::{HubConfig, TopicPolicy};
use crate::floors::Floors;
use crate::log::{Extent, Log};
use crate::merge::Merge;
use crate::order::Order;
use crate::registry::{PrefixIndex, SelectorGroup, SelectorRegistry};
use crate::ring::Floor;
use crate::sync::RwLock;
use crate::table::Table;
use crate::topic::{Life, Topic};
use crate::{Selector, TopicName};

#[derive(Debug)]
pub(crate) struct Topics {
    tables: Box<[Table]>,
    shards: usize,
    pub(crate) selectors: RwLock<SelectorRegistry>,
    count: AtomicUsize,
    count_max: AtomicUsize,
    next_id: AtomicU64,
    default_policy: Arc<TopicPolicy>,
    policies: Vec<(Selector, Arc<TopicPolicy>)>,
    hasher: ahash::RandomState,
    /// What knows of topics that are not in memory.
    past: Option<Past>,
}

/// A log, as far as topics that are made need it.
#[derive(Debug)]
pub(crate) struct Past {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) order: Arc<Order>,
    /// Rings hold nothing up to here: the log did before the start.
    pub(crate) newest_at_start: u64,
    /// The log has failed, and does not know of every event up to here.
    pub(crate) lost_to: AtomicU64,
}

impl Past {
    /// Where the ring of a topic begins: what it had before is in the log. What is committed but not delivered yet is still to
    /// come to the ring.
    fn floor_of(&self, name: &TopicName) -> Floor {
        let Extent { newest, trimmed_to, exact } = self.log.extent(name);
        let known_to = newest.max(trimmed_to).max(self.lost_to.load(Ordering::Relaxed));
        Floor { sequence: known_to.min(self.order.newest()), exact }
    }
}

/// The tables that a hub has at least: a sweep takes one at a time, and a million topics come in parts.
const TABLES_MIN: usize = 64;

impl Topics {
    pub(crate) fn new(config: &HubConfig, shards: usize, past: Option<Past>) -> Self {
        // Keys of the process's own: nobody can choose names that collide (FAILURES G11).
        let hasher = ahash::RandomState::new();
        let tables = shards * TABLES_MIN.div_ceil(shards);
        let floors_max = config.floors_max.div_ceil(tables);
        let floor_at_first = past.as_ref().map_or(0, |past| past.newest_at_start);
        let policy = |(selector, policy): &(Selector, TopicPolicy)| (selector.clone(), Arc::new(policy.clone()));
        Self {
            tables: (0..tables).map(|_| Table::new(hasher.clone(), Floors::new(floors_max, floor_at_first))).collect(),
            shards,
            selectors: RwLock::default(),
            count: AtomicUsize::new(0),
            count_max: config.topics_max.into(),
            next_id: AtomicU64::new(0),
            default_policy: Arc::new(config.topic_policy.clone()),
            policies: config.topic_policies.iter().map(policy).collect(),
            hasher,
            past,
        }
    }

    /// Events up to here were delivered, and not all of them will ever be in the log.
    pub(crate) fn note_lost(&self, sequence: u64) {
        if let Some(past) = &self.past {
            past.lost_to.fetch_max(sequence, Ordering::Relaxed);
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn count_max(&self) -> usize {
        self.count_max.load(Ordering::Relaxed)
    }

    pub(crate) fn bound(&self, count_max: usize) {
        self.count_max.store(count_max, Ordering::Relaxed);
    }

    pub(crate) fn tables(&self) -> &[Table] {
        &self.tables
    }

    pub(crate) fn shard_of(&self, name: &TopicName) -> usize {
        self.table_of(name) % self.shards
    }

    /// Bits from the middle of the hash: a table takes its lock by the upper ones and its slots by the lower ones.
    fn table_of(&self, name: &TopicName) -> usize {
        ((self.hasher.hash_one(name.as_str()) >> 24) % self.tables.len() as u64) as usize
    }

    pub(crate) fn policy_of(&self, name: &TopicName) -> Arc<TopicPolicy> {
        let of_pattern = self.policies.iter().find(|(selector, _)| selector.matches(name.as_str()));
        of_pattern.map_or(&self.default_policy, |(_, policy)| policy).clone()
    }

    /// The topic of this name, made if it is new; `None` when there are too many.
    pub(crate) fn obtain(&self, name: &TopicName) -> Option<Arc<Topic>> {
        let table = self.table_of(name);
        let make = || {
            // Taken before it is used, so that a crowd of publishers does not go beyond the bound.
            if self.count.fetch_add(1, Ordering::Relaxed) >= self.count_max() {
                self.count.fetch_sub(1, Ordering::Relaxed);
                return None;
            }
            Some(self.make(name, table))
        };
        self.tables[table].find(name.as_str()).or_else(make)
    }

    /// The same, whatever the bound: for an event that can no longer be refused.
    pub(crate) fn obtain_anyway(&self, name: &TopicName) -> Arc<Topic> {
        let table = self.table_of(name);
        self.tables[table].find(name.as_str()).unwrap_or_else(|| {
            self.count.fetch_add(1, Ordering::Relaxed);
            self.make(name, table)
        })
    }

    /// The topic of this name for an event at `sequence` that can no longer be refused: made if there is room for one more, or
    /// if somebody follows it. Otherwise it is remembered that it had the event.
    pub(crate) fn obtain_for(&self, name: &TopicName, sequence: u64) -> Option<Arc<Topic>> {
        let table = &self.tables[self.table_of(name)];
        if let Some(topic) = self.obtain(name) {
            return Some(topic);
        }
        if self.selectors.read().matching(name).next().is_some() {
            return Some(self.obtain_anyway(name));
        }
        table.leave_floor(name, Floor { sequence, exact: true });
        if self.selectors.read().matching(name).next().is_some() {
            return Some(self.obtain_anyway(name));
        }
        // Somebody who has made it meanwhile may not have seen that.
        table.find(name.as_str())
    }

    /// Whether the topic is known to be closed.
    pub(crate) fn is_closed(&self, name: &TopicName) -> bool {
        let topic = self.tables[self.table_of(name)].find(name.as_str());
        topic.is_some_and(|topic| matches!(topic.lock().life(), Life::Closed { .. }))
    }

    /// Any topic may have had events up to `sequence` that are not here.
    pub(crate) fn raise_floors(&self, sequence: u64) {
        self.tables.iter().for_each(|table| table.raise_floors(sequence));
    }

    /// Notes that a topic that is not here has had something up to this floor.
    pub(crate) fn leave_floor(&self, name: &TopicName, floor: Floor) {
        self.tables[self.table_of(name)].leave_floor(name, floor);
    }

    /// Makes a topic that was counted.
    fn make(&self, name: &TopicName, table: usize) -> Arc<Topic> {
        let (id, policy) = (self.next_id.fetch_add(1, Ordering::Relaxed), self.policy_of(name));
        let place = (table as u32, (table % self.shards) as u32);
        // Held while the topic is put in the table: a selector that arrives meanwhile either is seen here or sees it there.
        let selectors = self.selectors.read();
        let groups = selectors.matching(name).cloned().collect();
        let new = Arc::new(Topic::new(id, name.clone(), place, policy, groups));
        let (topic, is_new) = self.tables[table].find_or_insert(new, || self.past.as_ref()?.floor_of(name).into());
        if !is_new {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        topic
    }

    /// Whether somebody follows the topic, by name or by a selector, or did until just now.
    pub(crate) fn is_followed(&self, name: &TopicName) -> bool {
        match self.tables[self.table_of(name)].find(name.as_str()) {
            Some(topic) => topic.lock().is_followed(),
            None => self.selectors.read().matching(name).next().is_some(),
        }
    }

    /// Forgets the topic but for its floor. Its shard's append lock is held, and it has been collected.
    pub(crate) fn remove(&self, topic: &Topic, floor: Floor) {
        self.tables[topic.table as usize].remove(topic, floor);
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    /// Visits every topic, under its table's own lock.
    pub(crate) fn each(&self, mut visit: impl FnMut(&Arc<Topic>)) {
        self.tables.iter().for_each(|table| table.each(&mut visit));
    }

    /// Visits the floors of the topics that were forgotten; those without a name stand for topics of any name.
    pub(crate) fn each_floor(&self, mut visit: impl FnMut(Option<&TopicName>, Floor)) {
        self.tables.iter().for_each(|table| table.each_floor(&mut visit));
    }

    /// Makes `merge` a member of each pattern's group.
    pub(crate) fn join_groups(&self, patterns: &[&Selector], merge: &Arc<Merge>) -> Vec<(Arc<SelectorGroup>, usize)> {
        if patterns.is_empty() {
            return Vec::new();
        }
        // Held while new groups are made known, so that no topic is made unseen meanwhile.
        let mut registry = self.selectors.write();
        let mut new = PrefixIndex::default();
        let mut has_new = false;
        let mut join = |pattern: &&Selector| {
            let (group, key, is_new) = registry.join(pattern, merge.clone());
            if is_new {
                has_new = true;
                new.add(group.clone());
            }
            (group, key)
        };
        let joined = patterns.iter().map(&mut join).collect();
        if has_new {
            // Once for all of them: there may be many topics, and many patterns.
            self.each(|topic| {
                for group in new.matching(&topic.name) {
                    topic.lock().join_group(group.clone());
                }
            });
        }
        joined
    }

    pub(crate) fn leave_group(&self, group: &Arc<SelectorGroup>, key: usize) {
        self.selectors.write().leave(group, key);
    }

    /// Retires the groups that have been without a member since the last sweep.
    pub(crate) fn retire_groups(&self) {
        if self.selectors.read().has_emptied() {
            self.selectors.write().retire_emptied();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_hubs_spread_names_alike() {
        let names: Vec<TopicName> = (0..64).map(|n| TopicName::parse(&format!("name/{n}")).unwrap()).collect();
        let places = || {
            let topics = Topics::new(&HubConfig::default(), 2, None);
            names.iter().map(|name| topics.table_of(name)).collect::<Vec<_>>()
        };
        // Names chosen to collide in one process do not in another (FAILURES G11).
        assert_ne!(places(), places());
    }
}
