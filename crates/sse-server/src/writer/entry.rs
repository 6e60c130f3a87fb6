//! One stream on a writer.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::time::Instant;

use bytes::Bytes;
use mio::net::TcpStream;
use sse_hub::{LagJudge, Subscription};

use super::Seat;
use super::lane::LaneKey;
use super::secure::Secure;
use super::wheel::Tick;
use crate::stream::{EndReason, Framing, Notices, RECEIVED_MAX, Shape, StreamInfo};

/// One stream. There may be tens of thousands, so it is small: what only slow or several-topic streams need is boxed.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) socket: TcpStream,
    /// What its bytes go through first.
    pub(super) tls: Option<Box<Secure>>,
    /// Tells entries apart that had the same key one after the other.
    pub(super) generation: u32,
    pub(super) source: EntrySource,
    /// Present while the stream is not caught up, or is ending.
    pub(super) behind: Option<Box<Behind>>,
    /// The tick at which the wheel is to look at it.
    pub(super) due: Tick,
    /// When it was last written to on its own account; its lane may have written later.
    pub(super) written: Tick,
    /// When it has to end; 0 for never.
    pub(super) end_at: Tick,
    /// Bytes the client has sent since, read and dropped.
    pub(super) received: u32,
    /// What logs and limits need to know.
    pub(super) card: Box<Card>,
}

/// The part of an entry that writing never touches.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) info: StreamInfo,
    pub(super) _seat: Seat,
}

#[derive(Debug)]
pub(super) enum EntrySource {
    /// Follows one topic through a lane.
    Lane { lane: u32, place: Place },
    /// Follows several, or reads the log of one, through a subscription of its own.
    Own(Box<Own>),
}

/// Where an entry stands in its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In one of the lane's lists, at this index: among the caught-up if the phase is the lane's own, else among those
    /// that wait for the round under way.
    Listed { index: u32, phase: bool },
    /// It reads at a cursor of its own.
    Off,
}

#[derive(Debug)]
pub(super) struct Own {
    pub(super) subscription: Subscription,
    pub(super) waker: std::task::Waker,
    pub(super) shape: Shape,
    pub(super) framing: Framing,
    pub(super) notices: Notices,
    /// Of one topic: the lane that it goes to once it has read the log.
    pub(super) lane: Option<Box<LaneKey>>,
}

/// Where a stream stands that is not caught up.
#[derive(Debug)]
pub(super) struct Behind {
    /// Bytes to write before anything else.
    pub(super) pending: Bytes,
    /// The position in the lane's topic once `pending` is written.
    pub(super) cursor: u64,
    /// What it reads up to here was there before the stream; it stays by itself until it has read so far.
    pub(super) replay_to: u64,
    pub(super) ending: Option<Ending>,
    pub(super) judge: LagJudge,
    pub(super) bytes_written: u64,
    /// When the socket last took a byte.
    pub(super) progress_at: Instant,
    /// The socket is full: nothing is tried until the poller says otherwise.
    pub(super) blocked: bool,
    /// Its index in the writer's list of those behind.
    pub(super) index: u32,
}

/// A planned end under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub(super) reason: EndReason,
    /// When it is over even if the client has not taken everything.
    pub(super) until: Option<Instant>,
    /// Set once the last byte is written: then the client has until here to close.
    pub(super) closing_since: Option<Instant>,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    /// Everything.
    All,
    /// So many bytes, and the socket is full. With TLS it may be all of them: then some are on their way yet.
    Part(usize),
    /// The connection is gone.
    Broken,
}

impl Entry {
    /// Whether it reads the log, and has time.
    pub(super) fn is_replaying(&self) -> bool {
        matches!(&self.source, EntrySource::Own(own) if own.subscription.is_replaying())
    }

