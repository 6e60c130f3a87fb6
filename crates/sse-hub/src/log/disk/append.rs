//! Writing: a batch of records in one transaction.

use std::collections::HashMap;

use parking_lot::RwLock;
use rusqlite::{Connection, params};
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::meta::{Fact, State, write_kept};
use super::open::topic_sum;
use super::topics::{LoggedTopic, LoggedTopics};
use super::{Retention, Writer, bytes, error};
use crate::log::{LogError, Record, RecordKind, SyncWhen};
use crate::{IdempotencyKey, Selector, TopicName};

impl Writer {
    pub(super) fn append(
        &mut self,
        records: &[Record],
        sync: SyncWhen,
        at: u64,
        topics: &RwLock<LoggedTopics>,
    ) -> Result<(), LogError> {
        let batch = self.commit(records, sync, at, topics).map_err(error::log_error)?;
        let topics = &mut *topics.write();
        for (name, topic) in batch.topics {
            topics.set(&name, topic);
        }
        topics.newest = records.last().map_or(topics.newest, |last| last.sequence);
        topics.events += records.len() as u64;
        topics.bytes += batch.bytes;
        Ok(())
    }

    fn commit(
        &mut self,
        records: &[Record],
        sync: SyncWhen,
        at: u64,
        topics: &RwLock<LoggedTopics>,
    ) -> rusqlite::Result<Batch> {
        self.set_level(sync)?;
        let mut batch = Batch::new(self.next_topic);
        let transaction = self.connection.unchecked_transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO records (seq, record) VALUES (?, ?)")?;
            let mut index = transaction.prepare_cached("INSERT INTO topic_index (topic, seq) VALUES (?, ?)")?;
            let mut given = transaction.prepare_cached("INSERT INTO given_ids (id, topic, seq) VALUES (?, ?, ?)")?;
            let mut keys =
                transaction.prepare_cached("INSERT INTO keys (seq, key, fingerprint, at) VALUES (?, ?, ?, ?)")?;
            for record in records {
                let sequence = record.sequence.cast_signed();
                let mut previous = Vec::with_capacity(record.topics.len());
                let mut places: SmallVec<[usize; 1]> = SmallVec::new();
                for (place, name) in record.topics.iter().enumerate() {
                    let in_batch = batch.place(name, &self.rules, topics);
                    let topic = batch.topics[in_batch].1;
                    places.push(in_batch);
                    previous.push(topic.newest);
                    // A topic may be named twice.
                    if record.topics[..place].contains(name) {
                        continue;
                    }
                    index.execute(params![topic.id, sequence])?;
                    if let Some(id) = &record.given_id {
                        given.execute(params![id_key(id.as_str()), topic.id, sequence])?;
                    }
                }
                let encoded = bytes::encode(record, &previous, at);
                for place in places {
                    batch.topics[place].1.append(record, encoded.len(), at);
                }
                batch.bytes += encoded.len() as u64;
                insert.execute(params![sequence, encoded])?;
                if let Some(IdempotencyKey { key, fingerprint }) = record.key {
                    keys.execute(params![sequence, key, fingerprint, at.cast_signed()])?;
                }
            }
        }
        for (name, topic) in &batch.topics {
            write_topic(&transaction, name, topic)?;
        }
        if let Some(last) = records.last() {
            Fact::Newest.write(&transaction, &last.sequence.to_string())?;
            let kept = topics.read();
            write_kept(&transaction, kept.events + records.len() as u64, kept.bytes + batch.bytes)?;
        }
        transaction.commit()?;
        self.next_topic = batch.next_topic;
        Ok(batch)
    }

    /// In its write-ahead mode SQLite syncs each commit at FULL, and none at NORMAL.
    pub(super) fn set_level(&mut self, sync: SyncWhen) -> rusqlite::Result<()> {
        if self.level != Some(sync) {
            let level = if sync == SyncWhen::Now { "FULL" } else { "NORMAL" };
            self.connection.pragma_update(None, "synchronous", level)?;
            self.level = Some(sync);
        }
        Ok(())
    }

    pub(super) fn set_state(&mut self, state: State) -> Result<(), LogError> {
        self.set_fact(Fact::State, state.as_str())
    }

    /// Notes a fact, on the disk when this returns.
    pub(super) fn set_fact(&mut self, fact: Fact, value: &str) -> Result<(), LogError> {
        self.set_level(SyncWhen::Now).and_then(|()| fact.write(&self.connection, value)).map_err(error::log_error)
    }

    pub(super) fn close(&mut self, newest: u64) -> Result<(), LogError> {
        let close = |writer: &mut Self| {
            writer.set_level(SyncWhen::Now)?;
            Fact::Given.write(&writer.connection, &newest.to_string())?;
            Fact::State.write(&writer.connection, State::Clean.as_str())?;
            // Closing a connection swallows what its checkpoint meets.
            writer.connection.wal_checkpoint_v2(None::<&str>, rusqlite::wal::CheckpointMode::TRUNCATE).map(drop)
        };
        close(self).map_err(error::log_error)
    }
}

/// What a transaction changes of the topics.
struct Batch {
    topics: Vec<(TopicName, LoggedTopic)>,
    places: HashMap<TopicName, usize, ahash::RandomState>,
    bytes: u64,
    next_topic: i64,
}

impl Batch {
    fn new(next_topic: i64) -> Self {
        Self { topics: Vec::new(), places: HashMap::default(), bytes: 0, next_topic }
    }

    /// Where the topic is, as this transaction has it.
    fn place(&mut self, name: &TopicName, rules: &[(Selector, Retention)], topics: &RwLock<LoggedTopics>) -> usize {
        if let Some(&place) = self.places.get(name) {
            return place;
        }
        let known = topics.read();
        let topic = known.get(name).copied().unwrap_or_else(|| {
            let id = self.next_topic;
            self.next_topic += 1;
            let rule = rules.iter().position(|(selector, _)| selector.matches(name.as_str()));
            let trimmed_to = known.forgotten_to;
            LoggedTopic { id, newest: trimmed_to, trimmed_to, rule, ..LoggedTopic::default() }
        });
        self.places.insert(name.clone(), self.topics.len());
        self.topics.push((name.clone(), topic));
        self.topics.len() - 1
    }
}

impl LoggedTopic {
    fn append(&mut self, record: &Record, bytes: usize, at: u64) {
        if self.newest == record.sequence {
            return;
        }
        self.newest = record.sequence;
        self.events += 1;
        self.bytes += bytes as u64;
        (self.closed, self.closed_at) = match record.kind {
            RecordKind::End => (record.sequence, at),
            RecordKind::Event => (0, 0),
        };
    }
}

pub(super) fn write_topic(connection: &Connection, name: &TopicName, topic: &LoggedTopic) -> rusqlite::Result<()> {
    let LoggedTopic { id, newest, trimmed_to, bytes, closed, closed_at, .. } = *topic;
    let sum = topic_sum(id, name.as_str(), newest, trimmed_to, closed, closed_at);
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO topics (id, name, newest, trimmed_to, bytes, closed, closed_at, sum)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        )?
        .execute(params![
            id,
            name.as_str(),
            newest.cast_signed(),
            trimmed_to.cast_signed(),
            bytes.cast_signed(),
            closed.cast_signed(),
            closed_at.cast_signed(),
            sum
        ])?;
    Ok(())
}

/// What the index has of a publisher's id.
pub(super) fn id_key(id: &str) -> i64 {
    xxh3_64(id.as_bytes()).cast_signed()
}
