//! The one thread that numbers, writes and delivers.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Answer, Chain, Durable, Pending};
use crate::hub::HubInner;
use crate::log::{Durability, LogError, Record, SyncWhen};
use crate::ring::{Entry, EntryKind};
use crate::{Hub, PublishError, Receipt};

/// Most events of one commit.
const EVENTS_MAX: usize = 4096;
/// Most bytes of one commit; one event may go beyond.
const BYTES_MAX: usize = 8 << 20;

/// Commits what waits, a batch at a time. A host has one and runs it on a thread of its own.
#[derive(Debug)]
pub struct Committer {
    hub: Hub,
    durable: Arc<Durable>,
    /// Sequences are given that the log does not hold.
    has_unlogged: bool,
    /// Something was written that is not synced yet.
    is_dirty: bool,
}

/// What a step of a [`Committer`] came to.
#[derive(Debug)]
pub enum Commit {
    /// So many events were taken from the queue, and each has its answer.
    Done(usize),
    /// Nothing waits.
    Idle,
    /// Nothing waits, and nothing will come.
    Stopped,
    /// The log failed with this: publishing is over until the next start.
    Failed(LogError),
    /// The disk is full: this batch was refused.
    Full(LogError),
}

/// An event that will be published if its batch is.
struct Accepted {
    answer: Arc<Answer>,
    /// Retries of it that came in the same batch.
    retries: Vec<Arc<Answer>>,
    chain: Option<Arc<Chain>>,
    receipt: Receipt,
    entry: Entry,
    publication: crate::Publication,
    cost: usize,
}

/// A batch with its numbers.
#[derive(Default)]
struct Batch {
    accepted: Vec<Accepted>,
    /// Where the event with a key is among them.
    by_key: HashMap<[u8; 16], usize, ahash::RandomState>,
    records: Vec<Record>,
    /// The last sequence that it takes, with an event or without.
    last: u64,
}

impl Committer {
    pub(crate) fn new(hub: Hub, durable: Arc<Durable>) -> Self {
        Self { hub, durable, has_unlogged: false, is_dirty: false }
    }

    /// Waits until something is to be committed, for `timeout` at most.
    pub fn wait(&self, timeout: Duration) {
        self.durable.queue.wait(timeout);
    }

    /// Whether something was written that no sync followed.
    pub fn is_dirty(&self) -> bool {
        self.is_dirty
    }

    /// Commits one batch. `deliver` is called for each event with what [`Publication::began_at`](crate::Publication::began_at)
    /// said, and runs the delivery that it is given.
    pub fn step(&mut self, mut deliver: impl FnMut(Option<Instant>, &mut dyn FnMut())) -> Commit {
        let taken = self.durable.queue.take(EVENTS_MAX, BYTES_MAX);
        if taken.is_empty() {
            return if self.durable.queue.is_stopped() { Commit::Stopped } else { Commit::Idle };
        }
        let count = taken.len();
        let batch = self.accept(taken);
        let written = match self.durable.durability {
            Durability::Memory => {
                let (records, last) = self.deliver(batch, &mut deliver);
                self.write(&records, last, SyncWhen::Later)
            }
            Durability::Interval => self.write_and_deliver(batch, SyncWhen::Later, &mut deliver),
            Durability::Fsync | Durability::Backplane => self.write_and_deliver(batch, SyncWhen::Now, &mut deliver),
        };
        match written {
            Ok(()) => Commit::Done(count),
            // Events that were delivered and not written leave a hole: that is for good.
            Err(error @ LogError::Full(_)) if self.durable.durability != Durability::Memory => Commit::Full(error),
            Err(error) => {
                self.fail();
                Commit::Failed(error)
            }
        }
    }

    /// Has everything written so far on the disk.
    ///
    /// # Errors
    /// The log's: then publishing is over.
    pub fn sync(&mut self) -> Result<(), LogError> {
        if !std::mem::take(&mut self.is_dirty) {
            return Ok(());
        }
        self.durable.log.sync().inspect_err(|_| self.fail())
    }

    /// Ends a log to which nothing follows: the next start goes on with the same epoch.
    ///
    /// # Errors
    /// The log's.
    pub fn close(mut self) -> Result<(), LogError> {
        if self.durable.queue.has_failed() { Ok(()) } else { self.let_go().map(drop) }
    }

    /// Leaves the log as it is between two processes, with all that was committed: whoever opens it goes on with the same epoch
    /// after the sequence that this gives. Nothing may be committed here then, unless the log's host goes on with it.
    ///
    /// # Errors
    /// The log's.
    pub fn let_go(&mut self) -> Result<u64, LogError> {
        self.sync()?;
        let newest = self.hub.inner.order.newest();
        self.durable.log.close(newest)?;
        self.has_unlogged = false;
        Ok(newest)
    }

    /// Numbers those that may be published, and answers the others.
    fn accept(&mut self, taken: Vec<Pending>) -> Batch {
        let hub = self.hub.inner.clone();
        let mut batch = Batch { last: hub.order.newest(), ..Batch::default() };
        let mut closing = HashSet::new();
        for pending in taken {
            let Pending::Event { publication, draft, answer, chain } = pending else {
                batch.last += 1;
                continue;
            };
            let Some(answer) = self.answer_retry(&mut batch, &publication, answer) else { continue };
            let admitted = match &chain {
                Some(chain) if chain.is_broken() => Err(PublishError::Skipped),
                _ => hub.admit_for_commit(&publication, draft.chunk_len(), &mut closing),
            };
            let cost = match admitted {
                Ok(cost) => cost,
                Err(error) => {
                    chain.iter().for_each(|chain| chain.break_off());
                    answer.give(Err(error));
                    continue;
                }
            };
            batch.last += 1;
            let (receipt, entry) = hub.number(&publication, draft, batch.last, cost);
            if publication.is_logged {
                batch.records.push(record(&publication, &entry));
            }
            if let Some(key) = publication.key {
                batch.by_key.insert(key.key, batch.accepted.len());
            }
            batch.accepted.push(Accepted { answer, retries: Vec::new(), chain, receipt, entry, publication, cost });
        }
        batch
    }

