//! Fuzz targets. `cargo test` runs each for a second on random input; `cargo xtask fuzz` runs them guided by coverage.

use bolero::{TypeGenerator, check};
use sse_wire::{Event, EventId, EventType, ParseError, Parsed, Parser};

/// What one parse of a stream saw.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    events: Vec<(String, String, String)>,
    retries: Vec<u64>,
    last_event_id: String,
    failed: bool,
}

/// Bytes that mean something to the parser, so that random input reaches more than comments.
const PIECES: &[&str] = &[
    "\n",
    "\r",
    "\r\n",
    ":",
    " ",
    "\0",
    "\u{feff}",
    "data",
    "data:",
    "data: ",
    "event: ",
    "id: ",
    "id",
    "retry: ",
    "17",
    "x",
    "é",
    "🙂",
    "\n\n",
    "message",
    "datas",
    "99999999999999999999",
];

/// Each byte picks a piece, or stands for itself.
fn text(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for &byte in bytes {
        match PIECES.get(usize::from(byte)) {
            Some(piece) => text.extend_from_slice(piece.as_bytes()),
            None => text.push(byte),
        }
    }
    text
}

fn parse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, event_bytes_max: usize) -> Seen {
    let mut parser = Parser::new(event_bytes_max);
    let mut seen = Seen::default();
    for piece in pieces {
        let fed = parser.feed(piece, |parsed| match parsed {
            Parsed::Event(event) => seen.events.push((
                String::from_utf8_lossy(event.event_type).into_owned(),
                String::from_utf8_lossy(event.data).into_owned(),
                event.last_event_id.to_owned(),
            )),
            Parsed::Retry(retry) => seen.retries.push(retry.as_millis().try_into().unwrap_or(u64::MAX)),
            Parsed::Comment(_) => (),
        });
        if let Err(error) = fed {
            assert_eq!(error, ParseError::EventTooLarge { event_bytes_max });
            seen.failed = true;
            break;
        }
    }
    seen.last_event_id = parser.last_event_id().to_owned();
    seen
}

/// The same from the whole stream at once, written down from WHATWG HTML, 9.2.6, and from nothing else.
fn model(stream: &[u8]) -> Seen {
    let stream = String::from_utf8_lossy(stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream)).into_owned();
    let stream = stream.replace("\r\n", "\n").replace('\r', "\n");
    let Some((complete, _)) = stream.rsplit_once('\n') else { return Seen::default() };
    let mut seen = Seen::default();
    let (mut event_type, mut data, mut id) = (String::new(), String::new(), String::new());
    for line in complete.split('\n') {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                seen.last_event_id.clone_from(&id);
                let (event_type, data) = (std::mem::take(&mut event_type), std::mem::take(&mut data));
                if let Some(data) = data.strip_suffix('\n') {
                    let event_type = if event_type.is_empty() { "message".to_owned() } else { event_type };
                    seen.events.push((event_type, data.to_owned(), id.clone()));
                }
            }
            "event" => value.clone_into(&mut event_type),
            "data" => data = data + value + "\n",
            "id" if !value.contains('\0') => value.clone_into(&mut id),
            "retry" if !value.is_empty() && value.bytes().all(|digit| digit.is_ascii_digit()) => {
                seen.retries.push(value.parse().unwrap_or(u64::MAX));
            }
            _ => (),
        }
    }
    seen
}

/// Cuts `stream` at each of `cuts`, taken as parts of its length.
fn split<'a>(stream: &'a [u8], cuts: &[u16]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> =
        cuts.iter().map(|&cut| usize::from(cut) * stream.len() / usize::from(u16::MAX)).collect();
    cuts.sort_unstable();
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let ends = cuts.iter().copied().chain([stream.len()]);
    starts.zip(ends).map(|(start, end)| &stream[start..end]).collect()
}

#[derive(Debug, Clone, TypeGenerator)]
struct Split {
    bytes: Vec<u8>,
    cuts: Vec<u16>,
    event_bytes_max: u8,
}

#[test]
fn parser_any_split() {
    check!().with_type::<Split>().for_each(|input| {
        let stream = text(&input.bytes);
        let whole = parse([&stream[..]], usize::MAX / 2);
        assert_eq!(whole, model(&stream), "the standard's own words");
        assert_eq!(parse(split(&stream, &input.cuts), usize::MAX / 2), whole, "in pieces");
        assert_eq!(parse(stream.chunks(1), usize::MAX / 2), whole, "byte by byte");

        let bound = usize::from(input.event_bytes_max);
        let bounded = parse([&stream[..]], bound);
        assert_eq!(parse(stream.chunks(1), bound), bounded, "byte by byte under a bound");
        assert!(whole.events.starts_with(&bounded.events), "a bound only ever cuts the end off");
        assert!(bounded.failed || bounded == whole);
    });
}

#[derive(Debug, Clone, TypeGenerator)]
struct Plan {
    data: Vec<u8>,
    id: Vec<u8>,
    event_type: Vec<u8>,
}

impl Plan {
    fn event(&self) -> Event {
        let mut event = Event::new(String::from_utf8_lossy(&text(&self.data)).into_owned());
        if let Ok(id) = EventId::parse(&String::from_utf8_lossy(&text(&self.id))) {
            event = event.with_id(id);
        }
        if let Ok(event_type) = EventType::parse(&String::from_utf8_lossy(&text(&self.event_type))) {
            event = event.with_type(event_type);
        }
        event
    }
}

#[test]
fn encode_parse() {
    check!().with_type::<(Vec<Plan>, Vec<u16>)>().for_each(|(plans, cuts)| {
        let events: Vec<Event> = plans.iter().map(Plan::event).collect();
        let mut expected = Seen::default();
        // What the server sends first; it also keeps a byte order mark from being the stream's.
        let mut stream = b"retry: 3000\n\n".to_vec();
        expected.retries.push(3000);
        for event in &events {
            let frame = event.encode();
            let head = format!("{:x}\r\n", frame.text_len());
            assert_eq!(&frame.chunk()[..], [head.as_bytes(), frame.text_bytes(), b"\r\n"].concat());
            stream.extend_from_slice(frame.text_bytes());
            if let Some(id) = event.id() {
                id.as_str().clone_into(&mut expected.last_event_id);
            }
            let event_type = event.event_type().map_or("message", EventType::as_str);
            let data = std::str::from_utf8(event.data()).expect("made from text");
            let data = data.replace("\r\n", "\n").replace('\r', "\n");
            expected.events.push((event_type.to_owned(), data, expected.last_event_id.clone()));
        }
        assert_eq!(parse(split(&stream, cuts), usize::MAX / 2), expected);
    });
}
