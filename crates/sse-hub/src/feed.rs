//! One topic for a host that keeps many subscribers' cursors itself.

use std::sync::Arc;
use std::task::Waker;

use crate::batch::{Batch, Item};
use crate::followers::FollowerKind;
use crate::grants::Sight;
use crate::start::Resolved;
use crate::topic::Topic;
use crate::{
    Cursor, Gap, Grants, Hub, Lag, LagBounds, Start, SubscribeError, SubscribeOptions, Subscription, TopicName,
};

/// A topic's frames by cursor, and a waker for news: one feed serves any number of streams.
///
/// A host that owns thousands of sockets reads each batch once, for all that stand at the same cursor, where a
/// [`Subscription`](crate::Subscription) each would read it thousands of times. Dropping the feed unfollows.
#[derive(Debug)]
pub struct Feed {
    hub: Hub,
    topic: Arc<Topic>,
    key: usize,
}

/// What a feed has after a cursor.
#[derive(Debug)]
pub enum FeedRead {
    /// These frames; the cursor moves to `cursor`.
    Frames {
        /// The frames, as many as fit a batch.
        batch: Batch,
        /// The position after the last frame looked at.
        cursor: u64,
    },
    /// Nothing yet.
    CaughtUp,
    /// Frames up to `resumed_after` are gone.
    Gap {
        /// Where reading goes on.
        resumed_after: u64,
    },
    /// Frames are gone from the ring, and the log has them: a [`Subscription`](crate::Subscription) reads it.
    InLog,
}

/// Where a subscriber of a feed starts.
#[derive(Debug, PartialEq, Eq)]
pub enum FeedStart {
    /// In the ring.
    InRing {
        /// After this sequence.
        cursor: u64,
        /// What it has to be told of first.
        gap: Option<Gap>,
    },
    /// The log has to be read: a [`Subscription`](crate::Subscription) does.
    InLog,
}

impl Feed {
    pub(crate) fn open(hub: Hub, name: &TopicName) -> Result<Self, SubscribeError> {
        let joined = hub.inner.with_topic(name, |topic, state| (topic.clone(), state.follow_feed()));
        let topics_max = hub.inner.topics.count_max();
        let (topic, key) = joined.ok_or(SubscribeError::TopicsFull { topics_max })?;
        Ok(Self { hub, topic, key })
    }

    /// Where a subscriber with these grants that asks for `start` stands, and the gap it has to be told of first.
    ///
    /// # Errors
    /// [`SubscribeError::Ended`] if the topic is closed and has nothing left for it.
    pub fn resolve(&self, start: &Start, grants: &Grants) -> Result<FeedStart, SubscribeError> {
        let settled = self.hub.inner.order.settled(&[self.topic.shard as usize]);
        let wanted = start.wanted(&self.hub.inner.epochs.read(), settled);
        let state = self.topic.lock();
        let is_here = || wanted.is_kept_in(&state.ring, &mut Sight::new(grants, &self.topic.name));
        if self.hub.inner.archive_start(&wanted, state.ring.floor().sequence, is_here).is_some() {
            return Ok(FeedStart::InLog);
        }
        let Resolved { cursor, gap } = wanted.resolve(&state.ring, &mut Sight::new(grants, &self.topic.name));
        if gap.is_none() && state.is_over_after(cursor) {
            return Err(SubscribeError::Ended);
        }
        let gap = gap.map(|reason| start.gap(self.hub.epoch(), cursor, reason));
        Ok(FeedStart::InRing { cursor, gap })
    }

    /// The frames after `cursor` that somebody with these grants may see.
    pub fn read_after(&self, cursor: u64, grants: &Grants) -> FeedRead {
        self.read_between(cursor, u64::MAX, grants)
    }

    /// The same, of those up to `last`.
    pub fn read_between(&self, cursor: u64, last: u64, grants: &Grants) -> FeedRead {
        let state = self.topic.lock();
        let floor = state.ring.floor().sequence;
        if floor > cursor {
            if self.hub.inner.archive.is_some() {
                return FeedRead::InLog;
            }
            return FeedRead::Gap { resumed_after: floor };
        }
        let mut sight = Sight::new(grants, &self.topic.name);
        let mut batch = Batch::default();
        let mut read_to = cursor;
        for entry in state.ring.after(cursor) {
            if batch.is_full() || entry.sequence > last {
                break;
            }
            read_to = entry.sequence;
            if sight.sees(entry) {
                batch.push(Item::new(entry, &self.topic.name));
            }
        }
        if read_to == cursor { FeedRead::CaughtUp } else { FeedRead::Frames { batch, cursor: read_to } }
    }

    /// A subscription to the topic after `cursor`, for a subscriber that the ring no longer serves.
    ///
    /// # Errors
    /// [`SubscribeError::Ended`] if nothing comes after it.
    pub fn subscribe_after(&self, cursor: u64, grants: Grants) -> Result<Subscription, SubscribeError> {
        let start = Start::After(self.cursor(cursor).to_string());
        self.hub.subscribe(SubscribeOptions::topic(self.topic.name.clone()).from(start).with_grants(grants))
    }

    /// Arms `waker` unless there is something after `cursor` already; true if it is armed. It is woken once.
    pub fn arm(&self, cursor: u64, waker: &Waker) -> bool {
        self.topic.arm_feed(self.key, cursor, waker)
    }

    /// The sequence of the topic's newest frame, or of the last one it had.
    pub fn newest(&self) -> u64 {
        self.topic.lock().ring.newest()
    }

    /// The position right before the newest frame, for somebody who is to read that one only: it may be the topic's end.
    pub fn before_newest(&self) -> u64 {
        self.topic.lock().ring.before_newest()
    }

    /// How far behind `cursor` is.
    pub fn lag(&self, cursor: u64) -> Lag {
        self.topic.lock().ring.lag(cursor)
    }

    /// What counts as too far, and what happens then.
    pub fn lag_bounds(&self) -> &LagBounds {
        &self.topic.policy.lag
    }

    /// The topic.
    pub fn topic(&self) -> &TopicName {
        &self.topic.name
    }

    /// A position of this hub's history.
    pub fn cursor(&self, sequence: u64) -> Cursor {
        self.hub.inner.cursor(sequence)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.topic.lock().unfollow(FollowerKind::Feed, self.key);
    }
}
