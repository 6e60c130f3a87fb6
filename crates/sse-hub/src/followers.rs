//! Those to wake when a topic has news.

use std::sync::Arc;
use std::task::Waker;

use slab::Slab;

use crate::merge::Merge;
use crate::place::Place;

#[derive(Debug, Default)]
pub(crate) struct Followers {
    /// Subscribers of this topic alone.
    pub(crate) singles: Slab<Single>,
    /// Subscribers of several topics, which keep their own places.
    pub(crate) merges: Slab<Arc<Merge>>,
    /// Hosts that read at places of their own and are only told that there is news: the armed wakers.
    pub(crate) feeds: Slab<Option<Waker>>,
}

/// A subscriber of one topic; its place is kept here, under the lock that reading takes anyway.
#[derive(Debug)]
pub(crate) struct Single {
    pub(crate) place: Place,
    pub(crate) waker: Option<Waker>,
}

impl Followers {
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.singles.len() + self.merges.len() + self.feeds.len()
    }
}

impl Single {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, waker: None }
    }

    pub(crate) fn arm(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|armed| armed.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }
}

/// Inserts without the slack that a slab would begin with: most topics have one follower.
pub(crate) fn insert<T>(slab: &mut Slab<T>, follower: T) -> usize {
    if slab.capacity() == 0 {
        slab.reserve_exact(1);
    }
    slab.insert(follower)
}
