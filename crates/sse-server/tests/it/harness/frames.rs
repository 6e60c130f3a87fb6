//! HTTP/2, frame by frame.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::connection::Received;
use super::{Connection, DEADLINE};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// One frame that has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A frame to be sent, of whatever sense.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field as a literal that is not indexed (RFC 7541, 6.2.2).
pub(crate) fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [length(text.len()), text.as_bytes().to_vec()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// A length with a prefix of seven bits (RFC 7541, 5.1).
fn length(len: usize) -> Vec<u8> {
    if len < 127 {
        return vec![len as u8];
    }
    let (mut bytes, mut rest) = (vec![127], len - 127);
    while rest >= 128 {
        bytes.push(rest as u8 | 128);
        rest /= 128;
    }
    bytes.push(rest as u8);
    bytes
}

/// The fields of a request.
pub(crate) fn request(method: &str, path: &str) -> Vec<u8> {
    [(":method", method), (":scheme", "http"), (":authority", "localhost"), (":path", path)]
        .iter()
        .flat_map(|(name, value)| field(name, value))
        .collect()
}

/// A connection in HTTP/2.
pub(crate) struct Frames {
    connection: Connection,
    acknowledges: bool,
}

impl Frames {
    /// Opens a connection; `settings` are pairs of a number and a value.
    pub(crate) fn open(addr: SocketAddr, settings: &[(u16, u32)]) -> Self {
        let mut connection = Connection::open(addr);
        let settings = settings.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        connection.send([PREFACE, &frame(SETTINGS, 0, 0, &settings.collect::<Vec<u8>>())].concat());
        Self { connection, acknowledges: true }
    }

    /// Leaves the server's settings and pings unanswered from here on.
    pub(crate) fn fall_silent(&mut self) {
        self.acknowledges = false;
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.connection.send(bytes);
    }

    /// Sends what the server may not want; false once it has closed.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.connection.try_send(bytes)
    }

    /// Begins a request without a body.
    pub(crate) fn ask(&mut self, stream: u32, method: &str, path: &str) {
        self.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &request(method, path)));
    }

    /// The next frame; `None` at the end of the connection, or when none comes in time.
    pub(crate) fn next_within(&mut self, time: Duration) -> Result<Frame, Received> {
        let until = Instant::now() + time;
        loop {
            if let Some(frame) = self.parse() {
                match (frame.kind, frame.flags & ACK) {
                    (SETTINGS, 0) if self.acknowledges => {
                        self.try_send(self::frame(SETTINGS, ACK, 0, &[]));
                    }
                    (PING, 0) if self.acknowledges => {
                        self.try_send(self::frame(PING, ACK, 0, &frame.payload));
                    }
                    _ => (),
                }
                return Ok(frame);
            }
            match self.connection.receive(until.saturating_duration_since(Instant::now())) {
                Received::Bytes => (),
                other => return Err(other),
            }
        }
    }

    fn parse(&mut self) -> Option<Frame> {
        let received = self.connection.received();
        let header: [u8; 9] = received.get(..9)?.try_into().unwrap();
        let len = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let payload = received.get(9..9 + len)?.to_vec();
        received.drain(..9 + len);
        let stream = u32::from_be_bytes(header[5..].try_into().unwrap());
        Some(Frame { kind: header[3], flags: header[4], stream, payload })
    }

    /// The next frame of this kind, whatever comes between.
    #[track_caller]
    pub(crate) fn next_of(&mut self, kind: u8) -> Frame {
        loop {
            match self.next_within(DEADLINE) {
                Ok(frame) if frame.kind == kind => return frame,
                Ok(_) => (),
                Err(other) => panic!("no frame of kind {kind} but {other:?}"),
            }
        }
    }

    /// Everything up to the end of the connection, which has to come in time.
    #[track_caller]
    pub(crate) fn rest_within(&mut self, time: Duration) -> Vec<Frame> {
        let until = Instant::now() + time;
        let mut frames = Vec::new();
        loop {
            match self.next_within(until.saturating_duration_since(Instant::now())) {
                Ok(frame) => frames.push(frame),
                Err(Received::End(_)) => return frames,
                Err(other) => panic!("{other:?} after {frames:?}"),
            }
        }
    }

    /// The text of a stream's DATA up to and including `end`.
    #[track_caller]
    pub(crate) fn text_through(&mut self, stream: u32, end: &str) -> String {
        let mut text = String::new();
        while !text.ends_with(end) {
            let frame = self.next_of(DATA);
            if frame.stream == stream {
                text.push_str(std::str::from_utf8(&frame.payload).unwrap());
            }
        }
        text
    }
}
