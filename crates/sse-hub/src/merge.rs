//! A subscriber of several topics: their frames in the order of their ids.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use crate::batch::{Batch, Item};
use crate::config::{SlowPolicy, TopicPolicy};
use crate::gap::Missed;
use crate::order::Order;
use crate::ring::EntryKind;
use crate::sync::Mutex;
use crate::topic::{Read, Topic, TopicState};
use crate::{EvictReason, GapReason, Grants, Lag, LagJudge};

/// Shared by the subscription, which reads, and its topics, which mark.
///
/// Lock order: `reader`, then a shard's append lock, then a topic, then `marks`.
#[derive(Debug)]
pub(crate) struct Merge {
    marks: Mutex<Marks>,
    reader: Mutex<Reader>,
    /// The shards of the topics followed, sorted.
    shards: Box<[usize]>,
    grants: Grants,
    policy: Arc<TopicPolicy>,
}

#[derive(Debug, Default)]
struct Marks {
    /// Topics with news, by address.
    dirty: HashMap<usize, Arc<Topic>, ahash::RandomState>,
    waker: Option<Waker>,
}

#[derive(Debug, Default)]
struct Reader {
    /// Everything up to here has been read.
    cursor: u64,
    /// Topics with something to read, by the sequence of the next thing in each.
    heap: BinaryHeap<Reverse<(u64, usize)>>,
    unread: HashMap<usize, Arc<Topic>, ahash::RandomState>,
    /// What is missing up to here is told of, or will be by `start_gap`.
    told: u64,
    /// A gap to tell of once everything kept up to its end is read.
    start_gap: Option<Missed>,
    /// Named topics that are still open; the stream ends with the last of them.
    open: usize,
    bytes_read: u64,
    judge: LagJudge,
    too_slow: bool,
}

/// Where a merge starts to read.
#[derive(Debug)]
pub(crate) struct MergeStart {
    pub(crate) cursor: u64,
    pub(crate) told: u64,
    pub(crate) gap: Option<Missed>,
    /// Topics that may have something after the cursor.
    pub(crate) topics: Vec<Arc<Topic>>,
    /// Named topics that can still end; `None` if selectors keep the stream open.
    pub(crate) open: Option<usize>,
}

/// What a topic has for a reader.
enum Next {
    /// Frames up to here are gone.
    Gap(u64),
    Frame(u64),
}

fn next_in(state: &TopicState, cursor: u64, told: u64) -> Option<Next> {
    let floor = state.ring.floor().sequence;
    if floor > cursor.max(told) {
        return Some(Next::Gap(floor));
    }
    state.ring.first_after(cursor).map(|entry| Next::Frame(entry.sequence))
}

fn address(topic: &Arc<Topic>) -> usize {
    Arc::as_ptr(topic).addr()
}

impl Merge {
    pub(crate) fn new(shards: Box<[usize]>, grants: Grants, policy: Arc<TopicPolicy>) -> Self {
        Self { marks: Mutex::new(Marks::default()), reader: Mutex::new(Reader::default()), shards, grants, policy }
    }

    /// Called by a topic after an append, under its lock: remembers the topic and gives back the waker to wake.
    pub(crate) fn mark(&self, topic: &Arc<Topic>) -> Option<Waker> {
        let mut marks = self.marks.lock();
        marks.dirty.entry(address(topic)).or_insert_with(|| topic.clone());
        marks.waker.take()
    }

    /// Sets where reading starts, once every topic knows of this reader.
    pub(crate) fn start(&self, start: MergeStart) {
        let mut reader = self.reader.lock();
        reader.cursor = start.cursor;
        reader.told = start.told;
        reader.start_gap = start.gap;
        reader.open = start.open.unwrap_or(usize::MAX);
        for topic in start.topics {
            reader.look_into(topic);
        }
    }

    /// Reads on, or arms the waker.
    pub(crate) fn read(&self, order: &Order, waker: &Waker, batch: &mut Batch) -> Read {
        let mut reader = self.reader.lock();
        let too_slow = std::mem::take(&mut reader.too_slow);
        if too_slow && self.policy.lag.policy == SlowPolicy::Evict {
            return Read::Evicted(EvictReason::Lagged);
        }
        // Armed before looking: whoever is numbered after this look appends later and wakes us.
        self.marks.lock().waker = Some(waker.clone());
        let settled = order.settled(&self.shards);
        let dirty = std::mem::take(&mut self.marks.lock().dirty);
        if too_slow && self.policy.lag.policy == SlowPolicy::Skip {
            return Read::Gap(reader.skip_to(settled, dirty.into_values()));
        }
        dirty.into_values().for_each(|topic| reader.look_into(topic));
        if self.policy.lag.policy == SlowPolicy::Latest {
            reader.conflate(self.policy.lag.frames_max);
        }
        reader.read_up_to(settled, &self.grants, batch)
    }