    /// Writes as much of `bytes` as the socket takes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Written {
        if let Some(tls) = &mut self.tls {
            return tls.write(&self.socket, bytes);
        }
        write_with(bytes.len(), |done| (&self.socket).write(&bytes[done..]))
    }

    /// The same for a plain socket that has taken `done` of them already.
    pub(super) fn write_on(&mut self, bytes: &[u8], done: usize) -> Written {
        match self.write(&bytes[done..]) {
            Written::Part(len) => Written::Part(done + len),
            written => written,
        }
    }

    /// The same for several pieces, in one call for all.
    pub(super) fn write_pieces(&mut self, pieces: &mut [IoSlice<'_>]) -> Written {
        if let Some(tls) = &mut self.tls {
            // They are copied in any case.
            let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.iter().copied()).collect();
            return tls.write(&self.socket, &bytes);
        }
        let total = pieces.iter().map(|piece| piece.len()).sum();
        let mut pieces = pieces;
        let mut written = 0;
        write_with(total, |done| {
            IoSlice::advance_slices(&mut pieces, done - written);
            written = done;
            (&self.socket).write_vectored(pieces)
        })
    }

    /// Whether everything has left that a write took.
    pub(super) fn is_flushed(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| tls.is_flushed())
    }

    /// Reads and drops what the client has sent; the reason to end the stream, if that is one.
    pub(super) fn drain_input(&mut self) -> Option<EndReason> {
        if let Some(tls) = &mut self.tls {
            return tls.drain_input(&self.socket, &mut self.received);
        }
        let mut scratch = [0; 4096];
        loop {
            match (&self.socket).read(&mut scratch) {
                Ok(0) => return Some(EndReason::Disconnected),
                Ok(len) => {
                    self.received = self.received.saturating_add(len as u32);
                    if self.received as usize > RECEIVED_MAX {
                        return Some(EndReason::Flooded);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(_) => return Some(EndReason::Broken),
            }
        }
    }

    /// Says that nothing more will be written.
    pub(super) fn finish_writing(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.say_goodbye(&self.socket);
        }
        // A failure means that the connection is gone already, which reading will tell.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    pub(super) fn is_ending(&self) -> bool {
        self.behind.as_ref().is_some_and(|behind| behind.ending.is_some())
    }
}

fn write_with(total: usize, mut write: impl FnMut(usize) -> io::Result<usize>) -> Written {
    let mut done = 0;
    while done < total {
        match write(done) {
            Ok(0) => return Written::Broken,
            Ok(len) => done += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Written::Part(done),
            Err(error) if error.kind() == ErrorKind::Interrupted => (),
            Err(_) => return Written::Broken,
        }
    }
    Written::All
}

impl Behind {
    pub(super) fn new(pending: Bytes, cursor: u64, now: Instant) -> Self {
        Self {
            pending,
            cursor,
            replay_to: 0,
            ending: None,
            judge: LagJudge::default(),
            bytes_written: 0,
            progress_at: now,
            blocked: false,
            index: 0,
        }
    }

    /// Notes what a write came to.
    pub(super) fn note(&mut self, written: usize, now: Instant) {
        if written > 0 {
            self.bytes_written += written as u64;
            self.progress_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use super::*;

    #[test]
    fn an_entry_is_small() {
        // Ten thousand idle streams are ten thousand of each. mio's sockets are larger in a debug build.
        let entry_max = if cfg!(debug_assertions) { 80 } else { 64 };
        assert!(size_of::<Entry>() <= entry_max, "{}", size_of::<Entry>());
        assert!(size_of::<Card>() <= 168, "{}", size_of::<Card>());
    }

    #[test]
    fn a_short_write_is_carried_on() {
        let mut calls =
            vec![Ok(3), Err(ErrorKind::Interrupted.into()), Ok(2), Err(ErrorKind::WouldBlock.into())].into_iter();
        assert_eq!(write_with(10, |_| calls.next().unwrap()), Written::Part(5));
        assert_eq!(write_with(3, |_| Ok(3)), Written::All);
        assert_eq!(write_with(3, |_| Err(ErrorKind::BrokenPipe.into())), Written::Broken);
    }
}
