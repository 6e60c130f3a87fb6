use super::*;

/// What a stream says, with nothing borrowed.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Event { event_type: String, data: String, id: String },
    Retry(u64),
    Comment(String),
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn parse_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Seen>, String) {
    let mut parser = Parser::new(1 << 20);
    let mut seen = Vec::new();
    for piece in pieces {
        parser
            .feed(piece, |parsed| {
                seen.push(match parsed {
                    Parsed::Event(event) => Seen::Event {
                        event_type: text(event.event_type),
                        data: text(event.data),
                        id: event.last_event_id.to_owned(),
                    },
                    Parsed::Retry(retry) => Seen::Retry(retry.as_millis() as u64),
                    Parsed::Comment(comment) => Seen::Comment(text(comment)),
                })
            })
            .unwrap();
    }
    (seen, parser.last_event_id().to_owned())
}

fn event(event_type: &str, data: &str, id: &str) -> Seen {
    Seen::Event { event_type: event_type.to_owned(), data: data.to_owned(), id: id.to_owned() }
}

/// Checks the whole, byte by byte, and at every single split.
fn check(input: &[u8], expected: &[Seen], last_event_id: &str) {
    let whole = parse_pieces([input]);
    assert_eq!((whole.0.as_slice(), whole.1.as_str()), (expected, last_event_id), "{}", text(input));
    assert_eq!(parse_pieces(input.chunks(1)), whole, "byte by byte: {}", text(input));
    for at in 0..=input.len() {
        assert_eq!(parse_pieces([&input[..at], &input[at..]]), whole, "split at {at}: {}", text(input));
    }
}

#[test]
fn follows_the_standards_examples() {
    check(b"data: YHOO\ndata: +2\ndata: 10\n\n", &[event("message", "YHOO\n+2\n10", "")], "");
    check(
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        &[
            Seen::Comment(" test stream".into()),
            event("message", "first event", "1"),
            event("message", "second event", ""),
            event("message", " third event", ""),
        ],
        "",
    );
    check(b"data\n\ndata\ndata\n\ndata:", &[event("message", "", ""), event("message", "\n", "")], "");
    check(b"data:test\n\ndata: test\n\n", &[event("message", "test", ""), event("message", "test", "")], "");
}

#[test]
fn every_line_ending_counts_once() {
    for ending in ["\n", "\r", "\r\n"] {
        let stream = "event: a|data: 1|data: 2||data: 3||".replace('|', ending);
        check(stream.as_bytes(), &[event("a", "1\n2", ""), event("message", "3", "")], "");
    }
    check(b"data: 1\r\n\n\r\rdata: 2\n\r", &[event("message", "1", ""), event("message", "2", "")], "");
}

#[test]
fn one_byte_order_mark_is_skipped() {
    check(b"\xef\xbb\xbfdata: 1\n\n", &[event("message", "1", "")], "");
    check(b"\xef\xbb\xbf\xef\xbb\xbfdata: 1\n\n", &[], "");
    check(b"\xef\xbbdata: 1\n\ndata: 2\n\n", &[event("message", "2", "")], "");
    check(b"data: \xef\xbb\xbf1\n\n", &[event("message", "\u{feff}1", "")], "");
}

#[test]
fn ids_persist_and_ignore_nul() {
    check(b"id: 1\ndata: a\n\ndata: b\n\n", &[event("message", "a", "1"), event("message", "b", "1")], "1");
    check(b"id: 1\n\nid: 2\0\ndata: a\n\n", &[event("message", "a", "1")], "1");
    check(b"id: 7\n\n", &[], "7");
}

#[test]
fn retry_takes_digits_only() {
    check(b"retry: 10\nretry: 1s\nretry:\nretry: -1\nretry:7\n", &[Seen::Retry(10), Seen::Retry(7)], "");
    check(b"retry: 99999999999999999999999\n", &[Seen::Retry(u64::MAX)], "");
}

#[test]
fn unknown_fields_and_events_without_data_are_dropped() {
    check(b"foo: 1\nevent: x\n\ndata: a\n\n", &[event("message", "a", "")], "");
    check(b"Data: a\n\n", &[], "");
    check(b":\n:c\n", &[Seen::Comment(String::new()), Seen::Comment("c".into())], "");
}

#[test]
fn an_unfinished_event_is_not_dispatched() {
    check(b"data: a\n", &[], "");
    check(b"data: a", &[], "");
}

#[test]
fn an_endless_line_or_event_is_an_error() {
    let endless_line = |piece: &[u8]| {
        let mut parser = Parser::new(100);
        (0..100).find_map(|_| parser.feed(piece, |_| ()).err())
    };
    for piece in [&b"xxxxxxxxxx"[..], b":xxxxxxxxx", b"data: x\n", b"data: x\r"] {
        assert_eq!(endless_line(piece), Some(ParseError::EventTooLarge { event_bytes_max: 100 }), "{}", text(piece));
    }
    assert_eq!(endless_line(b"data: x\n\n"), None);
    assert_eq!(endless_line(b": comment\n"), None);
}

#[test]
fn an_idle_parser_holds_little() {
    let mut parser = Parser::new(1 << 20);
    let big = format!("event: {}\ndata: {}\n\n", "t".repeat(5000), "x".repeat(50_000));
    for piece in big.as_bytes().chunks(1000) {
        parser.feed(piece, |_| ()).unwrap();
    }
    let held = parser.line.capacity() + parser.block.data.capacity() + parser.block.event_type.capacity();
    assert!(held <= 3 * KEPT_CAPACITY, "{held}");
}

#[test]
fn the_id_of_an_event_that_is_not_complete_does_not_count() {
    let last = |stream: &str| parse_pieces([stream.as_bytes()]).1;
    assert_eq!(last("id: 1\ndata: a\n\nid: 2\ndata: b\n"), "1");
    assert_eq!(last("id: 1\ndata: a\n\nid: 2\n"), "1");
    assert_eq!(last("id: 1\ndata: a\n\nid: 2\n\n"), "2", "an id alone counts");
    assert_eq!(last("id: 1\n\nid\n\n"), "");
}

#[test]
fn an_event_may_have_exactly_its_bound() {
    let mut parser = Parser::new(8);
    let mut events = 0;
    parser.feed(b"data: ab\n\n", |_| events += 1).unwrap();
    assert_eq!(events, 1);
    let too_large = ParseError::EventTooLarge { event_bytes_max: 8 };
    assert_eq!(parser.feed(b"data: abc\n\n", |_| events += 1), Err(too_large));
    assert_eq!(events, 1);
}
