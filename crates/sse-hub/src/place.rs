//! Where a subscriber of one topic stands.

use std::time::Instant;

use crate::batch::{Batch, Item};
use crate::config::{LagBounds, SlowPolicy};
use crate::grants::Sight;
use crate::read::{Ahead, Missed, Read};
use crate::ring::{EntryKind, Ring};
use crate::{EvictReason, GapReason, Grants, LagJudge, TopicName};

#[derive(Debug)]
pub(crate) struct Place {
    cursor: u64,
    grants: Grants,
    bytes_read: u64,
    judge: LagJudge,
    verdict: Option<Verdict>,
    /// The log has what the ring dropped.
    has_log: bool,
    /// It is being read for it: how far behind it is costs nothing meanwhile.
    is_replaying: bool,
}

/// What the sweep decided about a slow subscriber, to be told at its next read.
#[derive(Debug, Clone, Copy)]
enum Verdict {
    Evict(EvictReason),
    Skip,
}

impl Place {
    pub(crate) fn new(cursor: u64, grants: Grants, has_log: bool) -> Self {
        let judge = LagJudge::default();
        Self { cursor, grants, bytes_read: 0, judge, verdict: None, has_log, is_replaying: false }
    }

    /// The log is read for it from now on.
    pub(crate) fn leave_ring(&mut self) {
        self.is_replaying = true;
        self.judge = LagJudge::default();
    }

    /// It has read everything up to `cursor`, and goes on with the ring.
    pub(crate) fn enter_ring(&mut self, cursor: u64) {
        self.is_replaying = false;
        self.cursor = self.cursor.max(cursor);
    }

    pub(crate) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Reads on, under the topic's lock.
    pub(crate) fn read(&mut self, topic: &TopicName, ring: &Ring, bounds: &LagBounds, batch: &mut Batch) -> Read {
        match self.verdict.take() {
            Some(Verdict::Evict(reason)) => return Read::Evicted(reason),
            // The newest frame is delivered: it may be the end.
            Some(Verdict::Skip) => {
                if let Some(missed) = self.pass_over(ring.before_newest()) {
                    return Read::Gap(missed);
                }
            }
            None => (),
        }
        if bounds.policy == SlowPolicy::Latest && bounds.are_exceeded_by(ring.lag(self.cursor)) {
            let newest = ring.newest_seen(self.cursor, &mut Sight::new(&self.grants, topic));
            self.cursor = newest.map_or(ring.newest(), |newest| newest - 1);
        }
        if self.has_log && ring.floor().sequence > self.cursor {
            return Read::Below(self.cursor);
        }
        if let Some(missed) = self.pass_over(ring.floor().sequence) {
            return Read::Gap(missed);
        }
        let ended = self.take_frames(topic, ring, batch);
        match (ended, batch.is_empty()) {
            (true, _) => Read::Ended,
            (false, false) => Read::Frames,
            (false, true) => {
                self.judge = LagJudge::default();
                Read::CaughtUp
            }
        }
    }

    /// What is next for somebody who has the ring's frames from elsewhere; nothing if it has had all of them.
    pub(crate) fn ahead(&mut self, ring: &Ring, bounds: &LagBounds) -> Option<Ahead> {
        let is_conflated = bounds.policy == SlowPolicy::Latest && bounds.are_exceeded_by(ring.lag(self.cursor));
        if self.verdict.is_some() || is_conflated || ring.floor().sequence > self.cursor {
            return Some(Ahead::Delivery);
        }
        if self.is_behind(ring) {
            return Some(Ahead::InRing { after: self.cursor });
        }
        self.judge = LagJudge::default();
        None
    }

    /// It has had everything up to `cursor`, so many bytes, from elsewhere.
    pub(crate) fn pass(&mut self, cursor: u64, bytes: u64) {
        self.cursor = self.cursor.max(cursor);
        self.bytes_read += bytes;
    }

    /// Adds what the batch has room for; true when the topic's end is among it.
    fn take_frames(&mut self, topic: &TopicName, ring: &Ring, batch: &mut Batch) -> bool {
        let mut sight = Sight::new(&self.grants, topic);
        for entry in ring.after(self.cursor) {
            if batch.is_full() {
                break;
            }
            self.cursor = entry.sequence;
            if !sight.sees(entry) {
                continue;
            }
            self.bytes_read += entry.frame.chunk().len() as u64;
            batch.push(Item::new(entry, topic));
            if entry.kind == EntryKind::End {
                return true;
            }
        }
        false
    }

    fn pass_over(&mut self, resumed_after: u64) -> Option<Missed> {
        if resumed_after <= self.cursor {
            return None;
        }
        let from = std::mem::replace(&mut self.cursor, resumed_after);
        Some(Missed { from, resumed_after, reason: GapReason::Lagged })
    }

    /// Whether it was found too slow; it is told at its next read.
    pub(crate) fn judge(&mut self, now: Instant, ring: &Ring, bounds: &LagBounds) -> bool {
        if self.is_replaying || !self.judge.is_too_slow(now, ring.lag(self.cursor), self.bytes_read, bounds) {
            return false;
        }
        self.judge = LagJudge::default();
        self.verdict = match bounds.policy {
            SlowPolicy::Evict => Some(Verdict::Evict(EvictReason::Lagged)),
            SlowPolicy::Skip => Some(Verdict::Skip),
            SlowPolicy::Latest => None,
        };
        true
    }

    /// Whether its next read will tell it that it is evicted.
    pub(crate) fn is_evicted(&self) -> bool {
        matches!(self.verdict, Some(Verdict::Evict(_)))
    }

    /// Whether there is something it has not looked at.
    pub(crate) fn is_behind(&self, ring: &Ring) -> bool {
        self.cursor < ring.newest()
    }
}
