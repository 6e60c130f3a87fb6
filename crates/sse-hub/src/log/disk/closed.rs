//! A log that no hub uses just now: what operators look at, check, copy out and in.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use parking_lot::RwLock;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use sse_wire::{EventId, Frame};

use super::bytes::{self, Stored};
use super::directory::{self, Found};
use super::meta::{self, Fact, State};
use super::open::{self, writer};
use super::topics::LoggedTopics;
use super::{OpenLogError, Writer, error, wal};
use crate::TopicName;
use crate::log::{LogError, Record, RecordKind, SyncWhen};

/// A log in a directory that nobody else has open.
#[derive(Debug)]
pub struct ClosedLog {
    dir: PathBuf,
    connection: Connection,
    /// What the end of its write-ahead log looks like.
    tail: wal::Tail,
    _lock: File,
}

/// A log at a glance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogSummary {
    /// Events kept.
    pub events: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// Bytes of its files.
    pub disk_bytes: u64,
    /// Topics it knows, those without an event that is kept included.
    pub topics: u64,
    /// The first sequence kept, and when it came, in milliseconds since 1970.
    pub oldest: Option<(u64, u64)>,
    /// The same of the last.
    pub newest: Option<(u64, u64)>,
    /// The present epoch and those before it, as `epoch:last sequence`.
    pub epochs: String,
    /// `clean` after an orderly stop.
    pub state: String,
    /// Sequences at which a loss is told.
    pub holes: String,
}

/// What begins an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportHead {
    /// The export's format: 1.
    pub format: u32,
    /// As in a [`LogSummary`].
    pub epochs: String,
    /// The last sequence given.
    pub newest: u64,
}

/// One event of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedEvent {
    /// Its place.
    pub sequence: u64,
    /// When it came, in milliseconds since 1970.
    pub at: u64,
    /// Its topics.
    pub topics: Vec<String>,
    /// Only for those with a grant.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// The end of its topic.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub end: bool,
    /// The id, if its publisher gave it one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_id: Option<String>,
    /// The event as streams have it.
    pub text: String,
}

/// Events of one commit of an import.
const BATCH: usize = 1000;

impl ClosedLog {
    /// Opens it; nothing of it is changed.
    ///
    /// # Errors
    /// An [`OpenLogError`].
    pub fn open(dir: &Path) -> Result<Self, OpenLogError> {
        let lock = directory::existing(dir)?;
        let tail = wal::look_in(dir, &lock)?;
        let connection = open::reader(dir).map_err(open::storage(dir))?;
        Ok(Self { dir: dir.to_owned(), connection, tail, _lock: lock })
    }

    /// The log at a glance.
    ///
    /// # Errors
    /// A [`LogError`].
    pub fn summary(&self) -> Result<LogSummary, LogError> {
        self.read_summary().map_err(error::log_error)
    }

