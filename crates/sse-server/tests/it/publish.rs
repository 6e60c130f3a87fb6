//! Publishing: what is taken, what is answered, and in which order it arrives.

use serde_json::json;

use crate::harness::{Server, ids};

#[test]
fn an_envelope_carries_every_field() {
    let server = Server::start(&["--retry-jitter", "0"]);
    let mut stream = server.subscribe("orders").open();
    stream.expect_opening(3000);
    let reply = server
        .post_json(r#"{"topic": "orders", "type": "created", "id": "o-1", "retry": 1500, "data": "one\ntwo"}"#)
        .send();
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.json(), json!({"id": "o-1", "durability": "memory"}));
    stream.expect_text("event: created\nretry: 1500\nid: o-1\ndata: one\ndata: two\n\n");
}

#[test]
fn data_is_a_string_or_any_json_sent_compact() {
    let server = Server::start(&[]);
    let mut stream = server.subscribe("a").open();
    for (data, expected) in [
        (r#""text é\n\u00e9""#, "text é\né"),
        (r#"{ "b" : [ 1, 2.50, "x  y" ] , "a":null }"#, r#"{"b":[1,2.50,"x  y"],"a":null}"#),
        ("[ ]", "[]"),
        ("null", "null"),
        ("true", "true"),
        ("12345678901234567890123456789.0", "12345678901234567890123456789.0"),
        (r#""""#, ""),
    ] {
        assert_eq!(server.post_json(format!(r#"{{"topic":"a","data":{data}}}"#)).send().status(), 200, "{data}");
        assert_eq!(stream.next_data(), expected);
    }
    server.post_json(r#"{"topic":"a"}"#).send();
    assert_eq!(stream.next_data(), "", "an envelope without data");
}

#[test]
fn a_batch_arrives_in_order_and_is_answered_in_order() {
    let server = Server::start(&[]);
    let mut stream = server.follow("/events?topic=a&topic=b").open();
    let array =
        server.post_json(r#"[{"topic":"a","data":1},{"topic":"b","id":"own","data":2},{"topic":"a","data":3}]"#);
    let lines = server
        .post_ndjson("{\"topic\":\"b\",\"data\":4}\n\n  {\"topic\":\"a\",\"data\":5}\r\n{\"topic\":\"b\",\"data\":6}");
    for (request, data) in [(array, ["1", "2", "3"]), (lines, ["4", "5", "6"])] {
        let reply = request.send();
        assert_eq!(reply.status(), 200, "{}", reply.text());
        assert!(reply.json().as_array().unwrap().iter().all(|answer| answer["durability"] == "memory"));
        let ids = ids(&reply);
        assert_eq!(ids.len(), 3);
        for (id, data) in ids.into_iter().zip(data) {
            let event = stream.next_event();
            assert_eq!((event.id, event.data.as_str()), (id, data));
        }
    }
    let one_line = server.post_ndjson(r#"{"topic":"a","data":7}"#).field("Accept", "*/*").send();
    assert_eq!(ids(&one_line).len(), 1, "lines are answered by a list, however many they are");
    assert_eq!(stream.next_data(), "7");
}

#[test]
fn the_media_type_may_have_parameters() {
    let server = Server::start(&[]);
    let body = "{\"topic\":\"a\"}\n{\"topic\":\"a\"}";
    let reply = server.post("/publish", body).field("Content-Type", "Application/X-NDJSON; charset=utf-8").send();
    assert_eq!(ids(&reply).len(), 2);
}

#[test]
fn a_batch_is_checked_whole_before_its_first_event() {
    let server = Server::start(&["--event-bytes-max", "1KiB"]);
    let large = "x".repeat(1025);
    for (last, status) in [
        (r#"{"topic":""}"#.to_owned(), 400),
        (r#"{"topic":"a","id":"earliest"}"#.to_owned(), 400),
        (r#"{"topic":"a","type":"sse.end"}"#.to_owned(), 400),
        (format!(r#"{{"topic":"a","data":"{large}"}}"#), 413),
        ("}".to_owned(), 400),
    ] {
        let good = r#"{"topic":"canary","data":"good"}"#;
        let array = server.post_json(format!("[{good},{good},{last}]")).send().problem(status);
        let lines = server.post_ndjson(format!("{good}\n{good}\n{last}\n")).send().problem(status);
        assert!(lines.detail.contains("line 3"), "{}", lines.detail);
        assert!(status == 400 && last == "}" || array.detail.contains("item 2"), "{}", array.detail);
        assert!(lines.document.get("published").is_none(), "{}", lines.document);
    }
    server.expect_untouched("canary");
}

#[test]
fn a_batch_that_fails_midway_tells_what_is_done() {
    let server = Server::start(&[]);
    let mut stream = server.subscribe("a").open();
    server.close("closed");
    let line = |topic: &str, data: &str| format!(r#"{{"topic":"{topic}","data":"{data}"}}"#);
    let lines = [line("a", "1"), line("a", "2"), line("closed", "3"), line("a", "4")].join("\n");
    let problem = server.post_ndjson(lines).send().problem(409);
    assert!(problem.detail.starts_with("line 3"), "{}", problem.detail);
    let published = [stream.next_event(), stream.next_event()];
    assert_eq!(problem.document["published"], json!([published[0].id, published[1].id]));
    server.publish("a", "5");
    assert_eq!(stream.next_data(), "5");
}

#[test]
fn publishers_at_once_agree_on_one_order() {
    let server = Server::start(&[]);
    let mut streams: Vec<_> = (0..4).map(|_| server.follow("/events?topic=a&topic=b").open()).collect();
    let publish_50 = |publisher: usize| {
        let topic = ["a", "b"][publisher % 2];
        (0..50).map(|n| (server.publish(topic, &format!("{publisher} {n}")), publisher)).collect::<Vec<_>>()
    };
    let mut acknowledged = std::thread::scope(|scope| {
        let publishers: Vec<_> = (0..6).map(|publisher| scope.spawn(move || publish_50(publisher))).collect();
        publishers.into_iter().flat_map(|publisher| publisher.join().unwrap()).collect::<Vec<_>>()
    });
    acknowledged.sort();
    for stream in &mut streams {
        let mut next = [0; 6];
        for (id, publisher) in &acknowledged {
            let event = stream.next_event();
            assert_eq!((&event.id, event.data), (id, format!("{publisher} {}", next[*publisher])));
            next[*publisher] += 1;
        }
    }
}

#[test]
fn a_refusal_has_a_word_that_programs_go_by() {
    let server = Server::start(&["--event-bytes-max", "1KiB"]);
    server.close("closed");
    let long = "x".repeat(1025);
    for (reply, status, reason) in [
        (server.post_json("{}").send(), 400, "malformed"),
        (server.post("/events/closed", "x").send(), 409, "closed"),
        (server.post("/events/a", long).send(), 413, "too_large"),
        (server.post("/elsewhere", "x").send(), 404, "not_found"),
        (server.post("/events/a", "x").field("Content-Encoding", "gzip").send(), 415, "content_encoding"),
        (server.post("/events/a", "x").field("Origin", "https://elsewhere.test").send(), 403, "origin"),
    ] {
        assert_eq!(reply.problem(status).document["reason"], reason);
    }
}

#[test]
fn what_is_published_is_counted() {
    let server = Server::start(&[]);
    server.publish_burst("a", 5);
    server.post_json("{}").send().problem(400);
    assert_eq!(server.metric("sse_events_published_total"), Some(5.0));
    assert_eq!(server.metric(r#"sse_publish_rejected_total{reason="malformed"}"#), Some(1.0));
    assert_eq!(server.metric("sse_publish_duration_seconds_count"), Some(1.0));
}
