//! A stream that takes its lane's blocks at its own time.

use bytes::Bytes;

use super::block::{Block, Secrecy, Standing};
use super::deflate::Alone;
use super::rider::Rider;
use super::shared::{Ride, Shared};
use crate::stream::Framing;

/// A compressed stream that nobody serves in turn with the others of its lane: it comes for the next block when it has room.
/// Either it is aboard, and follows the lane block by block, or it goes by itself.
#[derive(Debug)]
pub(crate) struct Passenger {
    rider: Rider,
    /// Where it is aboard: it has had everything before.
    at: Option<Standing>,
}

/// What a lane has for a passenger.
#[derive(Debug)]
pub(crate) enum Stop {
    Ride(Ride),
    /// It has had everything.
    Last,
    /// It goes by itself.
    Off,
}

impl Passenger {
    /// A stream that begins with this text, and the bytes of it.
    pub(crate) fn begin(text: &[u8]) -> (Self, Vec<u8>) {
        let (rider, bytes) = Rider::begin(text);
        (Self { rider, at: None }, bytes)
    }

    /// What comes next of the lane whose last block this is. Who does not ride has to take that one in time, or is off.
    pub(crate) fn next(&mut self, shared: &Shared, last: Option<&mut Block>, alone: &mut Alone) -> Stop {
        let Some(at) = self.at else { return Stop::Off };
        if at.next == shared.head().next {
            return Stop::Last;
        }
        match last {
            Some(last) if last.number == at.next => return Stop::Ride(self.take(last, alone)),
            last => {
                if let Some(ride) = self.rider.ride_along(at.next, shared) {
                    let rode = last.filter(|last| last.number + 1 == ride.end.next);
                    rode.into_iter().for_each(|last| last.takers.riding += 1);
                    self.at = Some(ride.end);
                    return Stop::Ride(ride);
                }
            }
        }
        self.leave();
        Stop::Off
    }

    /// Whether nothing of its lane is left for it just now.
    pub(crate) fn has_had_all(&self, shared: &Shared) -> bool {
        self.at.is_some_and(|at| at.next == shared.head().next)
    }

    fn take(&mut self, block: &mut Block, alone: &mut Alone) -> Ride {
        let bytes = self.rider.take(block, alone);
        let (start, end) = (block.start(), block.end());
        self.at = Some(end);
        Ride { bytes, frames: block.frames, cursor: block.cursor, begins: block.begins, start, end }
    }

    /// The first place from the position `cursor` on where it may go aboard: up to there it gets what it gets by itself.
    pub(crate) fn boarding(shared: &Shared, last: Option<&Block>, head: u64, cursor: u64) -> (u64, Standing) {
        let standing = shared.head();
        // Behind an interruption nobody would come from the last block to the head.
        let is_last = |last: &&Block| last.from >= cursor && last.number + 1 == standing.next;
        let last = || last.filter(is_last).map(|last| (last.from, last.start()));
        shared.beginning_after(cursor).or_else(last).unwrap_or((head, standing))
    }

    /// It goes aboard there, having had everything before.
    pub(crate) fn board(&mut self, standing: Standing) {
        self.rider.arrive(standing);
        self.at = Some(standing);
    }

    fn leave(&mut self) {
        if let Some(at) = self.at.take() {
            self.rider.leave(at);
        }
    }

    /// The bytes of a text for this stream only, which goes by itself from here on.
    pub(crate) fn own(&mut self, text: &[u8], secrecy: Secrecy, framing: Framing, alone: &mut Alone) -> Bytes {
        if !text.is_empty() {
            self.leave();
        }
        self.rider.own(text, secrecy, framing, alone)
    }

    /// The end of the stream.
    pub(crate) fn end(&mut self, framing: Framing) -> Bytes {
        self.leave();
        self.rider.end(framing)
    }
}

impl Ride {
    /// The bytes of its text.
    pub(crate) fn text_bytes(&self) -> u64 {
        self.start.text_bytes_to(self.end)
    }
}
