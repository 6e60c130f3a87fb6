//! A topic's bounded run of frames. Live delivery and replay are the same read of it.

use std::collections::{HashMap, VecDeque};
use std::mem::size_of;
use std::sync::Arc;

use sse_wire::{EventId, Frame};

use crate::budget::{Budget, Charge};
use crate::config::RingBounds;
use crate::selector::Selector;
use crate::{Grants, TopicName};

/// What an entry costs beyond its frame's bytes.
const ENTRY_OVERHEAD: usize = size_of::<Entry>() + 64;

/// One kept frame.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    pub(crate) frame: Frame,
    pub(crate) kind: EntryKind,
    /// Seconds of the hub's own count at which it was appended.
    tick: u32,
    /// The ring's `appended_bytes` behind this entry: lag in bytes is one subtraction.
    appended_bytes: u64,
    pub(crate) meta: Option<Arc<Meta>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Event,
    /// The topic was closed; nothing follows.
    End,
}

/// What only some events have: other topics, a publisher's id, privacy.
#[derive(Debug)]
pub(crate) struct Meta {
    pub(crate) topics: Box<[TopicName]>,
    pub(crate) private: bool,
    pub(crate) given_id: Option<EventId>,
    /// The bytes of an event in several rings, charged once and until the last of them drops it.
    pub(crate) shared_charge: Option<Charge>,
}

impl Entry {
    pub(crate) fn new(sequence: u64, frame: Frame, kind: EntryKind, meta: Option<Arc<Meta>>) -> Self {
        Self { sequence, frame, kind, tick: 0, appended_bytes: 0, meta }
    }

    /// What keeping `chunk_len` bytes of frame costs.
    pub(crate) fn cost(chunk_len: usize) -> usize {
        chunk_len + ENTRY_OVERHEAD
    }

    /// Whether a subscriber with these grants may see it: public, or some topic of it is granted.
    pub(crate) fn visible_to(&self, grants: &Grants) -> bool {
        let Some(meta) = self.meta.as_ref().filter(|meta| meta.private) else { return true };
        match grants {
            Grants::All => true,
            Grants::None => false,
            Grants::Selectors(selectors) => {
                let granted =
                    |topic: &TopicName| selectors.iter().any(|selector: &Selector| selector.matches(topic.as_str()));
                meta.topics.iter().any(granted)
            }
        }
    }

    fn own_cost(&self) -> usize {
        let shared = self.meta.as_ref().is_some_and(|meta| meta.shared_charge.is_some());
        if shared { 0 } else { Self::cost(self.frame.chunk().len()) }
    }
}

/// How far behind a cursor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// Frames not read yet.
    pub frames: usize,
    /// Their bytes, as HTTP/1.1 chunks.
    pub bytes: u64,
}

impl std::ops::AddAssign for Lag {
    fn add_assign(&mut self, other: Self) {
        self.frames += other.frames;
        self.bytes += other.bytes;
    }
}

/// The frames, oldest first, their sequences strictly rising.
#[derive(Debug)]
pub(crate) struct Ring {
    entries: VecDeque<Entry>,
    bytes: usize,
    appended_bytes: u64,
    /// The highest sequence that was here and is no more; a cursor below it has missed something.
    floor: Floor,
    newest: u64,
    /// Which sequence a publisher's id names, its earliest use, as long as that event is kept. Boxed, as most topics have
    /// none of these.
    #[expect(clippy::box_collection, reason = "a pointer is 24 bytes smaller in each of a million topics")]
    given_ids: Option<Box<HashMap<EventId, u64, ahash::RandomState>>>,
}

/// Up to where frames are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Floor {
    pub(crate) sequence: u64,
    /// Whether this topic is known to have had an event there, or only its shard.
    pub(crate) exact: bool,
}

