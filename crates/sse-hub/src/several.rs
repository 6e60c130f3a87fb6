//! Following several topics: joining them, finding the start, leaving.

use std::sync::Arc;

use crate::extent::Extent;
use crate::followers::FollowerKind;
use crate::merge::Merge;
use crate::reader::{Reader, ReaderStart};
use crate::registry::SelectorGroup;
use crate::replay::From;
use crate::start::Wanted;
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
}

/// What a subscriber has to be told when it starts.
#[derive(Debug)]
pub(crate) struct StartGaps {
    /// Before anything else.
    pub(crate) first: Option<Gap>,
    /// When the reader comes to it.
    pub(crate) later: Option<Gap>,
}

/// How a subscription over several topics starts.
#[derive(Debug)]
pub(crate) enum Started {
    /// The rings have all it needs.
    InRings(StartGaps),
    /// The log has to be read first.
    InLog(From),
}

impl Several {
    /// Makes the subscription known to everything it follows. The policy is that of the first selector.
    pub(crate) fn join(hub: &Hub, selectors: &[Selector], grants: Grants) -> Result<Self, SubscribeError> {
        let mut names: Vec<&TopicName> = selectors.iter().filter_map(Selector::as_exact).collect();
        names.sort_unstable();
        names.dedup();
        let mut patterns: Vec<&Selector> = selectors.iter().filter(|selector| selector.as_exact().is_none()).collect();
        patterns.sort_unstable_by(|one, other| one.text().cmp(other.text()));
        patterns.dedup();

        let shards = shards_followed(hub, &names, !patterns.is_empty());
        let policy = hub.inner.topics.policy_of(selectors[0].text());
        let merge = Arc::new(Merge::new(
            shards,
            Reader::new(selectors, hub.inner.archive.is_some()),
            grants,
            policy,
            hub.inner.topics.count_max(),
        ));
        let merge_key = hub.inner.merges.lock().insert(merge.clone());
        let mut several = Self { merge, merge_key, topics: Vec::new(), groups: Vec::new() };
        several.groups = hub.inner.topics.join_groups(&patterns, &several.merge);
        for name in names {
            if !several.join_topic(hub, name) {
                several.leave(hub);
                return Err(SubscribeError::TopicsFull { topics_max: hub.inner.topics.count_max() });
            }
        }
        Ok(several)
    }

    fn join_topic(&mut self, hub: &Hub, name: &TopicName) -> bool {
        let merge = self.merge.clone();
        let joined = hub.inner.with_topic(name, |topic, state| (topic.clone(), state.follow_merged(merge)));
        joined.map(|member| self.topics.push(member)).is_some()
    }

    /// Finds where to start and starts there.
    pub(crate) fn start(&self, hub: &Hub, start: &Start) -> Result<Started, SubscribeError> {
        // Whatever was numbered until now is in the rings when they are looked at.
        let settled = hub.inner.order.settled(self.merge.shards());
        let wanted = start.wanted(&hub.inner.epochs.read(), settled);
        let extent = self.extent(hub, &wanted);
        let is_here = || extent.given.is_some_and(|given| given >= extent.floor_max.sequence);
        if let Some(from) = hub.inner.archive_start(&wanted, extent.floor_max.sequence, is_here) {
            if let From::Sequence(sequence) = &from
                && self.groups.is_empty()
            {
                self.still_open(*sequence)?;
            }
            self.merge.leave_rings();
            return Ok(Started::InLog(from));
        }
        let position = match &wanted {
            Wanted::Live => Some(settled),
            Wanted::Sequence(sequence) => Some(*sequence),
            Wanted::Given(_) => extent.given,
            Wanted::Earliest | Wanted::Lost { .. } => None,
        };
        let lost = match &wanted {
            Wanted::Lost { reason, .. } => Some(*reason),
            Wanted::Given(_) if position.is_none() => Some(GapReason::Unknown),
            _ => None,
        };
        // Without a position, as late as nothing that is kept is left out. What came after `settled` is marked.
        let floor = extent.floor_max;
        let before_oldest = || extent.oldest.map_or(settled, |oldest| floor.sequence.min(oldest - 1).min(settled));
        let cursor = position.unwrap_or_else(before_oldest);
        let asks_for_all = matches!(wanted, Wanted::Earliest);
        let gap = (floor.sequence > cursor && !asks_for_all).then_some(floor.sequence);
        let known = if asks_for_all { floor.sequence.min(settled) } else { floor.sequence };
        let open = self.can_end_after(cursor)?;
        self.merge.start(ReaderStart { cursor, known, gap, topics: extent.topics, open });

        let first = lost.map(|reason| start.gap(hub.epoch(), cursor, reason));
        let later = gap.map(|gap| match lost {
            None => start.gap(hub.epoch(), gap, floor.reason()),
            Some(_) => Gap {
                requested: hub.inner.cursor(cursor).to_string(),
                resumed_after: hub.inner.cursor(gap),
                reason: floor.reason(),
            },
        });
        Ok(Started::InRings(StartGaps { first, later }))
    }

