//! NATS 2.9 and later, with JetStream: entries are a stream's messages, with its numbers.

mod link;
mod page;
mod setup;
mod subject;
mod tail;

use std::fmt::Display;
use std::sync::Arc;

use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;
use sse_hub::IdempotencyKey;

use self::link::Link;
use self::subject::Subjects;
use self::tail::Follower;
use super::engine::{
    ANSWER_BYTES_MAX, Answer, Appended, Appending, Engine, EngineError, EngineSettings, Extent, Found, Opened,
    Outgoing, Range, Revision, Tail, each_in_time, in_time,
};
use super::slot::{Fate, Fault, Slot};

/// In the head of a message with a key, beside NATS' own for the key: what was published with it.
const FINGERPRINT: &str = "Sse-Fingerprint";
/// Bytes that are left for a message's head.
const HEAD_BYTES: usize = 1024;

/// Bytes of the largest entry: one that an answer to a reader has room for, subject and headers included.
fn entry_bytes_max(payload_max: usize) -> usize {
    payload_max.min(ANSWER_BYTES_MAX / 2).saturating_sub(HEAD_BYTES)
}
/// Messages whose acknowledgements are waited for together.
const UNACKED_MAX: usize = 1024;

/// An engine that is a NATS server or a cluster of them.
#[derive(Debug)]
pub(crate) struct Nats {
    store: Arc<Store>,
    /// What is appended, and small questions.
    writes: Slot<Link>,
    /// What has large answers, which would keep publishers waiting.
    reads: Slot<Link>,
}

/// What all connections know.
#[derive(Debug)]
struct Store {
    settings: EngineSettings,
    subjects: Subjects,
    /// The stream that has the document.
    documents: String,
}

/// An entry on its way.
enum Sent<'a> {
    Failed(Fault),
    Waiting(PublishAckFuture, &'a Outgoing),
}

impl Nats {
    pub(crate) fn new(settings: EngineSettings) -> Self {
        let subjects = Subjects::new(&settings.name);
        let documents = format!("{}-epochs", settings.name);
        let store = Arc::new(Store { settings, subjects, documents });
        Self { store, writes: Slot::default(), reads: Slot::default() }
    }

    async fn connect(&self, slot: &Slot<Link>) -> Result<Arc<Link>, EngineError> {
        Ok(slot.put(Link::open(&self.store.settings.address).await?))
    }

    /// The connection there is, or a new one.
    async fn link(&self, slot: &Slot<Link>) -> Result<Arc<Link>, EngineError> {
        match slot.kept() {
            Some(link) => Ok(link),
            None => self.connect(slot).await,
        }
    }

    /// Asks what may be asked twice: once more if the connection that was there turns out to be gone.
    async fn ask<T, A>(&self, slot: &Slot<Link>, question: impl Fn(Arc<Link>) -> A) -> Result<T, EngineError>
    where
        A: Future<Output = Result<T, Fault>>,
    {
        if let Some(link) = slot.kept() {
            match slot.on(&link, link.on(question(link.clone()))).await {
                Err(Fault { link: Fate::Gone, .. }) => (),
                answer => return Ok(answer?),
            }
        }
        let link = self.connect(slot).await?;
        Ok(slot.on(&link, link.on(question(link.clone()))).await?)
    }

    async fn open_now(&self) -> Result<Opened, EngineError> {
        self.connect(&self.reads).await?;
        let link = self.connect(&self.writes).await?;
        Ok(self.writes.on(&link, link.on(setup::open(&self.store, &link))).await?)
    }

    async fn append_now(&self, entries: &[Outgoing]) -> Result<Vec<Result<Appended, EngineError>>, EngineError> {
        let link = self.link(&self.writes).await?;
        let mut answers = Vec::with_capacity(entries.len());
        for part in entries.chunks(UNACKED_MAX) {
            let sent = async { Ok(self.store.publish(&link, part).await) };
            answers.extend(self.writes.on(&link, link.on(sent)).await?);
        }
        if answers.iter().any(|answer| matches!(answer, Err(Fault { link: Fate::Gone, .. }))) {
            self.writes.forget(&link);
        }
        Ok(answers.into_iter().map(|answer| answer.map_err(EngineError::from)).collect())
    }
}

impl Store {
    /// Sends all of these, and then waits for what becomes of them.
    async fn publish(&self, link: &Link, entries: &[Outgoing]) -> Vec<Result<Appended, Fault>> {
        let mut sent = Vec::with_capacity(entries.len());
        for entry in entries {
            sent.push(match self.send(link, entry).await {
                Ok(ack) => Sent::Waiting(ack, entry),
                Err(fault) => Sent::Failed(fault),
            });
        }
        let mut answers = Vec::with_capacity(sent.len());
        for sent in sent {
            answers.push(match sent {
                Sent::Failed(fault) => Err(fault),
                Sent::Waiting(ack, entry) => self.appended(link, ack, entry.key.as_ref()).await,
            });
        }
        answers
    }

