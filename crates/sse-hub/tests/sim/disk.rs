//! A log on a simulated disk: what it loses, spoils and refuses is decided by the simulation.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use parking_lot::Mutex;
use sse_hub::{
    Durability, Epoch, Epochs, Extent, History, Log, LogContents, LogError, LogRead, Page, Record, RecordKind,
    Selector, SyncWhen, TopicName,
};
use sse_wire::EventId;

use crate::pages::{Kept, PageBounds, is_followed};

#[derive(Debug)]
pub(crate) struct Disk(Mutex<State>);

#[derive(Debug)]
struct State {
    rng: fastrand::Rng,
    records: BTreeMap<u64, Record>,
    /// What a crash leaves in any case.
    synced_to: u64,
    /// Where the writes end that a crash may undo, each whole.
    unsynced: Vec<u64>,
    trimmed_to: BTreeMap<TopicName, u64>,
    trimmed: BTreeSet<u64>,
    damaged: BTreeSet<u64>,
    ends: BTreeMap<TopicName, u64>,
    epochs: Option<Epochs>,
    durability: Durability,
    is_clean: bool,
    has_unlogged: bool,
    /// The last sequence given, when it was closed.
    newest_at_close: u64,
    fault: Option<Fault>,
    /// An append or a sync has failed: no append may follow.
    has_failed: bool,
    /// A sync has failed: none may follow, as it would pretend.
    has_failed_to_sync: bool,
    /// The process that writes is dead.
    is_dead: bool,
    /// Written since the simulation looked last.
    appended: Vec<Record>,
    /// Publishers' ids that were looked for in this run, and where they were found.
    finds: Vec<(EventId, Vec<u64>)>,
    /// Reads that failed.
    unreadable: Vec<(u64, u64)>,
}

/// What the next call comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Full,
    /// A write fails; it may have reached the disk.
    Write,
    /// The next sync fails, that of a write or one on its own.
    Sync,
    /// A read fails.
    Read,
}

