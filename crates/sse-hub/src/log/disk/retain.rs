//! What is no longer kept goes, a few records at a time, beside the traffic.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, OptionalExtension, params};

use super::append::{id_key, write_topic};
use super::bytes::{self, Stored};
use super::error::{is_full, log_error};
use super::meta::{Fact, millis, write_kept};
use super::topics::LoggedTopic;
use super::{DiskLog, Writer};
use crate::TopicName;
use crate::log::{LogError, SyncWhen};

/// What is kept. Whatever comes first ends a record's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Longest time.
    pub age_max: Duration,
    /// Most events.
    pub events_max: u64,
    /// Most bytes of records.
    pub bytes_max: u64,
}

/// What a [`DiskLog::tend`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retained {
    /// Events that are no longer kept.
    pub dropped: u64,
    /// There is more to do.
    pub has_more: bool,
}

/// Where tending stands.
#[derive(Debug, Default)]
pub(super) struct Tending {
    /// When ages were looked at last.
    aged_at: Option<Instant>,
    /// Topics with a retention of their own that are still to be looked at this time.
    topics: Vec<TopicName>,
}

/// Records dropped in one step: a commit waits no longer for it than for another commit.
const STEP: usize = 128;
/// Topics looked at in one step.
const TOPICS_STEP: usize = 32;
/// How often ages are looked at.
const AGE_EVERY: Duration = Duration::from_secs(1);
/// Pages in the write-ahead log from which on they are put into the main file.
const CHECKPOINT_PAGES: i32 = 1000;

impl DiskLog {
    /// Does a small part of what is due: drops records that are no longer kept, and moves what was committed to its place. The
    /// host calls it between commits, and again soon while there is more.
    ///
    /// # Errors
    /// A [`LogError`]: nothing may be appended after it, except after [`LogError::Full`].
    pub fn tend(&self) -> Result<Retained, LogError> {
        self.begun()?.checkpoint().map_err(log_error)?;
        let mut tending = self.tending.lock();
        let is_age_due = tending.aged_at.is_none_or(|at| at.elapsed() >= AGE_EVERY);
        if is_age_due {
            tending.aged_at = Some(Instant::now());
            tending.topics = self.topics_with_rules();
        }
        if is_age_due {
            let writer = &mut *self.writer.lock();
            writer.drop_keys(self.old_before(self.idempotency_window)).map_err(log_error)?;
        }
        let dropped = self.drop_oldest(is_age_due)?;
        let of_topics = self.tend_topics(&mut tending.topics)?;
        if is_age_due && dropped > 0 {
            // There may be more that is as old.
            tending.aged_at = None;
        }
        self.forget_topics()?;
        let has_more = dropped > 0 || of_topics > 0 || !tending.topics.is_empty();
        Ok(Retained { dropped: dropped + of_topics, has_more })
    }

    /// Drops the oldest of all, if the whole log has too much.
    fn drop_oldest(&self, is_age_due: bool) -> Result<u64, LogError> {
        let (events, bytes) = {
            let topics = self.topics.read();
            (topics.events, topics.bytes)
        };
        let is_over = events > self.retention.events_max || bytes > self.retention.bytes_max;
        if !is_over && !is_age_due {
            return Ok(0);
        }
        let writer = &mut *self.writer.lock();
        let oldest = writer.oldest(None, STEP).map_err(log_error)?;
        let due = self.due(&oldest, &self.retention, events, bytes);
        self.drop_records(writer, due, None)
    }

    /// Looks at some topics with a retention of their own.
    fn tend_topics(&self, topics: &mut Vec<TopicName>) -> Result<u64, LogError> {
        let mut dropped = 0;
        for _ in 0..TOPICS_STEP {
            let Some(name) = topics.pop() else { break };
            let of_topic = self.tend_topic(&name)?;
            dropped += of_topic;
            if of_topic > 0 {
                topics.push(name);
                break;
            }
        }
        Ok(dropped)
    }

