//! A subscriber of several topics, as its topics know it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use crate::batch::Batch;
use crate::config::{SlowPolicy, TopicPolicy};
use crate::order::Order;
use crate::read::Read;
use crate::reader::{Reader, ReaderStart};
use crate::sync::Mutex;
use crate::topic::Topic;
use crate::{EvictReason, Grants, Lag, LagBounds};

/// Shared by the subscription, which reads, and its topics, which mark.
#[derive(Debug)]
pub(crate) struct Merge {
    marks: Mutex<Marks>,
    reader: Mutex<Reader>,
    /// The shards of the topics followed, sorted.
    shards: Box<[usize]>,
    grants: Grants,
    policy: Arc<TopicPolicy>,
    /// Most topics marked at a time.
    dirty_max: usize,
}

#[derive(Debug, Default)]
struct Marks {
    /// Topics with news, by their ids.
    dirty: BTreeMap<u64, Arc<Topic>>,
    /// More topics had news than may be marked, and all were forgotten.
    overflowed: bool,
    waker: Option<Waker>,
}

impl Merge {
    pub(crate) fn new(
        shards: Box<[usize]>,
        reader: Reader,
        grants: Grants,
        policy: Arc<TopicPolicy>,
        dirty_max: usize,
    ) -> Self {
        let (marks, reader) = (Mutex::new(Marks::default()), Mutex::new(reader));
        Self { marks, reader, shards, grants, policy, dirty_max }
    }

    /// The shards of the topics followed, sorted.
    pub(crate) fn shards(&self) -> &[usize] {
        &self.shards
    }

    pub(crate) fn grants(&self) -> &Grants {
        &self.grants
    }

    /// Called by a topic after an append, under its lock: remembers the topic and gives back the waker to wake.
    pub(crate) fn mark(&self, topic: &Arc<Topic>) -> Option<Waker> {
        let mut marks = self.marks.lock();
        marks.dirty.entry(topic.id).or_insert_with(|| topic.clone());
        // There are never that many topics at a time: somebody has slept while topics came and went.
        if marks.dirty.len() > self.dirty_max {
            marks.dirty.clear();
            marks.overflowed = true;
        }
        marks.waker.take()
    }

    /// Some topic that it may follow has lost something, whether it is known here or not; gives back the waker to wake.
    pub(crate) fn mark_lost(&self) -> Option<Waker> {
        let mut marks = self.marks.lock();
        marks.dirty.clear();
        marks.overflowed = true;
        marks.waker.take()
    }

    /// Sets where reading starts, once every topic knows of this reader.
    pub(crate) fn start(&self, start: ReaderStart) {
        self.reader.lock().start(start);
    }

    /// Reads on, or arms the waker.
    pub(crate) fn read(&self, order: &Order, waker: &Waker, batch: &mut Batch) -> Read {
        let (mut reader, lag) = (self.reader.lock(), &self.policy.lag);
        let too_slow = reader.take_verdict();
        if too_slow && lag.policy == SlowPolicy::Evict {
            return Read::Evicted(EvictReason::Lagged);
        }
        // Armed before looking: whoever is numbered after this look appends later and wakes us.
        self.arm(waker);
        let settled = order.settled(&self.shards);
        let (dirty, overflowed) = self.take_dirty();
        dirty.into_values().for_each(|topic| reader.look_into(topic));
        if overflowed && reader.has_log() {
            return Read::Below(reader.cursor());
        }
        let missed = if overflowed {
            // What was forgotten was numbered before the marks were taken, but maybe after the first look.
            reader.lose_up_to(order.settled(&self.shards))
        } else if too_slow {
            reader.skip(settled)
        } else {
            None
        };
        if let Some(missed) = missed {
            return Read::Gap(missed);
        }
        if lag.policy == SlowPolicy::Latest {
            reader.conflate(lag, &self.grants);
        }
        reader.read_up_to(settled, &self.grants, batch)
    }

    /// The log is read for it from now on.
    pub(crate) fn leave_rings(&self) {
        self.reader.lock().leave_rings();
    }

    /// The log was read up to `cursor`: goes on with the rings, where so many topics can still end.
    pub(crate) fn enter_rings(&self, cursor: u64, open: Option<usize>) {
        self.reader.lock().enter_rings(cursor, open);
    }

    /// A topic followed by name has ended, as the log tells; true if it was the last.
    pub(crate) fn end_one(&self) -> bool {
        self.reader.lock().end_one()
    }

    /// Whether the next read will tell that the reader is evicted.
    pub(crate) fn is_evicted(&self) -> bool {
        self.policy.lag.policy == SlowPolicy::Evict && self.reader.lock().is_too_slow()
    }

    fn arm(&self, waker: &Waker) {
        let mut marks = self.marks.lock();
        if !marks.waker.as_ref().is_some_and(|armed| armed.will_wake(waker)) {
            marks.waker = Some(waker.clone());
        }
    }

    fn take_dirty(&self) -> (BTreeMap<u64, Arc<Topic>>, bool) {
        let mut marks = self.marks.lock();
        (std::mem::take(&mut marks.dirty), std::mem::take(&mut marks.overflowed))
    }

    /// Judges the reader by the topics it has not finished; gives back the waker if it has to hear of it.
    pub(crate) fn judge(&self, now: Instant) -> Option<Waker> {
        let lag = &self.policy.lag;
        if lag.policy == SlowPolicy::Latest {
            return None;
        }
        let mut reader = self.reader.lock();
        let dirty = self.some_dirty();
        reader.judge(now, &dirty, lag).then(|| self.marks.lock().waker.take())?
    }

    /// How far behind the reader is, counted until it is over a bound.
    pub(crate) fn lag(&self) -> Lag {
        let reader = self.reader.lock();
        reader.lag_with(&self.some_dirty(), &self.policy.lag)
    }

    pub(crate) fn lag_bounds(&self) -> &LagBounds {
        &self.policy.lag
    }

    /// Topics marked since the reader took them. More than these cannot change a verdict, as each has a frame at least.
    fn some_dirty(&self) -> Vec<Arc<Topic>> {
        let enough = self.policy.lag.frames_max.saturating_add(1);
        self.marks.lock().dirty.values().take(enough).cloned().collect()
    }
}
