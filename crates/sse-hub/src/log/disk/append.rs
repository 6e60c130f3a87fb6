//! Writing: a batch of records in one transaction.

use std::collections::HashMap;

use parking_lot::RwLock;
use rusqlite::{Connection, params};
use xxhash_rust::xxh3::xxh3_64;

use super::meta::{Fact, State, write_kept};
use super::open::topic_sum;
use super::topics::{LoggedTopic, LoggedTopics};
use super::{Writer, bytes, error};
use crate::log::{LogError, Record, RecordKind, SyncWhen};
use crate::{IdempotencyKey, TopicName};

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
        let mut batch = Batch { topics: HashMap::new(), bytes: 0, next_topic: self.next_topic };
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
                for (place, name) in record.topics.iter().enumerate() {
                    let topic = batch.topic(name, &self.rules, topics);
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
                for name in &record.topics {
                    batch.topic(name, &self.rules, topics).append(record, encoded.len(), at);
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
    topics: HashMap<TopicName, LoggedTopic>,
    bytes: u64,
    next_topic: i64,
}

impl Batch {
    /// The topic as this transaction has it.
    fn topic(
        &mut self,
        name: &TopicName,
        rules: &[(crate::Selector, super::Retention)],
        topics: &RwLock<LoggedTopics>,
    ) -> &mut LoggedTopic {
        let next_topic = &mut self.next_topic;
        self.topics.entry(name.clone()).or_insert_with(|| {
            let known = topics.read();
            if let Some(topic) = known.get(name) {
                return (**topic).clone();
            }
            let id = *next_topic;
            *next_topic += 1;
            let rule = rules.iter().position(|(selector, _)| selector.matches(name.as_str()));
            let trimmed_to = known.forgotten_to;
            LoggedTopic { id, newest: trimmed_to, trimmed_to, rule, ..LoggedTopic::default() }
        })
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
