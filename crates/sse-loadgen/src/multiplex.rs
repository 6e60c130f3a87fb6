//! The streams of one HTTP/2 connection.

use httlib_hpack::Decoder;

use crate::frame::{self, Frame, FrameError};
use crate::head::Head;
use crate::ledger::Ledger;
use crate::subscriber::{Gone, Subscriber};

/// What a stream, and the connection with all of them, may be sent before it is acknowledged; browsers allow more.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// What a connection has without asking for more (RFC 9113, section 6.9.2).
const DEFAULT_WINDOW_BYTES: u32 = 65_535;
/// A head of many frames must not take the machine's memory.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// What a server's encoder may have remembered of earlier heads.
const HEADER_TABLE_BYTES: u32 = 4096;

/// Follows several streams over one connection.
pub(crate) struct Multiplex {
    /// In the order of their numbers, which are odd. Those that have ended are none.
    streams: Vec<Option<Carried>>,
    opened: usize,
    ended: Vec<(Subscriber, Gone)>,
    decoder: Decoder<'static>,
    /// A frame that has not come whole.
    input: Vec<u8>,
    /// A head that has not come whole.
    head: Vec<u8>,
    /// Whether that head is all of its answer.
    head_ends: bool,
    unacknowledged: u32,
}

#[derive(Debug)]
struct Carried {
    subscriber: Subscriber,
    unacknowledged: u32,
}

