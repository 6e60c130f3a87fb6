//! Events as several nodes pass them to each other, through the engine that orders them.
//!
//! An entry is one JSON object, so that an operator who looks into the engine can read it:
//! `{"v":1,"nonce":"..","topics":["news"],"data":"..","type":"..","id":"..","retry":3000,"comment":"..","private":true,"urn":true}`.
//! `end` in place of `data` closes a topic. `note` in place of both is something that hosts tell each other. Whatever is not of
//! this form is no event of anybody's.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use smallvec::SmallVec;
use sse_wire::{Event, EventId, EventType};

use crate::publish::{check_reserved, text_bytes};
use crate::ring::EntryKind;
use crate::{IdForm, Publication, PublishError, TopicName};

/// The version of the form.
const VERSION: u32 = 1;

/// One entry that was read from the engine.
#[derive(Debug, Clone)]
pub struct SharedEntry {
    /// What tells it from every other entry, even one of the same content.
    pub nonce: u64,
    /// What it is.
    pub content: SharedContent,
}

/// What an entry is.
#[derive(Debug, Clone)]
pub enum SharedContent {
    /// An event, or the end of a topic.
    Event(SharedEvent),
    /// JSON that hosts tell each other.
    Note(Box<str>),
}

/// An event that another node, or this one, has published.
#[derive(Debug, Clone)]
pub struct SharedEvent(pub(crate) Publication);

impl From<Publication> for SharedEvent {
    fn from(publication: Publication) -> Self {
        Self(publication)
    }
}

impl SharedEvent {
    /// Its topics, the canonical one first.
    pub fn topics(&self) -> &[TopicName] {
        self.0.topics()
    }
}

/// What is wrong with an entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EntryError {
    /// It is larger than any entry of this hub.
    #[error("{bytes} bytes are more than {bytes_max}")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// What an entry may have.
        bytes_max: usize,
    },
    /// It is of a later version, or of none.
    #[error("version {version} is not known")]
    Version {
        /// The version.
        version: u32,
    },
    /// It is not JSON of the form.
    #[error("it is not of the form: {reason}")]
    Malformed {
        /// What was found.
        reason: String,
    },
}

impl EntryError {
    /// The word that metrics carry.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Version { .. } => "version",
            Self::Malformed { .. } => "malformed",
        }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form<'a> {
    v: u32,
    nonce: Cow<'a, str>,
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    topics: Vec<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    data: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "type", skip_serializing_if = "Option::is_none")]
    event_type: Option<Cow<'a, str>>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry: Option<u64>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    comment: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_not")]
    private: bool,
    #[serde(default, skip_serializing_if = "is_not")]
    urn: bool,
    #[serde(default, skip_serializing_if = "is_not")]
    end: bool,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    note: Option<&'a RawValue>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_not(flag: &bool) -> bool {
    !flag
}

/// The version alone: a later one may have any form.
fn version_of(entry: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    serde_json::from_slice(entry).ok().map(|Version { v }| v)
}

/// An event as an entry.
pub(crate) fn encode_event(publication: &Publication, nonce: u64) -> Bytes {
    let event = &publication.event;
    let is_event = publication.kind == EntryKind::Event;
    let data = is_event.then(|| String::from_utf8_lossy(event.data()));
    let retry = event.retry().map(|retry| u64::try_from(retry.as_millis()).unwrap_or(u64::MAX));
    encode(&Form {
        v: VERSION,
        nonce: format!("{nonce:016x}").into(),
        topics: publication.topics().iter().map(|topic| topic.as_str().into()).collect(),
        data,
        event_type: event.event_type().filter(|_| is_event).map(|event_type| event_type.as_str().into()),
        id: event.id().map(|id| id.as_str().into()),
        retry,
        comment: event.comment().map(Into::into),
        private: publication.private,
        urn: publication.id_form == IdForm::Urn,
        end: !is_event,
        note: None,
    })
}

