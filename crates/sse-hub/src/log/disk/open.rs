//! Opening a log: its database, and what that holds.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::directory::{self, DATABASE, Found, WAL, io_error};
use super::error::is_full;
use super::meta::{self, Clock, Fact, State, millis};
use super::topics::{LoggedTopic, LoggedTopics};
use super::{DiskLog, DiskLogOptions, OpenLogError, Writer, bytes, wal, wal_index};
use crate::epochs::Epochs;
use crate::log::{Durability, KeptKey, LogContents};
use crate::{Epoch, IdempotencyKey, TopicName};

pub(super) const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS records (seq INTEGER PRIMARY KEY, record BLOB NOT NULL);
    CREATE TABLE IF NOT EXISTS topic_index (topic INTEGER, seq INTEGER, PRIMARY KEY (topic, seq)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS given_ids
        (id INTEGER, topic INTEGER, seq INTEGER, PRIMARY KEY (id, topic, seq)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS topics (id INTEGER PRIMARY KEY, name TEXT NOT NULL, newest INTEGER NOT NULL,
        trimmed_to INTEGER NOT NULL, bytes INTEGER NOT NULL, closed INTEGER NOT NULL, closed_at INTEGER NOT NULL, sum INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS keys
        (seq INTEGER PRIMARY KEY, key BLOB NOT NULL, fingerprint BLOB NOT NULL, at INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;";

/// Memory for pages of the writer's, and of each reader's.
const WRITER_CACHE_KIB: i64 = 32 * 1024;
const READER_CACHE_KIB: i64 = 2 * 1024;

impl DiskLog {
    /// Opens the log, or begins one in an empty directory.
    ///
    /// # Errors
    /// An [`OpenLogError`]; the directory is as it was then.
    pub fn open(options: DiskLogOptions) -> Result<(Self, LogContents), OpenLogError> {
        let found = directory::look(&options.dir)?;
        let lock = match found {
            Found::Nothing => directory::begin(&options.dir)?,
            Found::Log => directory::lock(&options.dir)?,
        };
        let (log, contents) = Self::open_locked(&options, lock, found)?;
        match log.writer.lock().begin() {
            // What is there can be read. Who is promised nothing by a sync would be told of events that are never kept.
            Err(error) if is_full(&error) && found == Found::Log && options.durability != Durability::Memory => (),
            begun => begun.map_err(storage(&options.dir))?,
        }
        if found == Found::Nothing {
            directory::finish(&options.dir)?;
        }
        Ok((log, contents))
    }

    /// Opens the log that another process has let go of ([`Committer::let_go`](crate::Committer::let_go)), by its lock. Nothing
    /// is written until [`begin`](Self::begin): until then the other may go on.
    ///
    /// # Errors
    /// An [`OpenLogError`].
    pub fn take_over(options: &DiskLogOptions, lock: OwnedFd) -> Result<(Self, LogContents), OpenLogError> {
        let dir = &options.dir;
        let lock = File::from(lock);
        if directory::look(dir)? != Found::Log || !directory::is_lock_of(dir, &lock) {
            let problem = "it is not the log that was handed over".to_owned();
            return Err(OpenLogError::NotALog { path: dir.clone(), problem });
        }
        Self::open_locked(options, lock, Found::Log)
    }

    /// Opens the log whose lock is held; what has to be noted of that is not.
    fn open_locked(options: &DiskLogOptions, lock: File, found: Found) -> Result<(Self, LogContents), OpenLogError> {
        let dir = &options.dir;
        let fresh = Epoch::random().map_err(|error| io_error(dir)(io::Error::other(error.to_string())))?;
        if found == Found::Log && std::fs::metadata(dir.join(WAL)).map_or(0, |wal| wal.len()) == 0 {
            check_closed(dir)?;
        }
        let tail = wal::look_in(dir, &lock)?;
        let storage = &storage(dir);
        let connection = writer(dir).map_err(storage)?;
        connection.execute_batch(SCHEMA).map_err(storage)?;
        // The index is this process's now.
        wal_index::note_boot(&lock);
        if found == Found::Nothing {
            directory::mark(&connection).map_err(storage)?;
        }
        let mut opened = Opened::read(&connection, options, tail.is_damaged).map_err(storage)?;
        let (mut contents, beginning) = opened.begin(fresh, options.durability);
        contents.incomplete_bytes = tail.incomplete_bytes;
        let old_before = opened.clock.now().saturating_sub(millis(options.idempotency_window));
        contents.keys = keys(&connection, old_before).map_err(storage)?;
        let wal = File::open(dir.join(WAL)).map_err(io_error(&dir.join(WAL)))?;
        let next_topic = opened.topics.iter().map(|(_, topic)| topic.id).max().unwrap_or(0) + 1;
        let rules = options.retention_by_topic.clone();
        let in_use = State::in_use(options.durability);
        let writer = Writer { connection, wal, level: None, next_topic, rules, in_use, beginning: Some(beginning) };
        let log = Self {
            dir: dir.clone(),
            writer: Mutex::new(writer),
            readers: Mutex::default(),
            topics: RwLock::new(opened.topics),
            clock: opened.clock,
            retention: options.retention,
            idempotency_window: options.idempotency_window,
            tending: Mutex::default(),
            lock,
        };
        Ok((log, contents))
    }
}

pub(super) fn writer(dir: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(dir.join(DATABASE))?;
    keep_wal(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    // SQLite's own checkpoint drops its errors; `tend` runs one that does not.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Closing a connection would check nothing of what it moves, and take the write-ahead log away.
fn keep_wal(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map(drop)
}

pub(super) fn reader(dir: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(dir.join(DATABASE), flags)?;
    keep_wal(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

/// What a failure of the storage is for whoever opens a log.
pub(super) fn storage(dir: &Path) -> impl Fn(rusqlite::Error) -> OpenLogError + use<> {
    let dir = dir.to_owned();
    move |error| OpenLogError::Storage { dir: dir.clone(), source: error.into() }
}

/// Without a write-ahead log, the log must have been closed: otherwise the newest events were in it.
fn check_closed(dir: &Path) -> Result<(), OpenLogError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    // As a file that nobody changes it is read without making anything beside it.
    let uri = format!(
        "file:{}?immutable=1",
        percent_encoding::utf8_percent_encode(&dir.join(DATABASE).to_string_lossy(), PATH)
    );
    let state = Connection::open_with_flags(uri, flags).and_then(|main| meta::read_state(&main));
    match state.map_err(storage(dir))? {
        Some(State::Clean) => Ok(()),
        _ => Err(OpenLogError::NotALog {
            path: dir.join(WAL),
            problem: "it is missing or empty, and the log was not closed".to_owned(),
        }),
    }
}

/// What a path has to have escaped in a URI.
const PATH: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// What has to be on the disk before anything is numbered.
#[derive(Debug)]
pub(super) struct Beginning(Vec<(Fact, String)>);

impl Beginning {
    /// Of a log that was closed, and that nobody else has begun: sequences were given up to `given`.
    pub(super) fn again(given: u64, in_use: State) -> Self {
        Self(vec![(Fact::Given, given.to_string()), (Fact::State, in_use.as_str().to_owned())])
    }
}

impl Writer {
    /// Notes that the log is in use, unless that was done.
    pub(super) fn begin(&mut self) -> rusqlite::Result<()> {
        let Some(Beginning(facts)) = &self.beginning else { return Ok(()) };
        let transaction = self.connection.unchecked_transaction()?;
        for (fact, value) in facts {
            fact.write(&transaction, value)?;
        }
        transaction.commit()?;
        // In the main file: a missing write-ahead log is noticed by it.
        self.connection.wal_checkpoint_v2(None::<&str>, rusqlite::wal::CheckpointMode::PASSIVE)?;
        self.beginning = None;
        Ok(())
    }
}

/// What a database holds.
struct Opened {
    topics: LoggedTopics,
    state: Option<State>,
    epochs: Option<Epochs>,
    /// The last sequence that was given, as far as the log knows.
    given: u64,
    closed: Vec<TopicName>,
    clock: Clock,
    /// Something is missing, nobody knows what.
    is_damaged: bool,
}

impl Opened {
    fn read(connection: &Connection, options: &DiskLogOptions, is_torn: bool) -> rusqlite::Result<Self> {
        let last = end_record(connection, End::Last)?;
        let clock = Clock::new(last.as_ref().map_or(0, |(_, at)| *at));
        let mut topics = LoggedTopics::default();
        topics.forgotten_to = number(connection, Fact::ForgottenTo)?.unwrap_or(0);
        let mut is_damaged = is_torn;
        let closed = load_topics(connection, options, &clock, &mut topics, &mut is_damaged)?;
        topics.holes = holes(connection)?;
        let in_records = last.map_or(0, |(sequence, _)| sequence);
        let noted = number(connection, Fact::Newest)?;
        topics.newest =
            in_records.max(noted.unwrap_or(0)).max(topics.iter().map(|(_, topic)| topic.newest).max().unwrap_or(0));
        let is_trimmed = |newest: u64| topics.iter().any(|(_, topic)| topic.trimmed_to == newest);
        is_damaged |= topics.newest > in_records && !is_trimmed(topics.newest) && topics.forgotten_to < topics.newest;
        let state = meta::read_state(connection)?;
        let epochs = Fact::Epochs.read(connection)?.as_deref().and_then(meta::parse_epochs);
        let given = number(connection, Fact::Given)?
            .unwrap_or(0)
            .max(topics.newest)
            .max(topics.holes.iter().copied().max().unwrap_or(0));
        // Once there were records, these facts were there as well.
        is_damaged |= topics.newest > 0 && (state.is_none() || epochs.is_none() || noted.is_none());
        Ok(Self { topics, state, epochs, given, closed, clock, is_damaged })
    }

    /// Decides which epoch goes on; what has to be noted before anything is numbered.
    fn begin(&mut self, fresh: Epoch, durability: Durability) -> (LogContents, Beginning) {
        let mut facts = Vec::new();
        let goes_on = matches!(self.state, Some(State::Clean | State::Synced)) && !self.is_damaged;
        if self.is_damaged {
            // Whoever comes back from before is told of a loss here, where no event will ever be.
            self.given += 1;
            self.topics.holes.push(self.given);
            let holes: Vec<String> = self.topics.holes.iter().map(u64::to_string).collect();
            facts.push((Fact::Holes, holes.join(" ")));
        }
        let epochs = match self.epochs.take() {
            Some(epochs) if goes_on => epochs,
            Some(epochs) => epochs.followed_by(fresh, self.topics.newest),
            None => Epochs::new(fresh),
        };
        facts.push((Fact::Epochs, meta::epochs_text(&epochs)));
        facts.push((Fact::Given, self.given.to_string()));
        facts.push((Fact::State, State::in_use(durability).as_str().to_owned()));
        let contents = LogContents {
            epochs,
            newest: self.given,
            closed: std::mem::take(&mut self.closed),
            keys: Vec::new(),
            is_damaged: self.is_damaged,
            incomplete_bytes: 0,
        };
        (contents, Beginning(facts))
    }
}

/// The keys of events that are not older than that, the oldest first. One whose event cannot be read is forgotten: then a
/// retry publishes again.
fn keys(connection: &Connection, old_before: u64) -> rusqlite::Result<Vec<KeptKey>> {
    let mut statement = connection.prepare(
        "SELECT k.seq, k.key, k.fingerprint, r.record FROM keys k JOIN records r ON r.seq = k.seq
         WHERE k.at >= ? ORDER BY k.seq",
    )?;
    let mut rows = statement.query([old_before.cast_signed()])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        let sequence = row.get::<_, i64>(0)?.cast_unsigned();
        let Some(stored) = bytes::decode(sequence, row.get_ref(3)?.as_blob()?) else { continue };
        let (Ok(key), Ok(fingerprint), Some(id)) = (row.get(1), row.get(2), stored.record.id()) else { continue };
        keys.push(KeptKey { key: IdempotencyKey { key, fingerprint }, id, sequence });
    }
    Ok(keys)
}

fn number(connection: &Connection, fact: Fact) -> rusqlite::Result<Option<u64>> {
    Ok(fact.read(connection)?.and_then(|text| text.parse().ok()))
}

/// An end of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    First,
    Last,
}

/// The sequence and time of the record at this end; a time of 0 if it cannot be read.
pub(super) fn end_record(connection: &Connection, end: End) -> rusqlite::Result<Option<(u64, u64)>> {
    let mut statement = connection.prepare(match end {
        End::First => "SELECT seq, record FROM records ORDER BY seq LIMIT 1",
        End::Last => "SELECT seq, record FROM records ORDER BY seq DESC LIMIT 1",
    })?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let sequence = row.get::<_, i64>(0)?.cast_unsigned();
    let at = bytes::decode(sequence, row.get_ref(1)?.as_blob()?).map_or(0, |stored| stored.at);
    Ok(Some((sequence, at)))
}

fn holes(connection: &Connection) -> rusqlite::Result<Vec<u64>> {
    let text = Fact::Holes.read(connection)?.unwrap_or_default();
    Ok(text.split_whitespace().filter_map(|hole| hole.parse().ok()).collect())
}

/// Reads the topics' rows and compares them with their index. Gives back those that are closed.
fn load_topics(
    connection: &Connection,
    options: &DiskLogOptions,
    clock: &Clock,
    topics: &mut LoggedTopics,
    is_damaged: &mut bool,
) -> rusqlite::Result<Vec<TopicName>> {
    let mut indexed = count_index(connection)?;
    let mut closed = Vec::new();
    let mut statement =
        connection.prepare("SELECT id, name, newest, trimmed_to, closed, closed_at, sum, bytes FROM topics")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (Ok(name), Ok(id)) = (row.get::<_, String>(1), row.get::<_, i64>(0)) else {
            *is_damaged = true;
            continue;
        };
        let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
        let (newest, trimmed_to, end, closed_at) = (number(2)?, number(3)?, number(4)?, number(5)?);
        let row_sum = topic_sum(id, &name, newest, trimmed_to, end, closed_at);
        let name = match TopicName::parse(&name) {
            Ok(name) if row.get::<_, i64>(6)? == row_sum => name,
            _ => {
                *is_damaged = true;
                continue;
            }
        };
        let (in_index, events) = indexed.remove(&id).unwrap_or((0, 0));
        let rule = options.retention_by_topic.iter().position(|(selector, _)| selector.matches(name.as_str()));
        let is_short = in_index < newest && trimmed_to < newest;
        let topic = LoggedTopic {
            id,
            newest: newest.max(in_index),
            trimmed_to,
            events,
            bytes: number(7)?,
            closed: end,
            closed_at,
            rule,
            damaged_to: if is_short { newest } else { 0 },
        };
        let age = Duration::from_millis(clock.now().saturating_sub(closed_at));
        if end > 0 && end == topic.newest && age <= options.closed_topic_age {
            closed.push(name.clone());
        }
        topics.set(&name, topic);
    }
    // Rows of an index without a topic.
    *is_damaged |= !indexed.is_empty();
    (topics.events, topics.bytes) = meta::read_kept(connection)?;
    Ok(closed)
}

/// For each topic the last sequence in the index, and how many there are.
fn count_index(connection: &Connection) -> rusqlite::Result<HashMap<i64, (u64, u64)>> {
    let mut statement = connection.prepare("SELECT topic, max(seq), count(*) FROM topic_index GROUP BY topic")?;
    let rows = statement.query_map([], |row| {
        Ok((row.get(0)?, (row.get::<_, i64>(1)?.cast_unsigned(), row.get::<_, i64>(2)?.cast_unsigned())))
    })?;
    rows.collect()
}

pub(super) fn topic_sum(id: i64, name: &str, newest: u64, trimmed_to: u64, closed: u64, closed_at: u64) -> i64 {
    meta::sum(name, &format!("{id} {newest} {trimmed_to} {closed} {closed_at}"))
}
