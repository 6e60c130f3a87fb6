//! One subscriber's stream of deliveries.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::archive::Archive;
use crate::batch::{Batch, Delivery};
use crate::followers::FollowerKind;
use crate::grants::Sight;
use crate::place::Place;
use crate::read::{Ahead, Missed, Read};
use crate::replay::{From, Replay, ReplayStart, Replayed};
use crate::several::{Several, StartGaps, Started};
use crate::start::Resolved;
use crate::topic::{Entered, Topic};
use crate::{
    EvictReason, Feed, Gap, Grants, Hub, Lag, LagBounds, Selector, Start, SubscribeError, SubscribeOptions, TopicName,
};

/// A subscriber of the hub: a [`Stream`] of [`Delivery`]s that ends when the subscriber is evicted or when every topic it
/// names is closed. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscription {
    hub: Hub,
    place: Following,
    /// What it has to be told of its start.
    gaps: StartGaps,
    /// The last sequence given out before it joined: what it gets up to there is replayed.
    joined_at: u64,
    state: State,
    /// With a log, how it is read.
    logged: Option<Box<Logged>>,
}

/// What reading the log takes.
#[derive(Debug)]
struct Logged {
    archive: Arc<Archive>,
    followed: Arc<[Selector]>,
    grants: Grants,
    /// Under way.
    replay: Option<Replay>,
    /// A reader of several topics has not started: the log is read first.
    is_starting: bool,
}

#[derive(Debug)]
enum Following {
    /// One topic by name: a cursor in its ring.
    One {
        topic: Arc<Topic>,
        key: usize,
    },
    Several(Several),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Over,
}

impl Logged {
    fn replay_from(&mut self, cursor: u64) {
        let start = ReplayStart { from: From::Sequence(cursor), requested: None };
        self.replay = Some(Replay::new(&self.archive, self.followed.clone(), self.grants.clone(), start));
    }
}

impl Subscription {
    pub(crate) fn open(hub: Hub, options: SubscribeOptions) -> Result<Self, SubscribeError> {
        let SubscribeOptions { selectors, start, grants } = options;
        let selectors_max = hub.inner.config.topics_per_subscription_max;
        if selectors.len() > selectors_max {
            return Err(SubscribeError::TooManyTopics { selectors: selectors.len(), selectors_max });
        }
        let joined_at = hub.inner.order.newest();
        let (place, started) = match &selectors[..] {
            [] => return Err(SubscribeError::NoTopic),
            [only] if only.as_exact().is_some() => join_one(&hub, only.text(), &start, grants.clone())?,
            _ => {
                let several = Several::join(&hub, &selectors, grants.clone())?;
                let started = several.start(&hub, &start).inspect_err(|_| several.leave(&hub))?;
                (Following::Several(several), started)
            }
        };
        hub.inner.signals.subscriptions.increment(1.0);
        let (gaps, from) = match started {
            Started::InRings(gaps) => (gaps, None),
            Started::InLog(from) => (StartGaps { first: None, later: None }, Some(from)),
        };
        let is_starting = from.is_some() && matches!(place, Following::Several(_));
        let logged = hub.inner.archive.clone().map(|archive| {
            let followed: Arc<[Selector]> = selectors.into();
            let start = from.map(|from| ReplayStart { from, requested: Some(start.requested()) });
            let replay = start.map(|start| Replay::new(&archive, followed.clone(), grants.clone(), start));
            Box::new(Logged { archive, followed, grants, replay, is_starting })
        });
        Ok(Self { hub, place, gaps, joined_at, state: State::Open, logged })
    }

    /// Waits until it is known where it starts: only a log has to be asked, and then [`take_start_gap`](Self::take_start_gap)
    /// tells what is missing there.
    ///
    /// # Errors
    /// [`SubscribeError::Ended`] if nothing is left to follow.
    pub async fn started(&mut self) -> Result<(), SubscribeError> {
        std::future::poll_fn(|cx| self.poll_started(cx)).await
    }

