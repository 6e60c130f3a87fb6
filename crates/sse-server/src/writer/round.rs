//! A lane's rounds: one batch, one `send` for each stream that is caught up.

use std::os::fd::AsRawFd;

use bytes::Bytes;

use super::entry::{EntrySource, Place, Written};
use super::lane::{Next, Round};
use super::ring;
use super::thread::{SENDS_PER_TURN, WriterThread};
use crate::compression::{Secrecy, Text};
use crate::fan_out::FanOut;
use crate::stream::{EndReason, HEARTBEAT, secrecy};

/// A round of a lane with more streams is a long one.
const LONG_ROUND: usize = 256;
/// Sends of long rounds between which a busy writer offers its core to other threads. A round to thousands outlasts the
/// scheduler's slice: what is published to another topic meanwhile would wait for the thread that takes the request.
const SENDS_PER_OFFER: usize = 16;
/// The same for short rounds. Who offers its core while others want it gives up its whole slice: six times for a hundred
/// streams would be milliseconds each, beside a storm of replays.
const SENDS_PER_OFFER_IF_SHORT: usize = LONG_ROUND;

/// Sends of a long round in one system call: within it no core can be offered. With 64 they cost a twelfth less, and another
/// topic waits four times as long.
const BATCH_MAX_IF_LONG: usize = 32;

impl WriterThread {
    /// The hub has told that the lane has something to read.
    pub(super) fn lane_has_news(&mut self, key: u32, fan_out: Option<FanOut>) {
        let lane = &mut self.lanes[key as usize];
        lane.fan_out = lane.fan_out.take().or(fan_out);
        if !std::mem::replace(&mut lane.active, true) {
            self.active_lanes.push_back((key, lane.generation));
        }
    }

    /// Gives every active lane a slice of this turn.
    pub(super) fn run_lanes(&mut self) {
        for _ in 0..self.active_lanes.len() {
            let Some((key, generation)) = self.active_lanes.pop_front() else { return };
            if self.lanes.get(key as usize).is_none_or(|lane| lane.generation != generation) {
                continue;
            }
            if self.run_lane(key) {
                self.active_lanes.push_back((key, generation));
            }
        }
    }

    /// One slice; true if there is more to do.
    fn run_lane(&mut self, key: u32) -> bool {
        if self.lanes[key as usize].round.is_none() && !self.begin_round(key) {
            return false;
        }
        let is_long = self.lanes[key as usize].members > LONG_ROUND;
        let (sends_per_offer, batch_max) = match is_long {
            true => (SENDS_PER_OFFER, BATCH_MAX_IF_LONG),
            false => (SENDS_PER_OFFER_IF_SHORT, ring::SENDS_MAX),
        };
        let mut sends_left = SENDS_PER_TURN;
        while sends_left > 0 {
            if self.sends_since_offer >= sends_per_offer {
                self.offer_core();
            }
            // A failed send may have ended the lane's last stream, and the lane with it.
            let Some(lane) = self.lanes.get(key as usize) else { return false };
            let waiting = lane.waiting.len();
            if waiting == 0 {
                self.end_round(key);
                return true;
            }
            let batch = waiting.min(sends_left).min(batch_max);
            if self.ring.is_some() && batch >= ring::SENDS_MIN {
                self.send_batch(key, batch);
                sends_left -= batch;
                self.sends_since_offer += batch;
            } else {
                self.send_one(key);
                sends_left -= 1;
                self.sends_since_offer += 1;
            }
        }
        true
    }

    /// Lets in whoever else wants this core, such as a thread that takes a publish on.
    pub(super) fn offer_core(&mut self) {
        self.sends_since_offer = 0;
        std::thread::yield_now();
    }

    /// Reads the next batch and sets everybody waiting for it. Without one the lane's waker is armed: false.
    pub(super) fn begin_round(&mut self, key: u32) -> bool {
        let tick = self.wheel.now();
        let mut lane = &mut self.lanes[key as usize];
        let (text, ends) = loop {
            let from = lane.head;
            match lane.next_after(lane.conflated(lane.head)) {
                Next::Bytes { bytes, batch, cursor, ends } => {
                    let (secrecy, frames) = (secrecy(&batch), batch.items().len());
                    break (Text { bytes, secrecy, frames, from, cursor }, ends);
                }
                Next::Gap { bytes, cursor, ends } => {
                    self.settings.signals.gaps("lagged", lane.caught_up.len() as u64);
                    break (Text { bytes, secrecy: Secrecy::Public, frames: 0, from, cursor }, ends);
                }
                Next::CaughtUp if lane.heartbeat => {
                    let (bytes, cursor) = (HEARTBEAT.text(), lane.head);
                    break (Text { bytes, secrecy: Secrecy::Public, frames: 0, from, cursor }, None);
                }
                Next::CaughtUp if lane.feed.arm(lane.head, &lane.waker) => {
                    lane.active = false;
                    lane.fan_out = None;
                    lane.read_at = None;
                    return false;
                }
                Next::CaughtUp => (),
                Next::InLog => {
                    self.leave_to_log(key);
                    lane = &mut self.lanes[key as usize];
                }
            }
        };
        let from = std::mem::replace(&mut lane.head, text.cursor);
        lane.heartbeat = false;
        lane.written = tick;
        let since = lane.read_at.replace(self.now).filter(|_| !lane.caught_up.is_empty());
        let while_busy = || since.map(|since| FanOut::since(since, self.settings.signals.fan_out()));
        let fan_out = lane.fan_out.take().or_else(while_busy);
        let (bytes, frames) = (text.bytes.clone(), text.frames);
        let block = lane.compressed(text, ends, &self.settings.compressors);
        lane.round = Some(Round { from, bytes, block, frames, ends, sent: 0, bytes_sent: 0, _fan_out: fan_out });
        lane.phase = !lane.phase;
        std::mem::swap(&mut lane.caught_up, &mut lane.waiting);
        true
    }

