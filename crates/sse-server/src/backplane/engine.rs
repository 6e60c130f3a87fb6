//! What a node asks of the engine that orders and keeps the events of several nodes.
//!
//! An engine has one stream of entries, which it numbers 1, 2, 3, .., and one small document beside it. It may lose both, in
//! part or whole, and begin again at 1: finding that out is up to the node (`node.rs`), which compares entries.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sse_hub::TopicName;
use tokio::time::timeout;

use super::address::{Address, EngineKind};
use super::nats::Nats;
use super::redis::Redis;

/// What resolves to `T`, or to why it did not come about.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, EngineError>> + Send + 'a>>;

/// What resolves to an answer for each entry that is appended.
pub(crate) type Appending<'a> = Pin<Box<dyn Future<Output = Vec<Result<Appended, EngineError>>> + Send + 'a>>;

/// An engine, shared by all tasks of a node. Everything it is asked has a deadline of its own, [`PATIENCE`], but for
/// [`Tail::next`].
pub(crate) trait Engine: fmt::Debug + Send + Sync {
    /// Connects anew where a connection is lost, makes the stream if there is none, and tells what it found.
    fn open(&self) -> Answer<'_, Opened>;

    /// The stream as it stands.
    fn extent(&self) -> Answer<'_, Extent>;

    /// Reads what is kept. An engine may leave out entries that are of no topic that was asked for.
    fn read(&self, range: Range) -> Answer<'_, Found>;

    /// Begins to follow behind the entry `after`.
    fn tail(&self, after: u64) -> Answer<'_, Box<dyn Tail>>;

    /// Appends entries in this order, in one go: one answer for each. Those behind one that failed may have been taken.
    fn append(&self, entries: Vec<Outgoing>) -> Appending<'_>;

    /// The document, with its revision; `None` if there is none.
    fn document(&self) -> Answer<'_, Option<(Bytes, Revision)>>;

    /// Puts another in its place if it is still at this revision (`None`: if there is none); false if it is not.
    fn put_document(&self, document: Bytes, replaces: Option<Revision>) -> Answer<'_, bool>;
}

/// How long an engine has for one answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// Bytes of the entries that one answer to [`Engine::read`] or [`Tail::next`] has, if it has more than one.
pub(crate) const ANSWER_BYTES_MAX: usize = 4 << 20;

/// What a node tells its engine.
#[derive(Debug, Clone)]
pub(crate) struct EngineSettings {
    pub(crate) address: Address,
    /// Of the stream, and what all names in the engine begin with: letters, digits, `-` and `_`.
    pub(crate) name: String,
    /// What the engine keeps: entries, their age, and their bytes. Engines forget in strides, somewhat later.
    pub(crate) retain_events: u64,
    pub(crate) retain_age: Duration,
    pub(crate) retain_bytes: u64,
    /// How long a key is remembered.
    pub(crate) idempotency_window: Duration,
}

/// The engine at that address. Nothing is asked of it yet.
pub(crate) fn engine(settings: EngineSettings) -> Arc<dyn Engine> {
    match settings.address.kind {
        EngineKind::Redis => Arc::new(Redis::new(settings)),
        EngineKind::Nats => Arc::new(Nats::new(settings)),
    }
}

/// What an engine answers, if it does so in time.
pub(crate) async fn in_time<T>(answer: impl Future<Output = Result<T, EngineError>>) -> Result<T, EngineError> {
    match timeout(PATIENCE, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(EngineError::Unavailable(format!("no answer within {} s", PATIENCE.as_secs()))),
    }
}

/// What an engine answers of each entry, or why it answers none, if it does so in time.
pub(crate) async fn each_in_time(
    entries: &[Outgoing],
    answers: impl Future<Output = Result<Vec<Result<Appended, EngineError>>, EngineError>>,
) -> Vec<Result<Appended, EngineError>> {
    in_time(answers).await.unwrap_or_else(|error| entries.iter().map(|_| Err(error.clone())).collect())
}

/// Entries as they come.
pub(crate) trait Tail: fmt::Debug + Send {
    /// The next entries, in their order; an empty list if none came for a second or so. Entries of which the engine says that
    /// they were dropped before they were read are missing: the numbers tell.
    fn next(&mut self) -> Answer<'_, Vec<Entry>>;
}

/// What an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Opened {
    /// Its name and version, for the log.
    pub(crate) version: String,
    /// Bytes of the largest entry that it takes.
    pub(crate) entry_bytes_max: usize,
    /// What an operator should know, each a sentence: for example that it syncs lazily.
    pub(crate) warnings: Vec<String>,
}

/// The numbers of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Extent {
    /// Of the oldest entry kept; `last + 1` if none is.
    pub(crate) first: u64,
    /// The last one given; 0 before the first.
    pub(crate) last: u64,
}

/// What to read.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    /// Behind this number.
    pub(crate) after: u64,
    /// At or below this one.
    pub(crate) up_to: u64,
    /// Most entries to give, or to look at.
    pub(crate) entries_max: usize,
    /// Only what is of this topic is wanted.
    pub(crate) topic: Option<TopicName>,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// In their order.
    pub(crate) entries: Vec<Entry>,
    /// Everything wanted up to here that is kept is among them.
    pub(crate) covered_to: u64,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) number: u64,
    /// What was appended; empty if the entry is none of ours.
    pub(crate) bytes: Bytes,
}

/// One entry to append.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    pub(crate) bytes: Bytes,
    /// The topic that it is of; `None` if it is of several, or of none.
    pub(crate) topic: Option<TopicName>,
    /// Appended once, however often it is tried with this key within the idempotency window.
    pub(crate) key: Option<sse_hub::IdempotencyKey>,
}

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Appended {
    /// It has this number.
    New(u64),
    /// It was there already, with this number.
    Known(u64),
    /// Its key came with something else before.
    KeyReused,
}

/// Which document it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Revision(pub(crate) Bytes);

/// Why an engine did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EngineError {
    /// It is away, too slow, or takes nothing just now: trying again is worth it.
    #[error("the backplane is unavailable: {0}")]
    Unavailable(String),
    /// The entry is larger than it takes.
    #[error("the backplane takes entries of at most {bytes_max} bytes")]
    TooLarge { bytes_max: usize },
    /// It will not do with these settings: credentials, version, rights.
    #[error("the backplane refuses: {0}")]
    Refused(String),
}
