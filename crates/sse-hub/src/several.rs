//! Following several topics: joining them, finding the start, leaving.

use std::sync::Arc;

use crate::gap::Missed;
use crate::merge::{Merge, MergeStart};
use crate::registry::SelectorGroup;
use crate::ring::Floor;
use crate::subscribe::Wanted;
use crate::topic::{Life, Topic};
use crate::{Gap, GapReason, Grants, Hub, Selector, Start, SubscribeError, TopicName};

/// The memberships of one subscription over several topics.
#[derive(Debug)]
pub(crate) struct Several {
    pub(crate) merge: Arc<Merge>,
    merge_key: usize,
    /// Topics followed by name, with the keys that leave them.
    topics: Vec<(Arc<Topic>, usize)>,
    groups: Vec<(Arc<SelectorGroup>, usize)>,
    /// The shards of everything followed, sorted.
    shards: Box<[usize]>,
}

/// What the topics in question have between them.
#[derive(Debug)]
struct Extent {
    topics: Vec<Arc<Topic>>,
    floor_min: u64,
    floor_max: Floor,
    /// The earliest event that bears the publisher's id asked for.
    given: Option<u64>,
}

impl Several {
    /// Makes the subscription known to everything it follows.
    pub(crate) fn join(hub: &Hub, selectors: &[Selector], grants: Grants) -> Result<Self, SubscribeError> {
        let mut names: Vec<&TopicName> = selectors.iter().filter_map(Selector::as_exact).collect();
        names.sort_unstable();
        names.dedup();
        let patterns: Vec<&Selector> = selectors.iter().filter(|selector| selector.as_exact().is_none()).collect();

        let shards = shards_followed(hub, &names, !patterns.is_empty());
        let policy = hub.inner.policy_of(selectors[0].text());
        let merge = Arc::new(Merge::new(shards.clone(), grants, policy));
        let merge_key = hub.inner.merges.lock().insert(merge.clone());
        let mut several = Self { merge, merge_key, topics: Vec::new(), groups: Vec::new(), shards };
        for pattern in patterns {
            several.join_pattern(hub, pattern);
        }
        for name in names {
            if !several.join_topic(hub, name) {
                several.leave(hub);
                return Err(SubscribeError::TopicsFull { topics_max: hub.inner.config.topics_max });
            }
        }
        Ok(several)
    }

    fn join_topic(&mut self, hub: &Hub, name: &TopicName) -> bool {
        let merge = self.merge.clone();
        let joined = hub.inner.with_topic(name, |topic, state| (topic.clone(), state.follow_merged(merge)));
        joined.map(|member| self.topics.push(member)).is_some()
    }

    fn join_pattern(&mut self, hub: &Hub, pattern: &Selector) {
        // Held while a new group is made known, so that no topic is made unseen meanwhile.
        let mut registry = hub.inner.selectors.write();
        let (group, key, is_new) = registry.join(pattern, self.merge.clone());
        if is_new {
            let join = |topic: &Arc<Topic>| {
                if pattern.matches(topic.name.as_str()) {
                    topic.lock().join_group(group.clone());
                }
            };
            hub.inner.tables.iter().for_each(|table| table.each(join));
        }
        self.groups.push((group, key));
    }

    /// Finds where to start and starts there. The gap, if any, comes before everything else.
    pub(crate) fn start(&self, hub: &Hub, start: &Start) -> Result<Option<Gap>, SubscribeError> {
        // Whatever was numbered until now is in the rings when they are looked at.
        let settled = hub.inner.order.settled(&self.shards);
        let wanted = start.wanted(hub.epoch(), settled);
        let extent = self.extent(hub, &wanted, settled);
        let sequence = match wanted {
            Wanted::Live => Some(settled),
            Wanted::Sequence(sequence) => Some(sequence),
            Wanted::Given(_) => extent.given,
            Wanted::Earliest | Wanted::Lost(_) => None,
        };
        let cursor = sequence.unwrap_or(extent.floor_min);
        let open = if self.groups.is_empty() { Some(self.still_open(cursor)?) } else { None };
        let told = extent.floor_max.sequence;
        let missed = sequence.is_some_and(|sequence| told > sequence);
        let gap = missed.then(|| Missed { from: cursor, resumed_after: told, reason: extent.floor_max.reason() });
        self.merge.start(MergeStart { cursor, told, gap, topics: extent.topics, open });
        let lost = match wanted {
            Wanted::Lost(reason) => Some(reason),
            Wanted::Given(_) if sequence.is_none() => Some(GapReason::Unknown),
            _ => None,
        };
        Ok(lost.map(|reason| start.gap(hub.epoch(), cursor, reason)))
    }

    /// How many named topics have something to come after `cursor`: their next events, or at least their end.
    fn still_open(&self, cursor: u64) -> Result<usize, SubscribeError> {
        let is_open = |(topic, _): &&(Arc<Topic>, usize)| {
            let state = topic.lock();
            state.life() == Life::Open || state.ring.newest() > cursor
        };
        match self.topics.iter().filter(is_open).count() {
            0 => Err(SubscribeError::Ended),
            open => Ok(open),
        }
    }

    /// Looks into every topic that may have something after the start. Who starts live needs none.
    fn extent(&self, hub: &Hub, wanted: &Wanted, settled: u64) -> Extent {
        let mut extent = Extent { topics: Vec::new(), floor_min: u64::MAX, floor_max: Floor::default(), given: None };
        if !matches!(wanted, Wanted::Live) {
            self.topics.iter().for_each(|(topic, _)| extent.add(topic, wanted));
            if !self.groups.is_empty() {
                let is_followed = |topic: &Arc<Topic>| {
                    let state = topic.lock();
                    self.groups.iter().any(|(group, _)| state.in_group(group))
                };
                let mut add = |topic: &Arc<Topic>| {
                    if is_followed(topic) {
                        extent.add(topic, wanted);
                    }
                };
                hub.inner.tables.iter().for_each(|table| table.each(&mut add));
            }
        }
        if extent.topics.is_empty() {
            extent.floor_min = settled;
        }
        extent
    }

    /// Undoes [`join`](Self::join).
    pub(crate) fn leave(&self, hub: &Hub) {
        for (topic, key) in &self.topics {
            topic.lock().unfollow(*key);
        }
        if !self.groups.is_empty() {
            let mut registry = hub.inner.selectors.write();
            self.groups.iter().for_each(|(group, key)| registry.leave(group, *key));
        }
        hub.inner.merges.lock().remove(self.merge_key);
    }
}

impl Extent {
    fn add(&mut self, topic: &Arc<Topic>, wanted: &Wanted) {
        let state = topic.lock();
        let floor = state.ring.floor();
        self.floor_min = self.floor_min.min(floor.sequence);
        if floor.sequence > self.floor_max.sequence {
            self.floor_max = floor;
        }
        let given = wanted.sequence_in(&state.ring);
        self.given = self.given.into_iter().chain(given).min();
        self.topics.push(topic.clone());
    }
}

fn shards_followed(hub: &Hub, names: &[&TopicName], has_patterns: bool) -> Box<[usize]> {
    if has_patterns {
        return (0..hub.inner.order.shards()).collect();
    }
    let mut shards: Vec<usize> = names.iter().map(|name| hub.inner.shard_of(name)).collect();
    shards.sort_unstable();
    shards.dedup();
    shards.into()
}
