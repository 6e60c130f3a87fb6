//! Reading several topics in the order of their events' ids.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Instant;

use crate::batch::{Batch, Item};
use crate::config::LagBounds;
use crate::grants::Sight;
use crate::read::{Missed, Read};
use crate::ring::{Entry, EntryKind, Ring};
use crate::topic::{Life, Topic};
use crate::unread::{Next, Unread};
use crate::{GapReason, Grants, Lag, LagJudge, Selector, TopicName};

#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// All that is followed.
    followed: Box<[Selector]>,
    /// Everything up to here has been read.
    cursor: u64,
    /// Topics with something to read, what comes next first, and their ids.
    heap: BinaryHeap<Reverse<Unread>>,
    unread: BTreeSet<u64>,
    /// What is missing up to here has been told of, or will be at `start_gap`.
    told: u64,
    /// What is missing up to here in topics not looked into yet was missing when it started, and is nothing to tell of.
    known: u64,
    /// Where to tell of the gap that was known at the start: once everything kept below is read.
    start_gap: Option<u64>,
    /// Named topics that are still open; the stream ends with the last of them.
    open: usize,
    bytes_read: u64,
    judge: LagJudge,
    too_slow: bool,
    /// Topics had news since frames were conflated last.
    has_news: bool,
    /// The log has what the rings dropped.
    has_log: bool,
    /// It is being read for it: how far behind it is costs nothing meanwhile.
    is_replaying: bool,
}

/// Where a reader starts.
#[derive(Debug)]
pub(crate) struct ReaderStart {
    pub(crate) cursor: u64,
    /// What is missing up to here is nothing to tell of, unless by the gap.
    pub(crate) known: u64,
    /// Where to tell of a gap.
    pub(crate) gap: Option<u64>,
    /// Topics that may have something after the cursor.
    pub(crate) topics: Vec<Arc<Topic>>,
    /// Named topics that can still end; `None` if selectors keep the stream open.
    pub(crate) open: Option<usize>,
}

/// What looking at one topic came to.
enum Step {
    /// This comes next in it.
    On(Option<Next>),
    /// The topic's end was read.
    Ended,
    /// Frames are missing; this comes next in it.
    Gap(Missed, Option<Next>),
    /// Frames are gone that the log has.
    Below(Next),
    /// The batch has to be delivered first; then the topic is looked at again.
    Deliver(Next),
}

impl Reader {
    pub(crate) fn new(followed: &[Selector], has_log: bool) -> Self {
        Self { followed: followed.into(), has_log, ..Self::default() }
    }

    pub(crate) fn has_log(&self) -> bool {
        self.has_log
    }

    /// Everything up to here has been read.
    pub(crate) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// The log is read for it from now on.
    pub(crate) fn leave_rings(&mut self) {
        self.is_replaying = true;
        self.judge = LagJudge::default();
    }

    /// It has read everything up to `cursor`, and goes on with the rings. `open` is as in [`ReaderStart`].
    pub(crate) fn enter_rings(&mut self, cursor: u64, open: Option<usize>) {
        self.is_replaying = false;
        self.open = open.unwrap_or(usize::MAX);
        self.pass_over(cursor);
        self.look_again();
    }

    /// One of the topics that it follows by name has ended; true if it was the last.
    pub(crate) fn end_one(&mut self) -> bool {
        // An engine's order may have a topic end twice.
        self.open = self.open.saturating_sub(1);
        self.open == 0
    }

    pub(crate) fn start(&mut self, start: ReaderStart) {
        self.is_replaying = false;
        self.cursor = start.cursor;
        self.known = start.known;
        self.told = start.gap.unwrap_or(0);
        self.start_gap = start.gap;
        self.open = start.open.unwrap_or(usize::MAX);
        for topic in start.topics {
            self.look_into(topic);
        }
    }

    /// Puts the topic in its place of the order, if it has anything to read.
    pub(crate) fn look_into(&mut self, topic: Arc<Topic>) {
        self.has_news = true;
        if self.unread.contains(&topic.id) {
            return;
        }
        let next = self.next_in(&topic.lock().ring, self.known);
        if let Some(next) = next {
            self.unread.insert(topic.id);
            self.heap.push(Reverse(Unread { next, topic }));
        }
    }

    /// What comes next in a topic, of which nothing that is missing up to `excused` has to be told.
    fn next_in(&self, ring: &Ring, excused: u64) -> Option<Next> {
        let floor = ring.dropped_up_to();
        if floor > self.cursor.max(excused) {
            return Some(self.gone(floor));
        }
        ring.first_after(self.cursor).map(|entry| Next::Frame(entry.sequence))
    }

