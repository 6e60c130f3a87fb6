//! What the hub needs of a store, and the engines that are measured.

use std::path::Path;

use anyhow::{Result, bail};

use crate::{
    bare::BareFile, event::Event, fjall_store::Fjall, redb_store::Redb, segment_log::SegmentLog, sqlite::Sqlite,
};

/// Memory each engine may use as its cache.
pub const CACHE_BYTES: usize = 32 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// On disk when the call returns.
    Fsync,
    /// Handed to the system or kept by the engine, synced by a later call.
    Later,
}

/// The one writer.
pub trait Store: Send {
    /// Appends a group of events in one transaction.
    fn append(&mut self, group: &[Event], durability: Durability) -> Result<()>;

    /// Deletes up to `count` oldest records of `topic` after `after`, without a sync, and returns their number
    /// and the last sequence deleted. The cursor spares a log-structured engine the walk over its tombstones.
    fn delete_oldest(&mut self, topic: u32, after: u64, count: usize) -> Result<(usize, u64)>;

    /// A reader that sees what is committed, for another thread.
    fn reader(&self) -> Result<Box<dyn Reader>>;

    /// The last sequence committed, 0 when empty; what the hub asks first when it opens the log.
    fn last_seq(&self) -> Result<u64>;

    /// Stops cleanly.
    fn close(self: Box<Self>) -> Result<()>;
}

pub trait Reader: Send {
    /// Reads up to `limit` records of `topic` after the cursor `after`, of one snapshot.
    fn read_topic(&mut self, topic: u32, after: u64, limit: usize, each: &mut dyn FnMut(u64, &[u8])) -> Result<usize>;
}

pub const ENGINES: [&str; 4] = ["sqlite", "redb", "redb-quick", "fjall"];
pub const WITH_BASELINES: [&str; 6] = ["sqlite", "redb", "redb-quick", "fjall", "own-log", "bare-file"];

pub fn open(engine: &str, dir: &Path) -> Result<Box<dyn Store>> {
    std::fs::create_dir_all(dir)?;
    Ok(match engine {
        "sqlite" => Box::new(Sqlite::open(dir)?),
        "redb" => Box::new(Redb::open(dir, false)?),
        "redb-quick" => Box::new(Redb::open(dir, true)?),
        "fjall" => Box::new(Fjall::open(dir)?),
        "own-log" => Box::new(SegmentLog::open(dir)?),
        "bare-file" => Box::new(BareFile::open(dir)?),
        _ => bail!("no engine {engine:?}, one of {WITH_BASELINES:?}"),
    })
}