/// A note as an entry; nothing if it is not JSON.
pub fn encode_note(note: &str, nonce: u64) -> Option<Bytes> {
    let note: &RawValue = serde_json::from_str(note).ok()?;
    Some(encode(&Form { v: VERSION, nonce: format!("{nonce:016x}").into(), note: Some(note), ..Form::default() }))
}

fn encode(form: &Form<'_>) -> Bytes {
    serde_json::to_vec(form).expect("a struct of strings and JSON has a JSON form").into()
}

/// Reads an entry of at most so many bytes, whose event has at most so many bytes and topics.
///
/// # Errors
/// An [`EntryError`].
pub(crate) fn decode(
    entry: &[u8],
    bytes_max: usize,
    event_bytes_max: usize,
    topics_max: usize,
) -> Result<SharedEntry, EntryError> {
    if entry.len() > bytes_max {
        return Err(EntryError::TooLarge { bytes: entry.len(), bytes_max });
    }
    let form: Form<'_> = serde_json::from_slice(entry).map_err(|error| match version_of(entry) {
        Some(version) if version != VERSION => EntryError::Version { version },
        _ => malformed(&error),
    })?;
    if form.v != VERSION {
        return Err(EntryError::Version { version: form.v });
    }
    let nonce = u64::from_str_radix(&form.nonce, 16).map_err(|_| wrong("the nonce is no number"))?;
    let content = match form.note {
        Some(note) if form.topics.is_empty() && form.data.is_none() && !form.end => {
            SharedContent::Note(note.get().into())
        }
        Some(_) => return Err(wrong("it is a note and an event")),
        None => SharedContent::Event(event(&form, event_bytes_max, topics_max)?),
    };
    Ok(SharedEntry { nonce, content })
}

fn event(form: &Form<'_>, event_bytes_max: usize, topics_max: usize) -> Result<SharedEvent, EntryError> {
    let topics: SmallVec<[TopicName; 1]> = form
        .topics
        .iter()
        .map(|topic| TopicName::parse(topic))
        .collect::<Result<_, _>>()
        .map_err(|error| malformed(&error))?;
    let Some(first) = topics.first() else { return Err(wrong("it has no topic")) };
    if topics.len() > topics_max {
        return Err(wrong("it has too many topics"));
    }
    let mut publication = match (&form.data, form.end) {
        (Some(data), false) => Publication::new(first.clone(), fields(form, Event::new(data.as_ref()))?),
        (None, true) if topics.len() == 1 => Publication::end_of(first.clone()),
        _ => return Err(wrong("it is neither an event nor the end of one topic")),
    };
    let bytes = text_bytes(&publication.event);
    if bytes > event_bytes_max {
        return Err(EntryError::TooLarge { bytes, bytes_max: event_bytes_max });
    }
    if publication.kind == EntryKind::Event {
        check_reserved(&publication.event).map_err(|error: PublishError| malformed(&error))?;
    }
    publication.topics = topics;
    publication.private = form.private;
    publication.id_form = if form.urn { IdForm::Urn } else { IdForm::Cursor };
    Ok(SharedEvent(publication))
}

fn fields(form: &Form<'_>, mut event: Event) -> Result<Event, EntryError> {
    if let Some(id) = &form.id {
        event = event.with_id(EventId::parse(id).map_err(|error| malformed(&error))?);
    }
    if let Some(event_type) = &form.event_type {
        event = event.with_type(EventType::parse(event_type).map_err(|error| malformed(&error))?);
    }
    if let Some(retry) = form.retry {
        event = event.with_retry(Duration::from_millis(retry));
    }
    if let Some(comment) = &form.comment {
        event = event.with_comment(comment).map_err(|error| malformed(&error))?;
    }
    Ok(event)
}

fn malformed(error: &impl ToString) -> EntryError {
    EntryError::Malformed { reason: error.to_string() }
}

