//! One topic: its ring and its followers.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use smallvec::SmallVec;
use sse_wire::EventId;

use crate::TopicName;
use crate::batch::Batch;
use crate::budget::Budget;
use crate::config::{SlowPolicy, TopicPolicy};
use crate::followers::{Follower, FollowerKind, Followers, Single};
use crate::merge::Merge;
use crate::moving::{MovedEvent, MovedTopic};
use crate::place::Place;
use crate::read::{Ahead, Read};
use crate::registry::SelectorGroup;
use crate::ring::{Entry, EntryKind, Floor, Lag, Ring};
use crate::sync::{Mutex, MutexGuard};

#[derive(Debug)]
pub(crate) struct Topic {
    /// Differs from that of every other topic the hub ever had, even one of the same name.
    pub(crate) id: u64,
    pub(crate) name: TopicName,
    /// The table it is in, and the shard whose append lock it is numbered under.
    pub(crate) table: u32,
    pub(crate) shard: u32,
    pub(crate) policy: Arc<TopicPolicy>,
    state: Mutex<TopicState>,
}

#[derive(Debug)]
pub(crate) struct TopicState {
    pub(crate) ring: Ring,
    followers: Followers,
    /// The selectors that match this topic, found when the topic or the selector first appeared.
    groups: SmallVec<[Arc<SelectorGroup>; 1]>,
    life: Life,
    /// It is among the topics whose subscribers the sweep judges.
    watched: bool,
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

/// How many wakers are taken at a time, so that no reader waits long for the lock while a crowd is woken.
const WAKE_BATCH: usize = 128;

impl Topic {
    pub(crate) fn new(
        id: u64,
        name: TopicName,
        (table, shard): (u32, u32),
        policy: Arc<TopicPolicy>,
        groups: SmallVec<[Arc<SelectorGroup>; 1]>,
    ) -> Self {
        let (ring, followers) = (Ring::new(Floor::default()), Followers::None);
        let state = TopicState { ring, followers, groups, life: Life::Open, watched: false };
        Self { id, name, table, shard, policy, state: Mutex::new(state) }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, TopicState> {
        self.state.lock()
    }

    /// Appends, under the shard's append lock, and marks those who read several topics. Wakers are put in `wakers`, to be
    /// woken when the locks are released. True if there are subscribers of this topic alone, whom
    /// [`wake_singles`](Self::wake_singles) wakes.
    pub(crate) fn append(self: &Arc<Self>, entry: Entry, tick: u32, budget: &Budget, wakers: &mut Vec<Waker>) -> bool {
        let mut state = self.state.lock();
        match entry.kind {
            EntryKind::End => state.life = Life::Closed { tick },
            // Only an engine's order has an event behind an end: that opens the topic again, for every node alike.
            EntryKind::Event => state.life = Life::Open,
        }
        state.ring.push(entry, tick, &self.policy.ring, budget);
        for group in &state.groups {
            group.mark(self, wakers);
        }
        state.followers.mark(self, wakers)
    }

    /// Empties the ring up to `sequence`, where the topic had an event that it will not hold; with a tick that event was the end.
    /// Otherwise as [`append`](Self::append).
    pub(crate) fn pass_over(
        self: &Arc<Self>,
        sequence: u64,
        ends_at: Option<u32>,
        budget: &Budget,
        wakers: &mut Vec<Waker>,
    ) -> bool {
        let mut state = self.state.lock();
        if let Some(tick) = ends_at {
            state.life = Life::Closed { tick };
        }
        state.ring.lose_up_to(sequence, budget);
        for group in &state.groups {
            group.mark(self, wakers);
        }
        state.followers.mark(self, wakers)
    }

    /// Wakes those who read this topic alone. Somebody who joins meanwhile has read the ring already. True if the sweep
    /// has to watch them from now on.
    pub(crate) fn wake_singles(&self) -> bool {
        let mut wakers: SmallVec<[Waker; WAKE_BATCH]> = SmallVec::new();
        let (mut next, mut watch) = (0, false);
        loop {
            {
                let mut state = self.state.lock();
                watch |= self.watch(&mut state);
                let end = state.followers.singles_end();
                while next < end && wakers.len() < WAKE_BATCH {
                    wakers.extend(state.followers.single(next).and_then(|single| single.waker.take()));
                    next += 1;
                }
            }
            if wakers.is_empty() {
                return watch;
            }
            wakers.drain(..).for_each(Waker::wake);
        }
    }

    /// Takes a place for a subscriber that starts after `place`'s cursor. The second value is as for
    /// [`wake_singles`](Self::wake_singles).
    pub(crate) fn follow_alone(&self, state: &mut TopicState, place: Place) -> (usize, bool) {
        let behind = place.is_behind(&state.ring);
        let key = state.followers.join(Follower::Single(Single::new(place)));
        (key, behind && self.watch(state))
    }

    fn watch(&self, state: &mut TopicState) -> bool {
        self.policy.lag.policy != SlowPolicy::Latest && !std::mem::replace(&mut state.watched, true)
    }

    /// Reads on for the subscriber at `key`, or arms its waker, in one hold of the lock: no frame can slip between.
    pub(crate) fn read_place(&self, key: usize, waker: &Waker, batch: &mut Batch) -> Read {
        let mut state = self.state.lock();
        let TopicState { ring, followers, .. } = &mut *state;
        let Some(single) = followers.single(key) else { unreachable!("a subscription holds the key of its own place") };
        let read = single.place.read(&self.name, ring, &self.policy.lag, batch);
        if matches!(read, Read::CaughtUp) {
            single.arm(waker);
        }
        read
    }

    /// What is next for the subscriber at `key`, or its waker is armed.
    pub(crate) fn ahead_of(&self, key: usize, waker: &Waker) -> Option<Ahead> {
        let mut state = self.state.lock();
        let TopicState { ring, followers, .. } = &mut *state;
        let Some(single) = followers.single(key) else { unreachable!("a subscription holds the key of its own place") };
        let ahead = single.place.ahead(ring, &self.policy.lag);
        if ahead.is_none() {
            single.arm(waker);
        }
        ahead
    }

    /// The subscriber at `key` has had everything up to `cursor`, so many bytes, from elsewhere.
    pub(crate) fn pass(&self, key: usize, cursor: u64, bytes: u64) {
        if let Some(single) = self.state.lock().followers.single(key) {
            single.place.pass(cursor, bytes);
        }
    }

    /// The log is read for the subscriber at `key` from now on.
    pub(crate) fn leave_ring(&self, key: usize) {
        if let Some(single) = self.state.lock().followers.single(key) {
            single.place.leave_ring();
        }
    }

    /// The subscriber at `key` has read up to `cursor` and goes on with the ring.
    pub(crate) fn enter_ring(&self, key: usize, cursor: u64) -> Entered {
        let mut state = self.state.lock();
        if state.is_over_after(cursor) {
            return Entered::Over;
        }
        let TopicState { ring, followers, .. } = &mut *state;
        let Some(single) = followers.single(key) else { return Entered::Over };
        single.place.enter_ring(cursor);
        let is_behind = single.place.is_behind(ring);
        if is_behind && self.watch(&mut state) { Entered::Watch } else { Entered::On }
    }

    /// Where the subscriber at `key` stands.
    pub(crate) fn cursor_of(&self, key: usize) -> Option<u64> {
        Some(self.state.lock().followers.single(key)?.place.cursor())
    }

    /// How far behind the subscriber at `key` is.
    pub(crate) fn lag_of(&self, key: usize) -> Lag {
        let mut state = self.state.lock();
        let TopicState { ring, followers, .. } = &mut *state;
        followers.single(key).map_or_else(Lag::default, |single| ring.lag(single.place.cursor()))
    }

    /// Whether the subscriber at `key` will be told that it is evicted.
    pub(crate) fn is_evicted(&self, key: usize) -> bool {
        self.state.lock().followers.single(key).is_some_and(|single| single.place.is_evicted())
    }

    /// Arms the waker of the feed at `key` unless there is something after `cursor`; true if it is armed.
    pub(crate) fn arm_feed(&self, key: usize, cursor: u64, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if state.ring.newest() > cursor {
            return false;
        }
        if let Some(armed) = state.followers.feed(key) {
            *armed = Some(waker.clone());
        }
        true
    }

    /// Judges the subscribers of this topic alone; those found too slow are told at their next read. True if somebody is
    /// still behind and has to be judged again.
    pub(crate) fn judge_singles(&self, now: Instant) -> bool {
        let mut wakers = Vec::new();
        let somebody_is_behind = {
            let mut state = self.state.lock();
            let TopicState { ring, followers, watched, .. } = &mut *state;
            *watched = false;
            for Single { place, waker } in followers.singles() {
                *watched |= place.is_behind(ring);
                if place.judge(now, ring, &self.policy.lag) {
                    wakers.extend(waker.take());
                }
            }
            *watched
        };
        wakers.into_iter().for_each(Waker::wake);
        somebody_is_behind
    }

    /// What has come after `after`, for another hub; `None` if nothing has.
    pub(crate) fn moved(&self, after: u64) -> Option<MovedTopic> {
        let state = self.state.lock();
        if state.ring.newest() <= after {
            return None;
        }
        let Floor { sequence: floor, exact: is_floor_exact } = state.ring.floor();
        let closed_at = match state.life {
            Life::Closed { tick } => Some(tick),
            Life::Open => None,
            Life::Collected => return None,
        };
        let first_use = |id: &EventId| state.ring.first_use(id);
        let events = state.ring.after(after).map(|entry| MovedEvent::of(entry, first_use)).collect();
        Some(MovedTopic { name: self.name.clone(), floor, is_floor_exact, closed_at, events })
    }

    /// Has what another hub's topic of this name had, or what has come there since it was asked first.
    pub(crate) fn restore(&self, moved: MovedTopic, budget: &Budget) {
        let mut state = self.state.lock();
        let ring = &mut state.ring;
        if ring.newest() == 0 {
            *ring = Ring::new(Floor { sequence: moved.floor, exact: moved.is_floor_exact });
        } else if moved.floor > ring.newest() {
            ring.lose_up_to(moved.floor, budget);
        }
        for event in moved.events {
            if event.sequence <= ring.newest() {
                continue;
            }
            let (appended_at, first_use) = (event.appended_at, event.meta.as_ref().map(|meta| meta.first_use));
            let entry = event.into_entry();
            if !budget.charge(entry.own_cost()) {
                ring.lose_up_to(entry.sequence, budget);
                continue;
            }
            let given_id = entry.given_id().cloned();
            ring.push(entry, appended_at, &self.policy.ring, budget);
            if let (Some(id), Some(first_use)) = (given_id, first_use) {
                ring.note_first_use(&id, first_use);
            }
        }
        state.life = moved.closed_at.map_or(Life::Open, |tick| Life::Closed { tick });
    }

    /// Drops what is too old. True if the topic may be forgotten then.
    pub(crate) fn trim(&self, age: &Age, budget: &Budget) -> bool {
        let mut state = self.state.lock();
        state.ring.drop_older_than(age.tick, &self.policy.ring, budget);
        state.ring.shrink();
        state.groups.retain(|group| !group.is_retired());
        state.is_idle(age)
    }
}

/// What going on with the ring comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entered {
    On,
    /// The sweep has to watch the topic from now on.
    Watch,
    /// The topic is closed, and nothing is left.
    Over,
}

/// What counts as old.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Age {
    pub(crate) tick: u32,
    /// Seconds for which a closed topic is remembered.
    pub(crate) closed_max: u32,
}

