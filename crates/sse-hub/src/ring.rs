//! A topic's bounded run of frames. Live delivery and replay are the same read of it.

use std::collections::VecDeque;
use std::mem::size_of;
use std::sync::Arc;

use sse_wire::{EventId, Frame};

use crate::TopicName;
use crate::budget::{Budget, Charge};
use crate::config::RingBounds;
use crate::given_ids::GivenIds;
use crate::grants::Sight;

/// What an entry costs beyond its frame's bytes, in each ring that keeps it.
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

    /// What keeping an event costs whose frame has `chunk_len` bytes. Its own id is kept once with it and once in each ring.
    pub(crate) fn cost(chunk_len: usize, topics: usize, given_id: Option<&EventId>) -> usize {
        chunk_len + topics * ENTRY_OVERHEAD + given_id.map_or(0, |id| (topics + 1) * id.as_str().len())
    }

    /// Seconds of the hub's own count at which it was appended.
    pub(crate) fn tick(&self) -> u32 {
        self.tick
    }

    /// What dropping it from its ring gives back at once.
    pub(crate) fn own_cost(&self) -> usize {
        match self.meta.as_deref() {
            Some(Meta { shared_charge: Some(_), .. }) => 0,
            meta => Self::cost(self.frame.chunk().len(), 1, meta.and_then(|meta| meta.given_id.as_ref())),
        }
    }

    pub(crate) fn given_id(&self) -> Option<&EventId> {
        self.meta.as_ref()?.given_id.as_ref()
    }
}

/// How far behind a cursor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lag {
    /// Frames not read yet.
    pub frames: usize,
    /// Their bytes, as HTTP/1.1 chunks.
    pub bytes: u64,
    /// Further frames that were not read are gone: it is over every bound, whatever is left.
    pub lost: bool,
}

impl std::ops::AddAssign for Lag {
    fn add_assign(&mut self, other: Self) {
        self.frames += other.frames;
        self.bytes += other.bytes;
        self.lost |= other.lost;
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
    /// The floor it began with, which a topic of the same name had left.
    floor_at_first: u64,
    newest: u64,
    given_ids: GivenIds,
}

/// Up to where frames are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Floor {
    pub(crate) sequence: u64,
    /// Whether this topic is known to have had an event there, or only some topic of its table.
    pub(crate) exact: bool,
}

impl Ring {
    pub(crate) fn new(floor: Floor) -> Self {
        let (floor_at_first, newest) = (floor.sequence, floor.sequence);
        let (entries, given_ids) = (VecDeque::new(), GivenIds::default());
        Self { entries, bytes: 0, appended_bytes: 0, floor, floor_at_first, newest, given_ids }
    }

    /// Appends behind everything kept, and drops from the front what the bounds no longer allow.
    pub(crate) fn push(&mut self, mut entry: Entry, tick: u32, bounds: &RingBounds, budget: &Budget) {
        debug_assert!(entry.sequence > self.newest, "sequences rise");
        let chunk_len = entry.frame.chunk().len();
        // Remembered first: the use that is dropped now may be the one that a later use stands for.
        if let Some(id) = entry.given_id() {
            self.given_ids.remember(id, entry.sequence);
        }
        self.make_room(chunk_len, bounds, budget);
        self.drop_older_than(tick, bounds, budget);
        self.newest = entry.sequence;
        self.bytes += chunk_len;
        self.appended_bytes += chunk_len as u64;
        entry.tick = tick;
        entry.appended_bytes = self.appended_bytes;
        self.entries.push_back(entry);
    }

    /// Drops from the front before something is pushed: a full ring then writes where it has just read, and never grows
    /// beyond its bound.
    fn make_room(&mut self, chunk_len: usize, bounds: &RingBounds, budget: &Budget) {
        let is_full = |ring: &Self| {
            ring.entries.len() >= bounds.frames_max.max(1) || ring.bytes.saturating_add(chunk_len) > bounds.bytes_max
        };
        while is_full(self) && self.drop_oldest(budget) {}
    }

    /// Drops the oldest frame; false if there is none.
    pub(crate) fn drop_oldest(&mut self, budget: &Budget) -> bool {
        let Some(entry) = self.entries.pop_front() else { return false };
        self.floor = Floor { sequence: entry.sequence, exact: true };
        self.bytes -= entry.frame.chunk().len();
        if let Some(id) = entry.given_id() {
            self.given_ids.forget(id);
        }
        budget.release(entry.own_cost());
        true
    }