    /// Sends the round's text to the next of those who wait.
    fn send_one(&mut self, lane_key: u32) {
        let Some((key, bytes)) = self.next_of_round(lane_key) else { return };
        let written = self.entries[key as usize].write(&bytes);
        self.settle(lane_key, key, &bytes, written);
    }

    /// Sends it to the next `batch` of them in one call.
    fn send_batch(&mut self, lane_key: u32, batch: usize) {
        let Some(mut ring) = self.ring.take() else { return };
        let mut sent = Vec::with_capacity(batch);
        for _ in 0..batch {
            let Some((key, bytes)) = self.next_of_round(lane_key) else { break };
            let entry = &mut self.entries[key as usize];
            if entry.tls.is_some() {
                let written = entry.write(&bytes);
                self.settle(lane_key, key, &bytes, written);
                continue;
            }
            ring.push(entry.socket.as_raw_fd(), bytes.clone());
            sent.push((key, bytes));
        }
        match ring.send() {
            Ok(taken) => {
                for ((key, bytes), &taken) in sent.iter().zip(taken) {
                    let written = self.entries[*key as usize].write_on(bytes, taken);
                    self.settle(lane_key, *key, bytes, written);
                }
                self.ring = Some(ring);
            }
            Err(error) => {
                // Nobody can tell what these have got, so they come back for it.
                tracing::error!(%error, streams = sent.len(), "io_uring fails: from now on each stream is sent to by itself");
                sent.iter().for_each(|(key, bytes)| self.settle(lane_key, *key, bytes, Written::Broken));
            }
        }
    }

    /// Takes the next of those who wait out of the list, with the bytes it is to get. It has to be settled.
    fn next_of_round(&mut self, lane_key: u32) -> Option<(u32, Bytes)> {
        let lane = &mut self.lanes[lane_key as usize];
        let round = lane.round.as_mut()?;
        let key = lane.waiting.pop()?;
        let bytes = match &mut round.block {
            Some(block) => self.gzip.take(key, block),
            None => round.bytes.clone(),
        };
        self.entries[key as usize].source = EntrySource::Lane { lane: lane_key, place: Place::Off };
        Some((key, bytes))
    }

    /// Puts a stream that was sent `bytes` among the caught-up, or behind with the rest of them.
    fn settle(&mut self, lane_key: u32, key: u32, bytes: &Bytes, written: Written) {
        let lane = &mut self.lanes[lane_key as usize];
        let Some(round) = &mut lane.round else { return };
        if written == Written::All {
            round.sent += 1;
            round.bytes_sent += bytes.len();
        }
        if written == Written::All && round.ends.is_none() {
            self.entries[key as usize].source = EntrySource::Lane { lane: lane_key, place: lane.list(key) };
            return;
        }
        if let Some(block) = &round.block {
            self.gzip.leave(key, block.end());
        }
        let (rest, head, ends) = match written {
            Written::All => (Bytes::new(), lane.head, round.ends),
            Written::Part(len) => {
                self.settings.signals.delivered(round.frames);
                self.settings.signals.sent(len);
                (bytes.slice(len..), lane.head, round.ends)
            }
            Written::Broken => return self.remove(key, EndReason::Broken),
        };
        self.fall_behind(key, rest, head);
        if let Some(reason) = ends {
            self.end_stream(key, reason);
        }
        self.advance(key);
    }

    /// Counts the round, if one is under way.
    pub(super) fn end_round(&mut self, key: u32) {
        let lane = &mut self.lanes[key as usize];
        let Some(round) = lane.round.take() else { return };
        self.settings.signals.delivered(round.sent * round.frames);
        self.settings.signals.sent(round.bytes_sent);
        if let (Some(shared), Some(block)) = (&mut lane.shared, &round.block) {
            shared.sent(block);
            self.settings.signals.saved((round.sent * round.bytes.len()).saturating_sub(round.bytes_sent));
        }
    }
}
