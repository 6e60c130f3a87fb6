//! The frames of an HTTP/2 connection as they come in: whether one is overdue, whether there are too many that ask for
//! work without asking for anything, and how much the client lets in.

use std::time::Instant;

use super::watch::Partial;

/// What a client sends first (RFC 9113, 3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER_BYTES: usize = 9;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// Frames that carry no request and no body: so many at once, and so many more each second.
const CONTROL: Bucket = Bucket { burst: 1_000.0, per_second: 20.0 };
/// Who is sent much has much to acknowledge: for so many bytes written there may be one more. The smallest events, which are
/// compressed, take some 54 bytes with their frame's header, and a client may open two windows for each.
const BYTES_PER_CONTROL: f64 = 24.0;
/// Streams that the client gives up. A proxy does for each client that leaves it.
const RESETS: Bucket = Bucket { burst: 500.0, per_second: 100.0 };

/// Given to hyper in place of what would be too much: a head that never ends. It answers with GOAWAY(ENHANCE_YOUR_CALM).
pub(super) const POISON: &[u8] = &poison();
const POISON_FRAMES: usize = 16;

const fn poison() -> [u8; HEADER_BYTES * POISON_FRAMES] {
    let mut bytes = [0; HEADER_BYTES * POISON_FRAMES];
    let mut frame = 0;
    while frame < POISON_FRAMES {
        let at = frame * HEADER_BYTES;
        bytes[at + 3] = if frame == 0 { HEADERS } else { CONTINUATION };
        // The last stream that a client may open.
        bytes[at + 5] = 0x7F;
        bytes[at + 6] = 0xFF;
        bytes[at + 7] = 0xFF;
        bytes[at + 8] = 0xFF;
        frame += 1;
    }
    bytes
}

/// Too many frames of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flood {
    Control,
    Resets,
}

impl Flood {
    /// The word that metrics carry.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Control => "http2_control",
            Self::Resets => "http2_resets",
        }
    }
}

/// Follows the frames of one connection.
#[derive(Debug)]
pub(super) struct FrameScan {
    /// Bytes of the preface to come.
    preface: usize,
    header: [u8; HEADER_BYTES],
    header_len: usize,
    /// Bytes of the frame's payload to come.
    payload: usize,
    /// A head has begun that has not ended.
    in_head: bool,
    /// When what has not come whole began.
    begun_at: Instant,
    control: Tokens,
    resets: Tokens,
    /// By how much the connection's window grows, as far as it has come.
    growth: u32,
    /// By how much it grew that nobody has asked for.
    opened: u64,
}

impl FrameScan {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            preface: PREFACE.len(),
            header: [0; HEADER_BYTES],
            header_len: 0,
            payload: 0,
            in_head: false,
            begun_at: now,
            control: Tokens::full(&CONTROL, now),
            resets: Tokens::full(&RESETS, now),
            growth: 0,
            opened: 0,
        }
    }

    /// What has begun and not come whole.
    pub(super) fn partial(&self) -> Option<Partial> {
        match self {
            Self { in_head: true, .. } => Some(Partial::Head(self.begun_at)),
            Self { preface: 0, header_len: 0, payload: 0, .. } => None,
            Self { header, payload: 1.., .. } if header[3] == DATA => Some(Partial::Frame(self.begun_at)),
            _ => Some(Partial::Head(self.begun_at)),
        }
    }

    /// By how much the client has opened its connection's window since the last time.
    pub(super) fn take_opened(&mut self) -> u64 {
        std::mem::take(&mut self.opened)
    }

    /// Bytes went out, which a client may acknowledge.
    pub(super) fn wrote(&mut self, len: usize) {
        self.control.add(&CONTROL, len as f64 / BYTES_PER_CONTROL);
    }

    /// Takes bytes and appends to `out` what may be passed on: all but the header of a frame that has not come whole.
    ///
    /// # Errors
    /// When the next frame is one too many; `out` ends before it.
    pub(super) fn take(&mut self, mut bytes: &[u8], now: Instant, out: &mut Vec<u8>) -> Result<(), Flood> {
        while !bytes.is_empty() {
            if self.partial().is_none() {
                self.begun_at = now;
            }
            let skipped = if self.preface > 0 { &mut self.preface } else { &mut self.payload };
            if *skipped > 0 {
                let len = bytes.len().min(*skipped);
                *skipped -= len;
                out.extend_from_slice(&bytes[..len]);
                self.follow_window(&bytes[..len]);
                bytes = &bytes[len..];
                continue;
            }
            let len = bytes.len().min(HEADER_BYTES - self.header_len);
            self.header[self.header_len..self.header_len + len].copy_from_slice(&bytes[..len]);
            self.header_len += len;
            bytes = &bytes[len..];
            if self.header_len == HEADER_BYTES {
                self.begin_frame(now)?;
                out.extend_from_slice(&self.header);
            }
        }
        Ok(())
    }

    /// Takes part of a payload, which may be by how much the connection's window grows.
    fn follow_window(&mut self, payload: &[u8]) {
        if self.header[3] != WINDOW_UPDATE || self.header[5..] != [0; 4] {
            return;
        }
        self.growth = payload.iter().fold(self.growth, |growth, byte| growth << 8 | u32::from(*byte));
        if self.payload == 0 {
            // The first bit means nothing.
            self.opened += u64::from(std::mem::take(&mut self.growth) & (u32::MAX >> 1));
        }
    }

    fn begin_frame(&mut self, now: Instant) -> Result<(), Flood> {
        self.header_len = 0;
        let [high, middle, low, kind, flags, ..] = self.header;
        self.payload = u32::from_be_bytes([0, high, middle, low]) as usize;
        match kind {
            HEADERS | CONTINUATION => self.in_head = flags & END_HEADERS == 0,
            DATA if self.payload > 0 || flags & END_STREAM != 0 => (),
            RST_STREAM if !self.resets.take(&RESETS, now) => return Err(Flood::Resets),
            RST_STREAM => (),
            _ if !self.control.take(&CONTROL, now) => return Err(Flood::Control),
            _ => (),
        }
        Ok(())
    }
}

