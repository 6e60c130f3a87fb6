//! The form of an entry, and what is not of it.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use smallvec::SmallVec;
use sse_wire::{Event, EventId, EventType};

use super::{EntryError, SharedContent, SharedEntry, SharedEvent};
use crate::publish::{check_reserved, text_bytes};
use crate::ring::EntryKind;
use crate::{IdForm, Publication, PublishError, TopicName};

/// The version of the form.
const VERSION: u32 = 1;
/// Topics that one event may be missed in: with more the entry is nobody's.
pub(super) const MISSED_TOPICS_MAX: usize = 10_000;

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

/// What every version says of an event, whatever else it says.
#[derive(Deserialize)]
struct Outline<'a> {
    v: u32,
    #[serde(borrow, default)]
    nonce: Cow<'a, str>,
    #[serde(borrow, default)]
    topics: Vec<Cow<'a, str>>,
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

impl Publication {
    /// The event as JSON, for another process that publishes it in the place of this one. It is without its key.
    pub fn to_json(&self) -> Bytes {
        encode_event(self, 0)
    }

    /// The event that [`to_json`](Self::to_json) has made JSON of.
    ///
    /// # Errors
    /// An [`EntryError`].
    pub fn from_json(json: &[u8]) -> Result<Self, EntryError> {
        let bounds = EntryBounds { bytes_max: usize::MAX, event_bytes_max: usize::MAX, topics_max: usize::MAX };
        match read(json, bounds)?.content {
            SharedContent::Event(event) => Ok(event.0),
            SharedContent::Missed { error, .. } => Err(error),
            SharedContent::Note(_) => Err(wrong("it is a note")),
        }
    }
}

/// What an entry may have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EntryBounds {
    /// All of it.
    pub(crate) bytes_max: usize,
    /// Its event.
    pub(crate) event_bytes_max: usize,
    pub(crate) topics_max: usize,
}

/// Reads an entry. An event that is beyond the bounds, or of a later version, is one that its topics miss.
///
/// # Errors
/// An [`EntryError`] if it is nobody's event.
pub(crate) fn decode(entry: &[u8], bounds: EntryBounds) -> Result<SharedEntry, EntryError> {
    let EntryBounds { bytes_max, .. } = bounds;
    if entry.len() > bytes_max {
        return missed(entry, EntryError::TooLarge { bytes: entry.len(), bytes_max });
    }
    let error = match read(entry, bounds) {
        Ok(entry) => return Ok(entry),
        Err(error @ EntryError::Malformed { .. }) => match serde_json::from_slice(entry) {
            Ok(Outline { v, .. }) if v != VERSION => EntryError::Version { version: v },
            _ => return Err(error),
        },
        Err(error) => error,
    };
    match error {
        EntryError::Version { version: ..VERSION } => Err(error),
        _ => missed(entry, error),
    }
}

/// The topics of what cannot be had, for that reason.
fn missed(entry: &[u8], error: EntryError) -> Result<SharedEntry, EntryError> {
    let Ok(Outline { nonce, topics, .. }) = serde_json::from_slice(entry) else { return Err(error) };
    let (Ok(nonce), Ok(topics)) = (u64::from_str_radix(&nonce, 16), names(&topics)) else { return Err(error) };
    if topics.is_empty() || topics.len() > MISSED_TOPICS_MAX {
        return Err(error);
    }
    Ok(SharedEntry { nonce, content: SharedContent::Missed { topics: topics.into_vec().into(), error } })
}

fn read(entry: &[u8], bounds: EntryBounds) -> Result<SharedEntry, EntryError> {
    let form: Form<'_> = serde_json::from_slice(entry).map_err(|error| malformed(&error))?;
    if form.v != VERSION {
        return Err(EntryError::Version { version: form.v });
    }
    let nonce = u64::from_str_radix(&form.nonce, 16).map_err(|_| wrong("the nonce is no number"))?;
    let content = match form.note {
        Some(note) if form.topics.is_empty() && form.data.is_none() && !form.end => {
            SharedContent::Note(note.get().into())
        }
        Some(_) => return Err(wrong("it is a note and an event")),
        None => SharedContent::Event(event(&form, bounds)?),
    };
    Ok(SharedEntry { nonce, content })
}

fn event(form: &Form<'_>, bounds: EntryBounds) -> Result<SharedEvent, EntryError> {
    let EntryBounds { event_bytes_max, topics_max, .. } = bounds;
    let topics = names(&form.topics)?;
    let Some(first) = topics.first() else { return Err(wrong("it has no topic")) };
    let mut publication = match (&form.data, form.end) {
        (Some(data), false) => Publication::new(first.clone(), fields(form, Event::new(data.as_ref()))?),
        (None, true) if topics.len() == 1 => Publication::end_of(first.clone()),
        _ => return Err(wrong("it is neither an event nor the end of one topic")),
    };
    if publication.kind == EntryKind::Event {
        check_reserved(&publication.event).map_err(|error: PublishError| malformed(&error))?;
    }
    if topics.len() > topics_max {
        return Err(EntryError::TooManyTopics { topics: topics.len(), topics_max });
    }
    let bytes = text_bytes(&publication.event);
    if bytes > event_bytes_max {
        return Err(EntryError::TooLarge { bytes, bytes_max: event_bytes_max });
    }
    publication.topics = topics;
    publication.private = form.private;
    publication.id_form = if form.urn { IdForm::Urn } else { IdForm::Cursor };
    Ok(SharedEvent(publication))
}

fn names(topics: &[Cow<'_, str>]) -> Result<SmallVec<[TopicName; 1]>, EntryError> {
    topics.iter().map(|topic| TopicName::parse(topic)).collect::<Result<_, _>>().map_err(|error| malformed(&error))
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
