//! What must hold for every event and every split of the bytes.

use std::time::Duration;

use proptest::prelude::*;
use sse_wire::{Event, EventId, EventType, Parsed, Parser};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    event_type: String,
    data: String,
    last_event_id: String,
}

fn parse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Seen>, Vec<Duration>) {
    let mut parser = Parser::new(1 << 20);
    let (mut events, mut retries) = (Vec::new(), Vec::new());
    for piece in pieces {
        let fed = parser.feed(piece, |parsed| match parsed {
            Parsed::Event(event) => events.push(Seen {
                event_type: String::from_utf8_lossy(event.event_type).into_owned(),
                data: String::from_utf8_lossy(event.data).into_owned(),
                last_event_id: event.last_event_id.to_owned(),
            }),
            Parsed::Retry(retry) => retries.push(retry),
            Parsed::Comment(_) => (),
        });
        fed.expect("no event here comes near the bound");
    }
    (events, retries)
}

/// Text in which line breaks, colons, spaces, NUL and the byte order mark are common.
fn awkward_text() -> impl Strategy<Value = String> {
    let awkward =
        prop::sample::select(vec!["\n", "\r", "\r\n", ":", " ", "\0", "\u{feff}", "data: ", "id: 1\n\n", "é", "🙂"]);
    let piece = prop_oneof![3 => awkward.prop_map(str::to_owned), 2 => "[a-z]{0,6}", 1 => ".{0,3}"];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn one_line() -> impl Strategy<Value = String> {
    awkward_text()
        .prop_map(|text| text.replace(['\n', '\r', '\0'], ""))
        .prop_filter("not empty", |text| !text.is_empty())
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event =
        (awkward_text(), prop::option::of(one_line()), prop::option::of(one_line()), prop::option::of(0_u64..1 << 40));
    let event = event.prop_map(|(data, id, event_type, retry)| {
        let mut event = Event::new(data);
        if let Some(id) = id {
            event = event.with_id(EventId::parse(&id).expect("one line"));
        }
        if let Some(event_type) = event_type {
            event = event.with_type(EventType::parse(&event_type).expect("one line"));
        }
        if let Some(retry) = retry {
            event = event.with_retry(Duration::from_millis(retry));
        }
        event
    });
    prop::collection::vec(event, 0..6)
}

/// What a browser makes of `events`, from the standard's text alone.
fn expected(events: &[Event]) -> (Vec<Seen>, Vec<Duration>) {
    let mut last_event_id = String::new();
    let mut seen = Vec::new();
    for event in events {
        if let Some(id) = event.id() {
            last_event_id = id.as_str().to_owned();
        }
        let data = String::from_utf8(event.data().to_vec()).expect("text");
        seen.push(Seen {
            event_type: event.event_type().map_or("message", EventType::as_str).to_owned(),
            data: data.replace("\r\n", "\n").replace('\r', "\n"),
            last_event_id: last_event_id.clone(),
        });
    }
    (seen, events.iter().filter_map(Event::retry).collect())
}

fn split_at<'a>(bytes: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    cuts.sort_unstable();
    let mut pieces = Vec::new();
    let mut start = 0;
    for cut in cuts {
        pieces.push(&bytes[start..cut]);
        start = cut;
    }
    pieces.push(&bytes[start..]);
    pieces
}

proptest! {
    #[test]
    fn encode_then_parse_is_identity(events in events(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let bytes: Vec<u8> = events.iter().flat_map(|event| event.encode().text_bytes().to_vec()).collect();
        // A stream's very first bytes may not be a byte order mark; the server's are always the `retry:` line.
        let bytes = [b":\n", &bytes[..]].concat();
        prop_assert_eq!(parse(split_at(&bytes, &cuts)), expected(&events));
    }

    #[test]
    fn any_split_parses_the_same(text in awkward_text(), noise in prop::collection::vec(any::<u8>(), 0..40), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let bytes = [text.as_bytes(), &noise, b"\n\n"].concat();
        prop_assert_eq!(parse(split_at(&bytes, &cuts)), parse([&bytes[..]]));
    }

    #[test]
    fn the_chunk_is_the_text_framed(event in events()) {
        for event in event {
            let frame = event.encode();
            let framed = [format!("{:x}\r\n", frame.text_len()).as_bytes(), frame.text_bytes(), b"\r\n"].concat();
            prop_assert_eq!(&frame.chunk()[..], &framed[..]);
        }
    }
}