    /// Answers a publisher that tries again; otherwise gives its answer back to be given later.
    fn answer_retry(
        &self,
        batch: &mut Batch,
        publication: &crate::Publication,
        answer: Arc<Answer>,
    ) -> Option<Arc<Answer>> {
        let Some(key) = publication.key else { return Some(answer) };
        match self.hub.inner.keys.lock().find(&key) {
            Ok(Some(receipt)) => answer.give(Ok(receipt)),
            Err(error) => answer.give(Err(error)),
            Ok(None) => {
                let first = batch.by_key.get(&key.key).and_then(|&place| batch.accepted.get_mut(place));
                match first {
                    Some(first) if first.publication.key == Some(key) => first.retries.push(answer),
                    Some(_) => answer.give(Err(PublishError::KeyReused)),
                    None => return Some(answer),
                }
            }
        }
        None
    }

    fn write_and_deliver(
        &mut self,
        batch: Batch,
        sync: SyncWhen,
        deliver: &mut impl FnMut(Option<Instant>, &mut dyn FnMut()),
    ) -> Result<(), LogError> {
        if let Err(error) = self.note_unlogged(&batch).and_then(|()| self.write(&batch.records, batch.last, sync)) {
            self.refuse(batch, &error);
            return Err(error);
        }
        self.deliver(batch, deliver);
        Ok(())
    }

    fn note_unlogged(&mut self, batch: &Batch) -> Result<(), LogError> {
        let sequences = batch.last - self.hub.inner.order.newest();
        if sequences > batch.records.len() as u64 && !self.has_unlogged {
            self.durable.log.note_unlogged()?;
            self.has_unlogged = true;
        }
        Ok(())
    }

    fn write(&mut self, records: &[Record], last: u64, sync: SyncWhen) -> Result<(), LogError> {
        if !records.is_empty() {
            self.durable.log.append(records, sync)?;
            self.is_dirty = sync == SyncWhen::Later;
        }
        self.durable.archive.note_written(last);
        Ok(())
    }

    /// Puts the batch in the rings and answers; gives back its records and its last sequence.
    fn deliver(&self, batch: Batch, deliver: &mut impl FnMut(Option<Instant>, &mut dyn FnMut())) -> (Vec<Record>, u64) {
        let hub = &self.hub.inner;
        for accepted in batch.accepted {
            let Accepted { answer, retries, receipt, entry, publication, .. } = accepted;
            // Those before it may have no event.
            hub.order.skip_to(entry.sequence - 1);
            let mut entry = Some(entry);
            deliver(publication.began_at, &mut || {
                if let Some(entry) = entry.take() {
                    hub.append_numbered(publication.topics(), entry);
                }
            });
            hub.count_published(&publication);
            if let Some(key) = publication.key {
                hub.keys.lock().remember(key, receipt.clone(), hub.tick.load(Ordering::Relaxed));
            }
            retries.iter().for_each(|retry| retry.give(Ok(receipt.clone())));
            answer.give(Ok(receipt));
        }
        hub.order.skip_to(batch.last);
        (batch.records, batch.last)
    }

    /// Nothing of the batch is published. After a full disk its numbers, which nobody has seen, are given again; what is told
    /// of as given is in the log. After a failure none are.
    fn refuse(&self, batch: Batch, error: &LogError) {
        for accepted in batch.accepted {
            self.hub.inner.release(&accepted.entry, accepted.cost);
            accepted.chain.iter().for_each(|chain| chain.break_off());
            let refused = match error {
                LogError::Full(_) => PublishError::LogFull,
                LogError::Failed(_) | LogError::Unavailable(_) => PublishError::LogFailed,
            };
            accepted.retries.iter().for_each(|retry| retry.give(Err(refused.clone())));
            accepted.answer.give(Err(refused));
        }
    }

    /// Whether the log has failed.
    pub fn has_failed(&self) -> bool {
        self.durable.queue.has_failed()
    }

    /// Gives the log up, after an error that its host met: nothing is published until the next start.
    pub fn fail(&self) {
        let newest = self.hub.inner.order.newest();
        if self.durable.archive.written() < newest {
            self.hub.inner.topics.note_lost(newest);
        }
        self.durable.archive.note_failed();
        for pending in self.durable.queue.fail() {
            if let Pending::Event { answer, .. } = pending {
                answer.give(Err(PublishError::LogFailed));
            }
        }
    }
}

fn record(publication: &crate::Publication, entry: &Entry) -> Record {
    Record {
        sequence: entry.sequence,
        kind: entry.kind.into(),
        topics: publication.topics().into(),
        frame: entry.frame.clone(),
        private: publication.private,
        given_id: publication.event.id().cloned(),
        key: publication.key,
    }
}

impl HubInner {
    /// Whether every topic takes the event; its bytes are charged then. `closing` are the topics that this batch closes.
    fn admit_for_commit(
        &self,
        publication: &crate::Publication,
        chunk_len: usize,
        closing: &mut HashSet<crate::TopicName>,
    ) -> Result<usize, PublishError> {
        if let Some(topic) = publication.topics().iter().find(|topic| closing.contains(*topic)) {
            return Err(PublishError::Closed { topic: topic.clone() });
        }
        let cost = self.admit_event(publication, chunk_len)?;
        if publication.kind == EntryKind::End {
            closing.extend(publication.topics().iter().cloned());
        }
        Ok(cost)
    }
}
