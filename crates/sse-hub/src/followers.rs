//! Those to wake when a topic has news.

use std::sync::Arc;
use std::task::Waker;

use slab::Slab;

use crate::merge::Merge;
use crate::place::Place;
use crate::topic::Topic;

/// Most topics of a hub with many topics have one follower or none. That one is kept in place: publishing to a random
/// topic costs what it misses in the caches, and each pointer on the way is one more miss.
#[derive(Debug, Default)]
pub(crate) enum Followers {
    #[default]
    None,
    /// Its key is 0.
    One(Follower),
    Many(Box<Crowd>),
}

#[derive(Debug)]
pub(crate) enum Follower {
    Single(Single),
    Merged(Arc<Merge>),
    /// A host that reads at places of its own and is only told that there is news: its waker, if armed.
    Feed(Option<Waker>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FollowerKind {
    Single,
    Merged,
    Feed,
}

/// A subscriber of one topic; its place is kept here, under the lock that reading takes anyway.
#[derive(Debug)]
pub(crate) struct Single {
    pub(crate) place: Place,
    pub(crate) waker: Option<Waker>,
}

#[derive(Debug, Default)]
pub(crate) struct Crowd {
    singles: Slab<Single>,
    /// Subscribers of several topics, which keep their own places.
    merges: Slab<Arc<Merge>>,
    feeds: Slab<Option<Waker>>,
}

impl Followers {
    /// The follower's key among those of its kind.
    pub(crate) fn join(&mut self, follower: Follower) -> usize {
        match std::mem::take(self) {
            Self::None => {
                *self = Self::One(follower);
                0
            }
            Self::One(first) => {
                let mut crowd = Box::<Crowd>::default();
                crowd.join(first);
                let key = crowd.join(follower);
                *self = Self::Many(crowd);
                key
            }
            Self::Many(mut crowd) => {
                let key = crowd.join(follower);
                *self = Self::Many(crowd);
                key
            }
        }
    }

    pub(crate) fn leave(&mut self, kind: FollowerKind, key: usize) {
        if let Self::Many(crowd) = self {
            crowd.leave(kind, key);
            if crowd.len() > 0 {
                return;
            }
        }
        *self = Self::None;
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::None => 0,
            Self::One(_) => 1,
            Self::Many(crowd) => crowd.len(),
        }
    }

    /// How many are singles.
    pub(crate) fn alone(&self) -> usize {
        match self {
            Self::One(Follower::Single(_)) => 1,
            Self::Many(crowd) => crowd.singles.len(),
            _ => 0,
        }
    }

    pub(crate) fn feeds(&self) -> usize {
        match self {
            Self::One(Follower::Feed(_)) => 1,
            Self::Many(crowd) => crowd.feeds.len(),
            _ => 0,
        }
    }

    /// Tells all but the singles of news in `topic`, whose followers these are. True if there are singles, who are woken
    /// once the locks are released.
    pub(crate) fn mark(&mut self, topic: &Arc<Topic>, wakers: &mut Vec<Waker>) -> bool {
        match self {
            Self::None => false,
            Self::One(Follower::Single(_)) => true,
            Self::One(Follower::Merged(merge)) => {
                wakers.extend(merge.mark(topic));
                false
            }
            Self::One(Follower::Feed(waker)) => {
                wakers.extend(waker.take());
                false
            }
            Self::Many(crowd) => {
                wakers.extend(crowd.merges.iter().filter_map(|(_, merge)| merge.mark(topic)));
                wakers.extend(crowd.feeds.iter_mut().filter_map(|(_, waker)| waker.take()));
                !crowd.singles.is_empty()
            }
        }
    }

    /// Every single's key is below this.
    pub(crate) fn singles_end(&self) -> usize {
        match self {
            Self::One(Follower::Single(_)) => 1,
            Self::Many(crowd) => crowd.singles.capacity(),
            _ => 0,
        }
    }

    pub(crate) fn single(&mut self, key: usize) -> Option<&mut Single> {
        match self {
            Self::One(Follower::Single(single)) if key == 0 => Some(single),
            Self::Many(crowd) => crowd.singles.get_mut(key),
            _ => None,
        }
    }

    pub(crate) fn singles(&mut self) -> impl Iterator<Item = &mut Single> {
        let (one, many) = match self {
            Self::One(Follower::Single(single)) => (Some(single), None),
            Self::Many(crowd) => (None, Some(&mut crowd.singles)),
            _ => (None, None),
        };
        one.into_iter().chain(many.into_iter().flatten().map(|(_, single)| single))
    }

    /// A feed's waker.
    pub(crate) fn feed(&mut self, key: usize) -> Option<&mut Option<Waker>> {
        match self {
            Self::One(Follower::Feed(waker)) if key == 0 => Some(waker),
            Self::Many(crowd) => crowd.feeds.get_mut(key),
            _ => None,
        }
    }
}

impl Crowd {
    fn join(&mut self, follower: Follower) -> usize {
        match follower {
            Follower::Single(single) => self.singles.insert(single),
            Follower::Merged(merge) => self.merges.insert(merge),
            Follower::Feed(waker) => self.feeds.insert(waker),
        }
    }

    fn leave(&mut self, kind: FollowerKind, key: usize) {
        match kind {
            FollowerKind::Single => drop(self.singles.remove(key)),
            FollowerKind::Merged => drop(self.merges.remove(key)),
            FollowerKind::Feed => drop(self.feeds.remove(key)),
        }
    }

    fn len(&self) -> usize {
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