    /// Judges the reader by the topics it has not finished; gives back the waker if it has to hear of it.
    pub(crate) fn judge(&self, now: Instant) -> Option<Waker> {
        let mut reader = self.reader.lock();
        let dirty: Vec<Arc<Topic>> = self.marks.lock().dirty.values().cloned().collect();
        let mut lag = reader.lag();
        for topic in dirty.iter().filter(|topic| !reader.unread.contains_key(&address(topic))) {
            lag += topic.lock().lag(reader.cursor);
        }
        let bytes_read = reader.bytes_read;
        if !reader.judge.is_too_slow(now, lag, bytes_read, &self.policy.lag) {
            return None;
        }
        reader.too_slow = true;
        self.marks.lock().waker.take()
    }
}

impl Reader {
    /// Puts the topic in its place of the order, if it has anything to read.
    fn look_into(&mut self, topic: Arc<Topic>) {
        let key = address(&topic);
        if self.unread.contains_key(&key) {
            return;
        }
        let next = next_in(&topic.lock(), self.cursor, self.told);
        if let Some(Next::Gap(sequence) | Next::Frame(sequence)) = next {
            self.heap.push(Reverse((sequence, key)));
            self.unread.insert(key, topic);
        }
    }

    /// Reads what lies at or below `settled`. What a topic has beyond stays in the heap: the append that brought it came
    /// after the waker was armed, and has woken it.
    fn read_up_to(&mut self, settled: u64, grants: &Grants, batch: &mut Batch) -> Read {
        let bound = self.start_gap.map_or(settled, |gap| gap.resumed_after.min(settled));
        while let Some(Reverse((sequence, key))) = self.heap.peek().copied() {
            if sequence > bound {
                break;
            }
            if batch.is_full() {
                return Read::Frames;
            }
            self.heap.pop();
            let topic = self.unread.remove(&key).expect("every topic in the heap is among the unread");
            let up_to = self.heap.peek().map_or(bound, |Reverse((next, _))| bound.min(*next));
            match self.step(&topic, up_to, grants, batch) {
                Step::Read => self.look_into(topic),
                Step::Ended if self.open == 0 => return Read::Ended,
                Step::Ended => (),
                Step::Gap(gap) if batch.is_empty() => {
                    self.cursor = gap.resumed_after;
                    self.look_into(topic);
                    return Read::Gap(gap);
                }
                Step::Gap(_) => {
                    // What was read before it is delivered first; then it is met again.
                    self.look_into(topic);
                    return Read::Frames;
                }
            }
        }
        self.cursor = self.cursor.max(bound);
        if !batch.is_empty() {
            return Read::Frames;
        }
        match self.start_gap.take() {
            Some(gap) => Read::Gap(gap),
            None => Read::CaughtUp,
        }
    }

    /// Reads one topic's frames up to and including `up_to`.
    fn step(&mut self, topic: &Arc<Topic>, up_to: u64, grants: &Grants, batch: &mut Batch) -> Step {
        let state = topic.lock();
        if let Some(Next::Gap(floor)) = next_in(&state, self.cursor, self.told) {
            let resumed_after = self.cursor.max(floor);
            // A floor that has risen since waits for its new place in the order.
            let gap = Missed { from: self.cursor, resumed_after, reason: GapReason::Lagged };
            return if floor <= up_to { Step::Gap(gap) } else { Step::Read };
        }
        for entry in state.ring.after(self.cursor) {
            if entry.sequence > up_to || batch.is_full() {
                break;
            }
            self.cursor = entry.sequence;
            if !entry.visible_to(grants) {
                continue;
            }
            self.bytes_read += entry.frame.chunk().len() as u64;
            batch.push(Item::new(entry, &topic.name));
            if entry.kind == EntryKind::End {
                self.open = self.open.saturating_sub(1);
                return Step::Ended;
            }
        }
        Step::Read
    }

    /// The `skip` policy: everything up to `settled` counts as lost.
    fn skip_to(&mut self, settled: u64, dirty: impl Iterator<Item = Arc<Topic>>) -> Missed {
        let gap = Missed { from: self.cursor, resumed_after: settled, reason: GapReason::Lagged };
        let unread: Vec<Arc<Topic>> = self.unread.drain().map(|(_, topic)| topic).collect();
        self.heap.clear();
        self.start_gap = None;
        self.cursor = settled;
        self.told = settled;
        for topic in dirty.chain(unread) {
            self.look_into(topic);
        }
        gap
    }

    /// The `latest` policy: too far behind, each topic moves to its newest frame.
    fn conflate(&mut self, frames_max: usize) {
        if self.lag().frames <= frames_max {
            return;
        }
        self.heap.clear();
        for (key, topic) in &self.unread {
            let newest = topic.lock().ring.newest();
            self.heap.push(Reverse((newest, *key)));
        }
        // Nothing before the oldest of the newest frames is read any more.
        let Some(Reverse((oldest, _))) = self.heap.peek() else { return };
        self.cursor = self.cursor.max(oldest - 1);
        self.told = self.told.max(self.cursor);
    }

    fn lag(&self) -> Lag {
        let mut lag = Lag::default();
        for topic in self.unread.values() {
            lag += topic.lock().lag(self.cursor);
        }
        lag
    }
}

/// What reading one topic came to.
enum Step {
    Read,
    /// The topic's end was read.
    Ended,
    Gap(Missed),
}
