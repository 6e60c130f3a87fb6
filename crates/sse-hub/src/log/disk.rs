//! A log in a directory: SQLite keeps the records, and what it cannot vouch for is checked here.
//!
//! Records are kept by sequence, with an index by topic and one by publisher's id. Each record has a checksum and names, for
//! each of its topics, the event before it there: what is damaged or missing is noticed by whoever reads past it, and told as
//! lost. One connection writes, each reading thread has its own.

mod append;
mod bytes;
mod closed;
mod directory;
mod error;
mod meta;
mod open;
mod read;
mod retain;
mod topics;
mod wal;
mod wal_index;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard, RwLock};
use rusqlite::Connection;
use sse_wire::EventId;

use crate::log::{Durability, Extent, History, Log, LogError, LogRead, Page, Record, SyncWhen};
use crate::{Selector, TopicName};

pub use closed::{ClosedLog, ExportHead, ExportedEvent, LogSummary};
pub use error::OpenLogError;
use meta::{Clock, State};
use open::Beginning;
use retain::Tending;
pub use retain::{Retained, Retention};
use topics::LoggedTopics;

/// What a disk has to take before it counts as having room again: less may fit into corners of one that is full.
const ROOM_BYTES: usize = 256 << 10;

/// A [`Log`] in a directory of its own.
#[derive(Debug)]
pub struct DiskLog {
    dir: PathBuf,
    writer: Mutex<Writer>,
    /// Connections that no reader uses just now.
    readers: Mutex<Vec<Connection>>,
    topics: RwLock<LoggedTopics>,
    clock: Clock,
    retention: Retention,
    idempotency_window: Duration,
    tending: Mutex<Tending>,
    /// Held for as long as the log is open, here or by who took it over: nobody else may open it.
    lock: File,
}

/// What only the committer's thread uses.
#[derive(Debug)]
struct Writer {
    connection: Connection,
    /// Syncs what was committed without a sync.
    wal: File,
    level: Option<SyncWhen>,
    next_topic: i64,
    rules: Vec<(Selector, Retention)>,
    /// What the log says of itself while it is written.
    in_use: State,
    /// What was not noted yet: the disk is full, or it is not decided whether another process goes on.
    beginning: Option<Beginning>,
}

/// How a [`DiskLog`] is opened.
#[derive(Debug, Clone)]
pub struct DiskLogOptions {
    /// Its directory; made if it is not there.
    pub dir: PathBuf,
    /// What the hub will promise: without a sync for each promise, an unclean stop ends the epoch.
    pub durability: Durability,
    /// What is kept in all.
    pub retention: Retention,
    /// What is kept of topics of these patterns, the first match for each; the whole log's bounds apply as well.
    pub retention_by_topic: Vec<(Selector, Retention)>,
    /// How long a closed topic is remembered as closed.
    pub closed_topic_age: Duration,
    /// How long an idempotency key is remembered.
    pub idempotency_window: Duration,
}

impl DiskLog {
    /// Bytes on the disk.
    pub fn disk_bytes(&self) -> u64 {
        directory::disk_bytes(&self.dir)
    }

    /// Events kept.
    pub fn events(&self) -> u64 {
        self.topics.read().events
    }

    /// Whether it takes events: one that was opened on a full disk does once that has room.
    pub fn has_begun(&self) -> bool {
        self.writer.lock().beginning.is_none()
    }

    /// Its lock once more, for a process that is to [take the log over](Self::take_over).
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn lock(&self) -> io::Result<OwnedFd> {
        Ok(self.lock.try_clone()?.into())
    }

    /// Whether its directory is this one: another name of it is the same.
    pub fn is_in(&self, dir: &Path) -> bool {
        directory::is_lock_of(dir, &self.lock)
    }

    /// Notes that the log is in use, if it was taken over.
    ///
    /// # Errors
    /// As [`append`](Log::append).
    pub fn begin(&self) -> Result<(), LogError> {
        self.begun().map(drop)
    }

    /// Goes on with a log that was [closed](Log::close) for another process, which has not begun it. Sequences were given up to
    /// `given`.
    ///
    /// # Errors
    /// As [`append`](Log::append).
    pub fn go_on(&self, given: u64) -> Result<(), LogError> {
        {
            let mut writer = self.writer.lock();
            writer.beginning = Some(Beginning::again(given, writer.in_use));
        }
        self.begin()
    }

    /// Writes something and syncs it, to learn whether a disk that was full has room again.
    ///
    /// # Errors
    /// As [`append`](Log::append).
    pub fn try_room(&self) -> Result<(), LogError> {
        let writer = &mut *self.begun()?;
        writer.set_fact(meta::Fact::Room, &"x".repeat(ROOM_BYTES))?;
        self.check_place(writer)
    }

    /// The writer of a log that is noted to be in use.
    fn begun(&self) -> Result<MutexGuard<'_, Writer>, LogError> {
        let mut writer = self.writer.lock();
        writer.begin().map_err(error::log_error)?;
        Ok(writer)
    }

    /// Files that are open take writes and syncs even when nobody will find them again: then nothing is promised.
    fn check_place(&self, writer: &Writer) -> Result<(), LogError> {
        let file = |file: &std::fs::Metadata| (file.dev(), file.ino());
        let is_there = || Ok(file(&writer.wal.metadata()?) == file(&std::fs::metadata(self.dir.join(directory::WAL))?));
        match is_there() {
            Ok(true) => Ok(()),
            Ok(false) => Err(LogError::Failed("its files were replaced".into())),
            Err(error) => Err(LogError::Failed(io::Error::into(error))),
        }
    }

    /// Runs `read` with a connection of its own.
    fn with_reader<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, LogError> {
        let pooled = self.readers.lock().pop();
        let connection = match pooled {
            Some(connection) => connection,
            None => open::reader(&self.dir).map_err(error::log_error)?,
        };
        let done = read(&connection).map_err(error::log_error);
        self.readers.lock().push(connection);
        done
    }
}

impl History for DiskLog {
    fn read(&self, wanted: &LogRead<'_>) -> Result<Page, LogError> {
        // Before the snapshot is taken: what these say is in it.
        let view = read::View::new(&self.topics.read(), wanted);
        self.with_reader(|connection| read::page(connection, &self.topics, &view, wanted))
    }

    fn find_given(&self, followed: &[Selector], id: &EventId) -> Result<Vec<Record>, LogError> {
        let topics: Vec<i64> = {
            let topics = self.topics.read();
            followed.iter().filter_map(Selector::as_exact).filter_map(|name| topics.id_of(name)).collect()
        };
        let has_patterns = followed.iter().any(|selector| selector.as_exact().is_none());
        self.with_reader(|connection| read::find_given(connection, followed, &topics, has_patterns, id))
    }
}

impl Log for DiskLog {
    fn append(&self, records: &[Record], sync: SyncWhen) -> Result<(), LogError> {
        let writer = &mut *self.begun()?;
        writer.append(records, sync, self.clock.now(), &self.topics)?;
        self.check_place(writer)
    }

    fn sync(&self) -> Result<(), LogError> {
        self.writer.lock().wal.sync_data().map_err(|error| LogError::Failed(error.into()))
    }

    fn note_unlogged(&self) -> Result<(), LogError> {
        self.begun()?.set_state(meta::State::Unlogged)
    }

    fn extent(&self, topic: &TopicName) -> Extent {
        self.topics.read().extent(topic)
    }

    fn close(&self, newest: u64) -> Result<(), LogError> {
        match self.begun() {
            Ok(mut writer) => writer.close(newest),
            // Nothing was given, and it is as the last start has left it.
            Err(LogError::Full(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
