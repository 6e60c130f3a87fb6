//! Several nodes with one order of events between them: an engine takes what is published and numbers it, and each node
//! appends everything that the engine has, in its order.
//!
//! The hub's part is small. What is published leaves through [`Backplane::submit`]; what the engine has comes back through the
//! one [`Intake`], from this node and from all others alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::durable::{Answer, Submission};
use crate::epochs::Epochs;
use crate::hub::HubInner;
use crate::log::{History, Record};
use crate::shared_event::{self, EntryBounds, EntryError, SharedEntry, SharedEvent};
use crate::{Cursor, Hub, IdForm, IdempotencyKey, Publication, PublishError, Receipt, TopicName};

/// The way to the engine that orders and keeps the events of several nodes.
///
/// A hub that has one numbers nothing itself. What its host reads back from the engine it gives to the hub's [`Intake`]; what
/// the rings no longer hold, the hub's subscribers read as [`History`].
pub trait Backplane: History {
    /// Takes events on their way, to be appended to the engine's stream in this order and behind what was submitted before.
    /// Never waits: what becomes of each, its [`Promise`] is told.
    fn submit(&self, outgoing: Vec<Outgoing>);
}

/// An event on its way to the engine.
#[derive(Debug)]
pub struct Outgoing {
    /// The entry, as [`Intake::read`] reads it again.
    pub entry: Bytes,
    /// Comes back with the entry.
    pub nonce: u64,
    /// Its topic; `None` if it has several.
    pub topic: Option<TopicName>,
    /// Appended once, however often it is tried with this key.
    pub key: Option<IdempotencyKey>,
    /// Its publisher waits for this.
    pub promise: Promise,
}

/// A publisher that waits to hear what became of its event. Dropped, it hears that nobody knows.
#[derive(Debug)]
pub struct Promise {
    answer: Option<Arc<Answer>>,
    id_form: IdForm,
    given_id: Option<sse_wire::EventId>,
    /// When its publisher began, for a host that measures.
    pub began_at: Option<std::time::Instant>,
    /// Raised if it is not kept.
    broken: Option<Arc<AtomicBool>>,
}

impl Promise {
    /// Of something that nobody waits for.
    pub fn to_nobody() -> Self {
        Self { answer: None, id_form: IdForm::Cursor, given_id: None, began_at: None, broken: None }
    }

    /// Of something that is no publication, with what waits for it.
    pub fn pair() -> (Self, Submission) {
        let (mut promise, answer) = (Self::to_nobody(), Arc::new(Answer::default()));
        promise.answer = Some(answer.clone());
        (promise, Submission::waiting(answer))
    }

    /// The flag is raised if it is not kept, for somebody who looks now and then.
    #[must_use]
    pub fn or_raise(mut self, flag: Arc<AtomicBool>) -> Self {
        self.broken = Some(flag);
        self
    }

    /// The event has this place in the order.
    pub fn keep(mut self, cursor: Cursor) {
        let receipt = Receipt { cursor, given_id: self.given_id.take(), id_form: self.id_form };
        self.tell(Ok(receipt));
    }

    /// It was not published, or nobody knows.
    pub fn break_with(mut self, error: PublishError) {
        self.tell(Err(error));
    }

    fn tell(&mut self, outcome: Result<Receipt, PublishError>) {
        if let Some(flag) = self.broken.take()
            && outcome.is_err()
        {
            flag.store(true, Ordering::Relaxed);
        }
        if let Some(answer) = self.answer.take() {
            answer.give(outcome);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.tell(Err(PublishError::BackplaneDown));
    }
}

impl Outgoing {
    /// The event as an engine takes it, and where its publisher finds the answer.
    pub(crate) fn new(publication: &Publication, nonce: u64) -> (Self, Arc<Answer>) {
        let answer = Arc::new(Answer::default());
        let promise = Promise {
            answer: Some(answer.clone()),
            id_form: publication.id_form,
            given_id: publication.event.id().cloned(),
            began_at: publication.began_at,
            broken: None,
        };
        let topic = match publication.topics() {
            [only] => Some(only.clone()),
            _ => None,
        };
        let entry = shared_event::encode_event(publication, nonce);
        (Self { entry, nonce, topic, key: publication.key, promise }, answer)
    }
}

impl HubInner {
    /// Whether the topics take the event as far as this node knows: the engine's order may have it otherwise.
    pub(crate) fn check_open(&self, publication: &Publication) -> Result<(), PublishError> {
        let closed = publication.topics().iter().find(|topic| self.topics.is_closed(topic));
        closed.map_or(Ok(()), |topic| Err(PublishError::Closed { topic: topic.clone() }))
    }
}

/// Where a node's host gives the hub what the engine has. There is one, and only one thread at a time uses it.
#[derive(Debug)]
pub struct Intake {
    hub: Hub,
}

impl Intake {
    pub(crate) fn new(hub: Hub) -> Self {
        Self { hub }
    }

