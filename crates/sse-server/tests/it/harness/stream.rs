//! One event stream as a client reads it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sse_wire::{Parsed, Parser};

use super::connection::Received;
use super::gunzip::Gunzip;
use super::{Connection, DEADLINE, End, Head};

/// Larger events than any test sends.
const EVENT_BYTES_MAX: usize = 16 << 20;

/// An open stream. What it brings is taken as bytes or as events.
pub(crate) struct Stream {
    pub(crate) head: Head,
    connection: Connection,
    /// The body without its framing, as far as it was not taken.
    text: Vec<u8>,
    is_chunked: bool,
    gunzip: Option<Gunzip>,
    /// The last chunk has come.
    is_complete: bool,
    parser: Parser,
    items: VecDeque<Item>,
}

/// What a stream brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Event(Event),
    Retry(Duration),
    Comment(String),
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) event_type: String,
    pub(crate) id: String,
    pub(crate) data: String,
}

/// The ids of the events in a stream's text: where it begins is none.
pub(crate) fn event_ids(text: &str) -> Vec<&str> {
    let events = text.split("\n\n").filter(|block| block.contains("data: "));
    events.filter_map(|event| event.lines().find_map(|line| line.strip_prefix("id: "))).collect()
}

impl Event {
    /// The data as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.data).unwrap()
    }
}

impl Stream {
    /// Reads the head, which must be a stream's.
    #[track_caller]
    pub(crate) fn begin(mut connection: Connection) -> Self {
        let head = connection.head();
        assert_eq!(head.status, 200, "{}", head.text);
        assert_eq!(head.field("content-type"), Some("text/event-stream"), "{}", head.text);
        let is_chunked = head.field("transfer-encoding") == Some("chunked");
        let gunzip = head.field("content-encoding").map(|encoding| {
            assert_eq!(encoding, "gzip");
            Gunzip::new()
        });
        let parser = Parser::new(EVENT_BYTES_MAX);
        let (text, items) = (Vec::new(), VecDeque::new());
        Self { head, connection, text, is_chunked, gunzip, is_complete: false, parser, items }
    }

    /// The client's end of the connection, as the server's logs name it.
    pub(crate) fn local_addr(&self) -> String {
        self.connection.local_addr().to_string()
    }

    /// The next bytes of the stream have to be these.
    #[track_caller]
    pub(crate) fn expect_text(&mut self, expected: &str) {
        while self.text.len() < expected.len() {
            assert!(self.receive(DEADLINE) == Received::Bytes, "ended after {:?}", String::from_utf8_lossy(&self.text));
        }
        let text: Vec<u8> = self.text.drain(..expected.len()).collect();
        assert_eq!(String::from_utf8_lossy(&text), expected);
    }

    /// The first bytes of a stream that begins live; the id of where it begins.
    #[track_caller]
    pub(crate) fn expect_opening(&mut self, retry_millis: u64) -> String {
        self.expect_text(&format!("retry: {retry_millis}\n\n"));
        let block = self.text_through(["\n\n"; 2]);
        let id = block.strip_prefix("id: ").and_then(|rest| rest.strip_suffix("\n\n"));
        id.unwrap_or_else(|| panic!("{block:?} where a position belongs")).to_owned()
    }

    /// The text up to and including the first of these endings.
    #[track_caller]
    pub(crate) fn text_through(&mut self, endings: [&str; 2]) -> String {
        loop {
            let text = String::from_utf8_lossy(&self.text);
            if let Some(end) = endings.iter().find_map(|ending| text.find(ending).map(|at| at + ending.len())) {
                return String::from_utf8(self.text.drain(..end).collect()).unwrap();
            }
            assert!(self.receive(DEADLINE) == Received::Bytes, "ended after {:?}", String::from_utf8_lossy(&self.text));
        }
    }

    /// All the text up to the end of the stream.
    #[track_caller]
    pub(crate) fn text_to_end(mut self) -> String {
        while !self.is_complete && self.receive(DEADLINE) == Received::Bytes {}
        let text = String::from_utf8(std::mem::take(&mut self.text)).unwrap();
        self.expect_end();
        text
    }

    /// What a browser would come back with.
    pub(crate) fn last_event_id(&self) -> &str {
        self.parser.last_event_id()
    }

    /// The next event, whatever comes between.
    #[track_caller]
    pub(crate) fn next_event(&mut self) -> Event {
        loop {
            if let Item::Event(event) = self.next_item() {
                return event;
            }
        }
    }

    /// The data of the next event.
    #[track_caller]
    pub(crate) fn next_data(&mut self) -> String {
        self.next_event().data
    }

    /// The next thing of any kind.
    #[track_caller]
    pub(crate) fn next_item(&mut self) -> Item {
        self.item_within(DEADLINE).unwrap_or_else(|received| panic!("no event but {received:?}"))
    }

    /// The next event, unless the stream ends first, in whatever way.
    #[track_caller]
    pub(crate) fn event_or_end(&mut self) -> Option<Event> {
        loop {
            match self.item_within(DEADLINE) {
                Ok(Item::Event(event)) => return Some(event),
                Ok(_) => (),
                Err(Received::End(_)) => return None,
                Err(other) => panic!("neither an event nor the end but {other:?}"),
            }
        }
    }

