//! A log on a disk that is only pretended, and that fails when a test wants it to.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use sse_hub::{
    Epoch, Epochs, Extent, History, KeptKey, Log, LogContents, LogError, LogRead, Page, Record, RecordKind, Selector,
    SyncWhen, TopicName,
};
use sse_wire::EventId;

use crate::pages::{Kept, PageBounds, is_followed};

/// What is on the disk, and what is only on its way there.
#[derive(Debug, Default)]
pub(crate) struct MemoryLog {
    state: Mutex<State>,
    /// Syncs that were asked for.
    pub(crate) syncs: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<u64, Record>,
    /// The last sequence that a crash leaves.
    synced_to: u64,
    trimmed_to: BTreeMap<TopicName, u64>,
    damaged: BTreeSet<u64>,
    epochs: Option<Epochs>,
    is_clean: bool,
    /// The last sequence given, when it was closed.
    newest: u64,
    has_unlogged: bool,
    next_fault: Option<Fault>,
}

/// What the next append comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Full,
    /// The write fails.
    Write,
    /// It was written, and the sync failed: a crash may leave it or not.
    Sync,
}

impl MemoryLog {
    /// Opens it: what it holds, and the epoch to go on with.
    pub(crate) fn open(&self) -> LogContents {
        let state = &mut *self.state.lock();
        let newest = state.records.last_key_value().map_or(0, |(&sequence, _)| sequence);
        let newest = state.trimmed_to.values().fold(newest, |newest, &trimmed_to| newest.max(trimmed_to));
        let newest = newest.max(state.newest);
        let epochs = match state.epochs.take() {
            Some(epochs) if state.is_clean || !state.has_unlogged => epochs,
            Some(epochs) => {
                let next = Epoch::from_entropy(100 + epochs.past().len() as u64);
                epochs.followed_by(next, newest)
            }
            None => Epochs::new(Epoch::from_entropy(7)),
        };
        state.epochs = Some(epochs.clone());
        (state.is_clean, state.has_unlogged, state.next_fault) = (false, false, None);
        let ends = state.records.values().filter(|record| record.kind == RecordKind::End);
        let closed = ends.map(|end| end.topics[0].clone()).collect();
        let kept = |record: &Record| {
            let id = EventId::parse(
                std::str::from_utf8(record.frame.text_bytes()).ok()?.split("id: ").nth(1)?.lines().next()?,
            );
            Some(KeptKey { key: record.key?, id: id.ok()?, sequence: record.sequence })
        };
        let keys = state.records.values().filter_map(kept).collect();
        LogContents { epochs, newest, closed, keys, is_damaged: false, incomplete_bytes: 0 }
    }

    /// What was not synced is gone, or `keeps` of it.
    pub(crate) fn crash(&self, keeps: usize) {
        let state = &mut *self.state.lock();
        let unsynced: Vec<u64> = state.records.range(state.synced_to + 1..).map(|(&sequence, _)| sequence).collect();
        for sequence in unsynced.into_iter().skip(keeps) {
            state.records.remove(&sequence);
        }
        state.is_clean = false;
    }

    pub(crate) fn fail_next(&self, fault: Fault) {
        self.state.lock().next_fault = Some(fault);
    }

    /// Drops everything up to `sequence`.
    pub(crate) fn trim(&self, sequence: u64) {
        let state = &mut *self.state.lock();
        let kept = state.records.split_off(&(sequence + 1));
        for (sequence, record) in std::mem::replace(&mut state.records, kept) {
            for topic in record.topics {
                state.trimmed_to.insert(topic, sequence);
            }
        }
    }

    pub(crate) fn damage(&self, sequence: u64) {
        self.state.lock().damaged.insert(sequence);
    }

    pub(crate) fn sequences(&self) -> Vec<u64> {
        self.state.lock().records.keys().copied().collect()
    }
}

fn failed(what: &str) -> Box<io::Error> {
    Box::new(io::Error::other(what.to_owned()))
}

impl History for MemoryLog {
    fn read(&self, read: &LogRead<'_>) -> Result<Page, LogError> {
        let State { records, trimmed_to, damaged, .. } = &*self.state.lock();
        // Small pages, so that tests have several.
        let bounds = PageBounds { steps_max: 3, scans_max: usize::MAX };
        Ok(Kept { records, trimmed_to, damaged }.read(read, &bounds))
    }

    fn find_given(&self, followed: &[Selector], id: &EventId) -> Result<Vec<Record>, LogError> {
        let state = self.state.lock();
        let is_wanted = |record: &&Record| record.given_id.as_ref() == Some(id) && is_followed(record, followed);
        Ok(state.records.values().filter(is_wanted).cloned().collect())
    }
}

impl Log for MemoryLog {
    fn append(&self, records: &[Record], sync: SyncWhen) -> Result<(), LogError> {
        let state = &mut *self.state.lock();
        let fault = state.next_fault.take();
        match fault {
            Some(Fault::Full) => return Err(LogError::Full(failed("no room"))),
            Some(Fault::Write) => return Err(LogError::Failed(failed("the disk is gone"))),
            _ => (),
        }
        for record in records {
            let newest = state.records.last_key_value().map_or(0, |(&sequence, _)| sequence);
            assert!(record.sequence > newest, "sequences rise");
            state.records.insert(record.sequence, record.clone());
        }
        if fault == Some(Fault::Sync) {
            return Err(LogError::Failed(failed("not synced")));
        }
        if sync == SyncWhen::Now {
            self.syncs.fetch_add(1, Ordering::Relaxed);
            state.synced_to = records.last().map_or(state.synced_to, |last| last.sequence);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), LogError> {
        let state = &mut *self.state.lock();
        self.syncs.fetch_add(1, Ordering::Relaxed);
        state.synced_to = state.records.last_key_value().map_or(0, |(&sequence, _)| sequence);
        Ok(())
    }

    fn note_unlogged(&self) -> Result<(), LogError> {
        self.state.lock().has_unlogged = true;
        Ok(())
    }

    fn extent(&self, topic: &TopicName) -> Extent {
        let state = self.state.lock();
        let newest = state.records.values().rev().find(|record| record.topics.contains(topic));
        let trimmed_to = state.trimmed_to.get(topic).copied().unwrap_or(0);
        Extent { newest: newest.map_or(trimmed_to, |record| record.sequence), trimmed_to, exact: true }
    }

    fn close(&self, newest: u64) -> Result<(), LogError> {
        self.sync()?;
        let state = &mut *self.state.lock();
        (state.is_clean, state.newest) = (true, newest);
        Ok(())
    }
}
