//! Events as several nodes pass them to each other, through the engine that orders them.
//!
//! An entry is one JSON object, so that an operator who looks into the engine can read it:
//! `{"v":1,"nonce":"..","topics":["news"],"data":"..","type":"..","id":"..","retry":3000,"comment":"..","private":true,"urn":true}`.
//! `end` in place of `data` closes a topic. `note` in place of both is something that hosts tell each other. Whatever is not of
//! this form is no event of anybody's.

mod form;

pub use form::encode_note;
pub(crate) use form::{EntryBounds, decode, encode_event};

use crate::{Publication, TopicName};

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
    /// An event that this hub cannot have: its topics [miss](crate::Intake::miss) it.
    Missed {
        /// Its topics.
        topics: Box<[TopicName]>,
        /// Why: it is larger than this hub's bounds, or of a later version.
        error: EntryError,
    },
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
    /// It has more topics than an event of this hub.
    #[error("{topics} topics are more than {topics_max}")]
    TooManyTopics {
        /// Its topics.
        topics: usize,
        /// What an event may have.
        topics_max: usize,
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
            Self::TooManyTopics { .. } => "too_many_topics",
            Self::Version { .. } => "version",
            Self::Malformed { .. } => "malformed",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sse_wire::{Event, EventId, EventType};

    use super::*;
    use crate::IdForm;
    use crate::ring::EntryKind;

    fn topic(name: &str) -> TopicName {
        TopicName::parse(name).unwrap()
    }

    fn read(entry: &[u8]) -> Result<SharedEntry, EntryError> {
        decode(entry, EntryBounds { bytes_max: 10_000, event_bytes_max: 1_000, topics_max: 3 })
    }

    fn event_of(entry: &[u8]) -> Publication {
        match read(entry).unwrap().content {
            SharedContent::Event(event) => event.0,
            content => panic!("{content:?}"),
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
        assert_eq!(word(r#"{"v":0,"nonce":"1","topics":["a"],"data":""}"#), "version");
        assert_eq!(word(&"x".repeat(10_001)), "too_large");
        for entry in [
            "",
            "null",
            "{}",
            r#"{"v":1}"#,
            r#"{"v":1,"nonce":"g","topics":["a"],"data":""}"#,
            r#"{"v":1,"nonce":"1","topics":[],"data":""}"#,
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

    #[test]
    fn an_event_that_cannot_be_had_is_missed_in_its_topics() {
        let missed = |entry: String| match read(entry.as_bytes()).unwrap() {
            SharedEntry { nonce: 0xfe, content: SharedContent::Missed { topics, error } } => {
                (topics.iter().map(|topic| topic.as_str().to_owned()).collect::<String>(), error.as_str())
            }
            other => panic!("{other:?}"),
        };
        let of = |topics: &str, data: usize| {
            format!(r#"{{"v":1,"nonce":"fe","topics":[{topics}],"data":"{}"}}"#, "x".repeat(data))
        };
        assert_eq!(missed(of(r#""a""#, 1_001)), ("a".to_owned(), "too_large"));
        assert_eq!(missed(of(r#""a","b""#, 10_001)), ("ab".to_owned(), "too_large"));
        assert_eq!(missed(of(r#""a","b","c","d""#, 1)), ("abcd".to_owned(), "too_many_topics"));
        assert_eq!(
            missed(r#"{"v":2,"nonce":"fe","topics":["a"],"delta":[1]}"#.to_owned()),
            ("a".to_owned(), "version")
        );
        let many = vec![r#""a""#; form::MISSED_TOPICS_MAX + 1].join(",");
        assert_eq!(read(of(&many, 1).as_bytes()).unwrap_err().as_str(), "too_large", "nobody's");
        assert_eq!(read(of(r#""a\n""#, 10_001).as_bytes()).unwrap_err().as_str(), "too_large", "no topic");
    }
}
