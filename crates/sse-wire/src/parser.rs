//! Bytes to events, by the rules of WHATWG HTML, sections 9.2.5 and 9.2.6.

use std::time::Duration;

/// What became complete while feeding bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed<'a> {
    /// An event that a browser would dispatch.
    Event(ParsedEvent<'a>),
    /// The reconnection time was set.
    Retry(Duration),
    /// A comment line, without its colon.
    Comment(&'a [u8]),
}

/// One dispatched event. Bytes that are not UTF-8 stand as they came; the standard decodes them with U+FFFD, which
/// [`String::from_utf8_lossy`] does as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParsedEvent<'a> {
    /// The type, `message` when the event named none.
    pub event_type: &'a [u8],
    /// The data, its lines joined by LF.
    pub data: &'a [u8],
    /// The last event id in force: this event's own or an earlier one's, empty if there was none.
    pub last_event_id: &'a str,
    /// Whether this event's own block had a valid `id` field.
    pub id_set: bool,
}

/// Why a stream cannot be parsed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// One event, or one line, has more bytes than the parser may hold.
    #[error("one event has more than {event_bytes_max} bytes")]
    EventTooLarge {
        /// The bound given to [`Parser::new`].
        event_bytes_max: usize,
    },
}

/// Buffers above this capacity are given back once an event is out, so that an idle stream holds little.
const KEPT_CAPACITY: usize = 1024;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// An incremental parser: feed it the stream in any pieces.
#[derive(Debug)]
pub struct Parser {
    event_bytes_max: usize,
    /// How many bytes of a leading byte order mark were seen; above its length once that is settled.
    bom_seen: u8,
    /// The last line ended in CR, so an LF right behind it belongs to it.
    after_cr: bool,
    /// The line under way, as far as earlier pieces brought it.
    line: Vec<u8>,
    block: Block,
}

/// The fields of the event under way.
#[derive(Debug, Default)]
struct Block {
    event_type: Vec<u8>,
    data: Vec<u8>,
    id: String,
    id_set: bool,
    /// The id as the last blank line left it.
    last_id: String,
}

impl Parser {
    /// A parser that holds at most `event_bytes_max` bytes of one event.
    pub fn new(event_bytes_max: usize) -> Self {
        Self { event_bytes_max, bom_seen: 0, after_cr: false, line: Vec::new(), block: Block::default() }
    }

    /// The last event id, which a client sends as `Last-Event-ID` when it reconnects; empty if there is none. That of an event
    /// which is not complete does not count: it has not arrived (WHATWG HTML, 9.2.6).
    pub fn last_event_id(&self) -> &str {
        &self.block.last_id
    }

    /// Parses the next piece of the stream and hands each thing that became complete to `sink`.
    ///
    /// # Errors
    /// [`ParseError::EventTooLarge`]; what was complete before the oversized event has reached the sink, and the stream
    /// cannot be parsed further.
    pub fn feed(&mut self, input: &[u8], mut sink: impl FnMut(Parsed<'_>)) -> Result<(), ParseError> {
        let mut rest = self.skip_bom(input);
        while !rest.is_empty() {
            if std::mem::take(&mut self.after_cr) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let Some(end) = memchr::memchr2(b'\r', b'\n', rest) else {
                self.make_room(rest.len())?;
                self.line.extend_from_slice(rest);
                return Ok(());
            };
            self.after_cr = rest[end] == b'\r';
            self.make_room(end)?;
            if self.line.is_empty() {
                self.block.line(&rest[..end], &mut sink);
            } else {
                self.line.extend_from_slice(&rest[..end]);
                self.block.line(&self.line, &mut sink);
                clear(&mut self.line);
            }
            rest = &rest[end + 1..];
        }
        Ok(())
    }

    /// One leading byte order mark is not part of the stream.
    fn skip_bom<'a>(&mut self, input: &'a [u8]) -> &'a [u8] {
        let mut rest = input;
        while usize::from(self.bom_seen) < BOM.len() {
            let Some(&byte) = rest.first() else { return rest };
            if byte != BOM[usize::from(self.bom_seen)] {
                // Not a mark after all: what was held back begins the first line.
                self.line.extend_from_slice(&BOM[..usize::from(self.bom_seen)]);
                self.bom_seen = BOM.len() as u8;
                break;
            }
            self.bom_seen += 1;
            rest = &rest[1..];
        }
        rest
    }

    fn make_room(&self, more: usize) -> Result<(), ParseError> {
        let held = self.line.len() + self.block.data.len() + self.block.event_type.len();
        if held + more > self.event_bytes_max {
            return Err(ParseError::EventTooLarge { event_bytes_max: self.event_bytes_max });
        }
        Ok(())
    }
}

impl Block {
    fn line(&mut self, line: &[u8], sink: &mut impl FnMut(Parsed<'_>)) {
        match memchr::memchr(b':', line) {
            None if line.is_empty() => self.dispatch(sink),
            None => self.field(line, b"", sink),
            Some(0) => sink(Parsed::Comment(&line[1..])),
            Some(colon) => {
                let value = &line[colon + 1..];
                self.field(&line[..colon], value.strip_prefix(b" ").unwrap_or(value), sink);
            }
        }
    }

    fn field(&mut self, name: &[u8], value: &[u8], sink: &mut impl FnMut(Parsed<'_>)) {
        match name {
            b"event" => {
                self.event_type.clear();
                self.event_type.extend_from_slice(value);
            }
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"id" if memchr::memchr(0, value).is_none() => {
                self.id.clear();
                self.id.push_str(&String::from_utf8_lossy(value));
                self.id_set = true;
            }
            b"retry" => {
                if let Some(retry) = parse_retry(value) {
                    sink(Parsed::Retry(retry));
                }
            }
            _ => (),
        }
    }

    /// A blank line: an event without a `data` field leaves only its id behind.
    fn dispatch(&mut self, sink: &mut impl FnMut(Parsed<'_>)) {
        if let Some((_, data)) = self.data.split_last() {
            let event_type = if self.event_type.is_empty() { b"message" } else { &self.event_type[..] };
            sink(Parsed::Event(ParsedEvent { event_type, data, last_event_id: &self.id, id_set: self.id_set }));
        }
        if self.id_set {
            self.last_id.clone_from(&self.id);
        }
        clear(&mut self.data);
        clear(&mut self.event_type);
        self.id_set = false;
    }
}

/// Digits only, in milliseconds; a number beyond `u64` is as good as for ever.
fn parse_retry(value: &[u8]) -> Option<Duration> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let millis = value.iter().fold(0_u64, |n, digit| n.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    Some(Duration::from_millis(millis))
}

fn clear(buffer: &mut Vec<u8>) {
    buffer.clear();
    if buffer.capacity() > KEPT_CAPACITY {
        *buffer = Vec::new();
    }
}

#[cfg(test)]
mod tests;
