//! One topic: its ring and the list of those to wake.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use slab::Slab;
use smallvec::SmallVec;

use crate::batch::{Batch, Item};
use crate::budget::Budget;
use crate::config::{SlowPolicy, TopicPolicy};
use crate::gap::Missed;
use crate::merge::Merge;
use crate::registry::SelectorGroup;
use crate::ring::{Entry, EntryKind, Floor, Ring};
use crate::sync::{Mutex, MutexGuard};
use crate::{EvictReason, GapReason, Grants, Lag, LagJudge, TopicName};

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: TopicName,
    pub(crate) shard: usize,
    pub(crate) policy: Arc<TopicPolicy>,
    state: Mutex<TopicState>,
}

#[derive(Debug)]
pub(crate) struct TopicState {
    pub(crate) ring: Ring,
    followers: Slab<Follower>,
    /// The selectors that match this topic, found when the topic or the selector first appeared.
    groups: SmallVec<[Arc<SelectorGroup>; 1]>,
    life: Life,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Open,
    /// Closed at this tick; the ring ends with the `sse.end` frame.
    Closed {
        tick: u32,
    },
    /// Taken out of the table: whoever still holds it has to look the name up again.
    Collected,
}

/// Somebody to wake when a frame is appended.
#[derive(Debug)]
enum Follower {
    /// Reads this topic alone; its place is kept here, under the lock that reading takes anyway.
    Single { waker: Option<Waker>, place: Place },
    /// Reads this topic among others and keeps its own place.
    Merged(Arc<Merge>),
    /// Reads at places of its own and is only told that there is news.
    Feed { waker: Option<Waker> },
}

/// Where a subscriber of one topic stands.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) cursor: u64,
    pub(crate) grants: Grants,
    bytes_read: u64,
    judge: LagJudge,
    pending: Option<Pending>,
}

/// What the sweep decided about a slow subscriber, to be told at its next read.
#[derive(Debug, Clone, Copy)]
enum Pending {
    Evict(EvictReason),
    Skip,
}

/// What a subscriber reads.
pub(crate) enum Read {
    /// Something was added to the batch.
    Frames,
    /// The last thing to come was added to the batch: the topic's end, or the last topic's.
    Ended,
    /// Nothing is left, and the waker is armed.
    CaughtUp,
    /// Frames are lost to this subscriber.
    Gap(Missed),
    /// The subscription is over.
    Evicted(EvictReason),
}

impl Place {
    pub(crate) fn new(cursor: u64, grants: Grants) -> Self {
        Self { cursor, grants, bytes_read: 0, judge: LagJudge::default(), pending: None }
    }
}

/// How many wakers are taken at a time, so that no reader waits long for the lock while a crowd is woken.
const WAKE_BATCH: usize = 128;

