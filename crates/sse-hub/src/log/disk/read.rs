//! Reading: pages of events, each compared with what its topic must have had before it.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

use parking_lot::RwLock;
use rusqlite::{Connection, OptionalExtension, params};
use sse_wire::EventId;

use super::append::id_key;
use super::bytes::{self, Stored};
use super::topics::LoggedTopics;
use crate::log::{LogRead, Page, Record, Step};
use crate::{GapReason, Selector, TopicName};

/// What was known of the topics before the snapshot that a page is read from.
#[derive(Debug)]
pub(super) struct View {
    /// Topics followed by name, if nothing else is followed.
    exact: Option<Vec<Followed>>,
    /// What is missing at the start.
    loss: Option<(u64, GapReason)>,
    /// The last event that the log must have.
    newest: u64,
    /// The furthest that any topic was trimmed.
    trimmed_max: u64,
}

/// A topic followed by name.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Followed {
    id: i64,
    /// Its last event.
    newest: u64,
    name: TopicName,
}

impl View {
    pub(super) fn new(topics: &LoggedTopics, wanted: &LogRead<'_>) -> Self {
        let LogRead { followed, after, up_to } = *wanted;
        let names = followed.iter().map(Selector::as_exact).collect::<Option<Vec<_>>>();
        let mut view = Self { exact: None, loss: None, newest: topics.newest, trimmed_max: topics.trimmed_max };
        match names {
            Some(names) => {
                let mut exact = Vec::with_capacity(names.len());
                for name in names {
                    match topics.get(name) {
                        Some(topic) => {
                            exact.push(Followed { id: topic.id, newest: topic.newest, name: name.clone() });
                            view.lose(topic.trimmed_to, GapReason::Trimmed, after);
                            view.lose(topic.damaged_to, GapReason::Damaged, after);
                        }
                        None => view.lose(topics.forgotten_to, GapReason::Unknown, after),
                    }
                }
                exact.sort_unstable();
                exact.dedup();
                view.exact = Some(exact);
            }
            // Whoever is behind all of these has lost nothing: then nobody has to look at every topic.
            None if topics.trimmed_max.max(topics.forgotten_to) > after || topics.holes_after(after) => {
                view.lose(topics.forgotten_to, GapReason::Unknown, after);
                let is_followed = |name: &TopicName| followed.iter().any(|selector| selector.matches(name.as_str()));
                for (_, topic) in topics.iter().filter(|(name, _)| is_followed(name)) {
                    view.lose(topic.trimmed_to, GapReason::Trimmed, after);
                    view.lose(topic.damaged_to, GapReason::Damaged, after);
                }
            }
            None => (),
        }
        for &hole in topics.holes.iter().filter(|hole| **hole <= up_to) {
            view.lose(hole, GapReason::Damaged, after);
        }
        // What lies beyond the read is told by the next.
        view.loss = view.loss.map(|(lost_to, reason)| (lost_to.min(up_to), reason));
        view
    }

    fn lose(&mut self, lost_to: u64, reason: GapReason, after: u64) {
        if lost_to > after && self.loss.is_none_or(|(known, _)| lost_to > known) {
            self.loss = Some((lost_to, reason));
        }
    }
}

/// Reads on, in one snapshot.
pub(super) fn page(
    connection: &Connection,
    topics: &RwLock<LoggedTopics>,
    view: &View,
    wanted: &LogRead<'_>,
) -> rusqlite::Result<Page> {
    let snapshot = connection.unchecked_transaction()?;
    let mut reading =
        Reading { topics, wanted, seen: HashMap::default(), loss: view.loss, page: Page::default(), bytes: 0 };
    match &view.exact {
        Some(exact) => merge(&snapshot, exact, &mut reading)?,
        None => scan(&snapshot, view, &mut reading)?,
    }
    let mut page = reading.finish();
    page.steps.dedup();
    Ok(page)
}

/// A page under way.
struct Reading<'a> {
    topics: &'a RwLock<LoggedTopics>,
    wanted: &'a LogRead<'a>,
    /// The last event read of each topic.
    seen: HashMap<TopicName, u64, ahash::RandomState>,
    /// To be told when the page comes to it.
    loss: Option<(u64, GapReason)>,
    page: Page,
    bytes: usize,
}

