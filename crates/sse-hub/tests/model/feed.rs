//! What a client reads: a subscription, or a feed with a cursor of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use sse_hub::{Ahead, Delivery, Feed, FeedRead, Gap, GapReason, Grants, Item, Subscription};

pub(crate) enum Source {
    Subscription(Box<Subscription>),
    Feed {
        feed: Feed,
        cursor: u64,
        first: Option<Gap>,
        grants: Grants,
        over: bool,
    },
    /// A subscription whose host reads the ring by a feed.
    Passing {
        subscription: Box<Subscription>,
        feed: Feed,
        grants: Grants,
        over: bool,
    },
}

/// A host that reads by a feed reads so few sequences at a time.
const STRETCH: u64 = 3;

/// One step of a stream.
pub(crate) enum Word {
    Items(Vec<Item>),
    Gap(Gap),
    Evicted,
    Over,
    Waiting,
}

#[derive(Default)]
pub(crate) struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Flag {
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }
}

impl Source {
    pub(crate) fn poll(&mut self, flag: &Arc<Flag>) -> Word {
        let waker = Waker::from(flag.clone());
        match self {
            Self::Subscription(subscription) => deliver(subscription, &waker),
            Self::Passing { over: true, .. } => Word::Over,
            Self::Passing { subscription, feed, grants, over } => loop {
                let after = match subscription.poll_ahead(&Context::from_waker(&waker)) {
                    Poll::Pending => return Word::Waiting,
                    Poll::Ready(Ahead::Delivery) => return deliver(subscription, &waker),
                    Poll::Ready(Ahead::InRing { after }) => after,
                };
                match feed.read_between(after, after + STRETCH, grants) {
                    FeedRead::Frames { batch, cursor } => {
                        assert!(cursor > after && cursor <= after + STRETCH);
                        let bytes = batch.items().iter().map(|item| item.frame.chunk().len() as u64).sum();
                        subscription.pass(cursor, bytes);
                        *over = batch.items().last().is_some_and(|item| item.is_end);
                        return Word::Items(batch.into_iter().collect());
                    }
                    FeedRead::CaughtUp => subscription.pass(after + STRETCH, 0),
                    FeedRead::Gap { .. } | FeedRead::InLog => unreachable!("it would be a delivery"),
                }
            },
            Self::Feed { over: true, .. } => Word::Over,
            Self::Feed { feed, cursor, first, grants, over } => {
                if let Some(gap) = first.take() {
                    return Word::Gap(gap);
                }
                match feed.read_after(*cursor, grants) {
                    FeedRead::Frames { batch, cursor: read_to } => {
                        assert!(read_to > *cursor);
                        *cursor = read_to;
                        *over = batch.items().last().is_some_and(|item| item.is_end);
                        Word::Items(batch.into_iter().collect())
                    }
                    FeedRead::Gap { resumed_after } => {
                        let requested = feed.cursor(*cursor).to_string();
                        *cursor = resumed_after;
                        Word::Gap(Gap {
                            requested,
                            resumed_after: feed.cursor(resumed_after),
                            reason: GapReason::Lagged,
                        })
                    }
                    FeedRead::InLog => unreachable!("there is no log"),
                    FeedRead::CaughtUp => {
                        assert!(feed.arm(*cursor, &waker), "nothing lies behind the cursor");
                        Word::Waiting
                    }
                }
            }
        }
    }
}

fn deliver(subscription: &mut Subscription, waker: &Waker) -> Word {
    match subscription.poll_delivery(&mut Context::from_waker(waker)) {
        Poll::Pending => Word::Waiting,
        Poll::Ready(None) => Word::Over,
        Poll::Ready(Some(Delivery::Frames(batch))) => {
            assert!(!batch.is_empty());
            Word::Items(batch.into_iter().collect())
        }
        Poll::Ready(Some(Delivery::Gap(gap))) => Word::Gap(gap),
        Poll::Ready(Some(Delivery::Evicted(_))) => Word::Evicted,
    }
}