    /// What comes next in a topic whose frames up to `floor` are gone.
    fn gone(&self, floor: u64) -> Next {
        if self.has_log { Next::InLog { after: self.cursor } } else { Next::Gap { floor, from: self.cursor } }
    }

    /// Reads what lies at or below `settled`. What a topic has beyond stays in the heap: the append that brought it came
    /// after the waker was armed, and has woken it.
    pub(crate) fn read_up_to(&mut self, settled: u64, grants: &Grants, batch: &mut Batch) -> Read {
        let bound = self.start_gap.map_or(settled, |gap| gap - 1);
        debug_assert!(bound <= settled, "what was lost at the start was numbered before this read");
        while self.heap.peek().is_some_and(|Reverse(unread)| unread.next.sequence() <= bound) {
            if batch.is_full() {
                return Read::Frames;
            }
            let Some(Reverse(Unread { next, topic })) = self.heap.pop() else { break };
            let up_to = self.heap.peek().map_or(bound, |Reverse(unread)| bound.min(unread.next.others_up_to()));
            match self.step(next, &topic, up_to, grants, batch) {
                Step::On(next) => self.put_back(topic, next),
                Step::Deliver(next) => {
                    self.put_back(topic, Some(next));
                    return Read::Frames;
                }
                Step::Gap(missed, next) => {
                    self.put_back(topic, next);
                    return Read::Gap(missed);
                }
                Step::Below(next) => {
                    self.put_back(topic, Some(next));
                    return Read::Below(self.cursor);
                }
                Step::Ended => {
                    // Nothing follows but what an engine's order has there.
                    let next = self.next_in(&topic.lock().ring, self.told);
                    self.put_back(topic, next);
                    if self.end_one() {
                        return Read::Ended;
                    }
                }
            }
        }
        self.cursor = self.cursor.max(bound);
        if !batch.is_empty() {
            return Read::Frames;
        }
        if let Some(gap) = self.start_gap {
            self.pass_over(gap);
            return Read::StartGap;
        }
        self.judge = LagJudge::default();
        Read::CaughtUp
    }

    fn put_back(&mut self, topic: Arc<Topic>, next: Option<Next>) {
        match next {
            Some(next) => self.heap.push(Reverse(Unread { next, topic })),
            None => drop(self.unread.remove(&topic.id)),
        }
    }

    /// Goes on with one topic, where `next` was seen to come next, up to and including `up_to`.
    fn step(&mut self, next: Next, topic: &Topic, up_to: u64, grants: &Grants, batch: &mut Batch) -> Step {
        let state = topic.lock();
        let ring = &state.ring;
        let floor = ring.dropped_up_to();
        match next {
            // The same loss was told of another topic.
            Next::Gap { floor, .. } if floor <= self.told => Step::On(self.next_in(ring, self.told)),
            Next::Gap { .. } | Next::InLog { .. } if !batch.is_empty() => Step::Deliver(next),
            Next::InLog { .. } => Step::Below(next),
            Next::Gap { floor, from } => {
                self.pass_over(floor);
                let missed = Missed { from, resumed_after: floor, reason: GapReason::Lagged };
                Step::Gap(missed, self.next_in(ring, self.told))
            }
            // The same event came from another topic, or was lost in another.
            Next::Frame(sequence) if sequence <= self.cursor => Step::On(self.next_in(ring, self.told)),
            // It was dropped before it was read.
            Next::Frame(sequence) if floor >= sequence && !self.will_tell(floor) => Step::On(Some(self.gone(floor))),
            Next::Frame(sequence) => self.take_frames(sequence, topic, ring, up_to, grants, batch),
        }
    }

    /// Reads the topic's frames from `sequence` on.
    fn take_frames(
        &mut self,
        sequence: u64,
        topic: &Topic,
        ring: &Ring,
        up_to: u64,
        grants: &Grants,
        batch: &mut Batch,
    ) -> Step {
        let mut sight = Sight::new(grants, &topic.name);
        for entry in ring.after(sequence - 1) {
            if entry.sequence > up_to || batch.is_full() {
                break;
            }
            self.cursor = entry.sequence;
            if !sight.sees(entry) {
                continue;
            }
            self.bytes_read += entry.frame.chunk().len() as u64;
            batch.push(Item::new(entry, self.topic_of(entry, &topic.name)));
            if entry.kind == EntryKind::End {
                return Step::Ended;
            }
        }
        Step::On(self.next_in(ring, self.told))
    }

    /// The topic to name for an event that came through `read`: which of several is read first depends on their shards.
    fn topic_of<'a>(&self, entry: &'a Entry, read: &'a TopicName) -> &'a TopicName {
        let Some(meta) = entry.meta.as_deref() else { return read };
        let is_followed = |topic: &TopicName| self.followed.iter().any(|selector| selector.matches(topic.as_str()));
        meta.topics.iter().find(|topic| *topic == read || is_followed(topic)).unwrap_or(read)
    }