impl Ring {
    pub(crate) fn new(floor: Floor) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, appended_bytes: 0, floor, newest: floor.sequence, given_ids: None }
    }

    /// Appends behind everything kept, and drops from the front what the bounds no longer allow.
    pub(crate) fn push(&mut self, mut entry: Entry, tick: u32, bounds: &RingBounds, budget: &Budget) {
        debug_assert!(entry.sequence > self.newest, "sequences rise");
        let chunk_len = entry.frame.chunk().len();
        self.newest = entry.sequence;
        self.bytes += chunk_len;
        self.appended_bytes += chunk_len as u64;
        entry.tick = tick;
        entry.appended_bytes = self.appended_bytes;
        self.remember_id(&entry);
        self.entries.push_back(entry);
        while self.entries.len() > bounds.frames_max.max(1) || (self.bytes > bounds.bytes_max && self.entries.len() > 1)
        {
            self.drop_oldest(budget);
        }
        self.drop_older_than(tick, bounds, budget);
    }

    /// Drops the oldest frame; false if there is none.
    pub(crate) fn drop_oldest(&mut self, budget: &Budget) -> bool {
        let Some(entry) = self.entries.pop_front() else { return false };
        self.floor = Floor { sequence: entry.sequence, exact: true };
        self.bytes -= entry.frame.chunk().len();
        self.forget_id(&entry);
        budget.release(entry.own_cost());
        true
    }

    /// Drops what is older than the bound allows at `tick`. The newest frame goes too, when it is that old.
    pub(crate) fn drop_older_than(&mut self, tick: u32, bounds: &RingBounds, budget: &Budget) {
        let age_max = u32::try_from(bounds.age_max.as_secs()).unwrap_or(u32::MAX);
        while self
            .entries
            .front()
            .is_some_and(|oldest| oldest.kind == EntryKind::Event && tick.saturating_sub(oldest.tick) > age_max)
        {
            self.drop_oldest(budget);
        }
        if self.entries.is_empty() && self.entries.capacity() > 0 {
            self.entries = VecDeque::new();
        }
    }

    /// The kept frames after `cursor`, oldest first.
    pub(crate) fn after(&self, cursor: u64) -> impl Iterator<Item = &Entry> {
        self.entries.range(self.index_after(cursor)..)
    }

    /// The first kept frame after `cursor`.
    pub(crate) fn first_after(&self, cursor: u64) -> Option<&Entry> {
        self.entries.get(self.index_after(cursor))
    }

    pub(crate) fn newest_entry(&self) -> Option<&Entry> {
        self.entries.back()
    }

    pub(crate) fn lag(&self, cursor: u64) -> Lag {
        let index = self.index_after(cursor);
        let Some(first) = self.entries.get(index) else { return Lag::default() };
        let before = first.appended_bytes - first.frame.chunk().len() as u64;
        Lag { frames: self.entries.len() - index, bytes: self.appended_bytes - before }
    }

    pub(crate) fn floor(&self) -> Floor {
        self.floor
    }

    /// The sequence of the last frame appended, kept or not.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn frames(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn sequence_of(&self, given_id: &EventId) -> Option<u64> {
        self.given_ids.as_ref()?.get(given_id).copied()
    }

    /// Most cursors are near the newest frame: those are found without a search.
    fn index_after(&self, cursor: u64) -> usize {
        let len = self.entries.len();
        if cursor >= self.newest {
            return len;
        }
        if len >= 2 && self.entries[len - 2].sequence <= cursor {
            return len - 1;
        }
        self.entries.partition_point(|entry| entry.sequence <= cursor)
    }

    fn remember_id(&mut self, entry: &Entry) {
        let Some(id) = entry.meta.as_ref().and_then(|meta| meta.given_id.as_ref()) else { return };
        self.given_ids.get_or_insert_default().entry(id.clone()).or_insert(entry.sequence);
    }

    fn forget_id(&mut self, entry: &Entry) {
        let Some(id) = entry.meta.as_ref().and_then(|meta| meta.given_id.as_ref()) else { return };
        let Some(ids) = &mut self.given_ids else { return };
        if ids.get(id) == Some(&entry.sequence) {
            ids.remove(id);
        }
        if ids.is_empty() {
            self.given_ids = None;
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::Duration;

    use sse_wire::Event;

    use super::*;

    fn bounds(frames_max: usize) -> RingBounds {
        RingBounds { frames_max, bytes_max: 1 << 20, age_max: Duration::from_secs(300) }
    }

    fn entry(sequence: u64, id: Option<&str>) -> Entry {
        let event = Event::new(format!("event {sequence}"));
        let given_id = id.map(|id| EventId::parse(id).unwrap());
        let meta =
            given_id.map(|id| Meta { topics: Box::default(), private: false, given_id: Some(id), shared_charge: None });
        Entry::new(sequence, event.encode(), EntryKind::Event, meta.map(Arc::new))
    }

    fn ring(sequences: &[u64], bounds: &RingBounds, budget: &Budget) -> Ring {
        let mut ring = Ring::new(Floor::default());
        for &sequence in sequences {
            let entry = entry(sequence, None);
            assert!(budget.charge(Entry::cost(entry.frame.chunk().len())));
            ring.push(entry, 0, bounds, budget);
        }
        ring
    }

    fn sequences(ring: &Ring, cursor: u64) -> Vec<u64> {
        ring.after(cursor).map(|entry| entry.sequence).collect()
    }

    #[test]
    fn reads_what_lies_after_a_cursor() {
        let ring = ring(&[3, 5, 9], &bounds(10), &Budget::new(1 << 20));
        for (cursor, expected) in [
            (0, vec![3, 5, 9]),
            (2, vec![3, 5, 9]),
            (3, vec![5, 9]),
            (4, vec![5, 9]),
            (5, vec![9]),
            (8, vec![9]),
            (9, vec![]),
            (99, vec![]),
        ] {
            assert_eq!(sequences(&ring, cursor), expected, "after {cursor}");
            assert_eq!(ring.lag(cursor).frames, expected.len());
        }
        assert_eq!(ring.lag(0).bytes, ring.bytes as u64);
        assert_eq!(ring.lag(5).bytes, ring.newest_entry().unwrap().frame.chunk().len() as u64);
    }

    #[test]
    fn drops_the_oldest_and_keeps_a_floor() {
        let budget = Budget::new(1 << 20);
        let mut ring = ring(&[1, 2, 3, 4], &bounds(2), &budget);
        assert_eq!(sequences(&ring, 0), [3, 4]);
        assert_eq!(ring.floor(), Floor { sequence: 2, exact: true });
        while ring.drop_oldest(&budget) {}
        assert_eq!((ring.floor().sequence, ring.newest(), budget.used()), (4, 4, 0));
    }

    #[test]
    fn bytes_bound_the_ring_but_for_the_newest_frame() {
        let tight = RingBounds { bytes_max: 50, ..bounds(100) };
        let ring = ring(&[1, 2, 3, 4, 5], &tight, &Budget::new(1 << 20));
        assert_eq!(ring.frames(), 2);
        let none = RingBounds { bytes_max: 1, ..bounds(100) };
        let ring = self::ring(&[1, 2], &none, &Budget::new(1 << 20));
        assert_eq!(sequences(&ring, 0), [2]);
    }

    #[test]
    fn age_bounds_the_ring() {
        let budget = Budget::new(1 << 20);
        let mut ring = ring(&[1, 2], &bounds(10), &budget);
        ring.drop_older_than(300, &bounds(10), &budget);
        assert_eq!(ring.frames(), 2);
        ring.drop_older_than(301, &bounds(10), &budget);
        assert!(ring.is_empty());
        assert_eq!(ring.floor().sequence, 2);
    }

    #[test]
    fn a_publishers_id_names_its_earliest_kept_use() {
        let budget = Budget::new(1 << 20);
        let mut ring = Ring::new(Floor::default());
        let id = EventId::parse("a").unwrap();
        for sequence in [1, 2, 3] {
            ring.push(entry(sequence, Some("a")), 0, &bounds(2), &budget);
            assert!(ring.sequence_of(&id).is_none_or(|named| named == 1), "the earliest use, or none");
        }
        assert_eq!(ring.sequence_of(&id), None, "the event it named is gone");
        ring.push(entry(4, Some("a")), 0, &bounds(2), &budget);
        assert_eq!(ring.sequence_of(&id), Some(4));
    }
}
