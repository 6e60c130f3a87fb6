//! Fuzz targets: bodies, paths and queries. Any bytes are an event or a refusal, and what is read is what others read in it.

use std::borrow::Cow;

use serde_json::Value;
use sse_hub::Publication;

use super::envelope::{Publications, parse_json, parse_lines};
use super::query::{Route, pairs};
use crate::pieces::text;

const JSON: &[&str] = &[
    r#"{"topic":"a","data":"x"}"#,
    r#"{"topic":"#,
    r#""topics":["a","b"]"#,
    r#""topic":"a""#,
    r#""data":"#,
    r#""type":"score""#,
    r#""id":"7""#,
    r#""retry":1000"#,
    r#""private":true"#,
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\u0000",
    "\\ud83d\\ude42",
    "\\n",
    "\n",
    "\r\n",
    "null",
    "1e400",
    "-0",
    "\u{feff}",
    "é",
    " ",
    "\t",
    r#""id":"a\nb""#,
    r#""type":"sse.gap""#,
];

/// The topics that the envelope names, read by somebody else.
fn named(envelope: &Value) -> Vec<&str> {
    let several = envelope["topics"].as_array().into_iter().flatten();
    envelope["topic"].as_str().into_iter().chain(several.filter_map(Value::as_str)).collect()
}

/// The publication has the envelope's topics, each once.
fn is_of(publication: &Publication, envelope: &Value) -> bool {
    let topics: Vec<&str> = publication.topics().iter().map(|topic| topic.as_str()).collect();
    let mut wanted = Vec::new();
    for topic in named(envelope) {
        if !wanted.contains(&topic) {
            wanted.push(topic);
        }
    }
    topics == wanted
}

#[test]
fn json_bodies() {
    bolero::check!().for_each(|input: &[u8]| {
        let body = text(JSON, input);
        let Ok(publications) = parse_json(&body) else { return };
        let envelopes: Value = serde_json::from_slice(&body).unwrap_or_else(|error| {
            // Numbers that no one can hold are passed on as they are.
            assert!(error.to_string().contains("number out of range"), "{error}");
            Value::Null
        });
        match (&publications, &envelopes) {
            (_, Value::Null) => (),
            (Publications::One(publication), envelope) => assert!(is_of(publication, envelope), "{publication:?}"),
            (Publications::Many(all), Value::Array(envelopes)) => {
                assert_eq!(all.len(), envelopes.len());
                assert!(all.iter().zip(envelopes).all(|(one, envelope)| is_of(one, envelope)), "{all:?}");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn ndjson_bodies() {
    bolero::check!().for_each(|input: &[u8]| {
        let body = text(JSON, input);
        let Ok(Publications::Lines(publications)) = parse_lines(&body) else { return };
        let lines: Vec<&str> = std::str::from_utf8(&body).unwrap().lines().collect();
        assert_eq!(publications.len(), lines.iter().filter(|line| !line.trim().is_empty()).count());
        for (line, publication) in &publications {
            if let Ok(envelope) = serde_json::from_str(lines[line - 1]) {
                assert!(is_of(publication, &envelope), "line {line}: {publication:?}");
            }
        }
    });
}

const TARGETS: &[&str] = &[
    "/events",
    "/events/",
    "/publish",
    "/.well-known/mercure",
    "/subscriptions",
    "/",
    "%2F",
    "%",
    "%e9",
    "%C3%A9",
    "%00",
    "+",
    "&",
    "=",
    "topic=",
    "é",
    "%25",
];

#[test]
fn paths_and_queries() {
    bolero::check!().for_each(|input: &[u8]| {
        let target = text(TARGETS, input);
        let Ok(target) = std::str::from_utf8(&target) else { return };
        if let Ok(Route::Topic(topic)) = Route::parse(target) {
            let encoded = target.strip_prefix("/events/").expect("only those name topics");
            assert_eq!(topic.as_str().as_bytes(), &*Cow::from(percent_encoding::percent_decode_str(encoded)));
        }
        if let Ok(found) = pairs(target) {
            let others: Vec<_> = url::form_urlencoded::parse(target.as_bytes()).collect();
            assert_eq!(found, others);
        } else {
            assert!(!is_text(target), "{target}: every value of it is text");
        }
    });
}

/// Whether all that is encoded in it is UTF-8.
fn is_text(query: &str) -> bool {
    query.split(['&', '=']).all(|part| percent_encoding::percent_decode_str(part).decode_utf8().is_ok())
}