    fn tend_topic(&self, name: &TopicName) -> Result<u64, LogError> {
        let Some(topic) = self.topics.read().get(name).copied() else { return Ok(0) };
        let writer = &mut *self.writer.lock();
        let Some(retention) = topic.rule.and_then(|rule| writer.rules.get(rule)).map(|(_, retention)| *retention)
        else {
            return Ok(0);
        };
        let oldest = writer.oldest(Some(topic.id), STEP).map_err(log_error)?;
        let due = self.due(&oldest, &retention, topic.events, topic.bytes);
        self.drop_records(writer, due, Some(name))
    }

    /// Those of the oldest that are no longer kept, where so much is kept.
    fn due<'a>(&self, oldest: &'a [Found], retention: &Retention, mut events: u64, mut bytes: u64) -> &'a [Found] {
        let old_before = self.old_before(retention.age_max);
        let is_due = |record: &&Found| {
            let is_due = events > retention.events_max || bytes > retention.bytes_max || record.at() < old_before;
            (events, bytes) = (events.saturating_sub(1), bytes.saturating_sub(record.bytes as u64));
            is_due
        };
        &oldest[..oldest.iter().take_while(is_due).count()]
    }

    fn topics_with_rules(&self) -> Vec<TopicName> {
        if self.writer.lock().rules.is_empty() {
            return Vec::new();
        }
        let topics = self.topics.read();
        let ruled = topics.iter().filter(|(_, topic)| topic.rule.is_some() && topic.events > 0);
        ruled.map(|(name, _)| name.clone()).collect()
    }

    fn old_before(&self, age_max: Duration) -> u64 {
        self.clock.now().saturating_sub(millis(age_max))
    }

    /// Drops these records from all their topics, or from one, and then those that no topic keeps.
    fn drop_records(&self, writer: &mut Writer, records: &[Found], only: Option<&TopicName>) -> Result<u64, LogError> {
        if records.is_empty() {
            return Ok(0);
        }
        let mut changed: HashMap<TopicName, LoggedTopic> = HashMap::new();
        let mut before = Vec::new();
        let (mut gone, mut bytes) = (Vec::new(), 0);
        let kept = {
            let topics = &mut *self.topics.write();
            for found in records {
                let mut is_kept = false;
                for name in found.topics() {
                    let Some(topic) = topics.get(name) else { continue };
                    let is_trimmed = topic.trimmed_to >= found.sequence;
                    if is_trimmed || only.is_some_and(|only| only != name) {
                        is_kept |= !is_trimmed;
                        continue;
                    }
                    before.push((name.clone(), *topic));
                    let mut topic = *topic;
                    topic.trimmed_to = found.sequence;
                    topic.events = topic.events.saturating_sub(1);
                    topic.bytes = topic.bytes.saturating_sub(found.bytes as u64);
                    // Known to be gone before it is: who reads meanwhile is told of a loss, never of damage.
                    topics.set(name, topic);
                    changed.insert(name.clone(), topic);
                }
                if !is_kept {
                    gone.push(found);
                    bytes += found.bytes as u64;
                }
            }
            (topics.events.saturating_sub(gone.len() as u64), topics.bytes.saturating_sub(bytes))
        };
        let dropped = writer.drop_rows(&gone, &changed, kept);
        let topics = &mut *self.topics.write();
        if let Err(error) = dropped {
            // They are all there still, and are to be dropped another time.
            before.into_iter().rev().for_each(|(name, topic)| topics.set(&name, topic));
            return Err(log_error(error));
        }
        (topics.events, topics.bytes) = kept;
        Ok(gone.len() as u64)
    }

    fn forget_topics(&self) -> Result<(), LogError> {
        for _ in 0..STEP {
            let Some((name, topic)) = self.topics.write().next_to_forget() else { return Ok(()) };
            let writer = &mut *self.writer.lock();
            let forgotten_to = self.topics.read().forgotten_to.max(topic.newest);
            writer.forget(topic.id, forgotten_to).map_err(log_error)?;
            self.topics.write().forget(&name);
        }
        Ok(())
    }
}

/// A record that may have to go.
struct Found {
    sequence: u64,
    bytes: usize,
    stored: Option<Stored>,
}

impl Found {
    /// One that cannot be read is as old as can be.
    fn at(&self) -> u64 {
        self.stored.as_ref().map_or(0, |stored| stored.at)
    }

