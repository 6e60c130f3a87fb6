//! One stream: checks the head, decodes and parses what comes.

use std::io;

use sse_wire::{ParseError, Parser};

use crate::chunked::{Body, ChunkError, Piece};
use crate::comeback::Comeback;
use crate::frame::FrameError;
use crate::gunzip::{Gunzip, GzipError};
use crate::head::{Encoding, Head, HeadError};
use crate::ledger::{Follower, Ledger};
use crate::verify::Check;

/// One event may have so many bytes; an endless one must not take the machine's memory.
const EVENT_BYTES_MAX: usize = 32 << 20;

/// One stream and its record.
#[derive(Debug)]
pub(crate) struct Subscriber {
    pub(crate) follower: Follower,
    asked: Encoding,
    state: State,
}

#[derive(Debug)]
enum State {
    Head { input: Vec<u8>, since: u64, back: Option<Box<Comeback>> },
    Open(Box<Open>),
}

/// Boxed, for the states before are small and short.
#[derive(Debug)]
struct Open {
    body: Body,
    gunzip: Option<Gunzip>,
    parser: Parser,
    check: Check,
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
    Gzip(#[from] GzipError),
    #[error(transparent)]
    Parse(#[from] ParseError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("the server gave up on it, with the error {code} of HTTP/2")]
    Reset { code: u32 },
}

impl Subscriber {
    /// A stream whose connection is under way since `since`, and that was asked for in this encoding.
    pub(crate) fn new(follower: Follower, asked: Encoding, since: u64) -> Self {
        Self { follower, asked, state: State::Head { input: Vec::new(), since, back: None } }
    }

    /// The same for one that had been open before, and was cut.
    pub(crate) fn back(comeback: Comeback, asked: Encoding, since: u64) -> Self {
        let follower = comeback.follower;
        Self { follower, asked, state: State::Head { input: Vec::new(), since, back: Some(Box::new(comeback)) } }
    }

    /// What it needs to come back after it was cut at `now`; nothing if it was never open.
    pub(crate) fn into_comeback(self, now: u64) -> Option<Comeback> {
        match self.state {
            State::Open(open) => Some(Comeback {
                follower: self.follower,
                last_event_id: open.parser.last_event_id().into(),
                check: Some(open.check),
                since: now,
            }),
            State::Head { back, .. } => back.map(|back| *back),
        }
    }

    /// Whether it was open before, and is not now.
    pub(crate) fn is_coming_back(&self) -> bool {
        matches!(self.state, State::Head { back: Some(_), .. })
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
            State::Head { back, .. } => back.and_then(|back| back.check),
        }
    }

    /// Takes what has come, from the answer's first byte on.
    pub(crate) fn take(&mut self, bytes: &[u8], ledger: &mut Ledger<'_>, now: u64) -> Result<(), Gone> {
        let rest = match &mut self.state {
            State::Open(open) => return open.take(bytes, self.follower, ledger, now),
            State::Head { input, .. } => {
                input.extend_from_slice(bytes);
                let Some(head) = Head::parse(input)? else { return Ok(()) };
                let rest = input.split_off(head.length);
                self.open(&head, ledger, now)?;
                rest
            }
        };
        self.take(&rest, ledger, now)
    }

    /// The head has come; the body follows.
    pub(crate) fn open(&mut self, head: &Head, ledger: &mut Ledger<'_>, now: u64) -> Result<(), Gone> {
        let encoding = head.check_stream(self.asked)?;
        let mut check = None;
        if let State::Head { since, back, .. } = &mut self.state {
            ledger.opening.record(now.saturating_sub(*since));
            if let Some(back) = back.take() {
                ledger.came_back(now.saturating_sub(back.since));
                check = back.check;
            }
        }
        self.state = State::Open(Box::new(Open {
            body: Body::new(head.framing()),
            gunzip: (encoding == Encoding::Gzip).then(Gunzip::new),
            parser: Parser::new(EVENT_BYTES_MAX),
            check: check.unwrap_or_else(|| ledger.open(self.follower.first_topic)),
        }));
        Ok(())
    }
}

impl Open {
    fn take(&mut self, bytes: &[u8], follower: Follower, ledger: &mut Ledger<'_>, now: u64) -> Result<(), Gone> {
        let mut rest = bytes;
        loop {
            match self.body.next(&mut rest)? {
                Piece::Data(data) => {
                    let Self { gunzip, parser, check, .. } = self;
                    let mut parse = |text: &[u8]| -> Result<(), Gone> {
                        Ok(parser.feed(text, |parsed| ledger.note(&parsed, follower, check, now))?)
                    };
                    match gunzip {
                        Some(gunzip) => gunzip.feed(data, parse).map(|_| ())?,
                        None => parse(data)?,
                    }
                }
                Piece::More => return Ok(()),
                Piece::End => return Err(Gone::Ended),
            }
        }
    }
}