    fn read_summary(&self) -> rusqlite::Result<LogSummary> {
        let count = |sql: &str| self.connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned);
        let fact = |fact: Fact| fact.read(&self.connection).map(|text| text.unwrap_or_else(|| "damaged".to_owned()));
        Ok(LogSummary {
            events: count("SELECT count(*) FROM records")?,
            bytes: count("SELECT coalesce(sum(length(record)), 0) FROM records")?,
            disk_bytes: directory::disk_bytes(&self.dir),
            topics: count("SELECT count(*) FROM topics")?,
            oldest: open::end_record(&self.connection, open::End::First)?,
            newest: open::end_record(&self.connection, open::End::Last)?,
            epochs: fact(Fact::Epochs)?,
            state: fact(Fact::State)?,
            holes: Fact::Holes.read(&self.connection)?.unwrap_or_default(),
        })
    }

    /// Reads everything and compares it; each problem is told in words. True if there was none.
    ///
    /// # Errors
    /// A [`LogError`] when it cannot be read on.
    pub fn verify(&self, mut problem: impl FnMut(&str)) -> Result<bool, LogError> {
        let mut problems = 0;
        let mut found = |text: &str| {
            problems += 1;
            problem(text);
        };
        if self.tail.is_damaged {
            found("the write-ahead log is damaged: commits behind the damage are lost");
        }
        if self.tail.incomplete_bytes > 0 {
            found(&format!(
                "{} bytes at the end belong to a commit that was never completed",
                self.tail.incomplete_bytes
            ));
        }
        self.check_storage(&mut found).map_err(error::log_error)?;
        self.check_records(&mut found).map_err(error::log_error)?;
        Ok(problems == 0)
    }

    /// What SQLite finds.
    fn check_storage(&self, found: &mut impl FnMut(&str)) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare("PRAGMA integrity_check")?;
        for text in statement.query_map([], |row| row.get::<_, String>(0))? {
            let text = text?;
            if text != "ok" {
                found(&text);
            }
        }
        Ok(())
    }

    /// Whether every record is whole, and each names the one before it in its topics.
    fn check_records(&self, found: &mut impl FnMut(&str)) -> rusqlite::Result<()> {
        let trimmed = self.trimmed()?;
        let mut last: HashMap<TopicName, u64> = HashMap::new();
        let mut statement = self.connection.prepare("SELECT seq, record FROM records ORDER BY seq")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let sequence = row.get::<_, i64>(0)?.cast_unsigned();
            let Some(Stored { record, previous, .. }) = bytes::decode(sequence, row.get_ref(1)?.as_blob()?) else {
                found(&format!("the event {sequence} is damaged"));
                continue;
            };
            for (topic, previous) in record.topics.iter().zip(previous) {
                let known = last.insert(topic.clone(), sequence).unwrap_or(0);
                let trimmed_to = trimmed.get(topic.as_str()).copied().unwrap_or(u64::MAX);
                if previous > known && previous > trimmed_to && previous != sequence {
                    found(&format!("an event of {:?} is missing before {sequence}: {previous}", topic.as_str()));
                }
            }
        }
        Ok(())
    }

    fn trimmed(&self) -> rusqlite::Result<HashMap<String, u64>> {
        let mut statement = self.connection.prepare("SELECT name, trimmed_to FROM topics")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
        rows.collect()
    }

    /// What begins an export.
    ///
    /// # Errors
    /// A [`LogError`].
    pub fn head(&self) -> Result<ExportHead, LogError> {
        let newest = || {
            let given = Fact::Given.read(&self.connection)?.and_then(|text| text.parse().ok()).unwrap_or(0);
            let last = open::end_record(&self.connection, open::End::Last)?.map_or(0, |(sequence, _)| sequence);
            Ok(ExportHead {
                format: 1,
                epochs: Fact::Epochs.read(&self.connection)?.unwrap_or_default(),
                newest: last.max(given),
            })
        };
        newest().map_err(error::log_error)
    }

    /// Hands out every event that can be read, in order; the number of those that cannot.
    ///
    /// # Errors
    /// A [`LogError`].
    pub fn export<E>(&self, mut each: impl FnMut(ExportedEvent) -> Result<(), E>) -> Result<Result<u64, E>, LogError> {
        let mut read = || {
            let mut statement = self.connection.prepare("SELECT seq, record FROM records ORDER BY seq")?;
            let mut rows = statement.query([])?;
            let mut unreadable = 0;
            while let Some(row) = rows.next()? {
                let sequence = row.get::<_, i64>(0)?.cast_unsigned();
                match bytes::decode(sequence, row.get_ref(1)?.as_blob()?) {
                    Some(stored) => {
                        if let Err(error) = each(ExportedEvent::of(stored)) {
                            return Ok(Err(error));
                        }
                    }
                    None => unreadable += 1,
                }
            }
            Ok(Ok(unreadable))
        };
        read().map_err(error::log_error)
    }

    /// Makes a log of an export, in a directory that is empty or not there; the number of its events.
    ///
    /// # Errors
    /// An [`OpenLogError`] for the directory; `E` for what `events` gives or holds, then the directory is no log.
    pub fn import<E: From<String>>(
        dir: &Path,
        head: &ExportHead,
        events: impl Iterator<Item = Result<ExportedEvent, E>>,
    ) -> Result<Result<u64, E>, OpenLogError> {
        let Some(epochs) = meta::parse_epochs(&head.epochs).filter(|_| head.format == 1) else {
            return Ok(Err("the export's head is not understood".to_owned().into()));
        };
        let _lock = import_into(dir)?;
        let connection = writer(dir).map_err(open::storage(dir))?;
        connection.execute_batch(open::SCHEMA).map_err(open::storage(dir))?;
        directory::mark(&connection).map_err(open::storage(dir))?;
        let wal = File::open(dir.join(directory::WAL)).map_err(directory::io_error(dir))?;
        let in_use = State::Synced;
        let (next_topic, rules, beginning) = (1, Vec::new(), None);
        let mut writer = Writer { connection, wal, level: None, next_topic, rules, in_use, beginning };
        let storage = |error: LogError| OpenLogError::Storage { dir: dir.to_owned(), source: error.into() };
        let topics = RwLock::new(LoggedTopics::default());
        let (mut batch, mut batch_at, mut count, mut last) = (Vec::new(), 0, 0, 0);
        for event in events {
            let (record, at) = match event.and_then(|event| Ok((event.to_record(last)?, event.at))) {
                Ok(parsed) => parsed,
                Err(error) => return Ok(Err(error)),
            };
            if at != batch_at || batch.len() == BATCH {
                writer.append(&batch, SyncWhen::Later, batch_at, &topics).map_err(storage)?;
                batch.clear();
            }
            (last, batch_at) = (record.sequence, at);
            batch.push(record);
            count += 1;
        }
        writer.append(&batch, SyncWhen::Later, batch_at, &topics).map_err(storage)?;
        Fact::Epochs.write(&writer.connection, &meta::epochs_text(&epochs)).map_err(open::storage(dir))?;
        writer.set_state(State::Synced).map_err(storage)?;
        writer.close(head.newest.max(last)).map_err(storage)?;
        directory::finish(dir)?;
        Ok(Ok(count))
    }
}

