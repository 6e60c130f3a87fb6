//! Publish bodies of programs: JSON, arrays of it, and NDJSON.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use sse_hub::{Publication, TopicName};
use sse_wire::{Event, EventId, EventType};

use super::Problem;
use super::query::topic;

/// How deep a value may be nested: what most JSON parsers take.
const DEPTH_MAX: usize = 128;
/// Most events of one body.
const EVENTS_MAX: usize = 10_000;

/// One event as a program sends it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    topic: Option<Cow<'a, str>>,
    #[serde(borrow)]
    topics: Option<Vec<Cow<'a, str>>>,
    /// A `null` is data too.
    #[serde(borrow, default, deserialize_with = "present")]
    data: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    event_type: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    retry: Option<u64>,
    #[serde(default)]
    private: bool,
}

fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// What a `/publish` body holds.
#[derive(Debug)]
pub(crate) enum Publications {
    One(Publication),
    /// In order; the answer is a list.
    Many(Vec<Publication>),
    /// In order, each with the number of its line.
    Lines(Vec<(usize, Publication)>),
}

impl Publications {
    /// How many there are, at least one.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(publications) => publications.len(),
            Self::Lines(publications) => publications.len(),
        }
    }
}

/// Reads a JSON envelope or an array of them.
///
/// # Errors
/// 400 naming the field or the place.
pub(crate) fn parse_json(body: &[u8]) -> Result<Publications, Problem> {
    let text = as_text(body)?;
    if text.trim_start().starts_with('[') {
        let envelopes: Vec<&RawValue> = serde_json::from_str(text).map_err(malformed)?;
        check_count(envelopes.len())?;
        let item = |(index, envelope): (usize, &&RawValue)| {
            parse_one(envelope.get()).map_err(|problem| problem.at(format_args!("item {index}")))
        };
        return envelopes.iter().enumerate().map(item).collect::<Result<_, _>>().map(Publications::Many);
    }
    parse_one(text).map(Publications::One)
}

/// Reads one envelope per line; blank lines are passed over.
///
/// # Errors
/// 400 naming the line.
pub(crate) fn parse_lines(body: &[u8]) -> Result<Publications, Problem> {
    let lines = || as_text(body).map(|text| text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()));
    check_count(lines()?.count())?;
    let line = |(index, line): (usize, &str)| match parse_one(line) {
        Ok(publication) => Ok((index + 1, publication)),
        Err(problem) => Err(problem.at(format_args!("line {}", index + 1))),
    };
    lines()?.map(line).collect::<Result<_, _>>().map(Publications::Lines)
}

fn as_text(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body)
        .map_err(|error| Problem::bad("body", format!("not UTF-8 from byte {} on", error.valid_up_to())))
}

fn check_count(events: usize) -> Result<(), Problem> {
    match events {
        0 => Err(Problem::bad("body", "there is no event in it")),
        1..=EVENTS_MAX => Ok(()),
        _ => Err(Problem::bad("body", format!("{events} events are more than {EVENTS_MAX}"))),
    }
}

fn malformed(error: serde_json::Error) -> Problem {
    Problem::bad("body", error.to_string())
}

fn parse_one(text: &str) -> Result<Publication, Problem> {
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(malformed)?;
    let topics = topics(&envelope)?;
    let event = event(
        envelope.data.map(data).transpose()?.unwrap_or_default(),
        envelope.event_type.as_deref(),
        envelope.id.as_deref(),
        envelope.retry,
    )?;
    let mut publication = publication(topics, event)?;
    if envelope.private {
        publication = publication.private();
    }
    Ok(publication)
}

fn topics(envelope: &Envelope<'_>) -> Result<Vec<TopicName>, Problem> {
    match (&envelope.topic, &envelope.topics) {
        (Some(one), None) => Ok(vec![topic(one)?]),
        (None, Some(several)) if !several.is_empty() => several.iter().map(|text| topic(text)).collect(),
        (Some(_), Some(_)) => Err(Problem::bad("topic", "name either topic or topics")),
        (None, _) => Err(Problem::bad("topic", "no topic is named")),
    }
}

fn publication(topics: Vec<TopicName>, event: Event) -> Result<Publication, Problem> {
    let mut topics = topics.into_iter();
    let first = topics.next().ok_or_else(|| Problem::bad("topic", "no topic is named"))?;
    Ok(topics.fold(Publication::new(first, event), Publication::also_to))
}