fn wrong(reason: &str) -> EntryError {
    EntryError::Malformed { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        TopicName::parse(name).unwrap()
    }

    fn read(entry: &[u8]) -> Result<SharedEntry, EntryError> {
        decode(entry, 10_000, 1_000, 3)
    }

    fn event_of(entry: &[u8]) -> Publication {
        match read(entry).unwrap().content {
            SharedContent::Event(event) => event.0,
            SharedContent::Note(note) => panic!("{note}"),
        }
    }

    #[test]
    fn an_event_comes_back_as_it_was() {
        let event = Event::new("a\r\nb\u{0}é\"\\")
            .with_id(EventId::parse("mine").unwrap())
            .with_type(EventType::parse("tick").unwrap())
            .with_retry(Duration::from_millis(7))
            .with_comment("by the way")
            .unwrap();
        let sent = Publication::new(topic("a"), event).also_to(topic("b c")).private().with_id_form(IdForm::Urn);
        let entry = encode_event(&sent, 0xfe);
        assert_eq!(read(&entry).unwrap().nonce, 0xfe);
        let got = event_of(&entry);
        assert_eq!((&got.topics, &got.event), (&sent.topics, &sent.event));
        assert!(got.private && got.id_form == IdForm::Urn && got.kind == EntryKind::Event);
        let end = event_of(&encode_event(&Publication::end_of(topic("a")), 1));
        assert_eq!((end.kind, end.event), (EntryKind::End, Publication::end_of(topic("a")).event));
    }

    #[test]
    fn notes_are_passed_on() {
        let entry = encode_note(r#"{"hello": [1, "two"]}"#, 5).unwrap();
        assert!(
            matches!(read(&entry).unwrap().content, SharedContent::Note(note) if &*note == r#"{"hello": [1, "two"]}"#)
        );
        assert_eq!(encode_note("no json", 5), None);
    }

    #[test]
    fn what_is_no_entry_is_told_apart() {
        let word = |entry: &str| read(entry.as_bytes()).unwrap_err().as_str();
        assert_eq!(word(r#"{"v":2,"whatever":[]}"#), "version");
        assert_eq!(
            word(&format!(r#"{{"v":1,"nonce":"1","topics":["a"],"data":"{}"}}"#, "x".repeat(1_001))),
            "too_large"
        );
        assert_eq!(word(&"x".repeat(10_001)), "too_large");
        for entry in [
            "",
            "null",
            "{}",
            r#"{"v":1}"#,
            r#"{"v":1,"nonce":"g","topics":["a"],"data":""}"#,
            r#"{"v":1,"nonce":"1","topics":[],"data":""}"#,
            r#"{"v":1,"nonce":"1","topics":["a","b","c","d"],"data":""}"#,
            r#"{"v":1,"nonce":"1","topics":["a"]}"#,
            r#"{"v":1,"nonce":"1","topics":["a","b"],"end":true}"#,
            r#"{"v":1,"nonce":"1","topics":["a"],"data":"","end":true}"#,
            r#"{"v":1,"nonce":"1","topics":["a"],"data":"","note":1}"#,
            r#"{"v":1,"nonce":"1","topics":["a"],"data":"","more":1}"#,
            r#"{"v":1,"nonce":"1","topics":["a\n"],"data":"","id":"a\nb"}"#,
            r#"{"v":1,"nonce":"1","topics":["a"],"data":"","id":"a\nb"}"#,
            r#"{"v":1,"nonce":"1","topics":["a"],"data":"","id":"earliest"}"#,
            r#"{"v":1,"nonce":"1","topics":["a"],"data":"","type":"sse.gap"}"#,
            r#"{"v":1,"nonce":"1","topics":["a"],"data":"","type":"a\rb"}"#,
            r#"{"v":1,"nonce":"1","topics":["a"],"data":"","comment":"a\u0000b"}"#,
        ] {
            assert_eq!(word(entry), "malformed", "{entry}");
        }
        assert_eq!(
            read(b"{\"v\":1,\"nonce\":\"1\",\"topics\":[\"a\"],\"data\":\"\xff\"}").unwrap_err().as_str(),
            "malformed"
        );
    }
}
