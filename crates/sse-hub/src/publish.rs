//! What is published, what comes back, and what can be wrong with it.

use std::time::Instant;

use smallvec::{SmallVec, smallvec};
use sse_wire::{Event, EventId, FrameDraft};

use crate::gap::end_event;
use crate::ring::EntryKind;
use crate::{Cursor, IdForm, IdempotencyKey, TopicName};

/// An event with the topics it goes to.
#[derive(Debug, Clone)]
pub struct Publication {
    pub(crate) topics: SmallVec<[TopicName; 1]>,
    pub(crate) event: Event,
    pub(crate) private: bool,
    pub(crate) id_form: IdForm,
    pub(crate) kind: EntryKind,
    /// A log, if there is one, keeps it.
    pub(crate) is_logged: bool,
    pub(crate) began_at: Option<Instant>,
    pub(crate) key: Option<IdempotencyKey>,
}

impl Publication {
    /// `event` to `topic`, for everybody.
    pub fn new(topic: TopicName, event: Event) -> Self {
        Self {
            topics: smallvec![topic],
            event,
            private: false,
            id_form: IdForm::Cursor,
            kind: EntryKind::Event,
            is_logged: true,
            began_at: None,
            key: None,
        }
    }

    /// The end of `topic`, which closes it: its followers get what is left, then `sse.end`, and their streams end.
    pub fn end_of(topic: TopicName) -> Self {
        let event = end_event(topic.as_str());
        Self { kind: EntryKind::End, ..Self::new(topic, event) }
    }

    /// Also to `topic`: one event, which a subscriber of several of its topics gets once. Naming a topic again changes
    /// nothing, but counts towards `HubConfig::topics_per_event_max`.
    #[must_use]
    pub fn also_to(mut self, topic: TopicName) -> Self {
        self.topics.push(topic);
        self
    }

    /// Only to those with a grant for one of the topics.
    #[must_use]
    pub fn private(mut self) -> Self {
        self.private = true;
        self
    }

    /// Unless the event has an id of its own, it gets one of this form.
    #[must_use]
    pub fn with_id_form(mut self, id_form: IdForm) -> Self {
        self.id_form = id_form;
        self
    }

    /// Kept in memory only, even by a hub with a log: for what matters just now and never later.
    #[must_use]
    pub fn unlogged(mut self) -> Self {
        self.is_logged = false;
        self
    }

    /// When its publisher began, for a host that measures: a [`Committer`](crate::Committer) says it at the delivery.
    #[must_use]
    pub fn began_at(mut self, began_at: Instant) -> Self {
        self.began_at = Some(began_at);
        self
    }

    /// Published once, however often it is tried with this key within `HubConfig::idempotency_window`: a retry gets the first
    /// receipt.
    #[must_use]
    pub fn with_key(mut self, key: IdempotencyKey) -> Self {
        self.key = Some(key);
        self
    }

    /// The same, once it is encoded: of the event only its id matters then.
    pub(crate) fn without_data(mut self) -> Self {
        let id = self.event.id().cloned();
        self.event = id.into_iter().fold(Event::new(""), Event::with_id);
        self
    }

    /// Encodes it, but for its number.
    pub(crate) fn draft(&self) -> FrameDraft {
        FrameDraft::new(&self.event, self.id_form.len())
    }

    /// The key that it was given.
    pub fn key(&self) -> Option<IdempotencyKey> {
        self.key
    }

    /// The topics, the canonical one first.
    pub fn topics(&self) -> &[TopicName] {
        &self.topics
    }
}

/// The hub has taken an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The event's place in the order of all events.
    pub cursor: Cursor,
    /// The publisher's id, if it gave one: then that is the event's `id:`.
    pub given_id: Option<EventId>,
    /// The form of its id otherwise.
    pub id_form: IdForm,
}

impl Receipt {
    /// The event's `id:`.
    pub fn id(&self) -> String {
        self.given_id.as_ref().map_or_else(|| self.cursor.text(self.id_form), |id| id.as_str().to_owned())
    }
}