    fn poll_started(&mut self, cx: &Context<'_>) -> Poll<Result<(), SubscribeError>> {
        let hub = self.hub.clone();
        let Some(replay) = self.logged.as_mut().and_then(|logged| logged.replay.as_mut()) else {
            return Poll::Ready(Ok(()));
        };
        if !replay.poll_start(&hub.inner, cx.waker()) {
            return Poll::Pending;
        }
        if !replay.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let cursor = replay.cursor();
        if self.enter_rings(cursor) { Poll::Ready(Ok(())) } else { Poll::Ready(Err(SubscribeError::Ended)) }
    }

    /// A feed of the same hub.
    ///
    /// # Errors
    /// As [`Hub::feed`].
    pub fn feed(&self, topic: &TopicName) -> Result<Feed, SubscribeError> {
        self.hub.feed(topic)
    }

    /// Whether it reads the log just now: a host may serve those first that do not.
    pub fn is_replaying(&self) -> bool {
        self.logged.as_ref().is_some_and(|logged| logged.replay.is_some())
    }

    /// Where it stands, if it follows one topic by name and reads its ring: a host may go on from there by a
    /// [`Feed`](crate::Feed).
    pub fn ring_cursor(&self) -> Option<u64> {
        match &self.place {
            Following::One { topic, key } if !self.is_replaying() => topic.cursor_of(*key),
            _ => None,
        }
    }

    /// The next delivery; `None` once the subscription is over.
    pub async fn next(&mut self) -> Option<Delivery> {
        std::future::poll_fn(|cx| self.poll_delivery(cx)).await
    }

    /// The same for hosts with a poll function of their own.
    pub fn poll_delivery(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        if self.state == State::Over {
            return Poll::Ready(None);
        }
        if let Some(gap) = self.gaps.first.take() {
            return Poll::Ready(Some(self.told(gap)));
        }
        let mut batch = Batch::default();
        let read = loop {
            if let Some(replayed) = self.replay(cx, &mut batch) {
                match replayed {
                    Ok(read) => break read,
                    Err(gap) => return Poll::Ready(Some(self.told(gap))),
                }
            }
            if self.state == State::Over {
                return Poll::Ready(None);
            }
            match self.read(cx, &mut batch) {
                // Its host has told of it.
                Read::StartGap if self.gaps.later.is_none() => (),
                Read::Below(cursor) => self.leave_rings(cursor),
                read => break read,
            }
        };
        self.count_replayed(&batch);
        match read {
            Read::CaughtUp => Poll::Pending,
            Read::Frames => Poll::Ready(Some(Delivery::Frames(batch))),
            Read::Ended => {
                self.state = State::Over;
                Poll::Ready(Some(Delivery::Frames(batch)))
            }
            Read::Gap(missed) => Poll::Ready(Some(self.told(self.gap(missed)))),
            Read::StartGap => {
                let gap = self.gaps.later.take().expect("the reader comes to the gap of its start once");
                Poll::Ready(Some(self.told(gap)))
            }
            Read::Evicted(reason) => Poll::Ready(Some(self.evicted(reason))),
            Read::Below(_) => unreachable!("then the log is read"),
        }
    }

    /// For a host that has the frames of one topic in another form, the same for many subscribers: what is next. While it is
    /// frames of the topic's ring, the host may give them itself, and say so by [`pass`](Self::pass).
    pub fn poll_ahead(&mut self, cx: &Context<'_>) -> Poll<Ahead> {
        let in_ring = self.state == State::Open && self.gaps.first.is_none() && !self.is_replaying();
        match &self.place {
            Following::One { topic, key } if in_ring => {
                topic.ahead_of(*key, cx.waker()).map_or(Poll::Pending, Poll::Ready)
            }
            _ => Poll::Ready(Ahead::Delivery),
        }
    }

    /// Its host has given everything of the ring up to `cursor`, frames of so many bytes.
    pub fn pass(&mut self, cursor: u64, bytes: u64) {
        if let Following::One { topic, key } = &self.place {
            topic.pass(*key, cursor, bytes);
        }
    }

