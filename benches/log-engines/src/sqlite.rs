//! SQLite in WAL mode: one connection writes, each reader has its own.

use std::path::{Path, PathBuf};

use anyhow::Result;
use rusqlite::{Connection, OptionalExtension, params, wal::CheckpointMode};

use crate::{
    event::{Event, Header},
    store::{CACHE_BYTES, Durability, Reader, Store},
};

pub struct Sqlite {
    path: PathBuf,
    db: Connection,
    synchronous: Durability,
}

/// Frames (pages) in the WAL that make a checkpoint due.
const CHECKPOINT_FRAMES: i32 = 1000;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS records (seq INTEGER PRIMARY KEY, record BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS topic_index (topic INTEGER, seq INTEGER, PRIMARY KEY (topic, seq)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS ids (topic INTEGER, id INTEGER, seq INTEGER, PRIMARY KEY (topic, id)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;";

impl Sqlite {
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join("log.sqlite");
        let db = connect(&path)?;
        db.execute_batch(SCHEMA)?;
        Ok(Self { path, db, synchronous: Durability::Fsync })
    }

    /// In WAL mode FULL syncs at each commit and NORMAL at checkpoints only.
    fn set_durability(&mut self, durability: Durability) -> Result<()> {
        if self.synchronous != durability {
            let level = if durability == Durability::Fsync { "FULL" } else { "NORMAL" };
            self.db.pragma_update(None, "synchronous", level)?;
            self.synchronous = durability;
        }
        Ok(())
    }
}

/// SQLite's own checkpoint drops its errors, and a failed sync of the main file would be retried and forgotten. So
/// it is off, and this one passes them on.
fn checkpoint_when_due(db: &Connection) -> Result<()> {
    let (frames, _) = db.wal_checkpoint_v2(None::<&str>, CheckpointMode::NOOP)?;
    if frames >= CHECKPOINT_FRAMES {
        db.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE)?;
    }
    Ok(())
}

fn connect(path: &Path) -> Result<Connection> {
    let db = Connection::open(path)?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "cache_size", -(CACHE_BYTES as i64 / 1024))?;
    db.pragma_update(None, "wal_autocheckpoint", 0)?;
    db.busy_timeout(std::time::Duration::from_secs(5))?;
    Ok(db)
}

impl Store for Sqlite {
    fn append(&mut self, group: &[Event], durability: Durability) -> Result<()> {
        self.set_durability(durability)?;
        let transaction = self.db.transaction()?;
        {
            let mut record = transaction.prepare_cached("INSERT INTO records VALUES (?, ?)")?;
            let mut index = transaction.prepare_cached("INSERT INTO topic_index VALUES (?, ?)")?;
            let mut ids = transaction.prepare_cached("INSERT OR REPLACE INTO ids VALUES (?, ?, ?)")?;
            for event in group {
                record.execute(params![event.seq as i64, event.record()])?;
                index.execute(params![event.topic, event.seq as i64])?;
                if let Some(id) = event.id {
                    ids.execute(params![event.topic, id as i64, event.seq as i64])?;
                }
            }
        }
        transaction.commit()?;
        checkpoint_when_due(&self.db)
    }

    fn delete_oldest(&mut self, topic: u32, after: u64, count: usize) -> Result<(usize, u64)> {
        self.set_durability(Durability::Later)?;
        let transaction = self.db.transaction()?;
        let oldest = read(&transaction, topic, after, count, &mut |_, _| {})?;
        {
            let mut record = transaction.prepare_cached("DELETE FROM records WHERE seq = ?")?;
            let mut index = transaction.prepare_cached("DELETE FROM topic_index WHERE topic = ? AND seq = ?")?;
            let mut ids = transaction.prepare_cached("DELETE FROM ids WHERE topic = ? AND id = ?")?;
            for header in &oldest {
                record.execute([header.seq as i64])?;
                index.execute(params![topic, header.seq as i64])?;
                if let Some(id) = header.id {
                    ids.execute(params![topic, id as i64])?;
                }
            }
        }
        transaction.commit()?;
        checkpoint_when_due(&self.db)?;
        Ok((oldest.len(), oldest.last().map_or(after, |header| header.seq)))
    }

    fn reader(&self) -> Result<Box<dyn Reader>> {
        Ok(Box::new(SqliteReader(connect(&self.path)?)))
    }

    fn last_seq(&self) -> Result<u64> {
        let last: Option<i64> =
            self.db.query_row("SELECT seq FROM records ORDER BY seq DESC LIMIT 1", [], |row| row.get(0)).optional()?;
        Ok(last.unwrap_or(0) as u64)
    }

    fn close(self: Box<Self>) -> Result<()> {
        self.db.close().map_err(|(_, error)| error.into())
    }
}

struct SqliteReader(Connection);

impl Reader for SqliteReader {
    fn read_topic(&mut self, topic: u32, after: u64, limit: usize, each: &mut dyn FnMut(u64, &[u8])) -> Result<usize> {
        Ok(read(&self.0, topic, after, limit, each)?.len())
    }
}

fn read(
    db: &Connection,
    topic: u32,
    after: u64,
    limit: usize,
    each: &mut dyn FnMut(u64, &[u8]),
) -> Result<Vec<Header>> {
    let mut statement = db.prepare_cached(
        "SELECT i.seq, r.record FROM topic_index i JOIN records r ON r.seq = i.seq
         WHERE i.topic = ? AND i.seq > ? ORDER BY i.seq LIMIT ?",
    )?;
    let mut rows = statement.query(params![topic, after as i64, limit as i64])?;
    let mut headers = Vec::with_capacity(limit);
    while let Some(row) = rows.next()? {
        let record = row.get_ref(1)?.as_blob()?;
        headers.push(Header::read(record)?);
        each(row.get::<_, i64>(0)? as u64, record);
    }
    Ok(headers)
}
