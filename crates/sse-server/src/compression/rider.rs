//! One stream's part: a few numbers.

use bytes::Bytes;

use super::block::{Block, Secrecy, Standing, framed, own};
use super::deflate::{Alone, HEAD, push_stored, tail};
use super::shared::{Ride, Shared};
use super::sum::Sum;
use crate::stream::Framing;

/// A compressed stream. Either it stands at its lane's head, with the others, or it goes by itself.
#[derive(Debug)]
pub(crate) struct Rider {
    /// Of the text it was given. What it gets at the head is added when it leaves there.
    sum: Sum,
    /// Of the lane's text when it came to the head.
    since: Sum,
    /// The next block that it may have in the shared form, when it goes by itself. At the head it is only known whether
    /// there is one. Zero if there is not.
    next: u64,
}

impl Rider {
    /// A stream that begins with this text, and the bytes of it.
    pub(crate) fn begin(text: &[u8]) -> (Self, Vec<u8>) {
        let mut bytes = HEAD.to_vec();
        push_stored(&mut bytes, text);
        (Self { sum: Sum::of(text), since: Sum::default(), next: 0 }, bytes)
    }

    /// It has come to the lane's head, by whatever way. It rides on only if it has had each block.
    pub(crate) fn arrive(&mut self, head: Standing) {
        self.since = head.sum;
        if self.next != head.next {
            self.next = 0;
        }
    }

    /// It leaves the head, having had everything up to here.
    pub(crate) fn leave(&mut self, standing: Standing) {
        self.sum = self.sum.then(standing.sum.since(self.since));
        if self.next != 0 {
            self.next = standing.next;
        }
    }

    /// The bytes of the lane's next block for this stream, which is at the head.
    pub(crate) fn take(&mut self, block: &mut Block, alone: &mut Alone) -> Bytes {
        match &block.shared {
            Some(shared) if block.begins || self.next != 0 => {
                self.next = block.number + 1;
                block.takers.riding += 1;
                shared.clone()
            }
            _ => {
                self.next = 0;
                block.takers.alone += 1;
                block.alone(alone)
            }
        }
    }

    /// The bytes of a text for this stream only, which goes by itself.
    pub(crate) fn own(&mut self, text: &[u8], secrecy: Secrecy, framing: Framing, alone: &mut Alone) -> Bytes {
        if text.is_empty() {
            return Bytes::new();
        }
        self.next = 0;
        self.sum = self.sum.then(Sum::of(text));
        own(text, secrecy, framing, alone)
    }

    /// The lane's blocks that follow what it has had, as long as they are kept. It goes by itself.
    pub(crate) fn ride(&mut self, shared: &Shared) -> Option<Ride> {
        let ride = shared.ride_from(self.next)?;
        self.sum = self.sum.then(ride.end.sum.since(ride.start.sum));
        self.next = ride.end.next;
        Some(ride)
    }

    /// The same of one that follows the lane block by block, and has had those before this number.
    pub(super) fn ride_along(&mut self, number: u64, shared: &Shared) -> Option<Ride> {
        let ride = shared.ride_from(number).filter(|ride| self.next != 0 || ride.begins)?;
        self.next = ride.end.next;
        Some(ride)
    }

    /// The end of the stream, which goes by itself.
    pub(crate) fn end(&self, framing: Framing) -> Bytes {
        framed(&tail(self.sum), framing)
    }
}
