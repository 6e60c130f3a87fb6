//! One stream: connects, asks, checks the head, decodes and parses what comes.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;
use sse_wire::{ParseError, Parser};

use crate::chunked::{Body, ChunkError, Piece};
use crate::clock::Clock;
use crate::head::{Head, HeadError};
use crate::ledger::{Follower, Ledger};
use crate::verify::Check;

/// One event may have so many bytes; an endless one must not take the machine's memory.
const EVENT_BYTES_MAX: usize = 32 << 20;

/// One stream and its record.
#[derive(Debug)]
pub(crate) struct Subscriber {
    stream: TcpStream,
    pub(crate) follower: Follower,
    state: State,
}

#[derive(Debug)]
enum State {
    Connecting { request: Box<[u8]>, since: u64 },
    Head { input: Vec<u8>, since: u64 },
    Open(Box<Open>),
}

/// Boxed, for the states before are small and short.
#[derive(Debug)]
struct Open {
    body: Body,
    parser: Parser,
    check: Check,
}

/// How far to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Until the socket gave less than there was room for: it is empty, and what comes then is a new edge.
    Short,
    /// Until it would block or has ended; an end that came together with the last bytes has no edge of its own.
    Blocked,
}

/// Why a stream is over.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Gone {
    #[error("the server closed the connection")]
    Closed,
    #[error("the server ended the stream")]
    Ended,
    #[error("the connection failed")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    #[error(transparent)]
    Parse(#[from] ParseError),
}

impl Subscriber {
    /// A stream whose connection is under way since `since`, and what it will ask.
    pub(crate) fn new(stream: TcpStream, follower: Follower, request: Vec<u8>, since: u64) -> Self {
        Self { stream, follower, state: State::Connecting { request: request.into(), since } }
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// The record, once the stream has opened.
    pub(crate) fn check(&self) -> Option<&Check> {
        match &self.state {
            State::Open(open) => Some(&open.check),
            _ => None,
        }
    }

    pub(crate) fn into_check(self) -> Option<Check> {
        match self.state {
            State::Open(open) => Some(open.check),
            _ => None,
        }
    }

    /// Does what the socket is ready for and writes down what came.
    pub(crate) fn advance(
        &mut self,
        until: Until,
        buffer: &mut [u8],
        ledger: &mut Ledger<'_>,
        clock: Clock,
    ) -> Result<(), Gone> {
        if let State::Connecting { request, since } = &self.state {
            if !is_connected(&self.stream)? {
                return Ok(());
            }
            if self.stream.write(request)? < request.len() {
                return Err(io::Error::from(ErrorKind::WriteZero).into());
            }
            self.state = State::Head { input: Vec::new(), since: *since };
        }
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err(Gone::Closed),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return Err(Gone::Closed),
                Err(error) => return Err(error.into()),
            };
            ledger.tally.bytes += count as u64;
            self.take(&buffer[..count], ledger, clock.nanos())?;
            if until == Until::Short && count < buffer.len() {
                return Ok(());
            }
        }
    }

    fn take(&mut self, bytes: &[u8], ledger: &mut Ledger<'_>, now: u64) -> Result<(), Gone> {
        match &mut self.state {
            State::Open(open) => open.take(bytes, self.follower, ledger, now),
            State::Head { input, since } => {
                input.extend_from_slice(bytes);
                let Some(head) = Head::parse(input)? else { return Ok(()) };
                head.check_stream()?;
                ledger.opening.record(now.saturating_sub(*since));
                let mut open = Box::new(Open {
                    body: Body::new(head.framing()),
                    parser: Parser::new(EVENT_BYTES_MAX),
                    check: ledger.open(self.follower.first_topic),
                });
                let rest = input.split_off(head.length);
                let taken = open.take(&rest, self.follower, ledger, now);
                self.state = State::Open(open);
                taken
            }
            State::Connecting { .. } => Ok(()),
        }
    }
}

impl Open {
    fn take(&mut self, bytes: &[u8], follower: Follower, ledger: &mut Ledger<'_>, now: u64) -> Result<(), Gone> {
        let mut rest = bytes;
        loop {
            match self.body.next(&mut rest)? {
                Piece::Data(data) => {
                    let check = &mut self.check;
                    self.parser.feed(data, |parsed| ledger.note(&parsed, follower, check, now))?;
                }
                Piece::More => return Ok(()),
                Piece::End => return Err(Gone::Ended),
            }
        }
    }
}

fn is_connected(stream: &TcpStream) -> io::Result<bool> {
    if let Some(error) = stream.take_error()? {
        return Err(error);
    }
    match stream.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
        Err(error) => Err(error),
    }
}
