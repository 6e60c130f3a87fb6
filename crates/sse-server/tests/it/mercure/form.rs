//! Publishing: the form, its fields, its answers.

use super::{HUB, expect_security_fields, follow, pairs, post, publish};
use crate::harness::{Server, StreamPath, on_all_paths};

on_all_paths![every_field_arrives, an_event_without_an_id_gets_one, data_keeps_its_lines];

const BOOK: &str = "https://example.com/books/1";

fn every_field_arrives(path: StreamPath) {
    let server = path.start(&[]);
    let mut stream = follow(&server, &[BOOK]).open();
    stream.expect_text(":\n");
    let reply = post(
        &server,
        &[("topic", BOOK), ("data", "a + b & c"), ("id", "urn:x:1"), ("type", "price"), ("retry", "1500")],
    )
    .send();
    assert_eq!((reply.status(), reply.text().as_str()), (200, "urn:x:1"));
    assert_eq!(reply.field("content-type"), Some("text/plain"));
    expect_security_fields(&reply);
    stream.expect_text("event: price\nretry: 1500\nid: urn:x:1\ndata: a + b & c\n\n");
}

fn an_event_without_an_id_gets_one(path: StreamPath) {
    let server = path.start(&[]);
    let mut stream = follow(&server, &[BOOK]).open();
    let mut ids = Vec::new();
    for fields in
        [&[("topic", BOOK), ("data", "x")][..], &[("topic", BOOK), ("data", "x"), ("id", "")], &[("topic", BOOK)]]
    {
        let id = publish(&server, fields);
        // RFC 9562: a UUID of version 8.
        assert!(id.len() == 45 && id.starts_with("urn:uuid:") && &id[23..24] == "8", "{id}");
        let event = stream.next_event();
        assert_eq!(event.id, id);
        ids.push(id);
    }
    assert!(ids.is_sorted() && ids[0] != ids[1], "{ids:?}");
}

fn data_keeps_its_lines(path: StreamPath) {
    let server = path.start(&[]);
    let mut stream = follow(&server, &[BOOK]).open();
    stream.expect_text(":\n");
    for (data, lines) in [
        ("several\nlines\r\nof\rdata", "data: several\ndata: lines\ndata: of\ndata: data\n\n"),
        ("", "data: \n\n"),
        (" id: 7", "data:  id: 7\n\n"),
        ("\u{1F980}", "data: \u{1F980}\n\n"),
    ] {
        publish(&server, &[("topic", BOOK), ("id", "1"), ("data", data)]);
        stream.expect_text(&format!("id: 1\n{lines}"));
    }
    // A `retry` of 0 would have clients reconnect without a pause.
    publish(&server, &[("topic", BOOK), ("id", "1"), ("retry", "0"), ("type", "")]);
    stream.expect_text("id: 1\ndata: \n\n");
}

#[test]
fn a_malformed_form_is_refused() {
    let server = Server::start(&[]);
    for (field, fields) in [
        ("topic", &[("data", "x")][..]),
        ("topic", &[("topic", "")]),
        ("topic", &[("topic", "a\nb")]),
        ("retry", &[("topic", "canary"), ("retry", "soon")]),
        ("retry", &[("topic", "canary"), ("retry", "-1")]),
        ("retry", &[("topic", "canary"), ("retry", "+1")]),
        ("retry", &[("topic", "canary"), ("retry", "1.5")]),
        ("retry", &[("topic", "canary"), ("retry", "18446744073709551616")]),
        ("id", &[("topic", "canary"), ("id", "a\rb")]),
        ("id", &[("topic", "canary"), ("id", "a\nb")]),
        ("id", &[("topic", "canary"), ("id", "a\0b")]),
        ("id", &[("topic", "canary"), ("id", "#a")]),
        ("id", &[("topic", "canary"), ("id", "earliest")]),
        ("type", &[("topic", "canary"), ("type", "a\rb")]),
        ("type", &[("topic", "canary"), ("type", "a\nb")]),
        ("type", &[("topic", "canary"), ("type", "a\0b")]),
        ("type", &[("topic", "canary"), ("type", "sse.gap")]),
    ] {
        let reply = post(&server, fields).send();
        assert_eq!(reply.problem(400).field.as_deref(), Some(field), "{fields:?}");
        expect_security_fields(&reply);
    }
    for body in [
        "topic=canary&data=%",
        "topic=canary&data=%f",
        "topic=canary&data=%zz",
        "topic=canary&data=%ff",
        "topic=canary&%ff=1",
    ] {
        server.post(HUB, body).field("Content-Type", "application/x-www-form-urlencoded").send().problem(400);
    }
    server
        .post(HUB, b"topic=canary&data=\xff")
        .field("Content-Type", "application/x-www-form-urlencoded")
        .send()
        .problem(400);
    server.expect_untouched("canary");
}