    /// Drops everything, and counts what is not here up to `sequence` as dropped too.
    pub(crate) fn lose_up_to(&mut self, sequence: u64, budget: &Budget) {
        while self.drop_oldest(budget) {}
        self.floor = Floor { sequence: self.newest.max(sequence), exact: true };
        self.newest = self.floor.sequence;
    }

    /// Drops what is older than the bound allows at `tick`. The newest frame goes too, when it is that old; only the end
    /// of a closed topic stays for as long as the topic does.
    pub(crate) fn drop_older_than(&mut self, tick: u32, bounds: &RingBounds, budget: &Budget) {
        let age_max = u32::try_from(bounds.age_max.as_secs()).unwrap_or(u32::MAX);
        while self
            .entries
            .front()
            .is_some_and(|oldest| oldest.kind == EntryKind::Event && tick.saturating_sub(oldest.tick) > age_max)
        {
            self.drop_oldest(budget);
        }
    }

    /// Gives back the memory of an empty ring.
    pub(crate) fn shrink(&mut self) {
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

    /// The sequence of the oldest frame kept.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.sequence)
    }

    /// The sequence of the last frame appended, kept or not.
    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// A cursor that has just the newest frame before it, or nothing if that is not kept.
    pub(crate) fn before_newest(&self) -> u64 {
        self.entries.back().map_or(self.newest, |entry| entry.sequence - 1)
    }

    /// The sequence of the newest frame after `cursor` that somebody sees.
    pub(crate) fn newest_seen(&self, cursor: u64, sight: &mut Sight<'_>) -> Option<u64> {
        let unread = self.entries.range(self.index_after(cursor)..);
        unread.rev().find(|entry| sight.sees(entry)).map(|entry| entry.sequence)
    }

    pub(crate) fn lag(&self, cursor: u64) -> Lag {
        let index = self.index_after(cursor);
        let lost = self.floor.sequence > cursor;
        let Some(first) = self.entries.get(index) else { return Lag { lost, ..Lag::default() } };
        let before = first.appended_bytes - first.frame.chunk().len() as u64;
        Lag { frames: self.entries.len() - index, bytes: self.appended_bytes - before, lost }
    }

    pub(crate) fn floor(&self) -> Floor {
        self.floor
    }

    /// Up to where frames of this very ring are gone; 0 if none is. Somebody who knew of the topic before it was made anew
    /// has nothing to do with the floor it began with.
    pub(crate) fn dropped_up_to(&self) -> u64 {
        if self.floor.sequence > self.floor_at_first { self.floor.sequence } else { 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn frames(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frames appended per second in the last ten, or in as many as what is kept tells of.
    pub(crate) fn frames_per_second(&self, tick: u32) -> f64 {
        const SECONDS: u32 = 10;
        let begin = (tick + 1).saturating_sub(SECONDS);
        let before = self.entries.partition_point(|entry| entry.tick < begin);
        // A ring that is full of what came since does not tell of all of it.
        let first = self.entries.get(before).filter(|_| before == 0 && self.dropped_up_to() > 0);
        let seconds = first.map_or(SECONDS, |first| (tick + 1).saturating_sub(first.tick).clamp(1, SECONDS));
        (self.entries.len() - before) as f64 / f64::from(seconds)
    }

    /// The sequence of the earliest event that a publisher gave this id. Whoever may not see that event learns nothing of
    /// its id either.
    pub(crate) fn sequence_of(&self, given_id: &EventId, sight: &mut Sight<'_>) -> Option<u64> {
        let sequence = self.given_ids.earliest(given_id)?;
        let kept = self.first_after(sequence - 1).filter(|entry| entry.sequence == sequence);
        kept.is_none_or(|entry| sight.sees(entry)).then_some(sequence)
    }

    /// The sequence of the earliest event with this id, of which some event is kept.
    pub(crate) fn first_use(&self, given_id: &EventId) -> Option<u64> {
        self.given_ids.earliest(given_id)
    }

    /// An id was used at `sequence` already, by an event that is not kept.
    pub(crate) fn note_first_use(&mut self, given_id: &EventId, sequence: u64) {
        self.given_ids.note_earliest(given_id, sequence);
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
}

#[cfg(test)]
mod tests;