impl Topic {
    pub(crate) fn new(
        name: TopicName,
        shard: usize,
        policy: Arc<TopicPolicy>,
        floor: Floor,
        groups: SmallVec<[Arc<SelectorGroup>; 1]>,
    ) -> Self {
        let state = TopicState { ring: Ring::new(floor), followers: Slab::new(), groups, life: Life::Open };
        Self { name, shard, policy, state: Mutex::new(state) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, TopicState> {
        self.state.lock()
    }

    /// Appends, under the shard's append lock, and marks those who read several topics. Their wakers are put in `wakers`,
    /// to be woken when the locks are released; the others are woken by [`wake_followers`](Self::wake_followers).
    pub(crate) fn append(self: &Arc<Self>, entry: Entry, tick: u32, budget: &Budget, wakers: &mut Vec<Waker>) {
        let mut state = self.state.lock();
        if entry.kind == EntryKind::End {
            state.life = Life::Closed { tick };
        }
        state.ring.push(entry, tick, &self.policy.ring, budget);
        for (_, follower) in &state.followers {
            if let Follower::Merged(merge) = follower {
                wakers.extend(merge.mark(self));
            }
        }
        for group in &state.groups {
            group.mark(self, wakers);
        }
    }

    /// Wakes those who read this topic alone. Somebody who joins meanwhile has read the ring already.
    pub(crate) fn wake_followers(&self) {
        let mut wakers: SmallVec<[Waker; WAKE_BATCH]> = SmallVec::new();
        let mut next = 0;
        loop {
            {
                let mut state = self.state.lock();
                let end = state.followers.capacity();
                while next < end && wakers.len() < WAKE_BATCH {
                    match state.followers.get_mut(next) {
                        Some(Follower::Single { waker, .. } | Follower::Feed { waker }) => wakers.extend(waker.take()),
                        Some(Follower::Merged(_)) | None => (),
                    }
                    next += 1;
                }
            }
            if wakers.is_empty() {
                return;
            }
            wakers.drain(..).for_each(Waker::wake);
        }
    }

    /// Reads on for the subscriber at `key`, or arms its waker, in one hold of the lock: no frame can slip between.
    pub(crate) fn read_place(&self, key: usize, waker: &Waker, batch: &mut Batch) -> Read {
        let mut state = self.state.lock();
        let TopicState { ring, followers, .. } = &mut *state;
        let Some(Follower::Single { waker: armed, place }) = followers.get_mut(key) else {
            unreachable!("a subscription holds the key of its own place")
        };
        match place.pending.take() {
            Some(Pending::Evict(reason)) => return Read::Evicted(reason),
            Some(Pending::Skip) => {
                return Read::Gap(place.pass_over(ring.newest()));
            }
            None => (),
        }
        if ring.floor().sequence > place.cursor {
            return Read::Gap(place.pass_over(ring.floor().sequence));
        }
        place.conflate(ring, &self.policy);
        let ended = place.read(&self.name, ring, batch);
        if ended {
            return Read::Ended;
        }
        if !batch.is_empty() {
            return Read::Frames;
        }
        if !armed.as_ref().is_some_and(|armed| armed.will_wake(waker)) {
            *armed = Some(waker.clone());
        }
        Read::CaughtUp
    }

    /// Arms the waker of the feed at `key` unless there is something after `cursor`; true if it is armed.
    pub(crate) fn arm_feed(&self, key: usize, cursor: u64, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if state.ring.newest() > cursor {
            return false;
        }
        if let Some(Follower::Feed { waker: armed }) = state.followers.get_mut(key) {
            *armed = Some(waker.clone());
        }
        true
    }

    /// Drops what is too old. True if somebody is behind or the topic may be idle, so that it deserves a closer look.
    pub(crate) fn trim(&self, tick: u32, budget: &Budget) -> bool {
        let mut state = self.state.lock();
        state.ring.drop_older_than(tick, &self.policy.ring, budget);
        state.groups.retain(|group| !group.is_retired());
        let TopicState { ring, followers, .. } = &mut *state;
        let newest = ring.newest();
        let behind = |(_, follower): (usize, &mut Follower)| match follower {
            Follower::Single { place, .. } => place.cursor < newest || place.is_over(),
            Follower::Merged(_) | Follower::Feed { .. } => false,
        };
        followers.is_empty() || followers.iter_mut().any(behind)
    }

    /// Judges the subscribers of this topic alone; those found too slow are told at their next read.
    pub(crate) fn judge_followers(&self, now: Instant) {
        let bounds = &self.policy.lag;
        let mut wakers = Vec::new();
        {
            let mut state = self.state.lock();
            let TopicState { ring, followers, .. } = &mut *state;
            for (_, follower) in followers.iter_mut() {
                let Follower::Single { waker, place } = follower else { continue };
                let lag = ring.lag(place.cursor);
                if !place.judge.is_too_slow(now, lag, place.bytes_read, bounds) {
                    continue;
                }
                place.pending = match bounds.policy {
                    SlowPolicy::Evict => Some(Pending::Evict(EvictReason::Lagged)),
                    SlowPolicy::Skip => Some(Pending::Skip),
                    SlowPolicy::Latest => None,
                };
                wakers.extend(waker.take());
            }
        }
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl TopicState {
    pub(crate) fn life(&self) -> Life {
        self.life
    }

    pub(crate) fn follow_alone(&mut self, place: Place) -> usize {
        self.followers.insert(Follower::Single { waker: None, place })
    }

    pub(crate) fn follow_merged(&mut self, merge: Arc<Merge>) -> usize {
        self.followers.insert(Follower::Merged(merge))
    }

    pub(crate) fn follow_feed(&mut self) -> usize {
        self.followers.insert(Follower::Feed { waker: None })
    }

    pub(crate) fn unfollow(&mut self, key: usize) {
        self.followers.remove(key);
        if self.followers.is_empty() {
            self.followers = Slab::new();
        }
    }

    pub(crate) fn followers(&self) -> usize {
        self.followers.len()
    }

    pub(crate) fn join_group(&mut self, group: Arc<SelectorGroup>) {
        self.groups.push(group);
    }

    pub(crate) fn in_group(&self, group: &Arc<SelectorGroup>) -> bool {
        self.groups.iter().any(|other| Arc::ptr_eq(other, group))
    }

    /// Whether nothing would be lost by forgetting the topic, given what counts as old.
    pub(crate) fn is_idle(&self, tick: u32, closed_age_max: u32) -> bool {
        if !self.followers.is_empty() {
            return false;
        }
        match self.life {
            Life::Open => self.ring.is_empty(),
            Life::Closed { tick: closed } => tick.saturating_sub(closed) > closed_age_max,
            Life::Collected => false,
        }
    }

    pub(crate) fn collect(&mut self, budget: &Budget) -> Floor {
        self.life = Life::Collected;
        while self.ring.drop_oldest(budget) {}
        self.ring.floor()
    }

    pub(crate) fn lag(&self, cursor: u64) -> Lag {
        self.ring.lag(cursor)
    }
}

impl Place {
    fn pass_over(&mut self, resumed_after: u64) -> Missed {
        let from = std::mem::replace(&mut self.cursor, resumed_after);
        Missed { from, resumed_after, reason: GapReason::Lagged }
    }

    /// Whether it was over a bound when it was judged last: catching up has to be noticed too.
    fn is_over(&self) -> bool {
        self.judge.is_over()
    }

    /// The `latest` policy: too far behind, only the newest frame counts.
    fn conflate(&mut self, ring: &Ring, policy: &TopicPolicy) {
        if policy.lag.policy != SlowPolicy::Latest || ring.lag(self.cursor).frames <= policy.lag.frames_max {
            return;
        }
        if let Some(newest) = ring.newest_entry() {
            self.cursor = newest.sequence - 1;
        }
    }

    /// Adds what the batch has room for; true when the topic's end is among it.
    fn read(&mut self, topic: &TopicName, ring: &Ring, batch: &mut Batch) -> bool {
        for entry in ring.after(self.cursor) {
            if batch.is_full() {
                break;
            }
            self.cursor = entry.sequence;
            if !entry.visible_to(&self.grants) {
                continue;
            }
            self.bytes_read += entry.frame.chunk().len() as u64;
            batch.push(Item::new(entry, topic));
            if entry.kind == EntryKind::End {
                return true;
            }
        }
        false
    }
}