impl Disk {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(State {
            rng: fastrand::Rng::with_seed(seed),
            records: BTreeMap::new(),
            synced_to: 0,
            unsynced: Vec::new(),
            trimmed_to: BTreeMap::new(),
            trimmed: BTreeSet::new(),
            damaged: BTreeSet::new(),
            ends: BTreeMap::new(),
            epochs: None,
            durability: Durability::Fsync,
            is_clean: true,
            has_unlogged: false,
            newest_at_close: 0,
            fault: None,
            has_failed: false,
            has_failed_to_sync: false,
            is_dead: false,
            appended: Vec::new(),
            finds: Vec::new(),
            unreadable: Vec::new(),
        }))
    }

    /// Opens it for a hub with this promise.
    pub(crate) fn open(&self, durability: Durability) -> LogContents {
        let state = &mut *self.0.lock();
        let newest = state.newest();
        let may_repeat = !state.is_clean && (state.has_unlogged || state.durability != Durability::Fsync);
        let epochs = match state.epochs.take() {
            Some(epochs) if !may_repeat => epochs,
            Some(epochs) => {
                let next = Epoch::from_entropy(100 + epochs.past().len() as u64);
                epochs.followed_by(next, newest)
            }
            None => Epochs::new(Epoch::from_entropy(99)),
        };
        state.epochs = Some(epochs.clone());
        state.durability = durability;
        (state.is_clean, state.has_unlogged, state.has_failed, state.is_dead) = (false, false, false, false);
        state.has_failed_to_sync = false;
        (state.fault, state.unreadable) = (None, Vec::new());
        state.appended.clear();
        state.finds.clear();
        // The table of epochs is synced, and with it what was written before.
        state.note_synced();
        LogContents {
            epochs,
            newest,
            closed: state.ends.keys().cloned().collect(),
            is_damaged: false,
            incomplete_bytes: 0,
            keys: Vec::new(),
        }
    }

    /// The process dies: nothing is written any more.
    pub(crate) fn kill(&self) {
        self.0.lock().is_dead = true;
    }

    /// The machine fails: of what was not synced, some of the last writes are gone.
    pub(crate) fn lose_unsynced(&self) {
        let state = &mut *self.0.lock();
        let kept = state.rng.usize(0..=state.unsynced.len());
        let last = kept.checked_sub(1).map_or(state.synced_to, |index| state.unsynced[index]);
        state.records.retain(|&sequence, _| sequence <= last);
        state.ends.retain(|_, sequence| *sequence <= last);
        state.note_synced();
    }

    pub(crate) fn fail_next(&self, fault: Fault) {
        self.0.lock().fault = Some(fault);
    }

    pub(crate) fn heal(&self) {
        self.0.lock().fault = None;
    }

    /// Drops what a topic has up to `sequence`. That is on the disk at once: a client was told.
    pub(crate) fn trim(&self, topic: &TopicName, sequence: u64) {
        let state = &mut *self.0.lock();
        let is_old =
            |record: &Record| record.sequence <= sequence.min(state.synced_to) && record.topics.contains(topic);
        let old: Vec<u64> =
            state.records.values().filter(|record| is_old(record)).map(|record| record.sequence).collect();
        for sequence in old {
            let Some(record) = state.records.remove(&sequence) else { continue };
            state.trimmed.insert(sequence);
            for topic in record.topics {
                let trimmed_to = state.trimmed_to.entry(topic).or_default();
                *trimmed_to = sequence.max(*trimmed_to);
            }
        }
    }

    pub(crate) fn damage_one(&self) {
        let state = &mut *self.0.lock();
        if !state.records.is_empty() {
            let index = state.rng.usize(0..state.records.len());
            state.damaged.extend(state.records.keys().nth(index));
        }
    }

    /// Whether the event can be read.
    pub(crate) fn keeps(&self, sequence: u64) -> bool {
        let state = self.0.lock();
        state.records.contains_key(&sequence) && !state.damaged.contains(&sequence)
    }

    pub(crate) fn has_damaged(&self, from: u64, up_to: u64) -> bool {
        self.0.lock().damaged.range(from..=up_to).next().is_some()
    }

    /// Whether a read failed that ended there.
    pub(crate) fn was_unreadable(&self, up_to: u64) -> bool {
        self.0.lock().unreadable.iter().any(|&(after, end)| after < up_to && up_to <= end)
    }

    pub(crate) fn trimmed_to(&self, topic: &TopicName) -> u64 {
        self.0.lock().trimmed_to.get(topic).copied().unwrap_or(0)
    }

    /// Whether the event is there, or was and was trimmed.
    pub(crate) fn had(&self, sequence: u64) -> bool {
        let state = self.0.lock();
        state.records.contains_key(&sequence) || state.trimmed.contains(&sequence)
    }

    /// Whether a crash leaves everything up to there.
    pub(crate) fn is_synced(&self, sequence: u64) -> bool {
        sequence <= self.0.lock().synced_to
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        self.0.lock().records.values().cloned().collect()
    }

    /// How often a publisher's id was looked for.
    pub(crate) fn finds(&self) -> usize {
        self.0.lock().finds.len()
    }

    /// What was found of an id since so many were looked for.
    pub(crate) fn found_since(&self, finds: usize, id: &str) -> Vec<Vec<u64>> {
        let state = self.0.lock();
        let of_id = state.finds[finds..].iter().filter(|(of, _)| of.as_str() == id);
        of_id.map(|(_, found)| found.clone()).collect()
    }

    pub(crate) fn take_appended(&self) -> Vec<Record> {
        std::mem::take(&mut self.0.lock().appended)
    }
}

impl State {
    fn newest(&self) -> u64 {
        let newest = self.records.last_key_value().map_or(0, |(&sequence, _)| sequence);
        let newest = self.trimmed_to.values().fold(newest, |newest, &trimmed_to| newest.max(trimmed_to));
        newest.max(self.newest_at_close)
    }

    fn note_synced(&mut self) {
        self.synced_to = self.synced_to.max(self.newest());
        self.unsynced.clear();
    }