#[test]
fn other_bodies_are_refused() {
    let server = Server::start(&[]);
    let form = pairs(&[("topic", "canary"), ("data", "x")]);
    server.post(HUB, &form).send().problem(400);
    for content_type in
        ["text/plain", "application/json", "multipart/form-data; boundary=x", "", "application/x-www-form-urlencodedx"]
    {
        server.post(HUB, &form).field("Content-Type", content_type).send().problem(400);
    }
    post(&server, &[("topic", "canary")]).field("Content-Encoding", "gzip").send().problem(415);
    server.expect_untouched("canary");
    for content_type in ["application/x-www-form-urlencoded; charset=UTF-8", "Application/X-WWW-Form-Urlencoded"] {
        assert_eq!(server.post(HUB, "topic=a").field("Content-Type", content_type).send().status(), 200);
    }
    assert_eq!(server.metric(r#"sse_publish_rejected_total{reason="malformed"}"#), Some(6.0));
}

#[test]
fn topics_and_bytes_are_bounded() {
    let server = Server::start(&["--event-bytes-max", "4KiB"]);
    let names: Vec<String> = (0..1001).map(|n| format!("t{n}")).collect();
    let fields: Vec<(&str, &str)> = names.iter().map(|name| ("topic", name.as_str())).collect();
    publish(&server, &fields[..1000]);
    post(&server, &fields).send().problem(400);
    // Escaped three to one it is larger than its bound, and is none the less within it.
    publish(&server, &[("topic", "a"), ("data", &"\u{e9}".repeat(2048))]);
    post(&server, &[("topic", "a"), ("data", &"x".repeat(4097))]).send().problem(413);
    let huge = "topic=a&data=".to_owned() + &"x".repeat(5 << 20);
    let mut connection = server.connect();
    connection.try_send(server.post(HUB, huge).field("Content-Type", "application/x-www-form-urlencoded").bytes());
    assert_eq!(connection.head().status, 413);
}

/// The hub's own topics tell who follows what: nobody may forge that, in whatever way it publishes.
#[test]
fn the_hubs_own_topics_are_reserved() {
    let server = Server::start(&[]);
    for topic in [
        "/.well-known/mercure",
        "/.well-known/mercure/subscriptions/a/b",
        "https://example.com/.well-known/mercure/subscriptions/a/b",
        "x/.well-known/mercure?y",
    ] {
        post(&server, &[("topic", "a"), ("topic", topic)]).send().problem(403);
        post(&server, &[("topic", topic), ("private", "on")]).send().problem(403);
        server.post(&format!("/events/{}", super::escape(topic)), "x").send().problem(403);
        server.post_json(format!(r#"{{"topics":["a","{topic}"]}}"#)).send().problem(403);
        server.post_ndjson(format!("{{\"topic\":\"b\"}}\n{{\"topic\":\"{topic}\"}}\n")).send().problem(403);
        server.request("DELETE", format!("/events/{}", super::escape(topic))).send().problem(403);
    }
    server.expect_untouched("a");
    server.expect_untouched("b");
}

/// FAILURES I5: with publishing open, no foreign page may use a visitor's browser to publish. A form needs no preflight.
#[test]
fn foreign_pages_cannot_publish() {
    let server = Server::start(&["--cors-origin", "*"]);
    for (name, value) in [("Origin", "https://evil.example"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site")] {
        post(&server, &[("topic", "canary")]).field(name, value).send().problem(403);
    }
    server.expect_untouched("canary");
}

#[test]
fn an_address_may_publish_so_much_in_a_second() {
    let server = Server::start(&["--publish-rate-max", "5"]);
    let refused = (0..50).map(|_| post(&server, &[("topic", "a")]).send()).find(|reply| reply.status() != 200);
    let refused = refused.expect("one is too many");
    refused.problem(429);
    assert_eq!(refused.field("retry-after"), Some("1"));
}