    /// Reads an entry of the engine.
    ///
    /// # Errors
    /// An [`EntryError`]: then the entry is nobody's event, and its place is [skipped](Self::skip_to).
    pub fn read(&self, entry: &[u8]) -> Result<SharedEntry, EntryError> {
        let config = &self.hub.inner.config;
        let bounds = EntryBounds {
            bytes_max: entry_bytes_max(config),
            event_bytes_max: config.event_bytes_max,
            topics_max: config.topics_per_event_max,
        };
        shared_event::decode(entry, bounds)
    }

    /// An entry as a record of history. `cursor` is its place.
    pub fn record(event: SharedEvent, cursor: Cursor) -> Record {
        let publication = event.0;
        let frame = publication.draft().finish(|room| {
            if !room.is_empty() {
                cursor.write_as(publication.id_form, room);
            }
        });
        let kind = publication.kind;
        Record {
            sequence: cursor.sequence,
            kind: kind.into(),
            topics: publication.topics().into(),
            frame,
            private: publication.private,
            given_id: publication.event.id().cloned(),
            key: None,
        }
    }

    /// Appends an event at its place, behind everything so far, and wakes its followers. A topic that was closed before it is open
    /// again: what its publisher did not know, all nodes have in one order.
    ///
    /// # Errors
    /// [`PublishError::Exhausted`] if the place is not behind everything so far. Then nobody gets it.
    pub fn append(&self, event: SharedEvent, sequence: u64) -> Result<(), PublishError> {
        let hub = self.hub_before(sequence)?;
        let publication = event.0;
        hub.append_shared(&publication, sequence);
        hub.count_published(&publication);
        Ok(())
    }

    /// Notes that these topics have an event at this place that this hub cannot have: whoever follows goes on with the history,
    /// which is to tell of it.
    ///
    /// # Errors
    /// As [`append`](Self::append).
    pub fn miss(&self, topics: &[TopicName], sequence: u64) -> Result<(), PublishError> {
        self.hub_before(sequence)?.miss_shared(topics, sequence);
        Ok(())
    }

    /// The hub, whose next sequence is this one.
    fn hub_before(&self, sequence: u64) -> Result<&HubInner, PublishError> {
        let hub = &*self.hub.inner;
        if sequence <= hub.order.newest() || sequence > Cursor::SEQUENCE_MAX {
            return Err(PublishError::Exhausted);
        }
        hub.order.skip_to(sequence - 1);
        Ok(hub)
    }

    /// Nobody gets anything at or below this place any more.
    pub fn skip_to(&self, sequence: u64) {
        self.hub.inner.order.skip_to(sequence.min(Cursor::SEQUENCE_MAX));
    }

    /// What is in the rings is no longer all that came up to `sequence`, and may not be what the engine has: they are emptied,
    /// and whoever follows goes on with the history, which tells what is missing. `epochs` are the engine's from now on.
    pub fn turn_to_history(&self, epochs: Epochs, sequence: u64) {
        let hub = &*self.hub.inner;
        hub.empty_rings(|| *hub.epochs.write() = epochs, sequence);
    }
}

/// What an entry may have beyond its event: names, quotes and what they escape.
fn entry_bytes_max(config: &crate::HubConfig) -> usize {
    config.event_bytes_max.saturating_mul(6).saturating_add(config.topics_per_event_max * 8 * 1024 + 1024)
}