    fn take_fault(&mut self, fault: Fault) -> bool {
        let is_due = self.fault == Some(fault);
        if is_due {
            self.fault = None;
        }
        is_due
    }

    fn check_alive(&mut self) -> Result<(), LogError> {
        if self.is_dead {
            return Err(failed("dead"));
        }
        assert!(!self.has_failed_to_sync, "after a failed sync nothing is pretended");
        Ok(())
    }
}

fn failed(what: &'static str) -> LogError {
    LogError::Failed(Box::new(io::Error::other(what)))
}

impl History for Disk {
    fn read(&self, read: &LogRead<'_>) -> Result<Page, LogError> {
        let state = &mut *self.0.lock();
        if state.take_fault(Fault::Read) {
            state.unreadable.push((read.after, read.up_to));
            return Err(failed("unreadable"));
        }
        let bounds = PageBounds { steps_max: state.rng.usize(1..6), scans_max: state.rng.usize(1..12) };
        let State { records, trimmed_to, damaged, .. } = state;
        Ok(Kept { records, trimmed_to, damaged }.read(read, &bounds))
    }

    fn find_given(&self, followed: &[Selector], id: &EventId) -> Result<Vec<Record>, LogError> {
        let state = &mut *self.0.lock();
        let is_wanted = |record: &&Record| {
            record.given_id.as_ref() == Some(id)
                && is_followed(record, followed)
                && !state.damaged.contains(&record.sequence)
        };
        let found: Vec<Record> = state.records.values().filter(is_wanted).cloned().collect();
        state.finds.push((id.clone(), found.iter().map(|record| record.sequence).collect()));
        Ok(found)
    }
}

impl Log for Disk {
    fn append(&self, records: &[Record], sync: SyncWhen) -> Result<(), LogError> {
        let state = &mut *self.0.lock();
        state.check_alive()?;
        assert!(!state.has_failed, "after a failure nothing is written");
        if state.take_fault(Fault::Full) {
            return Err(LogError::Full(Box::new(io::Error::other("full"))));
        }
        let write_fails = state.take_fault(Fault::Write);
        let sync_fails = sync == SyncWhen::Now && state.take_fault(Fault::Sync);
        (state.has_failed, state.has_failed_to_sync) = (write_fails || sync_fails, sync_fails);
        if write_fails && state.rng.bool() {
            return Err(failed("nothing was written"));
        }
        for record in records {
            assert!(record.sequence > state.newest(), "sequences rise");
            if record.kind == RecordKind::End {
                state.ends.insert(record.topics[0].clone(), record.sequence);
            }
            state.records.insert(record.sequence, record.clone());
        }
        state.unsynced.extend(records.last().map(|record| record.sequence));
        if state.has_failed {
            return Err(failed("who knows"));
        }
        if sync == SyncWhen::Now {
            state.note_synced();
        }
        state.appended.extend_from_slice(records);
        Ok(())
    }

    fn sync(&self) -> Result<(), LogError> {
        let state = &mut *self.0.lock();
        state.check_alive()?;
        if state.take_fault(Fault::Sync) {
            (state.has_failed, state.has_failed_to_sync) = (true, true);
            return Err(failed("not synced"));
        }
        state.note_synced();
        Ok(())
    }

    fn note_unlogged(&self) -> Result<(), LogError> {
        let state = &mut *self.0.lock();
        state.check_alive()?;
        state.has_unlogged = true;
        Ok(())
    }

    fn extent(&self, topic: &TopicName) -> Extent {
        let state = self.0.lock();
        let newest = state.records.values().rev().find(|record| record.topics.contains(topic));
        let trimmed_to = state.trimmed_to.get(topic).copied().unwrap_or(0);
        Extent { newest: newest.map_or(0, |record| record.sequence).max(trimmed_to), trimmed_to, exact: true }
    }

    fn close(&self, newest: u64) -> Result<(), LogError> {
        let state = &mut *self.0.lock();
        state.check_alive()?;
        (state.is_clean, state.newest_at_close) = (true, newest);
        state.note_synced();
        Ok(())
    }
}
