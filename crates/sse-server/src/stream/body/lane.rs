//! The bodies of one topic that get identical bytes, compressed together.
//!
//! Nobody sends to bodies: each comes for more when its client has room. Whoever comes first for what is new has it read and
//! compressed, and the others find it. So a body that is slow, or never comes again, keeps nobody waiting.

use std::cell::RefCell;
use std::sync::Arc;

use parking_lot::Mutex;
use sse_hub::{Batch, Feed, FeedRead, Grants};

use crate::compression::{Alone, Block, Compressors, Passenger, Ride, Secrecy, Shared, Stop, Text};
use crate::stream::{Framing, HEARTBEAT, Notices, Shape, encode, secrecy};

thread_local! {
    /// Compresses for bodies by themselves. The threads that poll bodies are as many as the machine has cores.
    static ALONE: RefCell<Alone> = RefCell::default();
}

pub(super) fn with_alone<T>(run: impl FnOnce(&mut Alone) -> T) -> T {
    ALONE.with_borrow_mut(run)
}

/// What makes the bytes of two bodies of one topic identical.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LaneKind {
    pub(super) shape: Shape,
    pub(super) notices: Notices,
    /// Which private events they see.
    pub(super) grants: Grants,
}

/// One lane.
#[derive(Debug)]
pub(super) struct BodyLane {
    pub(super) kind: LaneKind,
    feed: Feed,
    compressors: Arc<Compressors>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Shared,
    /// The block that was made last.
    last: Option<Block>,
    /// The position behind it.
    head: u64,
    /// The last thing of the topic was among what was read.
    is_over: bool,
    bodies: usize,
}

/// What comes next for a body.
#[derive(Debug)]
pub(super) enum Next {
    /// What it shares with the others. With the last thing of its topic it ends.
    Ride { ride: Ride, ends: bool },
    /// These events by itself, which bring it to `cursor`.
    Own { batch: Batch, cursor: u64 },
    /// Nothing up to here.
    CaughtUp { cursor: u64, ends: bool },
    /// The ring no longer has it.
    Elsewhere,
}

impl BodyLane {
    pub(super) fn new(feed: Feed, kind: LaneKind, compressors: Arc<Compressors>) -> Self {
        let (shared, head) = (Shared::new(Framing::UntilClose), feed.newest());
        let inner = Mutex::new(Inner { shared, last: None, head, is_over: false, bodies: 0 });
        Self { kind, feed, compressors, inner }
    }

    pub(super) fn has_compressor(&self) -> bool {
        self.inner.lock().shared.has_compressor()
    }

    /// The position of its topic's newest event.
    pub(super) fn newest(&self) -> u64 {
        self.feed.newest()
    }

    pub(super) fn join(&self) {
        self.inner.lock().bodies += 1;
    }

    /// True if that was the last of them.
    pub(super) fn leave(&self) -> bool {
        let mut inner = self.inner.lock();
        inner.bodies -= 1;
        inner.bodies == 0
    }

    /// What comes next for a body that has had everything up to `cursor`.
    pub(super) fn next(&self, passenger: &mut Passenger, cursor: u64) -> Next {
        let mut cursor = cursor;
        let mut inner = self.inner.lock();
        loop {
            match inner.stop(passenger) {
                Stop::Ride(ride) => return Next::Ride { ride, ends: inner.ends(passenger) },
                Stop::Last if self.read_on(&mut inner, u64::MAX) => (),
                Stop::Last => return Next::CaughtUp { cursor: inner.head, ends: inner.is_over },
                // It joined after something that nobody has come for yet.
                Stop::Off if cursor > inner.head => {
                    if !self.read_on(&mut inner, cursor) {
                        // Whatever was numbered below its position is in the ring: nothing lies between.
                        inner.head = cursor;
                    }
                }
                Stop::Off => {
                    let (to, standing) = Passenger::boarding(&inner.shared, inner.last.as_ref(), inner.head, cursor);
                    if to == cursor {
                        passenger.board(standing);
                        continue;
                    }
                    match self.feed.read_between(cursor, to, &self.kind.grants) {
                        FeedRead::Frames { batch, cursor: read_to } if batch.is_empty() => cursor = read_to,
                        FeedRead::Frames { batch, cursor } => return Next::Own { batch, cursor },
                        // Nothing it may see lies between.
                        FeedRead::CaughtUp => cursor = to,
                        FeedRead::Gap { .. } | FeedRead::InLog => return Next::Elsewhere,
                    }
                }
            }
        }
    }

    /// The heartbeat for a body that is aboard, which all the others of the lane get as well, or what came first. The second
    /// value is as for [`Next::Ride`].
    pub(super) fn heartbeat(&self, passenger: &mut Passenger) -> Option<(Ride, bool)> {
        let mut inner = self.inner.lock();
        let ride = match inner.stop(passenger) {
            Stop::Off => return None,
            Stop::Ride(ride) => ride,
            Stop::Last => {
                let (bytes, head) = (HEARTBEAT.text(), inner.head);
                let text = Text { bytes, secrecy: Secrecy::Public, frames: 0, from: head, cursor: head };
                inner.add(text, &self.compressors);
                let Stop::Ride(ride) = inner.stop(passenger) else { return None };
                ride
            }
        };
        let ends = inner.ends(passenger);
        Some((ride, ends))
    }

    /// Takes in what comes after the head, up to `last`; false if there is nothing.
    fn read_on(&self, inner: &mut Inner, last: u64) -> bool {
        let LaneKind { shape, notices, grants } = &self.kind;
        match self.feed.read_between(inner.head, last, grants) {
            FeedRead::CaughtUp => return false,
            FeedRead::Frames { batch, cursor } => {
                inner.is_over |= batch.items().last().is_some_and(|item| item.is_end);
                let bytes = encode(batch.items(), *shape, Framing::UntilClose, *notices);
                let from = std::mem::replace(&mut inner.head, cursor);
                if !bytes.is_empty() {
                    let (secrecy, frames) = (secrecy(&batch), batch.items().len());
                    inner.add(Text { bytes, secrecy, frames, from, cursor }, &self.compressors);
                }
            }
            // The ring went past all of them: each goes on by itself.
            FeedRead::Gap { resumed_after } => inner.go_past(resumed_after),
            FeedRead::InLog => inner.go_past(self.feed.newest()),
        }
        true
    }
}

impl Inner {
    fn stop(&mut self, passenger: &mut Passenger) -> Stop {
        with_alone(|alone| passenger.next(&self.shared, self.last.as_mut(), alone))
    }

    /// Whether nothing will come any more for a body.
    fn ends(&self, passenger: &Passenger) -> bool {
        self.is_over && passenger.has_had_all(&self.shared)
    }

    fn add(&mut self, text: Text, compressors: &Arc<Compressors>) {
        if let Some(last) = &self.last {
            self.shared.sent(last);
        }
        self.last = Some(self.shared.block(text, self.bodies, compressors));
    }

    fn go_past(&mut self, head: u64) {
        self.shared.interrupt();
        self.last = None;
        self.head = head;
    }
}