    /// Reads the log, if that is under way; `None` once it is not. A gap is an error here.
    fn replay(&mut self, cx: &Context<'_>, batch: &mut Batch) -> Option<Result<Read, Gap>> {
        loop {
            if self.has_come_to_rings() {
                let cursor = self.logged.as_ref()?.replay.as_ref()?.cursor();
                if !self.enter_rings(cursor) {
                    self.state = State::Over;
                }
                return None;
            }
            let logged = self.logged.as_mut()?;
            let replay = logged.replay.as_mut()?;
            match replay.poll(&self.hub.inner, cx.waker(), batch) {
                Replayed::Pending => return Some(Ok(Read::CaughtUp)),
                Replayed::Frames => return Some(Ok(Read::Frames)),
                Replayed::Gap(gap) => return Some(Err(gap)),
                Replayed::End => {
                    let is_last = match &self.place {
                        Following::One { .. } => true,
                        // One that has not started counts those that are still open then.
                        Following::Several(several) => !logged.is_starting && several.merge.end_one(),
                    };
                    return Some(Ok(if is_last { Read::Ended } else { Read::Frames }));
                }
                Replayed::Done(cursor) => {
                    if !self.enter_rings(cursor) {
                        self.state = State::Over;
                        return None;
                    }
                }
            }
        }
    }

    /// Whether the rings go on where the replay stands: they are faster, and cost the log nothing.
    fn has_come_to_rings(&self) -> bool {
        let Some(logged) = &self.logged else { return false };
        let Some(cursor) = logged.replay.as_ref().and_then(Replay::cursor_between_pages) else { return false };
        match &self.place {
            Following::One { topic, .. } => topic.lock().ring.floor().sequence <= cursor,
            Following::Several(several) => !logged.is_starting && several.are_rings_kept_after(cursor),
        }
    }

    /// Reads the log from now on, after `cursor`.
    fn leave_rings(&mut self, cursor: u64) {
        match &self.place {
            Following::One { topic, key } => topic.leave_ring(*key),
            Following::Several(several) => several.merge.leave_rings(),
        }
        if let Some(logged) = &mut self.logged {
            logged.replay_from(cursor);
        }
    }

    /// Goes on with the rings after `cursor`, or with the log if they do not reach back so far; false if nothing is left.
    fn enter_rings(&mut self, cursor: u64) -> bool {
        let Some(logged) = &mut self.logged else { return true };
        logged.replay = None;
        match &self.place {
            Following::One { topic, key } => {
                // Whatever the log had is in the ring: nothing at or below `cursor` comes to it any more.
                self.hub.inner.order.settled(&[topic.shard as usize]);
                match topic.enter_ring(*key, cursor) {
                    Entered::On => (),
                    Entered::Watch => self.hub.inner.watch(topic.clone()),
                    Entered::Over => return false,
                }
            }
            Following::Several(several) if logged.is_starting => match several.start_after(&self.hub, cursor) {
                Ok(true) => logged.is_starting = false,
                Ok(false) => logged.replay_from(cursor),
                Err(_) => return false,
            },
            Following::Several(several) => return several.go_on_after(&self.hub, cursor).is_ok(),
        }
        true
    }

    fn read(&self, cx: &Context<'_>, batch: &mut Batch) -> Read {
        match &self.place {
            Following::One { topic, key } => topic.read_place(*key, cx.waker(), batch),
            Following::Several(several) => several.merge.read(&self.hub.inner.order, cx.waker(), batch),
        }
    }

    /// What is missing at its start, for a host that tells of it in its own way: then no delivery does.
    pub fn take_start_gap(&mut self) -> Option<Gap> {
        let later = self.gaps.later.take();
        let replay = self.logged.as_mut().and_then(|logged| logged.replay.as_mut());
        let in_log = replay.and_then(|replay| replay.next_gap(&self.hub.inner));
        let gap = self.gaps.first.take().or(later).or(in_log)?;
        self.hub.inner.signals.gap(gap.reason);
        Some(gap)
    }

