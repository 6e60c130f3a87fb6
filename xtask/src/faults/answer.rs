//! An answer as it comes in, piece by piece: its head, its chunks, its events. Written for these rows alone, so that a
//! fault in the server's own parser cannot hide here.

use std::time::Duration;

/// What has come of an answer so far.
#[derive(Debug, Default)]
pub struct Answer {
    /// Bytes that have not been understood yet.
    input: Vec<u8>,
    /// Body text behind the last whole event.
    text: Vec<u8>,
    head: Option<Head>,
    pub events: Vec<Event>,
    /// Comments that came.
    pub heartbeats: usize,
    /// What `retry:` said last.
    pub retry: Option<Duration>,
    /// The last chunk has come: the stream was ended, not broken off.
    pub is_ended: bool,
}

#[derive(Debug)]
struct Head {
    status: u16,
    fields: String,
    is_chunked: bool,
}

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    pub kind: String,
    pub id: String,
    pub data: String,
}

impl Answer {
    pub fn push(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        if self.head.is_none() {
            let Some(end) = find(&self.input, b"\r\n\r\n") else { return };
            let head = String::from_utf8_lossy(&self.input[..end]).to_ascii_lowercase();
            self.input.drain(..end + 4);
            self.head = Some(Head::parse(&head));
        }
        if self.head.as_ref().is_some_and(|head| head.is_chunked) {
            self.take_chunks();
        } else {
            self.text.append(&mut self.input);
        }
        self.take_events();
    }

    /// The status, once the head has come.
    pub fn status(&self) -> Option<u16> {
        self.head.as_ref().map(|head| head.status)
    }

    /// A field of the head, by its name in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.as_ref()?.fields.lines();
        fields.filter_map(|line| line.split_once(": ")).find(|(field, _)| *field == name).map(|(_, value)| value)
    }

    /// The data of plain events, in the order they came.
    pub fn data(&self) -> impl Iterator<Item = &str> {
        self.events.iter().filter(|event| event.kind.is_empty()).map(|event| event.data.as_str())
    }

    /// The id a client would resume after.
    pub fn last_id(&self) -> Option<&str> {
        self.events.iter().rev().map(|event| event.id.as_str()).find(|id| !id.is_empty())
    }

    fn take_chunks(&mut self) {
        let mut used = 0;
        while !self.is_ended {
            let rest = &self.input[used..];
            let Some(line_end) = find(rest, b"\r\n") else { break };
            let size =
                std::str::from_utf8(&rest[..line_end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
            // What is no chunk yields nothing more, and the row finds that its events do not come.
            let Some(size) = size else { break };
            let Some(chunk) = rest.get(line_end + 2..line_end + 2 + size) else { break };
            if rest.len() < line_end + size + 4 {
                break;
            }
            self.text.extend_from_slice(chunk);
            self.is_ended = size == 0;
            used += line_end + size + 4;
        }
        self.input.drain(..used);
    }

    fn take_events(&mut self) {
        let mut used = 0;
        while let Some(len) = find(&self.text[used..], b"\n\n") {
            let block = String::from_utf8_lossy(&self.text[used..used + len]).into_owned();
            used += len + 2;
            self.take_block(&block);
        }
        self.text.drain(..used);
    }

    fn take_block(&mut self, block: &str) {
        let mut event = Event::default();
        let mut has_data = false;
        for (name, value) in block.lines().filter_map(|line| line.split_once(": ")) {
            match name {
                "" => self.heartbeats += 1,
                "event" => event.kind = value.to_owned(),
                "id" => event.id = value.to_owned(),
                "data" => (event.data, has_data) = (value.to_owned(), true),
                "retry" => self.retry = value.parse().ok().map(Duration::from_millis),
                _ => (),
            }
        }
        if has_data {
            self.events.push(event);
        }
    }
}

impl Head {
    fn parse(head: &str) -> Self {
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Self { status, fields: head.to_owned(), is_chunked: head.contains("\r\ntransfer-encoding: chunked") }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
        d\r\nretry: 2500\n\n\r\n8\r\n: ping\n\n\r\n13\r\nid: e-1\ndata: one\n\n\r\n\
        20\r\nevent: sse.gap\nid: e-7\ndata: {}\n\r\n1\r\n\n\r\n0\r\n\r\n";

    #[test]
    fn any_cut_gives_the_same() {
        for cut in 0..STREAM.len() {
            let mut answer = Answer::default();
            answer.push(&STREAM.as_bytes()[..cut]);
            answer.push(&STREAM.as_bytes()[cut..]);
            assert_eq!(answer.status(), Some(200));
            assert_eq!(answer.retry, Some(Duration::from_millis(2500)));
            assert_eq!(answer.data().collect::<Vec<_>>(), ["one"], "cut at {cut}");
            assert_eq!(answer.events[1].kind, "sse.gap");
            assert_eq!(answer.last_id(), Some("e-7"));
            assert!(answer.is_ended);
        }
    }

    #[test]
    fn fields_are_found_and_plain_bodies_read() {
        let mut answer = Answer::default();
        answer.push(b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nConnection: close\r\n\r\n{}");
        assert_eq!((answer.status(), answer.field("retry-after")), (Some(503), Some("7")));
        assert!(!answer.is_ended && answer.events.is_empty());
    }
}