    /// Goes on with the rings after `cursor`, up to which the log was read; false if they do not reach back that far.
    pub(crate) fn start_after(&self, hub: &Hub, cursor: u64) -> Result<bool, SubscribeError> {
        // Whatever was numbered until now is in the rings when they are looked at.
        hub.inner.order.settled(self.merge.shards());
        let extent = self.extent(hub, &Wanted::Sequence(cursor));
        if extent.floor_max.sequence > cursor {
            return Ok(false);
        }
        let open = self.can_end_after(cursor)?;
        self.merge.start(ReaderStart { cursor, known: cursor, gap: None, topics: extent.topics, open });
        Ok(true)
    }

    /// Whether the rings of everything that is followed reach back to `cursor`. Of templates only the log knows.
    pub(crate) fn are_rings_kept_after(&self, cursor: u64) -> bool {
        self.groups.is_empty() && self.topics.iter().all(|(topic, _)| topic.lock().ring.floor().sequence <= cursor)
    }

    /// Goes on with the rings after `cursor`, up to which the log was read since they were left.
    pub(crate) fn go_on_after(&self, hub: &Hub, cursor: u64) -> Result<(), SubscribeError> {
        // An end that the log told of is in the rings when they are looked at, and one that could not be read there as well.
        hub.inner.order.settled(self.merge.shards());
        self.merge.enter_rings(cursor, self.can_end_after(cursor)?);
        Ok(())
    }

    /// How many named topics can still end; `None` if selectors keep the stream open.
    fn can_end_after(&self, cursor: u64) -> Result<Option<usize>, SubscribeError> {
        if self.groups.is_empty() { self.still_open(cursor).map(Some) } else { Ok(None) }
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
    fn extent(&self, hub: &Hub, wanted: &Wanted) -> Extent {
        let mut extent = Extent::default();
        if matches!(wanted, Wanted::Live) {
            return extent;
        }
        self.topics.iter().for_each(|(topic, _)| extent.add(topic, wanted, self.merge.grants()));
        if !self.groups.is_empty() {
            let groups: Vec<Arc<SelectorGroup>> = self.groups.iter().map(|(group, _)| group.clone()).collect();
            extent.add_groups(&hub.inner.topics, &groups, wanted, self.merge.grants());
        }
        extent
    }

    /// Undoes [`join`](Self::join).
    pub(crate) fn leave(&self, hub: &Hub) {
        for (topic, key) in &self.topics {
            topic.lock().unfollow(FollowerKind::Merged, *key);
        }
        for (group, key) in &self.groups {
            hub.inner.topics.leave_group(group, *key);
        }
        hub.inner.merges.lock().remove(self.merge_key);
    }
}

fn shards_followed(hub: &Hub, names: &[&TopicName], has_patterns: bool) -> Box<[usize]> {
    if has_patterns {
        return (0..hub.inner.order.shards()).collect();
    }
    let mut shards: Vec<usize> = names.iter().map(|name| hub.inner.topics.shard_of(name)).collect();
    shards.sort_unstable();
    shards.dedup();
    shards.into()
}
