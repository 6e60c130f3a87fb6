//! Streams that are not caught up: newcomers, the slow, and those that are ending.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sse_hub::{Delivery, FeedRead};

use super::entry::{Behind, EntrySource, Place, Written};
use super::lane::{LaneKey, Next};
use super::thread::WriterThread;
use crate::compression::Secrecy;
use crate::stream::{Encoding, EndReason, Framing, Notices, Shape, encode, secrecy};

/// Bytes written to one stream in a row, so that a long replay does not hold up the others.
const BYTES_PER_TURN: usize = 64 * 1024;
/// How long those that are behind are written to in one turn, all together: then it is the lanes' turn again, however many
/// replay. A page of the log takes a tenth of it.
pub(super) const SLICE: Duration = Duration::from_millis(1);

/// What comes next for a stream that has nothing pending.
pub(super) enum Step {
    /// Goes on with what was put into `pending`.
    Continue,
    /// Nothing left: it is caught up, or waits for its waker.
    Done,
    /// Something was written directly.
    Wrote(usize),
    Remove(EndReason),
}

impl WriterThread {
    /// Takes a stream out of its lane's lists; `pending` is written first and brings it to `cursor`.
    pub(super) fn fall_behind(&mut self, key: u32, pending: Bytes, cursor: u64) {
        let mut behind = Box::new(Behind::new(pending, cursor, self.now));
        behind.index = self.behind.len() as u32;
        self.behind.push(key);
        self.entries[key as usize].behind = Some(behind);
    }

    /// Writes on for a stream that is behind, until its socket is full, it has caught up, or its turn is over.
    pub(super) fn advance(&mut self, key: u32) {
        let mut budget = BYTES_PER_TURN;
        loop {
            let Some(entry) = self.entries.get_mut(key as usize) else { return };
            if entry.behind.is_none() && matches!(entry.source, EntrySource::Own(_)) {
                self.fall_behind(key, Bytes::new(), 0);
                continue;
            }
            let Some(behind) = entry.behind.as_mut() else { return };
            if behind.blocked {
                return;
            }
            let before = behind.bytes_written;
            if !self.write_pending(key) {
                return;
            }
            let Some(behind) = self.entries.get_mut(key as usize).and_then(|entry| entry.behind.as_mut()) else {
                return;
            };
            budget = budget.saturating_sub((behind.bytes_written - before) as usize);
            if behind.ending.is_some() {
                return self.begin_closing(key);
            }
            match self.step(key) {
                Step::Continue => (),
                Step::Wrote(len) => budget = budget.saturating_sub(len),
                Step::Done => return,
                Step::Remove(reason) => return self.remove(key, reason),
            }
            if budget == 0 {
                return self.go_on_later(key);
            }
        }
    }

    /// Has a stream go on when those behind have their turn.
    pub(super) fn go_on_later(&mut self, key: u32) {
        let generation = self.entries[key as usize].generation;
        self.runnable.push_back((key, generation));
    }

    /// Goes on with those that are behind, for a slice of time.
    pub(super) fn run_entries(&mut self) {
        let started = Instant::now();
        for _ in 0..self.runnable.len() {
            let Some((key, generation)) = self.runnable.pop_front() else { return };
            if self.entries.get(key as usize).is_some_and(|entry| entry.generation == generation) {
                self.advance(key);
            }
            if started.elapsed() >= SLICE {
                return self.offer_core();
            }
        }
    }

    /// Writes the pending bytes; false if the socket is full or gone.
    fn write_pending(&mut self, key: u32) -> bool {
        let tick = self.wheel.now();
        let entry = &mut self.entries[key as usize];
        let Some(pending) = entry.behind.as_mut().map(|behind| std::mem::take(&mut behind.pending)) else {
            return false;
        };
        if pending.is_empty() && entry.is_flushed() {
            return true;
        }
        let written = entry.write(&pending);
        let len = match written {
            Written::All => pending.len(),
            Written::Part(len) => len,
            Written::Broken => {
                self.remove(key, EndReason::Broken);
                return false;
            }
        };
        entry.written = tick;
        self.settings.signals.sent(len);
        let Some(behind) = entry.behind.as_mut() else { return false };
        behind.note(len, self.now);
        behind.pending = pending.slice(len..);
        behind.blocked = written != Written::All;
        !behind.blocked
    }

