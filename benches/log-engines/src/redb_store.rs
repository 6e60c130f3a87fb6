//! redb: copy-on-write B-trees in one file. `quick` saves the allocator's state with each commit, so that the
//! file needs no repair (a walk over all of it) after a crash; it costs a second sync.

use std::{path::Path, sync::Arc};

use anyhow::{Context, Result};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};

use crate::{
    event::{Event, Header},
    store::{CACHE_BYTES, Durability, Reader, Store},
};

const RECORDS: TableDefinition<u64, &[u8]> = TableDefinition::new("records");
const TOPIC_INDEX: TableDefinition<(u32, u64), ()> = TableDefinition::new("topic_index");
const IDS: TableDefinition<(u32, u64), u64> = TableDefinition::new("ids");
const META: TableDefinition<&str, &[u8]> = TableDefinition::new("meta");

pub struct Redb {
    db: Arc<Database>,
    quick: bool,
}

impl Redb {
    pub fn open(dir: &Path, quick: bool) -> Result<Self> {
        let db = Database::builder().set_cache_size(CACHE_BYTES).create(dir.join("log.redb"))?;
        let store = Self { db: Arc::new(db), quick };
        if store.db.begin_read()?.open_table(META).is_err() {
            let transaction = store.begin(Durability::Fsync)?;
            transaction.open_table(RECORDS)?;
            transaction.open_table(TOPIC_INDEX)?;
            transaction.open_table(IDS)?;
            transaction.open_table(META)?;
            transaction.commit()?;
        }
        Ok(store)
    }

    fn begin(&self, durability: Durability) -> Result<WriteTransaction> {
        let mut transaction = self.db.begin_write()?;
        let level = if durability == Durability::Fsync { redb::Durability::Immediate } else { redb::Durability::None };
        transaction.set_durability(level)?;
        transaction.set_quick_repair(self.quick && durability == Durability::Fsync);
        Ok(transaction)
    }
}

impl Store for Redb {
    fn append(&mut self, group: &[Event], durability: Durability) -> Result<()> {
        let transaction = self.begin(durability)?;
        {
            let mut records = transaction.open_table(RECORDS)?;
            let mut index = transaction.open_table(TOPIC_INDEX)?;
            let mut ids = transaction.open_table(IDS)?;
            for event in group {
                records.insert(event.seq, event.record().as_slice())?;
                index.insert((event.topic, event.seq), ())?;
                if let Some(id) = event.id {
                    ids.insert((event.topic, id), event.seq)?;
                }
            }
        }
        Ok(transaction.commit()?)
    }

    fn delete_oldest(&mut self, topic: u32, after: u64, count: usize) -> Result<(usize, u64)> {
        let transaction = self.begin(Durability::Later)?;
        let mut last = after;
        let mut deleted = 0;
        {
            let mut records = transaction.open_table(RECORDS)?;
            let mut index = transaction.open_table(TOPIC_INDEX)?;
            let mut ids = transaction.open_table(IDS)?;
            let seqs: Vec<u64> = index
                .range((topic, after + 1)..=(topic, u64::MAX))?
                .take(count)
                .map(|entry| Ok(entry?.0.value().1))
                .collect::<Result<_>>()?;
            for seq in seqs {
                index.remove((topic, seq))?;
                if let Some(record) = records.remove(seq)?
                    && let Some(id) = Header::read(record.value())?.id
                {
                    ids.remove((topic, id))?;
                }
                (deleted, last) = (deleted + 1, seq);
            }
        }
        transaction.commit()?;
        Ok((deleted, last))
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        Ok(Box::new(RedbReader(self.db.clone())))
    }

    fn last_seq(&self) -> Result<u64> {
        let records = self.db.begin_read()?.open_table(RECORDS)?;
        Ok(records.last()?.map_or(0, |(seq, _)| seq.value()))
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(Arc::into_inner(self.db).context("readers are open")?.close()?)
    }
}

struct RedbReader(Arc<Database>);

impl Reader for RedbReader {
    fn read_topic(&mut self, topic: u32, after: u64, limit: usize, each: &mut dyn FnMut(u64, &[u8])) -> Result<usize> {
        let transaction = self.0.begin_read()?;
        let index = transaction.open_table(TOPIC_INDEX)?;
        let records = transaction.open_table(RECORDS)?;
        let mut count = 0;
        for entry in index.range((topic, after + 1)..=(topic, u64::MAX))?.take(limit) {
            let seq = entry?.0.value().1;
            let record = records.get(seq)?.context("the index names a record that is not there")?;
            Header::read(record.value())?;
            each(seq, record.value());
            count += 1;
        }
        Ok(count)
    }
}