/// A log is begun where there is none.
fn import_into(dir: &Path) -> Result<File, OpenLogError> {
    match directory::look(dir)? {
        Found::Nothing => directory::begin(dir),
        Found::Log => {
            let problem = "there is a log already: an import makes a new one".to_owned();
            Err(OpenLogError::NotALog { path: dir.to_owned(), problem })
        }
    }
}

impl ExportedEvent {
    fn of(stored: Stored) -> Self {
        let Stored { record, at, .. } = stored;
        Self {
            sequence: record.sequence,
            at,
            topics: record.topics.iter().map(|topic| topic.as_str().to_owned()).collect(),
            private: record.private,
            end: record.kind == RecordKind::End,
            given_id: record.given_id.map(|id| id.as_str().to_owned()),
            text: String::from_utf8_lossy(record.frame.text_bytes()).into_owned(),
        }
    }

    fn to_record(&self, last: u64) -> Result<Record, String> {
        let wrong = |what: &str| format!("the event {} has {what}", self.sequence);
        if self.sequence <= last {
            return Err(wrong("a sequence that does not rise"));
        }
        let topics: Result<Box<[TopicName]>, _> = self.topics.iter().map(|topic| TopicName::parse(topic)).collect();
        let given_id = self.given_id.as_deref().map(EventId::parse).transpose();
        Ok(Record {
            sequence: self.sequence,
            kind: if self.end { RecordKind::End } else { RecordKind::Event },
            topics: topics.ok().filter(|topics| !topics.is_empty()).ok_or_else(|| wrong("no valid topics"))?,
            frame: Frame::from_text(self.text.as_bytes()).ok_or_else(|| wrong("a text that is cut"))?,
            private: self.private,
            given_id: given_id.map_err(|_| wrong("an id that is none"))?,
            key: None,
        })
    }
}