    fn step(&mut self, key: u32) -> Step {
        match self.entries[key as usize].source {
            EntrySource::Lane { lane, .. } => self.step_in_lane(key, lane),
            EntrySource::Own(_) => self.step_alone(key),
        }
    }

    /// Reads on from the ring, or joins those who are caught up.
    fn step_in_lane(&mut self, key: u32, lane_key: u32) -> Step {
        let lane = &mut self.lanes[lane_key as usize];
        let entry = &mut self.entries[key as usize];
        let Some(behind) = entry.behind.as_mut() else { return Step::Done };
        if let Some(ride) = lane.shared.as_ref().and_then(|shared| self.gzip.ride(key, shared)) {
            self.settings.signals.delivered(ride.frames);
            behind.pending = ride.bytes;
            behind.cursor = ride.cursor;
            return Step::Continue;
        }
        if behind.cursor > lane.head && lane.feed.newest() <= lane.head {
            // Its cursor came from another topic. Whatever was numbered below it is in the ring: nothing lies between.
            lane.head = behind.cursor;
        }
        if behind.cursor == lane.head && lane.head >= behind.replay_to {
            entry.source = EntrySource::Lane { lane: lane_key, place: lane.list(key) };
            if let Some(shared) = &lane.shared {
                self.gzip.arrive(key, shared.head());
            }
            self.caught_up(key);
            return Step::Done;
        }
        if behind.cursor > lane.head {
            // It joined after something that the lane has not read yet; the lane is about to, and then they meet.
            self.go_on_later(key);
            self.lane_has_news(lane_key, None);
            return Step::Done;
        }
        behind.cursor = lane.conflated(behind.cursor);
        let LaneKey { shape, framing, notices, encoding, .. } = lane.key;
        let is_plain = (shape, framing) == (Shape::Plain, Framing::Chunked) && notices == Notices::On;
        if is_plain
            && encoding == Encoding::Identity
            && let FeedRead::Frames { batch, cursor } = lane.feed.read_after(behind.cursor, &lane.key.grants)
        {
            let ends = batch.items().last().is_some_and(|item| item.is_end);
            self.settings.signals.delivered(batch.items().len());
            self.settings.signals.replayed(batch.frames_up_to(behind.replay_to));
            return self.write_frames(key, &batch, cursor, ends);
        }
        match lane.next_after(behind.cursor) {
            Next::CaughtUp => {
                // Nothing it may see lies between it and the head.
                behind.cursor = lane.head.max(behind.cursor);
                Step::Continue
            }
            Next::InLog => self.read_log(key, lane_key),
            Next::Gap { bytes, cursor, ends } => {
                self.settings.signals.gaps("lagged", 1);
                behind.pending = self.gzip.own(key, bytes, Secrecy::Public, framing);
                behind.cursor = cursor;
                if let Some(reason) = ends {
                    self.end_stream(key, reason);
                }
                Step::Continue
            }
            Next::Bytes { bytes, batch, cursor, ends } => {
                self.settings.signals.delivered(batch.items().len());
                self.settings.signals.replayed(batch.frames_up_to(behind.replay_to));
                behind.pending = self.gzip.own(key, bytes, secrecy(&batch), framing);
                behind.cursor = cursor;
                if let Some(reason) = ends {
                    self.end_stream(key, reason);
                }
                Step::Continue
            }
        }
    }

