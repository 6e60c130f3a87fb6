//! A `Last-Event-ID` that no well-behaved client sends: neither a panic nor anybody else's data comes of it (FAILURES B5).

use crate::harness::{Connection, Server, Stream, StreamPath, on_all_paths};

on_all_paths![they_get_a_gap_or_a_refusal];

fn they_get_a_gap_or_a_refusal(path: StreamPath) {
    let server = path.start(&[]);
    server.publish("secret", "not for you");
    let ids = server.publish_all("news", ["a"]);
    for id in hostile_ids(&ids[0]) {
        let header = server.subscribe("news").last_event_id(id.trim());
        let query = server.follow(format!("/events/news?last_event_id={}", percent_encoded(&id)));
        let several = server.follow(format!("/events?topic=news&topic=x&last_event_id={}", percent_encoded(&id)));
        // A field's value cannot hold every id, and an empty one asks for nothing.
        if !id.contains(['\0', '\r', '\n', '\u{7f}']) && !id.trim().is_empty() {
            expect_gap_or_refusal(&server, header.start(), &id);
        }
        expect_gap_or_refusal(&server, query.start(), &id);
        expect_gap_or_refusal(&server, several.start(), &id);
    }
    for raw in ["%ff", "%00%ff", "%C3%28"] {
        assert_eq!(server.follow(format!("/events/news?last_event_id={raw}")).send().status(), 400);
    }
    let mut connection = server.connect();
    connection.send(b"GET /events/news HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: \xff\xfe\r\n\r\n");
    assert_eq!(connection.reply().problem(400).field.as_deref(), Some("Last-Event-ID"));
    let mut connection = server.connect();
    connection.send(b"GET /events/news HTTP/1.1\r\nHost: localhost\r\nLast-Event-ID: a\0b\r\n\r\n");
    assert_eq!(connection.reply().status(), 400);
}

fn expect_gap_or_refusal(server: &Server, mut connection: Connection, id: &str) {
    let shown: String = id.chars().take(60).collect();
    if id.len() > 1024 {
        assert_eq!(connection.reply().problem(400).field.as_deref(), Some("Last-Event-ID"), "{shown:?}");
        return;
    }
    let mut stream = Stream::begin(connection);
    let gap = stream.next_event();
    assert_eq!(gap.event_type, "sse.gap", "{shown:?}");
    assert_eq!(stream.next_data(), "a", "{shown:?}");
    drop(stream);
    assert!(server.topics() <= 3, "an id made a topic: {shown:?}");
}

/// Ids that name no event: wrong forms, wrong numbers, other people's tricks.
fn hostile_ids(good: &str) -> Vec<String> {
    let (epoch, sequence) = good.split_once('-').unwrap();
    let mut ids: Vec<String> = [
        "-1",
        "0",
        "null",
        "undefined",
        "NaN",
        "true",
        "*",
        "Earliest",
        "earliest;",
        "#",
        "../../etc/passwd",
        "%s%n",
        "{id}",
        "18446744073709551615",
        "18446744073709551616",
        "1e400",
        "0x1",
        "; DROP TABLE events",
        "<script>",
        "é",
        "\u{1f375}",
        "a\nb",
        "a\r\nid: x",
        "\0",
        "a\0b",
        "\u{7f}",
        "\u{feff}",
        "a b",
        "\t",
        "-",
    ]
    .map(str::to_owned)
    .to_vec();
    ids.extend([
        format!("{epoch}-"),
        format!("{epoch}-1"),
        format!("{epoch}--000000000000001"),
        format!("{epoch}-9999999999999999"),
        format!("{epoch}-18446744073709551616"),
        format!("{epoch}-{sequence}0"),
        format!("{epoch}_{sequence}"),
        format!("{}-{sequence}", epoch.to_uppercase().replace(char::is_numeric, "Z")),
        format!("zzzzzzzz-{sequence}"),
        format!("00000000-{sequence}"),
        format!("{epoch}-{sequence}\n"),
        "x".repeat(1024),
        "x".repeat(1025),
        "x".repeat(8192),
        "é".repeat(512),
        "é".repeat(513),
    ]);
    // Every byte of a good id, spoilt.
    ids.extend((0..good.len()).map(|at| format!("{}?{}", &good[..at], &good[at + 1..])));
    ids
}

fn percent_encoded(text: &str) -> String {
    let encoded = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encoded).collect()
}
