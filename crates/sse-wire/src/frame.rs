//! One event or comment, encoded once for every stream it will ever be written to.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use crate::Event;
use crate::field::{EventId, Field, FieldError, check_line};

/// An encoded event or comment, ending in a blank line.
///
/// One allocation holds `<hex length>\r\n<text>\r\n`: the whole is a chunk of HTTP/1.1 (RFC 9112, 7.1), the middle is the
/// plain text for HTTP/2 and for clients without chunked encoding. Cloning shares the allocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    chunk: Bytes,
    /// Length of `<hex length>\r\n`.
    head_len: u8,
}

/// `\r\n` behind the text.
const CHUNK_END: &[u8] = b"\r\n";

impl Frame {
    /// A comment on its own, which keeps a connection alive and which no client shows: `: text`.
    ///
    /// # Errors
    /// [`FieldError::LineBreak`] or [`FieldError::Nul`].
    pub fn comment(text: &str) -> Result<Self, FieldError> {
        check_line(Field::Comment, text)?;
        let mut draft = FrameDraft::with_text_len(3 + text.len() + 1);
        draft.put(b": ").put(text.as_bytes()).put(b"\n\n");
        Ok(draft.finish(|_| ()))
    }

    /// A `retry:` line on its own, in whole milliseconds, which sets the client's reconnection time.
    pub fn retry(retry: Duration) -> Self {
        let millis = retry.as_millis().to_string();
        let mut draft = FrameDraft::with_text_len(7 + millis.len() + 2);
        draft.put(b"retry: ").put(millis.as_bytes()).put(b"\n\n");
        draft.finish(|_| ())
    }

    /// An `id:` line on its own, which sets the client's last event id and dispatches nothing (WHATWG HTML, 9.2.6).
    pub fn id(id: &EventId) -> Self {
        let mut draft = FrameDraft::with_text_len(4 + id.as_str().len() + 2);
        draft.put(b"id: ").put(id.as_str().as_bytes()).put(b"\n\n");
        draft.finish(|_| ())
    }

    /// The frame of a text that [`text`](Self::text) gave earlier; `None` if it does not end in a blank line.
    pub fn from_text(text: &[u8]) -> Option<Self> {
        if !text.ends_with(b"\n\n") {
            return None;
        }
        let mut draft = FrameDraft::with_text_len(text.len());
        draft.put(text);
        Some(draft.finish(|_| ()))
    }

    /// The frame as one HTTP/1.1 chunk.
    pub fn chunk(&self) -> &Bytes {
        &self.chunk
    }

    /// The frame's text, sharing the chunk's allocation.
    pub fn text(&self) -> Bytes {
        self.chunk.slice(self.text_range())
    }

    /// The frame's text, borrowed.
    pub fn text_bytes(&self) -> &[u8] {
        &self.chunk[self.text_range()]
    }

    /// How many bytes the text has; the chunk has at most 20 more.
    pub fn text_len(&self) -> usize {
        self.text_range().len()
    }

    fn text_range(&self) -> Range<usize> {
        usize::from(self.head_len)..self.chunk.len() - CHUNK_END.len()
    }
}

/// A frame that is complete but for its id.
///
/// Encoding happens outside every lock; the id is known only inside one. So the draft reserves room of a fixed width for
/// it, and [`finish`](Self::finish) fills that in place.
#[derive(Debug)]
pub struct FrameDraft {
    chunk: Vec<u8>,
    head_len: u8,
    id: Range<usize>,
}