    async fn send(&self, link: &Link, entry: &Outgoing) -> Result<PublishAckFuture, Fault> {
        let bytes_max = entry_bytes_max(link.client().max_payload());
        if entry.bytes.len() > bytes_max {
            return Err(EngineError::TooLarge { bytes_max }.into());
        }
        let mut message = PublishMessage::build().payload(entry.bytes.clone());
        if let Some(key) = &entry.key {
            message = message.message_id(hex(key.key)).header(FINGERPRINT, hex(key.fingerprint));
        }
        let subject = entry.topic.as_ref().map_or_else(|| self.subjects.mixed(), |topic| self.subjects.of(topic));
        link.context().send_publish(subject, message).await.map_err(unpublished)
    }

    async fn appended(
        &self,
        link: &Link,
        ack: PublishAckFuture,
        key: Option<&IdempotencyKey>,
    ) -> Result<Appended, Fault> {
        let ack = ack.await.map_err(unpublished)?;
        match key {
            Some(key) if ack.duplicate => self.known(link, ack.sequence, key).await,
            _ => Ok(Appended::New(ack.sequence)),
        }
    }

    /// NATS tells that the key is known; with what, its message does.
    async fn known(&self, link: &Link, number: u64, key: &IdempotencyKey) -> Result<Appended, Fault> {
        let stream = link.stream(&self.settings.name).await?;
        match stream.get_raw_message(number).await {
            Ok(known) => Ok(match known.headers.get(FINGERPRINT) {
                Some(fingerprint) if fingerprint.as_str() != hex(key.fingerprint) => Appended::KeyReused,
                _ => Appended::Known(number),
            }),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(Appended::Known(number)),
            Err(error) => Err(not_now(error)),
        }
    }

    async fn extent(&self, link: &Link) -> Result<Extent, Fault> {
        let info = link.stream(&self.settings.name).await?.get_info().await.map_err(not_now)?;
        let last = info.state.last_sequence;
        Ok(Extent { first: if info.state.messages == 0 { last + 1 } else { info.state.first_sequence }, last })
    }

    async fn document(&self, link: &Link) -> Result<Option<(Bytes, Revision)>, Fault> {
        let stream = link.stream(&self.documents).await?;
        match stream.get_last_raw_message_by_subject(&self.subjects.document()).await {
            Ok(found) => Ok(Some((found.payload, Revision(Bytes::from(found.sequence.to_string()))))),
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(not_now(error)),
        }
    }

    async fn put_document(&self, link: &Link, document: Bytes, replaces: Option<&Revision>) -> Result<bool, Fault> {
        let number = replaces.map_or(Some(0), |Revision(number)| std::str::from_utf8(number).ok()?.parse().ok());
        let Some(number) = number else { return Ok(false) };
        let message = PublishMessage::build().payload(document).expected_last_subject_sequence(number);
        let sent = link.context().send_publish(self.subjects.document(), message).await.map_err(unpublished)?;
        match sent.await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => Ok(false),
            Err(error) => Err(unpublished(error)),
        }
    }
}

fn hex(bytes: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(bytes))
}

fn not_now(error: impl Display) -> Fault {
    Fault::not_now(error.to_string())
}

fn unpublished(error: async_nats::jetstream::context::PublishError) -> Fault {
    match error.kind() {
        PublishErrorKind::BrokenPipe => Fault::away(error.to_string()),
        _ => not_now(error),
    }
}

impl Engine for Nats {
    fn open(&self) -> Answer<'_, Opened> {
        Box::pin(in_time(self.open_now()))
    }

    fn extent(&self) -> Answer<'_, Extent> {
        Box::pin(in_time(self.ask(&self.writes, move |link| async move { self.store.extent(&link).await })))
    }

    fn read(&self, range: Range) -> Answer<'_, Found> {
        Box::pin(in_time(async move {
            let range = &range;
            self.ask(&self.reads, |link| async move { page::read(&self.store, &link, range).await }).await
        }))
    }

    fn tail(&self, after: u64) -> Answer<'_, Box<dyn Tail>> {
        Box::pin(in_time(async move {
            let tail = Follower::open(&self.store, after).await?;
            Ok(Box::new(tail) as Box<dyn Tail>)
        }))
    }

    fn append(&self, entries: Vec<Outgoing>) -> Appending<'_> {
        Box::pin(async move { each_in_time(&entries, self.append_now(&entries)).await })
    }

    fn document(&self) -> Answer<'_, Option<(Bytes, Revision)>> {
        Box::pin(in_time(self.ask(&self.writes, move |link| async move { self.store.document(&link).await })))
    }

    fn put_document(&self, document: Bytes, replaces: Option<Revision>) -> Answer<'_, bool> {
        Box::pin(in_time(async move {
            let link = self.link(&self.writes).await?;
            let put = self.store.put_document(&link, document, replaces.as_ref());
            Ok(self.writes.on(&link, link.on(put)).await?)
        }))
    }
}