/// The data's text: a JSON string's own, any other value's compact form.
fn data(value: &RawValue) -> Result<String, Problem> {
    let text = value.get();
    if text.starts_with('"') {
        return serde_json::from_str(text).map_err(malformed);
    }
    compact(text).ok_or_else(|| Problem::bad("data", format!("nested more than {DEPTH_MAX} deep")))
}

/// Valid JSON without the space between its tokens; numbers stay as they were written. `None` if it is nested too deep for
/// the parsers of those who get it.
fn compact(json: &str) -> Option<String> {
    let mut compact = String::with_capacity(json.len());
    let (mut in_string, mut escaped, mut depth) = (false, false, 0_usize);
    for c in json.chars() {
        match c {
            _ if in_string => {
                in_string = escaped || c != '"';
                escaped = !escaped && c == '\\';
            }
            '"' => in_string = true,
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            c if c.is_ascii_whitespace() => continue,
            _ => (),
        }
        if depth > DEPTH_MAX {
            return None;
        }
        compact.push(c);
    }
    Some(compact)
}

/// An event from fields as they came. An empty type or id counts as none.
///
/// # Errors
/// 400 naming the field.
pub(crate) fn event(
    data: String,
    event_type: Option<&str>,
    id: Option<&str>,
    retry: Option<u64>,
) -> Result<Event, Problem> {
    with_fields(Event::new(data), event_type, id, retry)
}

pub(crate) fn with_fields(
    mut event: Event,
    event_type: Option<&str>,
    id: Option<&str>,
    retry: Option<u64>,
) -> Result<Event, Problem> {
    if let Some(text) = event_type.filter(|text| !text.is_empty()) {
        event = event.with_type(EventType::parse(text).map_err(|error| Problem::bad("type", error.to_string()))?);
    }
    if let Some(text) = id.filter(|text| !text.is_empty()) {
        event = event.with_id(EventId::parse(text).map_err(|error| Problem::bad("id", error.to_string()))?);
    }
    if let Some(millis) = retry {
        event = event.with_retry(Duration::from_millis(millis));
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(body: &str) -> Result<String, String> {
        match parse_json(body.as_bytes()) {
            Ok(Publications::One(publication)) => Ok(format!("{publication:?}")),
            Ok(other) => Err(format!("{other:?}")),
            Err(problem) => Err(format!("{problem:?}")),
        }
    }

    #[test]
    fn data_is_a_string_or_compact_json() {
        for (data, expected) in [
            (r#""a\nb""#, "a\nb"),
            (r#"{ "a" : [ 1.50, "x y" ] }"#, r#"{"a":[1.50,"x y"]}"#),
            (r#"{"a":"\" , \\" }"#, r#"{"a":"\" , \\"}"#),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("null", "null"),
        ] {
            let raw: &RawValue = serde_json::from_str(data).unwrap();
            assert_eq!(super::data(raw).unwrap(), expected);
        }
    }

    #[test]
    fn malformed_envelopes_are_refused() {
        for body in [
            "",
            "{}",
            "1",
            r#"{"topic":"a","topics":["b"]}"#,
            r#"{"topics":[]}"#,
            r#"{"topic":""}"#,
            r#"{"topic":"a","topic":"b"}"#,
            r#"{"topic":"a","data":"x","id":"a\nb"}"#,
            r#"{"topic":"a","data":"x","type":"a\rb"}"#,
            r#"{"topic":"a","data":"x","id":"a\u0000"}"#,
            r#"{"topic":"a","retry":-1}"#,
            r#"{"topic":"a","retry":"1"}"#,
            r#"{"topic":"a","dat":"x"}"#,
            r#"{"topic":"a","data":"\ud800"}"#,
            r#"{"topic":"a"} {"topic":"b"}"#,
        ] {
            assert!(one(body).is_err(), "{body}");
        }
        assert!(parse_json(b"\"\xff\"").is_err());
        let deep = format!(r#"{{"topic":"a","data":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(one(&deep).is_err());
    }

    #[test]
    fn batches_name_the_place_of_a_fault() {
        assert!(
            matches!(parse_json(br#"[{"topic":"a"},{"topic":"b"}]"#), Ok(Publications::Many(events)) if events.len() == 2)
        );
        let problem = parse_lines(b"{\"topic\":\"a\"}\n\n{\"topic\":\"\"}\n").unwrap_err();
        assert!(format!("{problem:?}").contains("line 3"), "{problem:?}");
        assert!(parse_lines(b"\n").is_err());
        assert!(parse_json(format!("[{}]", vec!["{}"; EVENTS_MAX + 1].join(",")).as_bytes()).is_err());
    }
}