impl TopicState {
    pub(crate) fn life(&self) -> Life {
        self.life
    }

    /// Whether nothing will ever come after `cursor`.
    pub(crate) fn is_over_after(&self, cursor: u64) -> bool {
        matches!(self.life, Life::Closed { .. }) && cursor >= self.ring.newest()
    }

    /// Has the topic closed, as it was before the start.
    pub(crate) fn restore_closed(&mut self) {
        self.life = Life::Closed { tick: 0 };
    }

    /// Has the ring begin where a topic of the same name left off, before anybody has looked at it.
    pub(crate) fn begin_at(&mut self, floor: Floor) {
        self.ring = Ring::new(floor);
    }

    pub(crate) fn follow_merged(&mut self, merge: Arc<Merge>) -> usize {
        self.followers.join(Follower::Merged(merge))
    }

    pub(crate) fn follow_feed(&mut self) -> usize {
        self.followers.join(Follower::Feed(None))
    }

    pub(crate) fn unfollow(&mut self, kind: FollowerKind, key: usize) {
        self.followers.leave(kind, key);
    }

    pub(crate) fn followers(&self) -> usize {
        self.followers.len()
    }

    pub(crate) fn alone(&self) -> usize {
        self.followers.alone()
    }

    pub(crate) fn feeds(&self) -> usize {
        self.followers.feeds()
    }

    pub(crate) fn is_followed(&self) -> bool {
        self.followers() > 0 || !self.groups.is_empty()
    }

    pub(crate) fn join_group(&mut self, group: Arc<SelectorGroup>) {
        self.groups.push(group);
    }

    pub(crate) fn in_group(&self, group: &Arc<SelectorGroup>) -> bool {
        self.groups.iter().any(|other| Arc::ptr_eq(other, group))
    }

    /// Whether nothing would be lost by forgetting the topic but its floor.
    pub(crate) fn is_idle(&self, age: &Age) -> bool {
        let is_over = match self.life {
            Life::Open => self.ring.is_empty(),
            Life::Closed { tick } => age.tick.saturating_sub(tick) > age.closed_max,
            Life::Collected => false,
        };
        is_over && self.followers.len() == 0
    }

    pub(crate) fn collect(&mut self, budget: &Budget) -> Floor {
        self.life = Life::Collected;
        while self.ring.drop_oldest(budget) {}
        self.ring.floor()
    }
}