impl FrameDraft {
    /// Encodes `event`. With `id_len` above zero, and unless the event has an id of its own, an `id:` line with that many
    /// bytes of room is reserved.
    pub fn new(event: &Event, id_len: usize) -> Self {
        let event_type = event.event_type().filter(|event_type| !event_type.is_message());
        let retry = event.retry().map(|retry| retry.as_millis().to_string());
        let given = event.id().map(|id| id.as_str().as_bytes());
        let reserved = if given.is_none() { id_len } else { 0 };

        let text_len = event.comment().map_or(0, |comment| comment.len() + 3)
            + event_type.map_or(0, |event_type| event_type.as_str().len() + 8)
            + retry.as_ref().map_or(0, |retry| retry.len() + 8)
            + given.map_or(0, |id| id.len() + 5)
            + if reserved > 0 { reserved + 5 } else { 0 }
            + data_text_len(event.data())
            + 1;
        let mut draft = Self::with_text_len(text_len);
        if let Some(comment) = event.comment() {
            draft.put(b": ").put(comment.as_bytes()).put(b"\n");
        }
        if let Some(event_type) = event_type {
            draft.put(b"event: ").put(event_type.as_str().as_bytes()).put(b"\n");
        }
        if let Some(retry) = retry {
            draft.put(b"retry: ").put(retry.as_bytes()).put(b"\n");
        }
        if let Some(id) = given {
            draft.put(b"id: ").put(id).put(b"\n");
        }
        if reserved > 0 {
            draft.put(b"id: ");
            let start = draft.chunk.len();
            draft.chunk.resize(start + reserved, b'0');
            draft.id = start..start + reserved;
            draft.put(b"\n");
        }
        for line in Lines::of(event.data()) {
            draft.put(b"data: ").put(line).put(b"\n");
        }
        draft.put(b"\n");
        debug_assert_eq!(
            draft.chunk.len(),
            usize::from(draft.head_len) + text_len,
            "the text has the length counted for it"
        );
        draft
    }

    /// Fills in the id and seals the frame. `write_id` gets the reserved bytes, none if no room was reserved; it must
    /// leave text without line breaks there.
    pub fn finish(mut self, write_id: impl FnOnce(&mut [u8])) -> Frame {
        write_id(&mut self.chunk[self.id]);
        self.chunk.extend_from_slice(CHUNK_END);
        Frame { chunk: Bytes::from(self.chunk), head_len: self.head_len }
    }

    /// How many bytes the finished chunk will have: what the frame costs in memory and on the wire.
    pub fn chunk_len(&self) -> usize {
        self.chunk.len() + CHUNK_END.len()
    }

    fn with_text_len(text_len: usize) -> Self {
        let head_len = hex_digits(text_len) + 2;
        let mut chunk = Vec::with_capacity(head_len + text_len + CHUNK_END.len());
        for digit in (0..hex_digits(text_len)).rev() {
            let nibble = (text_len >> (digit * 4)) & 0xf;
            chunk.push(b"0123456789abcdef"[nibble]);
        }
        chunk.extend_from_slice(b"\r\n");
        // A length has at most 16 digits, so the head has at most 18 bytes.
        Self { chunk, head_len: head_len as u8, id: 0..0 }
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.chunk.extend_from_slice(bytes);
        self
    }
}

fn hex_digits(n: usize) -> usize {
    (usize::BITS - n.max(1).leading_zeros()).div_ceil(4) as usize
}

/// Bytes that `data` takes as `data: ` lines.
fn data_text_len(data: &[u8]) -> usize {
    Lines::of(data).map(|line| line.len() + 7).sum()
}

/// The lines of an event's data. CR, LF and CRLF each end one, as they do for the parser (WHATWG HTML, 9.2.5), so that a
/// publisher cannot smuggle in a field with a lone CR. Empty data is one empty line: an event all the same.
struct Lines<'a>(Option<&'a [u8]>);

