//! The streams that hyper writes: all of HTTP/2, and with `--writers off` the others too.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use slab::Slab;
use sse_hub::TopicName;

use super::{Pace, Progress, Roll, StreamId, Wanted};
use crate::stream::body::{BodyStream, SharedStream};
use crate::stream::{EndReason, FollowedTopics, StreamInfo};

/// Streams looked at while the lock is held, so that none waits for long to begin or to end.
const LOOK: usize = 64;
/// What hyper gets at once is not what a client has not taken: only what is not taken for so long is.
const BLOCKED_FROM: Duration = Duration::from_millis(50);

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct HyperStreams(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    open: Slab<Open>,
    generation: u32,
    /// How many follow a topic alone.
    followers: HashMap<TopicName, usize, ahash::RandomState>,
}

#[derive(Debug, Clone)]
struct Open {
    generation: u32,
    stream: SharedStream,
    info: Arc<StreamInfo>,
}

/// A stream's place; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct HyperPlace {
    streams: Arc<HyperStreams>,
    key: usize,
}

impl HyperStreams {
    /// A stream has begun.
    pub(crate) fn enter(self: &Arc<Self>, stream: SharedStream, info: Arc<StreamInfo>) -> HyperPlace {
        let mut inner = self.0.lock();
        inner.generation = inner.generation.wrapping_add(1);
        if let FollowedTopics::One(topic) = &info.topics {
            *inner.followers.entry(topic.clone()).or_insert(0) += 1;
        }
        let generation = inner.generation;
        let key = inner.open.insert(Open { generation, stream, info });
        HyperPlace { streams: self.clone(), key }
    }

    /// How many of them follow this topic alone.
    pub(crate) fn followers(&self, topic: &TopicName) -> usize {
        self.0.lock().followers.get(topic).copied().unwrap_or(0)
    }

    /// Writes down those that are wanted.
    pub(crate) fn list(&self, roll: &mut Roll) {
        self.each(|id, open| {
            if roll.wanted.matches(&open.info) {
                let progress = progress(&open.stream.lock());
                roll.add(id, &open.info, progress);
            }
        });
    }

    /// Ends those that are wanted; how many.
    pub(crate) fn kick(&self, wanted: &Wanted) -> usize {
        let mut kicked = 0;
        self.each(|_, open| {
            if wanted.matches(&open.info) {
                kicked += usize::from(open.stream.lock().kick());
            }
        });
        kicked
    }

    /// Ends one; how many there are of this id.
    pub(crate) fn kick_one(&self, id: StreamId) -> usize {
        let open = self.0.lock().open.get(id.key as usize).filter(|open| open.generation == id.generation).cloned();
        open.map_or(0, |open| usize::from(open.stream.lock().kick()))
    }

    /// Visits all that are there from the beginning to the end. A stream's own lock is taken without this one.
    fn each(&self, mut visit: impl FnMut(StreamId, &Open)) {
        let mut next = 0;
        loop {
            let some: Vec<(usize, Open)> = {
                let inner = self.0.lock();
                let end = inner.open.capacity();
                if next >= end {
                    return;
                }
                let keys = next..(next + LOOK).min(end);
                next = keys.end;
                keys.filter_map(|key| inner.open.get(key).map(|open| (key, open.clone()))).collect()
            };
            for (key, open) in &some {
                visit(StreamId { owner: StreamId::HYPER, key: *key as u32, generation: open.generation }, open);
            }
        }
    }
}

impl Drop for HyperPlace {
    fn drop(&mut self) {
        let mut inner = self.streams.0.lock();
        let Some(open) = inner.open.try_remove(self.key) else { return };
        if let FollowedTopics::One(topic) = &open.info.topics
            && let Some(count) = inner.followers.get_mut(topic)
        {
            *count -= 1;
            if *count == 0 {
                inner.followers.remove(topic);
            }
        }
        drop(inner);
        // What it held has locks of its own.
        drop(open);
    }
}

fn progress(stream: &BodyStream) -> Progress {
    let (lag, bounds) = (stream.subscription.lag(), stream.subscription.lag_bounds());
    let blocked_for = stream.blocked_for().filter(|time| *time >= BLOCKED_FROM);
    let pace = match (stream.end_under_way(), blocked_for) {
        (Some(reason), _) => Pace::Ending(reason),
        (None, Some(time)) => Pace::Blocked(time),
        (None, None) if stream.subscription.is_replaying() => Pace::ReadingLog,
        (None, None) if lag.frames > 0 => Pace::Reading,
        (None, None) => Pace::CaughtUp,
    };
    Progress {
        lag,
        pending_bytes: blocked_for.map_or(0, |_| stream.given_bytes() as u64),
        pace,
        is_too_far: bounds.are_exceeded_by(lag),
        quiet_for: stream.quiet_for(),
        policy: bounds.policy,
        is_compressed: stream.is_compressed,
    }
}

impl BodyStream {
    /// Why it ends, if that is decided.
    fn end_under_way(&self) -> Option<EndReason> {
        self.ended.or_else(|| self.is_kicked().then_some(EndReason::Kicked))
    }
}