/// How many of a kind there may be.
struct Bucket {
    burst: f64,
    per_second: f64,
}

/// What is left of it.
#[derive(Debug)]
struct Tokens {
    left: f64,
    filled_at: Instant,
}

impl Tokens {
    fn full(bucket: &Bucket, now: Instant) -> Self {
        Self { left: bucket.burst, filled_at: now }
    }

    fn add(&mut self, bucket: &Bucket, tokens: f64) {
        self.left = (self.left + tokens).min(bucket.burst);
    }

    /// Takes one; false if there is none.
    fn take(&mut self, bucket: &Bucket, now: Instant) -> bool {
        let passed = now.saturating_duration_since(std::mem::replace(&mut self.filled_at, now));
        self.add(bucket, passed.as_secs_f64() * bucket.per_second);
        let is_left = self.left >= 1.0;
        if is_left {
            self.left -= 1.0;
        }
        is_left
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&len[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// How many of these frames are passed on, and what ends it.
    fn count(kind: u8, flags: u8, payload: &[u8], frames: usize, piece: usize) -> (usize, Option<Flood>) {
        let now = Instant::now();
        let mut scan = FrameScan::new(now);
        let one = frame(kind, flags, payload);
        let bytes = [PREFACE, &one.repeat(frames)].concat();
        let mut out = Vec::new();
        let fault = bytes.chunks(piece).find_map(|piece| scan.take(piece, now, &mut out).err());
        assert!(bytes.starts_with(&out));
        ((out.len() - PREFACE.len()) / one.len(), fault)
    }

    #[test]
    fn frames_that_ask_for_nothing_are_bounded() {
        for piece in [1, 7, 4096] {
            for (kind, payload) in
                [(6, &[0; 8][..]), (4, &[]), (2, &[0; 5]), (8, &[0, 0, 0, 1]), (DATA, &[]), (0xEE, &[1])]
            {
                assert_eq!(count(kind, 0, payload, 5000, piece), (1000, Some(Flood::Control)), "{kind}");
            }
            assert_eq!(count(RST_STREAM, 0, &[0; 4], 5000, piece), (500, Some(Flood::Resets)));
            assert_eq!(count(HEADERS, END_HEADERS | END_STREAM, b"x", 5000, piece), (5000, None));
            assert_eq!(count(DATA, 0, b"x", 5000, piece), (5000, None));
        }
    }

    #[test]
    fn time_and_what_is_sent_allow_more() {
        let mut now = Instant::now();
        let mut scan = FrameScan::new(now);
        let ping = frame(6, 0, &[0; 8]);
        let take = |scan: &mut FrameScan, now, count| scan.take(&ping.repeat(count), now, &mut Vec::new());
        scan.take(PREFACE, now, &mut Vec::new()).unwrap();
        assert_eq!(take(&mut scan, now, 1000), Ok(()));
        scan.wrote(24 * 100);
        assert_eq!(take(&mut scan, now, 100), Ok(()));
        now += Duration::from_secs(2);
        assert_eq!(take(&mut scan, now, 40), Ok(()));
        assert_eq!(take(&mut scan, now, 1), Err(Flood::Control));
    }

    #[test]
    fn it_is_known_how_much_more_a_client_lets_in() {
        let update = |stream: u8, growth: u32| {
            let header = [0, 0, 4, WINDOW_UPDATE, 0, 0, 0, 0, stream];
            [&header[..], &growth.to_be_bytes()].concat()
        };
        for piece in [1, 5, 100] {
            let now = Instant::now();
            let mut scan = FrameScan::new(now);
            let mut opened = |bytes: &[u8]| {
                bytes.chunks(piece).for_each(|piece| scan.take(piece, now, &mut Vec::new()).unwrap());
                scan.take_opened()
            };
            assert_eq!(opened(PREFACE), 0);
            assert_eq!(opened(&[update(0, 70_000), update(0, 7)].concat()), 70_007);
            assert_eq!(opened(&update(0, 1 << 31 | 5)), 5, "the first bit means nothing");
            assert_eq!(opened(&[update(1, 9), frame(6, 0, &[0xff; 8]), frame(6, 0, &[])].concat()), 0);
        }
    }

    #[test]
    fn what_has_not_come_whole_is_known() {
        let now = Instant::now();
        let mut scan = FrameScan::new(now);
        let mut feed = |bytes: &[u8]| {
            scan.take(bytes, now, &mut Vec::new()).unwrap();
            scan.partial().is_none()
        };
        assert!(!feed(&PREFACE[..10]));
        assert!(feed(&PREFACE[10..]));
        let head = frame(HEADERS, 0, b"abc");
        assert!(!feed(&head[..4]));
        assert!(!feed(&head[4..]));
        assert!(feed(&frame(CONTINUATION, END_HEADERS, b"d")));
        let data = frame(DATA, 0, b"abc");
        assert!(!feed(&data[..11]));
        assert!(feed(&data[11..]));
    }
}