impl Multiplex {
    /// The streams, each with the fields of its request, and what has to be sent for them.
    pub(crate) fn new(streams: Vec<(Subscriber, Vec<(String, String)>)>) -> (Self, Vec<u8>) {
        let mut out = frame::PREFACE.to_vec();
        let settings = [(frame::SETTINGS_ENABLE_PUSH, 0), (frame::SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES)];
        let settings = settings.map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).concat();
        frame::push(frame::SETTINGS, 0, 0, &settings, &mut out);
        let more = CONNECTION_WINDOW_BYTES - DEFAULT_WINDOW_BYTES;
        frame::push(frame::WINDOW_UPDATE, 0, 0, &more.to_be_bytes(), &mut out);
        let mut carried = Vec::with_capacity(streams.len());
        for (number, (subscriber, fields)) in streams.into_iter().enumerate() {
            let (flags, stream) = (frame::END_STREAM | frame::END_HEADERS, 2 * number as u32 + 1);
            frame::push(frame::HEADERS, flags, stream, &frame::head(&fields), &mut out);
            carried.push(Some(Carried { subscriber, unacknowledged: 0 }));
        }
        let multiplex = Self {
            streams: carried,
            opened: 0,
            ended: Vec::new(),
            decoder: Decoder::with_dynamic_size(HEADER_TABLE_BYTES),
            input: Vec::new(),
            head: Vec::new(),
            head_ends: false,
            unacknowledged: 0,
        };
        (multiplex, out)
    }

    pub(crate) fn opened(&self) -> usize {
        self.opened
    }

    pub(crate) fn take_ended(&mut self) -> Vec<(Subscriber, Gone)> {
        std::mem::take(&mut self.ended)
    }

    pub(crate) fn subscribers(&self) -> impl Iterator<Item = &Subscriber> {
        self.streams.iter().flatten().map(|carried| &carried.subscriber)
    }

    pub(crate) fn into_subscribers(self) -> Vec<Subscriber> {
        self.streams.into_iter().flatten().map(|carried| carried.subscriber).collect()
    }

    /// Takes what has come, and appends to `out` what is to be answered.
    pub(crate) fn take(
        &mut self,
        bytes: &[u8],
        ledger: &mut Ledger<'_>,
        now: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), Gone> {
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(if input.is_empty() { &[] } else { bytes });
        let mut rest = if input.is_empty() { bytes } else { &input };
        while let Some(frame) = Frame::take(&mut rest)? {
            self.frame(frame, ledger, now, out)?;
        }
        self.input = rest.to_vec();
        Ok(())
    }

    fn frame(&mut self, frame: Frame<'_>, ledger: &mut Ledger<'_>, now: u64, out: &mut Vec<u8>) -> Result<(), Gone> {
        match frame.kind {
            frame::DATA => self.data(frame, ledger, now, out)?,
            frame::HEADERS | frame::CONTINUATION => self.head(frame, ledger, now)?,
            frame::RST_STREAM => self.end(frame.stream, Gone::Reset { code: frame.error_code()? }),
            frame::GOAWAY if frame.error_code()? != 0 => return Err(Gone::Reset { code: frame.error_code()? }),
            frame::SETTINGS if !frame.has(frame::ACK) => frame::push(frame::SETTINGS, frame::ACK, 0, &[], out),
            frame::PING if !frame.has(frame::ACK) => frame::push(frame::PING, frame::ACK, 0, frame.payload, out),
            _ => (),
        }
        Ok(())
    }

    fn data(&mut self, frame: Frame<'_>, ledger: &mut Ledger<'_>, now: u64, out: &mut Vec<u8>) -> Result<(), Gone> {
        let length = frame.payload.len() as u32;
        acknowledge(&mut self.unacknowledged, length, CONNECTION_WINDOW_BYTES, 0, out);
        let content = frame.content()?;
        let Some(Some(carried)) = self.streams.get_mut(index(frame.stream)) else { return Ok(()) };
        acknowledge(&mut carried.unacknowledged, length, STREAM_WINDOW_BYTES, frame.stream, out);
        if let Err(gone) = carried.subscriber.take(content, ledger, now) {
            self.end(frame.stream, gone);
        } else if frame.has(frame::END_STREAM) {
            self.end(frame.stream, Gone::Ended);
        }
        Ok(())
    }

    /// A head or a part of one, or what follows a body in its place.
    fn head(&mut self, frame: Frame<'_>, ledger: &mut Ledger<'_>, now: u64) -> Result<(), FrameError> {
        if frame.kind == frame::HEADERS {
            self.head = frame.content()?.to_vec();
            self.head_ends = frame.has(frame::END_STREAM);
        } else {
            self.head.extend_from_slice(frame.payload);
        }
        if self.head.len() > HEAD_BYTES_MAX {
            return Err(FrameError::TooLarge(self.head.len()));
        }
        if !frame.has(frame::END_HEADERS) {
            return Ok(());
        }
        let mut fields = Vec::new();
        self.decoder.decode(&mut self.head, &mut fields).map_err(|_| FrameError::Head)?;
        let Some(Some(carried)) = self.streams.get_mut(index(frame.stream)) else { return Ok(()) };
        let fields = fields.iter().map(|(name, value, _)| (&name[..], &value[..]));
        if !carried.subscriber.is_open() {
            match Head::of_fields(fields).map_err(Gone::from) {
                Ok(head) if (100..200).contains(&head.status) => return Ok(()),
                Ok(head) => match carried.subscriber.open(&head, ledger, now) {
                    Ok(()) => self.opened += 1,
                    Err(gone) => self.end(frame.stream, gone),
                },
                Err(gone) => self.end(frame.stream, gone),
            }
        }
        if self.head_ends {
            self.end(frame.stream, Gone::Ended);
        }
        Ok(())
    }

    fn end(&mut self, stream: u32, gone: Gone) {
        if let Some(carried) = self.streams.get_mut(index(stream)).and_then(Option::take) {
            self.ended.push((carried.subscriber, gone));
        }
    }
}

impl std::fmt::Debug for Multiplex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Multiplex").field("streams", &self.streams).finish_non_exhaustive()
    }
}

/// Where the stream with this number is; nowhere if a server's own, which has an even one.
fn index(stream: u32) -> usize {
    if stream % 2 == 1 { stream as usize / 2 } else { usize::MAX }
}

/// Allows as much again once half of a window is used.
fn acknowledge(unacknowledged: &mut u32, length: u32, window: u32, stream: u32, out: &mut Vec<u8>) {
    *unacknowledged += length;
    if *unacknowledged >= window / 2 {
        frame::push(frame::WINDOW_UPDATE, 0, stream, &std::mem::take(unacknowledged).to_be_bytes(), out);
    }
}