impl Reading<'_> {
    fn is_full(&self) -> bool {
        self.page.steps.len() >= LogRead::EVENTS_MAX || self.bytes >= LogRead::BYTES_MAX
    }

    fn lost(&mut self, up_to: u64, reason: GapReason) {
        self.tell_loss(up_to);
        self.page.steps.push(Step::Lost { up_to, reason });
    }

    /// Tells of the loss at the start, if the page has come to `sequence`.
    fn tell_loss(&mut self, sequence: u64) {
        if let Some((up_to, reason)) = self.loss.take_if(|(up_to, _)| *up_to <= sequence) {
            self.page.steps.push(Step::Lost { up_to, reason });
        }
    }

    /// Takes a record in, after comparing what it says of its topics with what was read of them.
    fn take(&mut self, sequence: u64, record: Option<&[u8]>) {
        let Some(Stored { record, previous, .. }) = record.and_then(|bytes| bytes::decode(sequence, bytes)) else {
            return self.lost(sequence, GapReason::Damaged);
        };
        let (mut is_visible, mut is_trimmed, mut missing) = (false, false, None::<(u64, GapReason)>);
        for (topic, &previous) in record.topics.iter().zip(&previous) {
            if !self.wanted.followed.iter().any(|selector| selector.matches(topic.as_str())) {
                continue;
            }
            let trimmed_to = self.topics.read().extent(topic).trimmed_to;
            is_visible |= sequence > trimmed_to;
            is_trimmed |= sequence <= trimmed_to;
            let seen = self.seen.insert(topic.clone(), sequence).unwrap_or(self.wanted.after);
            if previous > seen {
                let reason = if previous <= trimmed_to { GapReason::Trimmed } else { GapReason::Damaged };
                missing = missing.filter(|(known, _)| *known >= previous).or(Some((previous, reason)));
            }
        }
        if !is_visible {
            // It goes while this page is read: the view may not know of that.
            if is_trimmed && !self.is_told(sequence) {
                self.loss = Some((sequence, GapReason::Trimmed));
            }
            return;
        }
        self.tell_loss(sequence);
        // A loss that was told already covers it.
        let told = self.page.steps.iter().rev().find_map(|step| match step {
            Step::Lost { up_to, .. } => Some(*up_to),
            Step::Record(_) => None,
        });
        if let Some((up_to, reason)) = missing.filter(|(up_to, _)| told.is_none_or(|told| told < *up_to)) {
            self.page.steps.push(Step::Lost { up_to, reason });
        }
        self.bytes += record.frame.chunk().len();
        self.page.steps.push(Step::Record(record));
    }

    fn stop_at(&mut self, covered_to: u64) {
        self.page.covered_to = covered_to;
    }

    fn finish(mut self) -> Page {
        self.tell_loss(self.page.covered_to);
        self.page
    }
}

/// Topics followed by name: their indexes, merged.
fn merge(connection: &Connection, exact: &[Followed], reading: &mut Reading<'_>) -> rusqlite::Result<()> {
    let LogRead { after, up_to, .. } = *reading.wanted;
    let mut heads: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let mut indexes: Vec<Index> =
        exact.iter().map(|followed| Index { topic: followed.id, after, ahead: VecDeque::new() }).collect();
    for (place, index) in indexes.iter_mut().enumerate() {
        heads.extend(index.next(connection, up_to)?.map(|sequence| Reverse((sequence, place))));
    }
    let mut fetch = connection.prepare_cached("SELECT record FROM records WHERE seq = ?")?;
    let mut last = after;
    while let Some(Reverse((sequence, place))) = heads.pop() {
        if reading.is_full() {
            reading.stop_at(last);
            return Ok(());
        }
        heads.extend(indexes[place].next(connection, up_to)?.map(|next| Reverse((next, place))));
        // An event of several topics comes once.
        if sequence == last {
            continue;
        }
        last = sequence;
        let mut rows = fetch.query([sequence.cast_signed()])?;
        match rows.next()? {
            Some(row) => reading.take(sequence, Some(row.get_ref(0)?.as_blob()?)),
            None => reading.take(sequence, None),
        }
    }
    // Every topic has come to its last event; otherwise that is missing, or was dropped since the view was taken. What counts
    // is the events: a damaged index may name one of another topic.
    for Followed { newest, name, .. } in exact {
        let reached = reading.seen.get(name).copied().unwrap_or(after);
        if *newest <= up_to && *newest > reached && !reading.is_told(*newest) {
            let trimmed_to = reading.topics.read().extent(name).trimmed_to;
            reading.lost(*newest, if trimmed_to >= *newest { GapReason::Trimmed } else { GapReason::Damaged });
        }
    }
    reading.stop_at(up_to);
    Ok(())
}

