//! fjall: log-structured merge trees behind one journal, with threads of its own for flushing and compaction.

use std::path::Path;

use anyhow::{Context, Result};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Readable};

use crate::{
    event::{Event, Header},
    store::{CACHE_BYTES, Durability, Reader, Store},
};

/// Bounds what is replayed from the journal at the next start, and the memory of the tables not flushed yet.
const MEMTABLE_BYTES: u64 = 16 * 1024 * 1024;
const JOURNALS_BYTES: u64 = 128 * 1024 * 1024;

#[derive(Clone)]
pub struct Fjall {
    db: Database,
    records: Keyspace,
    topic_index: Keyspace,
    ids: Keyspace,
}

impl Fjall {
    pub fn open(dir: &Path) -> Result<Self> {
        let db = Database::builder(dir.join("log.fjall"))
            .cache_size(CACHE_BYTES as u64)
            .max_journaling_size(JOURNALS_BYTES)
            .worker_threads(1)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let records = db.keyspace("records", options)?;
        let topic_index = db.keyspace("topic_index", options)?;
        let ids = db.keyspace("ids", options)?;
        db.keyspace("meta", options)?;
        Ok(Self { db, records, topic_index, ids })
    }

    fn batch(&self, durability: Durability) -> OwnedWriteBatch {
        let mode = if durability == Durability::Fsync { PersistMode::SyncAll } else { PersistMode::Buffer };
        self.db.batch().durability(Some(mode))
    }
}

impl Store for Fjall {
    fn append(&mut self, group: &[Event], durability: Durability) -> Result<()> {
        let mut batch = self.batch(durability);
        for event in group {
            batch.insert(&self.records, event.seq.to_be_bytes(), event.record());
            batch.insert(&self.topic_index, pair(event.topic, event.seq), []);
            if let Some(id) = event.id {
                batch.insert(&self.ids, pair(event.topic, id), event.seq.to_be_bytes());
            }
        }
        Ok(batch.commit()?)
    }

    fn delete_oldest(&mut self, topic: u32, after: u64, count: usize) -> Result<(usize, u64)> {
        let mut batch = self.batch(Durability::Later);
        let mut last = after;
        let mut deleted = 0;
        for entry in self.topic_index.range(pair(topic, after + 1)..=pair(topic, u64::MAX)).take(count) {
            let key = entry.key()?;
            let seq = seq_of(&key)?;
            let record = self.records.get(seq.to_be_bytes())?.context("the index names a record that is not there")?;
            if let Some(id) = Header::read(&record)?.id {
                batch.remove(&self.ids, pair(topic, id));
            }
            batch.remove(&self.records, seq.to_be_bytes());
            batch.remove(&self.topic_index, key);
            (deleted, last) = (deleted + 1, seq);
        }
        batch.commit()?;
        Ok((deleted, last))
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        Ok(Box::new(FjallReader(self.clone())))
    }

    fn last_seq(&self) -> Result<u64> {
        let Some(last) = self.records.last_key_value() else { return Ok(0) };
        seq_of(&last.key()?)
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(self.db.persist(PersistMode::SyncAll)?)
    }
}

struct FjallReader(Fjall);

impl Reader for FjallReader {
    fn read_topic(&mut self, topic: u32, after: u64, limit: usize, each: &mut dyn FnMut(u64, &[u8])) -> Result<usize> {
        let snapshot = self.0.db.snapshot();
        let range = pair(topic, after + 1)..=pair(topic, u64::MAX);
        let mut count = 0;
        for entry in snapshot.range(&self.0.topic_index, range).take(limit) {
            let seq = seq_of(&entry.key()?)?;
            let record = snapshot
                .get(&self.0.records, seq.to_be_bytes())?
                .context("the index names a record that is not there")?;
            Header::read(&record)?;
            each(seq, &record);
            count += 1;
        }
        Ok(count)
    }
}

fn pair(topic: u32, second: u64) -> [u8; 12] {
    let mut key = [0; 12];
    key[..4].copy_from_slice(&topic.to_be_bytes());
    key[4..].copy_from_slice(&second.to_be_bytes());
    key
}

/// The sequence is the last 8 bytes of a key of both kinds.
fn seq_of(key: &[u8]) -> Result<u64> {
    let tail = key.last_chunk().context("short key")?;
    Ok(u64::from_be_bytes(*tail))
}