    /// Writes frames straight from the ring, in one call. What does not fit is kept as pending bytes.
    fn write_frames(&mut self, key: u32, batch: &sse_hub::Batch, cursor: u64, ends: bool) -> Step {
        let tick = self.wheel.now();
        let entry = &mut self.entries[key as usize];
        let mut pieces: Vec<IoSlice<'_>> = batch.items().iter().map(|item| IoSlice::new(item.frame.chunk())).collect();
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        let (written, is_full) = match entry.write_pieces(&mut pieces) {
            Written::All => (total, false),
            Written::Part(len) => (len, true),
            Written::Broken => return Step::Remove(EndReason::Broken),
        };
        entry.written = tick;
        self.settings.signals.sent(written);
        let Some(behind) = entry.behind.as_mut() else { return Step::Done };
        behind.note(written, self.now);
        behind.cursor = cursor;
        if is_full {
            behind.pending = encode(batch.items(), Shape::Plain, Framing::Chunked, Notices::On).slice(written..);
            behind.blocked = true;
        }
        if ends {
            self.end_stream(key, EndReason::Ended);
            return Step::Continue;
        }
        if is_full { Step::Done } else { Step::Wrote(written) }
    }

    /// Asks the stream's own subscription for more.
    fn step_alone(&mut self, key: u32) -> Step {
        let entry = &mut self.entries[key as usize];
        let (EntrySource::Own(own), Some(behind)) = (&mut entry.source, entry.behind.as_mut()) else {
            return Step::Done;
        };
        let text_framing = self.gzip.text_framing(key, own.framing);
        let mut cx = std::task::Context::from_waker(&own.waker);
        match own.subscription.poll_delivery(&mut cx) {
            std::task::Poll::Pending if own.lane.is_some() && own.subscription.ring_cursor().is_some() => {
                self.return_to_lane(key)
            }
            std::task::Poll::Pending => {
                self.caught_up(key);
                Step::Done
            }
            std::task::Poll::Ready(None) => {
                self.end_stream(key, EndReason::Ended);
                Step::Continue
            }
            std::task::Poll::Ready(Some(Delivery::Frames(batch))) => {
                self.settings.signals.delivered(batch.items().len());
                let bytes = encode(batch.items(), own.shape, text_framing, own.notices);
                behind.pending = self.gzip.own(key, bytes, secrecy(&batch), own.framing);
                Step::Continue
            }
            std::task::Poll::Ready(Some(Delivery::Gap(_))) if own.notices == Notices::Off => {
                self.end_stream(key, EndReason::Lagged);
                Step::Continue
            }
            std::task::Poll::Ready(Some(Delivery::Gap(gap))) => {
                let mut bytes = Vec::new();
                crate::stream::push_frame(&mut bytes, &gap.frame(), text_framing);
                behind.pending = self.gzip.own(key, bytes.into(), Secrecy::Public, own.framing);
                Step::Continue
            }
            std::task::Poll::Ready(Some(Delivery::Evicted(_))) => Step::Remove(EndReason::Lagged),
        }
    }

    /// The stream has everything: it is no longer behind.
    fn caught_up(&mut self, key: u32) {
        if let Some(behind) = self.entries[key as usize].behind.take() {
            self.leave_behind_list(behind.index);
        }
    }

    fn leave_behind_list(&mut self, index: u32) {
        self.behind.swap_remove(index as usize);
        if let Some(&moved) = self.behind.get(index as usize)
            && let Some(behind) = self.entries[moved as usize].behind.as_mut()
        {
            behind.index = index;
        }
    }

    /// Takes the entry out of every list it stands in.
    pub(super) fn leave_lists(&mut self, key: u32) {
        let Some(entry) = self.entries.get_mut(key as usize) else { return };
        if let Some(behind) = &entry.behind {
            let index = behind.index;
            self.leave_behind_list(index);
        }
        self.leave_lane_list(key);
    }

    /// Takes the entry out of its lane's lists, without taking it off the lane.
    pub(super) fn leave_lane_list(&mut self, key: u32) {
        let EntrySource::Lane { lane: lane_key, place } = self.entries[key as usize].source else { return };
        let lane = &mut self.lanes[lane_key as usize];
        if let Some(standing) = lane.standing_at(place) {
            self.gzip.leave(key, standing);
        }
        if let Some((moved, place)) = lane.unlist(place) {
            self.entries[moved as usize].source = EntrySource::Lane { lane: lane_key, place };
        }
        self.entries[key as usize].source = EntrySource::Lane { lane: lane_key, place: Place::Off };
    }
}
