//! One subscriber's stream of deliveries.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::batch::{Batch, Delivery};
use crate::followers::FollowerKind;
use crate::grants::Sight;
use crate::place::Place;
use crate::read::{Missed, Read};
use crate::several::{Several, StartGaps};
use crate::start::Resolved;
use crate::topic::Topic;
use crate::{EvictReason, Gap, Grants, Hub, Start, SubscribeError, SubscribeOptions, TopicName};

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

impl Subscription {
    pub(crate) fn open(hub: Hub, options: SubscribeOptions) -> Result<Self, SubscribeError> {
        let SubscribeOptions { selectors, start, grants } = options;
        let selectors_max = hub.inner.config.topics_per_subscription_max;
        if selectors.len() > selectors_max {
            return Err(SubscribeError::TooManyTopics { selectors: selectors.len(), selectors_max });
        }
        let joined_at = hub.inner.order.newest();
        let (place, gaps) = match &selectors[..] {
            [] => return Err(SubscribeError::NoTopic),
            [only] if only.as_exact().is_some() => join_one(&hub, only.text(), &start, grants)?,
            _ => {
                let several = Several::join(&hub, &selectors, grants)?;
                let gaps = several.start(&hub, &start).inspect_err(|_| several.leave(&hub))?;
                (Following::Several(several), gaps)
            }
        };
        hub.inner.signals.subscriptions.increment(1.0);
        Ok(Self { hub, place, gaps, joined_at, state: State::Open })
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
        let mut read = self.read(cx, &mut batch);
        if matches!(read, Read::StartGap) && self.gaps.later.is_none() {
            // Its host has told of it.
            read = self.read(cx, &mut batch);
        }
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
        }
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
        let gap = self.gaps.first.take().or(later)?;
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
) -> Result<(Following, StartGaps), SubscribeError> {
    // Whatever was numbered until now is in the ring when it is looked at: an end that is on its way is not missed.
    let settled = hub.inner.order.settled(&[hub.inner.topics.shard_of(name)]);
    let wanted = start.wanted(hub.epoch(), settled);
    let joined = hub.inner.with_topic(name, |topic, state| {
        let Resolved { cursor, gap } = wanted.resolve(&state.ring, &mut Sight::new(&grants, name));
        if gap.is_none() && state.is_over_after(cursor) {
            return Err(SubscribeError::Ended);
        }
        let (key, watch) = topic.follow_alone(state, Place::new(cursor, grants));
        let first = gap.map(|reason| start.gap(hub.epoch(), cursor, reason));
        Ok((topic.clone(), key, StartGaps { first, later: None }, watch))
    });
    let topics_max = hub.inner.config.topics_max;
    let (topic, key, gaps, watch) = joined.ok_or(SubscribeError::TopicsFull { topics_max })??;
    if watch {
        hub.inner.watch(topic.clone());
    }
    Ok((Following::One { topic, key }, gaps))
}