    /// Takes a few bytes from the connection and waits a moment.
    pub(crate) fn read_a_little(&mut self) {
        self.connection.read_a_little();
    }

    fn item_within(&mut self, time: Duration) -> Result<Item, Received> {
        loop {
            self.parse();
            if let Some(item) = self.items.pop_front() {
                return Ok(item);
            }
            match self.receive(time) {
                Received::Bytes => (),
                other => return Err(other),
            }
        }
    }

    /// Nothing comes for so long.
    #[track_caller]
    pub(crate) fn expect_quiet(&mut self, time: Duration) {
        let received = self.item_within(time);
        assert_eq!(received, Err(Received::Nothing));
    }

    /// Stays for so long, reading, and leaves.
    pub(crate) fn stay_for(mut self, time: Duration) {
        self.items_for(time);
    }

    /// What comes until `time` has passed.
    #[track_caller]
    pub(crate) fn items_for(&mut self, time: Duration) -> Vec<Item> {
        let until = Instant::now() + time;
        let mut items = Vec::new();
        while let Ok(item) = self.item_within(until.saturating_duration_since(Instant::now())) {
            items.push(item);
        }
        items
    }

    /// Nothing more comes, and the stream ends in order: with the last chunk, or without chunks with the connection.
    /// What is left is the connection.
    #[track_caller]
    pub(crate) fn expect_end(mut self) -> Connection {
        loop {
            self.parse();
            assert_eq!(self.items.pop_front(), None, "before the end");
            let received = if self.is_complete { Received::End(End::Fin) } else { self.receive(DEADLINE) };
            match received {
                Received::Bytes => (),
                Received::End(End::Fin) if self.is_complete || !self.is_chunked => {
                    if let Some(gunzip) = &self.gunzip {
                        gunzip.expect_end();
                    }
                    return self.connection;
                }
                other => assert!(self.is_complete, "the stream does not end in order: {other:?}"),
            }
        }
    }

    /// How many bytes came on its connection, once it has ended in order; whatever came before is dropped.
    #[track_caller]
    pub(crate) fn bytes_to_end(mut self) -> usize {
        while !self.is_complete && self.receive(DEADLINE) == Received::Bytes {
            self.text.clear();
        }
        self.items.clear();
        self.expect_end().bytes_received()
    }

    /// How much has come on its connection, its head and framing included.
    pub(crate) fn bytes_received(&self) -> usize {
        self.connection.bytes_received()
    }

    /// The server cuts the connection, with or without ceremony; whatever came before is dropped.
    #[track_caller]
    pub(crate) fn expect_cut(&mut self) {
        while self.item_or_end().is_some() {}
    }

    fn item_or_end(&mut self) -> Option<Item> {
        match self.item_within(DEADLINE) {
            Ok(item) => Some(item),
            Err(Received::End(_)) => None,
            Err(other) => panic!("the stream does not end: {other:?}"),
        }
    }

    /// The client's side of the connection.
    pub(crate) fn into_connection(self) -> Connection {
        self.connection
    }

    /// Sends something that a follower has no reason to send.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.connection.try_send(bytes)
    }

    fn parse(&mut self) {
        let items = &mut self.items;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let sink = |parsed: Parsed<'_>| {
            items.push_back(match parsed {
                Parsed::Retry(retry) => Item::Retry(retry),
                Parsed::Comment(comment) => Item::Comment(text(comment)),
                Parsed::Event(event) => Item::Event(Event {
                    event_type: text(event.event_type),
                    id: event.last_event_id.to_owned(),
                    data: text(event.data),
                }),
            });
        };
        self.parser.feed(&std::mem::take(&mut self.text), sink).unwrap();
    }

    /// Waits for more of the body, whose last chunk is an end in order.
    fn receive(&mut self, time: Duration) -> Received {
        let until = Instant::now() + time;
        loop {
            let before = self.text.len();
            self.decode();
            if self.text.len() > before {
                return Received::Bytes;
            }
            if self.is_complete {
                return Received::End(End::Fin);
            }
            match self.connection.receive(until.saturating_duration_since(Instant::now())) {
                Received::Bytes => (),
                other => return other,
            }
        }
    }

    /// Takes the framing off whatever has come whole.
    fn decode(&mut self) {
        if !self.is_chunked {
            let body = std::mem::take(self.connection.received());
            self.take(&body);
            return;
        }
        let mut body = Vec::new();
        let received = self.connection.received();
        let mut taken = 0;
        while !self.is_complete {
            let rest = &received[taken..];
            let httparse::Status::Complete((head, len)) = httparse::parse_chunk_size(rest).unwrap() else { break };
            let end = head + len as usize;
            let Some(line_end) = rest.get(end..end + 2) else { break };
            assert_eq!(line_end, b"\r\n", "behind a chunk");
            body.extend_from_slice(&rest[head..end]);
            taken += end + 2;
            self.is_complete = len == 0;
        }
        received.drain(..taken);
        self.take(&body);
    }

    /// Takes the body as it came.
    fn take(&mut self, body: &[u8]) {
        match &mut self.gunzip {
            Some(gunzip) => gunzip.decode(body, &mut self.text),
            None => self.text.extend_from_slice(body),
        }
    }
}