impl<'a> Lines<'a> {
    fn of(data: &'a [u8]) -> Self {
        Self(Some(data))
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        let Some(end) = memchr::memchr2(b'\r', b'\n', rest) else {
            self.0 = None;
            return Some(rest);
        };
        let break_len = if rest[end..].starts_with(b"\r\n") { 2 } else { 1 };
        self.0 = Some(&rest[end + break_len..]);
        Some(&rest[..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventType;

    #[test]
    fn a_frame_is_made_again_of_its_text() {
        for data in ["", "one", "two\nlines"] {
            let frame = Event::new(data).encode();
            assert_eq!(Frame::from_text(frame.text_bytes()), Some(frame));
        }
        assert_eq!(Frame::from_text(b"data: cut\n"), None);
    }

    fn check(event: &Event, text: &str) {
        let frame = event.encode();
        assert_eq!(std::str::from_utf8(frame.text_bytes()).unwrap(), text);
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        assert_eq!(std::str::from_utf8(frame.chunk()).unwrap(), chunk);
        assert_eq!(frame.text_len(), text.len());
    }

    #[test]
    fn fields_come_in_the_documented_order() {
        let event = Event::new("x")
            .with_type(EventType::parse("score").unwrap())
            .with_retry(Duration::from_millis(1500))
            .with_id(EventId::parse("7").unwrap())
            .with_comment("hi")
            .unwrap();
        check(&event, ": hi\nevent: score\nretry: 1500\nid: 7\ndata: x\n\n");
    }

    #[test]
    fn every_line_break_splits_data() {
        check(&Event::new("a\nb\rc\r\nd"), "data: a\ndata: b\ndata: c\ndata: d\n\n");
        check(&Event::new("a\n\r"), "data: a\ndata: \ndata: \n\n");
        check(&Event::new("\r\n"), "data: \ndata: \n\n");
    }

    #[test]
    fn awkward_data_keeps_its_shape() {
        check(&Event::new(""), "data: \n\n");
        check(&Event::new(" lead"), "data:  lead\n\n");
        check(&Event::new(":colon"), "data: :colon\n\n");
        check(&Event::new("\u{feff}bom"), "data: \u{feff}bom\n\n");
        check(&Event::new("id: 9"), "data: id: 9\n\n");
        check(&Event::new("x".repeat(70_000)), &format!("data: {}\n\n", "x".repeat(70_000)));
    }

    #[test]
    fn message_is_not_written_out() {
        check(&Event::new("x").with_type(EventType::parse("message").unwrap()), "data: x\n\n");
    }

    #[test]
    fn the_id_is_patched_in_place() {
        let draft = FrameDraft::new(&Event::new("x"), 4);
        let len = draft.chunk_len();
        let frame = draft.finish(|room| room.copy_from_slice(b"e-42"));
        assert_eq!(frame.text_bytes(), b"id: e-42\ndata: x\n\n");
        assert_eq!(frame.chunk().len(), len);
    }

    #[test]
    fn a_given_id_leaves_no_room_for_another() {
        let event = Event::new("x").with_id(EventId::parse("mine").unwrap());
        let frame = FrameDraft::new(&event, 4).finish(|room| assert!(room.is_empty()));
        assert_eq!(frame.text_bytes(), b"id: mine\ndata: x\n\n");
    }

    #[test]
    fn comments_and_retry_stand_alone() {
        assert_eq!(Frame::comment("ping").unwrap().text_bytes(), b": ping\n\n");
        assert_eq!(Frame::retry(Duration::from_secs(3)).chunk().as_ref(), b"d\r\nretry: 3000\n\n\r\n");
        assert_eq!(Frame::comment("ping").unwrap().chunk().as_ref(), b"8\r\n: ping\n\n\r\n");
        assert_eq!(Frame::id(&EventId::parse("a-7").unwrap()).chunk().as_ref(), b"9\r\nid: a-7\n\n\r\n");
        assert!(Frame::comment("a\nb").is_err());
        assert!(Event::new("").with_comment("a\rb").is_err());
    }

    #[test]
    fn data_must_be_utf8() {
        let error = Event::from_utf8(Bytes::from_static(b"ok\xff")).unwrap_err();
        assert_eq!(error, FieldError::NotUtf8 { field: Field::Data, at_byte: 2 });
    }
}
