//! The frames of HTTP/2 (RFC 9113, section 4 and 6), as far as a client needs them that only follows.

use httlib_hpack::Encoder;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const SETTINGS_ENABLE_PUSH: u16 = 2;
pub(crate) const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;

const HEADER_BYTES: usize = 9;
/// No larger frame may come unless it was allowed.
const PAYLOAD_BYTES_MAX: usize = 16 << 10;

/// What is no HTTP/2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame has {0} bytes")]
    TooLarge(usize),
    #[error("a frame of kind {0} is too short for what it has to say")]
    TooShort(u8),
    #[error("a head cannot be decoded")]
    Head,
}

/// One frame that has come whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Takes a frame from the front of `input`; `None` while it is incomplete.
    pub(crate) fn take(input: &mut &'a [u8]) -> Result<Option<Self>, FrameError> {
        let Some((header, rest)) = input.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let [high, middle, low, kind, flags, stream @ ..] = *header;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        if length > PAYLOAD_BYTES_MAX {
            return Err(FrameError::TooLarge(length));
        }
        let Some((payload, rest)) = rest.split_at_checked(length) else { return Ok(None) };
        *input = rest;
        Ok(Some(Self { kind, flags, stream: u32::from_be_bytes(stream) & (u32::MAX >> 1), payload }))
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The payload of DATA or HEADERS without its padding.
    pub(crate) fn content(&self) -> Result<&'a [u8], FrameError> {
        if !self.has(PADDED) {
            return Ok(self.payload);
        }
        let (padding, rest) = self.payload.split_first().ok_or(FrameError::TooShort(self.kind))?;
        let length = rest.len().checked_sub(usize::from(*padding)).ok_or(FrameError::TooShort(self.kind))?;
        Ok(&rest[..length])
    }

    /// The number with which RST_STREAM, and GOAWAY behind another, says why.
    pub(crate) fn error_code(&self) -> Result<u32, FrameError> {
        let at = if self.kind == GOAWAY { 4 } else { 0 };
        let code = self.payload.get(at..).and_then(|code| code.first_chunk()).ok_or(FrameError::TooShort(self.kind))?;
        Ok(u32::from_be_bytes(*code))
    }
}

/// Appends a frame, which is small.
pub(crate) fn push(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Fields as a head, each one a literal, so that no connection has to remember what another request said.
pub(crate) fn head(fields: &[(String, String)]) -> Vec<u8> {
    let (mut encoder, mut head) = (Encoder::default(), Vec::new());
    for (name, value) in fields {
        // Without indexing nothing can be missing from a table.
        let _ = encoder.encode((name.clone().into_bytes(), value.clone().into_bytes(), 0), &mut head);
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_taken_when_it_is_whole() {
        let mut bytes = Vec::new();
        push(DATA, END_STREAM, 7, b"abc", &mut bytes);
        for cut in 0..bytes.len() {
            assert_eq!(Frame::take(&mut &bytes[..cut]), Ok(None));
        }
        bytes.push(9);
        let mut input = &bytes[..];
        let frame = Frame::take(&mut input).unwrap().unwrap();
        assert_eq!(frame, Frame { kind: DATA, flags: END_STREAM, stream: 7, payload: b"abc" });
        assert_eq!(input, [9]);
        assert_eq!(Frame::take(&mut &[0, 0x40, 1, 0, 0, 0, 0, 0, 1][..]), Err(FrameError::TooLarge(0x4001)));
    }

    #[test]
    fn padding_is_left_out() {
        let frame = |payload| Frame { kind: DATA, flags: PADDED, stream: 1, payload };
        assert_eq!(frame(b"\x02abcd").content(), Ok(&b"ab"[..]));
        assert_eq!(frame(b"\x04abcd").content(), Ok(&b""[..]));
        assert_eq!(frame(b"\x05abcd").content(), Err(FrameError::TooShort(DATA)));
        assert_eq!(frame(b"").content(), Err(FrameError::TooShort(DATA)));
        let away = Frame { kind: GOAWAY, flags: 0, stream: 0, payload: &[0, 0, 0, 1, 0, 0, 0, 11] };
        assert_eq!(away.error_code(), Ok(11));
        assert_eq!(Frame { kind: RST_STREAM, ..away }.error_code(), Ok(1));
    }
}