    /// Whether the gap of the start, still to be told, covers this floor.
    fn will_tell(&self, floor: u64) -> bool {
        self.start_gap.is_some_and(|gap| floor <= gap)
    }

    /// Counts everything up to `sequence` as lost and told of.
    fn pass_over(&mut self, sequence: u64) {
        self.cursor = self.cursor.max(sequence);
        self.told = self.told.max(sequence);
        self.known = self.known.max(sequence);
        self.start_gap = self.start_gap.filter(|gap| *gap > sequence);
    }

    /// The `skip` policy: goes on with the newest frame, or with the first end of a topic, as ends are never lost.
    pub(crate) fn skip(&mut self, settled: u64) -> Option<Missed> {
        let mut newest = self.cursor;
        let mut target = settled;
        for Reverse(Unread { topic, .. }) in &self.heap {
            let state = topic.lock();
            newest = newest.max(state.ring.before_newest());
            if matches!(state.life(), Life::Closed { .. }) {
                target = target.min(state.ring.before_newest());
            }
        }
        self.lose_up_to(target.min(newest))
    }

    /// Goes on after `sequence`, whatever is lost by it.
    pub(crate) fn lose_up_to(&mut self, sequence: u64) -> Option<Missed> {
        if sequence <= self.cursor {
            return None;
        }
        let missed = Missed { from: self.cursor, resumed_after: sequence, reason: GapReason::Lagged };
        self.pass_over(sequence);
        self.look_again();
        Some(missed)
    }

    /// Looks again into every topic that it has not finished.
    fn look_again(&mut self) {
        self.unread.clear();
        for Reverse(Unread { topic, .. }) in std::mem::take(&mut self.heap) {
            self.look_into(topic);
        }
    }

    /// The `latest` policy: too far behind, each topic moves to the newest frame that is seen.
    pub(crate) fn conflate(&mut self, bounds: &LagBounds, grants: &Grants) {
        let has_news = std::mem::take(&mut self.has_news);
        if !has_news || !bounds.are_exceeded_by(self.lag(bounds)) {
            return;
        }
        for Reverse(unread) in std::mem::take(&mut self.heap) {
            let sight = &mut Sight::new(grants, &unread.topic.name);
            let next = match unread.topic.lock().ring.newest_seen(self.cursor, sight) {
                Some(newest) => Some(Next::Frame(newest)),
                // What it has lost is told, what it is not to see is passed over.
                None => Some(unread.next).filter(|next| !matches!(next, Next::Frame(_))),
            };
            self.put_back(unread.topic, next);
        }
    }

    /// Whether it has been found too slow since this was asked last.
    pub(crate) fn take_verdict(&mut self) -> bool {
        std::mem::take(&mut self.too_slow)
    }

    pub(crate) fn is_too_slow(&self) -> bool {
        self.too_slow
    }

    /// Judges it by its unread topics and by those marked since, which are `dirty`.
    pub(crate) fn judge(&mut self, now: Instant, dirty: &[Arc<Topic>], bounds: &LagBounds) -> bool {
        let lag = self.lag_with(dirty, bounds);
        if !self.is_replaying && self.judge.is_too_slow(now, lag, self.bytes_read, bounds) {
            self.judge = LagJudge::default();
            self.too_slow = true;
        }
        self.too_slow
    }

    /// How far behind it is, with the topics marked since, which are `dirty`.
    pub(crate) fn lag_with(&self, dirty: &[Arc<Topic>], bounds: &LagBounds) -> Lag {
        let mut lag = self.lag(bounds);
        for topic in dirty.iter().filter(|topic| !self.unread.contains(&topic.id)) {
            add_lag(&mut lag, topic, self.cursor, self.known);
        }
        lag
    }

    /// How far behind it is, counted until it is over a bound.
    fn lag(&self, bounds: &LagBounds) -> Lag {
        let mut lag = Lag::default();
        for Reverse(Unread { next, topic }) in &self.heap {
            add_lag(&mut lag, topic, next.read_from(self.cursor), self.known);
            if bounds.are_exceeded_by(lag) {
                break;
            }
        }
        lag
    }
}

/// A topic with news counts for a frame even if nothing of it is kept any more. What is gone up to `excused` is no loss.
fn add_lag(lag: &mut Lag, topic: &Topic, cursor: u64, excused: u64) {
    let state = topic.lock();
    let of_topic = state.ring.lag(cursor);
    let lost = state.ring.dropped_up_to() > cursor.max(excused);
    *lag += Lag { frames: of_topic.frames.max(1), lost, ..of_topic };
}