impl Reading<'_> {
    /// Whether a loss is told, or will be, that goes up to here.
    fn is_told(&self, sequence: u64) -> bool {
        let told = |step: &Step| matches!(step, Step::Lost { up_to, .. } if *up_to >= sequence);
        self.loss.is_some_and(|(up_to, _)| up_to >= sequence) || self.page.steps.iter().any(told)
    }
}

/// One topic's sequences, a few at a time.
struct Index {
    topic: i64,
    /// The last one taken.
    after: u64,
    ahead: VecDeque<u64>,
}

impl Index {
    const AHEAD: i64 = 64;

    fn next(&mut self, connection: &Connection, up_to: u64) -> rusqlite::Result<Option<u64>> {
        if self.ahead.is_empty() {
            let mut statement = connection.prepare_cached(
                "SELECT seq FROM topic_index WHERE topic = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
            )?;
            let bounds = params![self.topic, self.after.cast_signed(), up_to.cast_signed(), Self::AHEAD];
            for sequence in statement.query_map(bounds, |row| row.get::<_, i64>(0))? {
                let sequence = sequence?.cast_unsigned();
                check_order(self.ahead.back().copied().unwrap_or(self.after), sequence, up_to)?;
                self.ahead.push_back(sequence);
            }
        }
        let next = self.ahead.pop_front();
        self.after = next.unwrap_or(self.after);
        Ok(next)
    }
}

/// Templates and `*`: all records, those not wanted passed over.
fn scan(connection: &Connection, view: &View, reading: &mut Reading<'_>) -> rusqlite::Result<()> {
    let LogRead { followed, after, up_to } = *reading.wanted;
    let mut statement =
        connection.prepare_cached("SELECT seq, record FROM records WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?")?;
    let mut rows = statement.query(params![after.cast_signed(), up_to.cast_signed(), LogRead::SCANNED_MAX as i64])?;
    let (mut last, mut scanned) = (after, 0);
    while let Some(row) = rows.next()? {
        if reading.is_full() {
            reading.stop_at(last);
            return Ok(());
        }
        let sequence = row.get::<_, i64>(0)?.cast_unsigned();
        check_order(last, sequence, up_to)?;
        last = sequence;
        scanned += 1;
        let bytes = row.get_ref(1)?.as_blob()?;
        match bytes::decode(last, bytes) {
            Some(stored) if !is_followed(&stored.record, followed) => (),
            _ => reading.take(last, Some(bytes)),
        }
    }
    if scanned == LogRead::SCANNED_MAX {
        reading.stop_at(last);
        return Ok(());
    }
    if view.newest <= up_to && view.newest > last && !reading.is_told(view.newest) {
        let trimmed_max = reading.topics.read().trimmed_max;
        if trimmed_max < view.newest {
            reading.lost(view.newest, GapReason::Damaged);
        } else if trimmed_max > view.trimmed_max {
            // Dropped since the view was taken: it may have been wanted.
            reading.lost(view.newest, GapReason::Trimmed);
        }
    }
    reading.stop_at(up_to);
    Ok(())
}

/// A damaged tree may give anything: what it gives out of order is not believed.
fn check_order(last: u64, sequence: u64, up_to: u64) -> rusqlite::Result<()> {
    if (last + 1..=up_to).contains(&sequence) { Ok(()) } else { Err(rusqlite::Error::InvalidQuery) }
}

fn is_followed(record: &Record, followed: &[Selector]) -> bool {
    record.topics.iter().any(|topic| followed.iter().any(|selector| selector.matches(topic.as_str())))
}

/// Events of one id that are looked at, the earliest first.
const GIVEN_MAX: i64 = 10_000;

