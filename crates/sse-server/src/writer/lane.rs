//! The followers of a topic that get identical bytes.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;
use sse_hub::{Batch, Feed, FeedRead, Gap, GapReason, Grants, SlowPolicy, TopicName};
use sse_wire::Frame;

use super::entry::Place;
use super::wheel::Tick;
use crate::compression::{Block, Shared, Standing};
use crate::fan_out::FanOut;
use crate::stream::{Encoding, EndReason, Framing, Notices, Shape, encode};

/// What makes two streams' bytes identical.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct LaneKey {
    pub(super) topic: TopicName,
    pub(super) shape: Shape,
    pub(super) framing: Framing,
    pub(super) notices: Notices,
    pub(super) encoding: Encoding,
    /// Which private events its followers see.
    pub(super) grants: Grants,
}

/// One lane. A round takes everybody from `caught_up` to `waiting`, and back one by one as the batch is sent to them.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) key: LaneKey,
    pub(super) generation: u32,
    pub(super) feed: Arc<Feed>,
    pub(super) waker: Waker,
    /// The position of those who are caught up.
    pub(super) head: u64,
    pub(super) caught_up: Vec<u32>,
    pub(super) waiting: Vec<u32>,
    /// Changes with every round, so that an entry's place tells which list it is in.
    pub(super) phase: bool,
    pub(super) round: Option<Round>,
    /// Entries that belong to it, wherever they stand.
    pub(super) members: usize,
    /// When it last sent something to those caught up.
    pub(super) written: Tick,
    /// Of the news that the next round brings.
    pub(super) fan_out: Option<FanOut>,
    /// While it is busy, when it looked for news last: what the next round brings has come since, and told nobody.
    pub(super) read_at: Option<Instant>,
    /// It stands in the writer's list of active lanes.
    pub(super) active: bool,
    /// What its streams share, if they are compressed.
    pub(super) shared: Option<Box<Shared>>,
    /// Its streams are to be told that it lives. Compressed ones are told together, or none could ride on.
    pub(super) heartbeat: bool,
}

/// A batch on its way to the caught-up.
#[derive(Debug)]
pub(super) struct Round {
    /// Where those who wait for it stand.
    pub(super) from: u64,
    pub(super) bytes: Bytes,
    /// The same compressed, for streams that are. Boxed, for most lanes have none.
    pub(super) block: Option<Box<Block>>,
    pub(super) frames: usize,
    /// The last thing of its topic was among it.
    pub(super) ends: Option<EndReason>,
    /// Streams that have it whole, and the bytes that took.
    pub(super) sent: usize,
    pub(super) bytes_sent: usize,
    /// Recorded when the round is over.
    pub(super) _fan_out: Option<FanOut>,
}

/// What a lane, or one of its members, has to write next.
#[derive(Debug)]
pub(super) enum Next {
    /// These bytes, which bring the reader to `cursor`.
    Bytes {
        bytes: Bytes,
        batch: Batch,
        cursor: u64,
        ends: Option<EndReason>,
    },
    /// The event that tells of a gap, which ends at `cursor`. Untold, it ends the stream.
    Gap {
        bytes: Bytes,
        cursor: u64,
        ends: Option<EndReason>,
    },
    CaughtUp,
    /// The ring no longer has what comes next, and the log does.
    InLog,
}

impl Lane {
    /// What comes after `cursor`, as one run of bytes. A gap is written as its event, where it can be told.
    pub(super) fn next_after(&self, cursor: u64) -> Next {
        match self.feed.read_after(cursor, &self.key.grants) {
            FeedRead::CaughtUp => Next::CaughtUp,
            FeedRead::InLog => Next::InLog,
            FeedRead::Frames { batch, cursor } => {
                let is_end = batch.items().last().is_some_and(|item| item.is_end);
                let ends = is_end.then_some(EndReason::Ended);
                Next::Bytes { bytes: self.encode(&batch), batch, cursor, ends }
            }
            FeedRead::Gap { resumed_after } => {
                let (bytes, ends) = match self.key.notices {
                    Notices::On => (self.frame_bytes(&self.gap(cursor, resumed_after).frame()), None),
                    Notices::Off => (Bytes::new(), Some(EndReason::Lagged)),
                };
                Next::Gap { bytes, cursor: resumed_after, ends }
            }
        }
    }

    /// Where to read on: at `cursor`, or by the `latest` policy right before the newest frame.
    pub(super) fn conflated(&self, cursor: u64) -> u64 {
        let bounds = self.feed.lag_bounds();
        if bounds.policy == SlowPolicy::Latest && bounds.are_exceeded_by(self.feed.lag(cursor)) {
            return self.feed.before_newest();
        }
        cursor
    }

    /// Puts an entry among the caught-up; its place.
    pub(super) fn list(&mut self, key: u32) -> Place {
        let index = self.caught_up.len() as u32;
        self.caught_up.push(key);
        Place::Listed { index, phase: self.phase }
    }

    /// The position of an entry in one of the lists.
    pub(super) fn cursor_at(&self, place: Place) -> u64 {
        match (place, &self.round) {
            (Place::Listed { phase, .. }, Some(round)) if phase != self.phase => round.from,
            _ => self.head,
        }
    }

    /// The position of a compressed one there.
    pub(super) fn standing_at(&self, place: Place) -> Option<Standing> {
        let block = self.round.as_ref().and_then(|round| round.block.as_ref());
        match (place, block) {
            (Place::Off, _) => None,
            (Place::Listed { phase, .. }, Some(block)) if phase != self.phase => Some(block.start()),
            _ => self.shared.as_ref().map(|shared| shared.head()),
        }
    }

    /// Takes an entry out of its list; the one that took its index, if any, with its new place.
    pub(super) fn unlist(&mut self, place: Place) -> Option<(u32, Place)> {
        let Place::Listed { index, phase } = place else { return None };
        let list = if phase == self.phase { &mut self.caught_up } else { &mut self.waiting };
        list.swap_remove(index as usize);
        list.get(index as usize).map(|&moved| (moved, place))
    }

    pub(super) fn gap(&self, from: u64, resumed_after: u64) -> Gap {
        Gap {
            requested: self.feed.cursor(from).to_string(),
            resumed_after: self.feed.cursor(resumed_after),
            reason: GapReason::Lagged,
        }
    }

    pub(super) fn frame_bytes(&self, frame: &Frame) -> Bytes {
        match self.key.text_framing() {
            Framing::Chunked => frame.chunk().clone(),
            Framing::UntilClose => frame.text(),
        }
    }

    fn encode(&self, batch: &Batch) -> Bytes {
        let LaneKey { shape, notices, .. } = self.key;
        encode(batch.items(), shape, self.key.text_framing(), notices)
    }
}

impl LaneKey {
    /// How frames are written: what is compressed is framed afterwards.
    pub(super) fn text_framing(&self) -> Framing {
        match self.encoding {
            Encoding::Identity => self.framing,
            Encoding::Gzip => Framing::UntilClose,
        }
    }
}