/// Why an event was not taken. Nothing was published.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The topic was closed: no event follows its end.
    #[error("the topic {topic:?} is closed")]
    Closed {
        /// The first closed one of the event's topics.
        topic: TopicName,
    },
    /// The event is larger than one may be.
    #[error("the event has {bytes} bytes, more than {bytes_max}")]
    TooLarge {
        /// The bytes of its data, id, type and comment.
        bytes: usize,
        /// `HubConfig::event_bytes_max`.
        bytes_max: usize,
    },
    /// The event names too many topics.
    #[error("the event has {topics} topics, more than {topics_max}")]
    TooManyTopics {
        /// How many.
        topics: usize,
        /// `HubConfig::topics_per_event_max`.
        topics_max: usize,
    },
    /// The id could be taken for a cursor, or for a word with a meaning of its own.
    #[error("the id {id:?} is reserved: it begins with #, is `earliest`, or has the form of the server's own ids")]
    ReservedId {
        /// The id.
        id: String,
    },
    /// Types that begin with `sse.` are the server's own.
    #[error("the type {event_type:?} is reserved: `sse.` begins the server's own types")]
    ReservedType {
        /// The type.
        event_type: String,
    },
    /// The hub has as many topics as it may have, and this would be a new one.
    #[error("there are {topics_max} topics already")]
    TopicsFull {
        /// `HubConfig::topics_max`.
        topics_max: usize,
    },
    /// All rings together hold as much as they may, and this topic's own ring has nothing to give up.
    #[error("the history in memory is full: {bytes_max} bytes")]
    RingsFull {
        /// `HubConfig::rings_bytes_max`.
        bytes_max: usize,
    },
    /// More events wait for the log than may.
    #[error("{bytes_max} bytes of events wait for the log already")]
    LogBusy {
        /// `HubConfig::log_queue_bytes_max`.
        bytes_max: usize,
    },
    /// The log's disk is full. A later publish may succeed.
    #[error("the disk of the log is full")]
    LogFull,
    /// The log failed. No publish will succeed until the next start.
    #[error("the log failed")]
    LogFailed,
    /// The engine that several nodes share is away, or did not say in time what became of the event: nobody knows whether it will
    /// be published after all. A retry with an idempotency key is safe.
    #[error("the backplane is unavailable")]
    BackplaneDown,
    /// More events wait for the engine than may.
    #[error("{bytes_max} bytes of events wait for the backplane already")]
    BackplaneBusy {
        /// The bound.
        bytes_max: usize,
    },
    /// The key came with something else before.
    #[error("the idempotency key was used for something else")]
    KeyReused,
    /// An event before it in its batch was refused.
    #[error("an event before it in its batch was refused")]
    Skipped,
    /// The host is stopping.
    #[error("the log takes no more")]
    LogStopped,
    /// The host goes on in another process, which did not say what became of the event.
    #[error("the server goes on in another process")]
    Elsewhere,
    /// The epoch has no sequences left.
    #[error("the epoch has no sequences left")]
    Exhausted,
}

impl PublishError {
    /// The word that metrics carry.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Closed { .. } => "closed",
            Self::TooLarge { .. } => "too_large",
            Self::TooManyTopics { .. } => "too_many_topics",
            Self::ReservedId { .. } => "reserved_id",
            Self::ReservedType { .. } => "reserved_type",
            Self::TopicsFull { .. } => "topics_full",
            Self::RingsFull { .. } => "rings_full",
            Self::LogBusy { .. } => "log_busy",
            Self::LogFull => "log_full",
            Self::LogFailed => "log_failed",
            Self::BackplaneDown => "backplane_down",
            Self::BackplaneBusy { .. } => "backplane_busy",
            Self::KeyReused => "idempotency_key",
            Self::Skipped => "skipped",
            Self::LogStopped => "log_stopped",
            Self::Elsewhere => "elsewhere",
            Self::Exhausted => "exhausted",
        }
    }
}

/// The bytes that a publisher has a say in.
pub(crate) fn text_bytes(event: &Event) -> usize {
    event.data().len()
        + event.id().map_or(0, |id| id.as_str().len())
        + event.event_type().map_or(0, |event_type| event_type.as_str().len())
        + event.comment().map_or(0, str::len)
}

/// The rules of ids and types that publishers may not use.
pub(crate) fn check_reserved(event: &Event) -> Result<(), PublishError> {
    let is_reserved = |id: &&str| id.starts_with('#') || *id == "earliest" || Cursor::parse(id).is_some();
    if let Some(id) = event.id().map(EventId::as_str).filter(is_reserved) {
        return Err(PublishError::ReservedId { id: id.to_owned() });
    }
    match event.event_type().map(|event_type| event_type.as_str()) {
        Some(event_type) if event_type.starts_with("sse.") => {
            Err(PublishError::ReservedType { event_type: event_type.to_owned() })
        }
        _ => Ok(()),
    }
}