    /// Whether the hub has found it too slow and its next delivery will say so. Its waker was woken: a host whose transport
    /// has stopped asking for deliveries learns here that it may close.
    pub fn is_evicted(&self) -> bool {
        match &self.place {
            Following::One { topic, key } => topic.is_evicted(*key),
            Following::Several(several) => several.merge.is_evicted(),
        }
    }

    /// How far behind it is: in the rings, and over several topics counted until it is over a bound.
    pub fn lag(&self) -> Lag {
        match &self.place {
            Following::One { topic, key } => topic.lag_of(*key),
            Following::Several(several) => several.merge.lag(),
        }
    }

    /// What counts as too far, and what happens then.
    pub fn lag_bounds(&self) -> &LagBounds {
        match &self.place {
            Following::One { topic, .. } => &topic.policy.lag,
            Following::Several(several) => several.merge.lag_bounds(),
        }
    }

    fn count_replayed(&self, batch: &Batch) {
        let replayed = batch.frames_up_to(self.joined_at);
        if replayed > 0 {
            self.hub.inner.signals.replayed.increment(replayed as u64);
        }
    }

    fn told(&self, gap: Gap) -> Delivery {
        self.hub.inner.signals.gap(gap.reason);
        Delivery::Gap(gap)
    }

    fn gap(&self, missed: Missed) -> Gap {
        Gap {
            requested: self.hub.inner.cursor(missed.from).to_string(),
            resumed_after: self.hub.inner.cursor(missed.resumed_after),
            reason: missed.reason,
        }
    }

    fn evicted(&mut self, reason: EvictReason) -> Delivery {
        self.state = State::Over;
        self.hub.inner.signals.eviction(reason);
        Delivery::Evicted(reason)
    }
}

impl Stream for Subscription {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.poll_delivery(cx)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        match &self.place {
            Following::One { topic, key } => topic.lock().unfollow(FollowerKind::Single, *key),
            Following::Several(several) => several.leave(&self.hub),
        }
        self.hub.inner.signals.subscriptions.decrement(1.0);
    }
}

/// Takes a place in one topic.
fn join_one(
    hub: &Hub,
    name: &TopicName,
    start: &Start,
    grants: Grants,
) -> Result<(Following, Started), SubscribeError> {
    // Whatever was numbered until now is in the ring when it is looked at: an end that is on its way is not missed.
    let settled = hub.inner.order.settled(&[hub.inner.topics.shard_of(name)]);
    let wanted = start.wanted(&hub.inner.epochs.read(), settled);
    let has_log = hub.inner.archive.is_some();
    let joined = hub.inner.with_topic(name, |topic, state| {
        let is_here = || wanted.is_kept_in(&state.ring, &mut Sight::new(&grants, name));
        if let Some(from) = hub.inner.archive_start(&wanted, state.ring.floor().sequence, is_here) {
            if let From::Sequence(sequence) = &from
                && state.is_over_after(*sequence)
            {
                return Err(SubscribeError::Ended);
            }
            let mut place = Place::new(0, grants, true);
            place.leave_ring();
            let (key, watch) = topic.follow_alone(state, place);
            return Ok((topic.clone(), key, Started::InLog(from), watch));
        }
        let Resolved { cursor, gap } = wanted.resolve(&state.ring, &mut Sight::new(&grants, name));
        if gap.is_none() && state.is_over_after(cursor) {
            return Err(SubscribeError::Ended);
        }
        let (key, watch) = topic.follow_alone(state, Place::new(cursor, grants, has_log));
        let first = gap.map(|reason| start.gap(hub.epoch(), cursor, reason));
        Ok((topic.clone(), key, Started::InRings(StartGaps { first, later: None }), watch))
    });
    let topics_max = hub.inner.topics.count_max();
    let (topic, key, started, watch) = joined.ok_or(SubscribeError::TopicsFull { topics_max })??;
    if watch {
        hub.inner.watch(topic.clone());
    }
    Ok((Following::One { topic, key }, started))
}