    fn topics(&self) -> &[TopicName] {
        self.stored.as_ref().map_or(&[], |stored| &stored.record.topics)
    }
}

impl Writer {
    /// SQLite's own checkpoint drops its errors: a failed sync of the main file would be forgotten. A full disk is no harm, as
    /// everything is in the write-ahead log.
    fn checkpoint(&mut self) -> rusqlite::Result<()> {
        let (pages, _) = self.connection.wal_checkpoint_v2(None::<&str>, CheckpointMode::NOOP)?;
        if pages < CHECKPOINT_PAGES {
            return Ok(());
        }
        match self.connection.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE) {
            Err(error) if !is_full(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// The oldest records of a topic, or of all.
    fn oldest(&self, topic: Option<i64>, count: usize) -> rusqlite::Result<Vec<Found>> {
        let mut statement = match topic {
            Some(_) => self.connection.prepare_cached(
                "SELECT i.seq, r.record FROM topic_index i JOIN records r ON r.seq = i.seq
                 WHERE i.topic = ? ORDER BY i.seq LIMIT ?",
            )?,
            None => self
                .connection
                .prepare_cached("SELECT seq, record FROM records WHERE ? IS NULL ORDER BY seq LIMIT ?")?,
        };
        let mut rows = statement.query(params![topic, count as i64])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let sequence = row.get::<_, i64>(0)?.cast_unsigned();
            let record = row.get_ref(1)?.as_blob()?;
            found.push(Found { sequence, bytes: record.len(), stored: bytes::decode(sequence, record) });
        }
        Ok(found)
    }

    /// A crash may bring back what was dropped: then it is dropped again.
    fn drop_rows(
        &mut self,
        gone: &[&Found],
        changed: &HashMap<TopicName, LoggedTopic>,
        (events, bytes): (u64, u64),
    ) -> rusqlite::Result<()> {
        self.set_level(SyncWhen::Later)?;
        let transaction = self.connection.unchecked_transaction()?;
        for (name, topic) in changed {
            drop_from_topic(&transaction, topic)?;
            write_topic(&transaction, name, topic)?;
        }
        write_kept(&transaction, events, bytes)?;
        {
            let mut record = transaction.prepare_cached("DELETE FROM records WHERE seq = ?")?;
            let mut given = transaction.prepare_cached("DELETE FROM given_ids WHERE id = ? AND seq = ?")?;
            for found in gone {
                record.execute([found.sequence.cast_signed()])?;
                let id = found.stored.as_ref().and_then(|stored| stored.record.given_id.as_ref());
                if let Some(id) = id {
                    given.execute(params![id_key(id.as_str()), found.sequence.cast_signed()])?;
                }
            }
        }
        transaction.commit()
    }

    fn drop_keys(&mut self, old_before: u64) -> rusqlite::Result<()> {
        let is_old = "SELECT seq FROM keys ORDER BY seq LIMIT 1";
        let oldest: Option<i64> = self.connection.prepare_cached(is_old)?.query_row([], |row| row.get(0)).optional()?;
        if oldest.is_none() {
            return Ok(());
        }
        self.set_level(SyncWhen::Later)?;
        let delete = "DELETE FROM keys WHERE seq IN (SELECT seq FROM keys WHERE at < ? ORDER BY seq LIMIT 1000)";
        self.connection.prepare_cached(delete)?.execute([old_before.cast_signed()])?;
        Ok(())
    }

    fn forget(&mut self, topic: i64, forgotten_to: u64) -> rusqlite::Result<()> {
        self.set_level(SyncWhen::Later)?;
        let transaction = self.connection.unchecked_transaction()?;
        transaction.prepare_cached("DELETE FROM topics WHERE id = ?")?.execute([topic])?;
        Fact::ForgottenTo.write(&transaction, &forgotten_to.to_string())?;
        transaction.commit()
    }
}

fn drop_from_topic(connection: &Connection, topic: &LoggedTopic) -> rusqlite::Result<()> {
    let mut index = connection.prepare_cached("DELETE FROM topic_index WHERE topic = ? AND seq <= ?")?;
    index.execute(params![topic.id, topic.trimmed_to.cast_signed()])?;
    Ok(())
}