/// The events with this id in what is followed: of topics by name, or of all and then compared.
pub(super) fn find_given(
    connection: &Connection,
    followed: &[Selector],
    topics: &[i64],
    has_patterns: bool,
    id: &EventId,
) -> rusqlite::Result<Vec<Record>> {
    let key = id_key(id.as_str());
    let mut sequences: Vec<i64> = Vec::new();
    if has_patterns {
        let mut all =
            connection.prepare_cached("SELECT DISTINCT seq FROM given_ids WHERE id = ? ORDER BY seq LIMIT ?")?;
        for sequence in all.query_map(params![key, GIVEN_MAX], |row| row.get(0))? {
            sequences.push(sequence?);
        }
    } else {
        let mut of_topic =
            connection.prepare_cached("SELECT seq FROM given_ids WHERE id = ? AND topic = ? ORDER BY seq LIMIT 64")?;
        for topic in topics {
            for sequence in of_topic.query_map(params![key, topic], |row| row.get(0))? {
                sequences.push(sequence?);
            }
        }
        sequences.sort_unstable();
        sequences.dedup();
    }
    let mut fetch = connection.prepare_cached("SELECT record FROM records WHERE seq = ?")?;
    let mut found = Vec::new();
    for sequence in sequences {
        let record: Option<Vec<u8>> = fetch.query_row([sequence], |row| row.get(0)).optional()?;
        let stored = record.and_then(|bytes| bytes::decode(sequence.cast_unsigned(), &bytes));
        let is_it = |record: &Record| record.given_id.as_ref() == Some(id) && is_followed(record, followed);
        found.extend(stored.map(|stored| stored.record).filter(is_it));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::topics::LoggedTopic;
    use super::*;
    use crate::log::{DiskLog, DiskLogOptions, Durability, Log, RecordKind, Retention, SyncWhen};

    fn log(dir: &std::path::Path, events_max: u64) -> DiskLog {
        let retention = Retention { age_max: Duration::from_secs(3600), events_max, bytes_max: u64::MAX };
        let options = DiskLogOptions {
            dir: dir.to_owned(),
            durability: Durability::Fsync,
            retention,
            retention_by_topic: Vec::new(),
            closed_topic_age: Duration::ZERO,
            idempotency_window: Duration::ZERO,
        };
        DiskLog::open(options).unwrap().0
    }

    fn name(topic: &str) -> TopicName {
        TopicName::parse(topic).unwrap()
    }

    fn record(sequence: u64, topic: &str) -> Record {
        Record {
            sequence,
            kind: RecordKind::Event,
            topics: [name(topic)].into(),
            frame: sse_wire::Event::new("x").encode(),
            private: false,
            given_id: None,
            key: None,
        }
    }

    /// Retention says what it drops, and drops it later: a snapshot may still have that, in the middle of a page too.
    #[test]
    fn what_is_about_to_be_dropped_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path(), 100);
        let records: Vec<Record> = (1..=5).map(|sequence| record(sequence, "a")).collect();
        log.append(&records, SyncWhen::Now).unwrap();
        let trim = |trimmed_to| {
            let topic = *log.topics.read().get(&name("a")).unwrap();
            log.topics.write().set(&name("a"), LoggedTopic { trimmed_to, ..topic });
        };
        for selector in ["a", "{x}"] {
            let followed = [Selector::parse(selector).unwrap()];
            let wanted = LogRead { followed: &followed, after: 1, up_to: 5 };
            for (trimmed_to, first) in [(1, 2_u64), (2, 3), (4, 5), (5, 6)] {
                let kept = first..=5;
                trim(0);
                let view = View::new(&log.topics.read(), &wanted);
                trim(trimmed_to);
                let page = log.with_reader(|connection| page(connection, &log.topics, &view, &wanted)).unwrap();
                let lost = Step::Lost { up_to: trimmed_to, reason: GapReason::Trimmed };
                let lost = (trimmed_to > 1).then_some(lost).into_iter();
                let expected: Vec<Step> =
                    lost.chain(kept.map(|sequence| Step::Record(record(sequence, "a")))).collect();
                assert_eq!(page.steps, expected, "{selector} up to {trimmed_to}");
                assert_eq!(page.covered_to, 5);
            }
        }
    }

    /// What retention drops between the look at the topics and the snapshot is told, even if it was a topic's last.
    #[test]
    fn what_is_dropped_while_it_is_read_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path(), 1);
        log.append(&[record(1, "a"), record(2, "a"), record(3, "b")], SyncWhen::Now).unwrap();
        for selector in ["a", "{x}"] {
            let followed = [Selector::parse(selector).unwrap()];
            let wanted = LogRead { followed: &followed, after: 0, up_to: 2 };
            let mut view = View::new(&LoggedTopics::default(), &wanted);
            if selector == "a" {
                let id = log.topics.read().id_of(&name("a")).unwrap();
                view.exact = Some(vec![Followed { id, newest: 2, name: name("a") }]);
            }
            view.newest = 2;
            while log.events() > 1 {
                log.tend().unwrap();
            }
            let page = log.with_reader(|connection| page(connection, &log.topics, &view, &wanted)).unwrap();
            assert_eq!(page.steps, [Step::Lost { up_to: 2, reason: GapReason::Trimmed }], "{selector}");
        }
    }
}
