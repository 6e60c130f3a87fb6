//! The way of every event: encode, number, append, wake.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;

use smallvec::SmallVec;
use sse_wire::{Event, Frame, FrameDraft};

use crate::budget::Charge;
use crate::hub::HubInner;
use crate::order::Appending;
use crate::ring::{Entry, EntryKind, Meta};
use crate::topic::{Life, Topic};
use crate::{Cursor, IdForm, Publication, PublishError, Receipt, TopicName};

/// The topics of one event, nearly always one.
type TopicsOfEvent = SmallVec<[Arc<Topic>; 1]>;

/// Whom an append leaves to be woken once the locks are released.
#[derive(Default)]
struct News {
    wakers: Vec<Waker>,
    /// Topics with subscribers of their own.
    followed: TopicsOfEvent,
}

impl HubInner {
    /// Appends an event to all its topics.
    pub(crate) fn append(&self, publication: &Publication) -> Result<Receipt, PublishError> {
        let draft = publication.draft();
        let mut news = News::default();
        let receipt = loop {
            let topics = self.topics_of(&publication.topics)?;
            let cost = Entry::cost(draft.chunk_len(), topics.len(), publication.event.id());
            let appending = self.order.enter(&shards_of(&topics));
            if self.admit(&topics, cost)? == Admission::Stale {
                continue;
            }
            let (receipt, entry) = self.number(publication, draft, appending.take_sequence(), cost);
            self.append_to_all(topics, entry, &mut news, &appending);
            break receipt;
        };
        self.spread(news);
        Ok(receipt)
    }

    /// Makes the event one with a number, whose bytes are charged.
    pub(crate) fn number(
        &self,
        publication: &Publication,
        draft: FrameDraft,
        sequence: u64,
        cost: usize,
    ) -> (Receipt, Entry) {
        let Publication { topics, event, private, id_form, kind, .. } = publication;
        let is_shared = topics.iter().any(|topic| *topic != topics[0]);
        let meta = self.meta(topics, event, *private, is_shared.then_some(cost));
        let entry = Entry::new(sequence, self.finish(draft, sequence, *id_form), *kind, meta);
        (Receipt { cursor: self.cursor(sequence), given_id: event.id().cloned(), id_form: *id_form }, entry)
    }

    /// Whether every topic takes the event, which is to be appended later; its bytes are charged then.
    pub(crate) fn admit_event(&self, publication: &Publication, chunk_len: usize) -> Result<usize, PublishError> {
        loop {
            let topics = self.topics_of(&publication.topics)?;
            let cost = Entry::cost(chunk_len, topics.len(), publication.event.id());
            match self.admit(&topics, cost)? {
                Admission::Charged => return Ok(cost),
                // Whoever collects it holds this lock until the name is free.
                Admission::Stale => drop(self.order.enter(&shards_of(&topics))),
            }
        }
    }

    /// Appends what was admitted and numbered by the one who alone does so. It is not refused any more: a topic that was
    /// collected meanwhile is made again, even beyond the bound.
    pub(crate) fn append_numbered(&self, names: &[TopicName], entry: Entry) {
        let mut news = News::default();
        loop {
            let topics = distinct(names.iter().map(|name| self.topics.obtain_anyway(name)).collect());
            let appending = self.order.enter(&shards_of(&topics));
            if topics.iter().any(|topic| topic.lock().life() == Life::Collected) {
                continue;
            }
            let sequence = appending.take_sequence();
            debug_assert_eq!(sequence, entry.sequence, "nobody else takes sequences");
            self.append_to_all(topics, entry, &mut news, &appending);
            break;
        }
        self.spread(news);
    }

    /// Appends an event of the engine that several nodes share, at its place, to those of its topics that this node has or may
    /// have; of the others it remembers that they had it. What is too much for the rings stays in the engine alone.
    pub(crate) fn append_shared(&self, publication: &Publication, sequence: u64) {
        self.take_place(&publication.topics, sequence, |topics, appending, news| {
            let draft = publication.draft();
            let cost = Entry::cost(draft.chunk_len(), topics.len(), publication.event.id());
            if self.charge(&topics, cost) {
                let (_, entry) = self.number(publication, draft, sequence, cost);
                self.append_to_all(topics, entry, news, appending);
            } else {
                self.pass_all(topics, sequence, publication.kind, news);
            }
        });
    }

    /// The same for an event that no ring here can hold.
    pub(crate) fn miss_shared(&self, names: &[TopicName], sequence: u64) {
        self.take_place(names, sequence, |topics, _, news| self.pass_all(topics, sequence, EntryKind::Event, news));
    }

    /// Takes the engine's sequence, even if no topic of this node has the event; `put` gets those that have it.
    fn take_place(
        &self,
        names: &[TopicName],
        sequence: u64,
        put: impl FnOnce(TopicsOfEvent, &Appending<'_>, &mut News),
    ) {
        let mut news = News::default();
        loop {
            let mut topics = distinct(names.iter().filter_map(|name| self.topics.obtain_for(name, sequence)).collect());
            let appending = self.order.enter(&shards_of(&topics));
            if topics.iter().any(|topic| topic.lock().life() == Life::Collected) {
                continue;
            }
            // One that was made just now may begin with this event as one that it had.
            topics.retain(|topic| topic.lock().ring.newest() < sequence);
            let taken = appending.take_sequence();
            debug_assert_eq!(taken, sequence, "nobody else takes sequences");
            if !topics.is_empty() {
                put(topics, &appending, &mut news);
            }
            break;
        }
        self.spread(news);
    }

    /// The topics have had an event that their rings do not hold.
    fn pass_all(&self, topics: TopicsOfEvent, sequence: u64, kind: EntryKind, news: &mut News) {
        let tick = self.tick.load(Ordering::Relaxed);
        for topic in topics {
            let ends_at = (kind == EntryKind::End).then_some(tick);
            if topic.pass_over(sequence, ends_at, &self.budget, &mut news.wakers) {
                news.followed.push(topic);
            }
        }
    }

    /// Empties every ring up to `sequence`, of whose topics somebody may have had something that was never here. `change` runs
    /// while nobody appends.
    pub(crate) fn empty_rings(&self, change: impl FnOnce(), sequence: u64) {
        let mut news = News::default();
        {
            let shards: SmallVec<[usize; 1]> = (0..self.order.shards()).collect();
            let _appending = self.order.enter(&shards);
            change();
            self.order.skip_to(sequence);
            self.topics.raise_floors(sequence);
            self.topics.each(|topic| {
                if topic.pass_over(sequence, None, &self.budget, &mut news.wakers) {
                    news.followed.push(topic.clone());
                }
            });
            // A template may be one that no topic of this node matches. Within the locks, through which a reader passes before it
            // counts `sequence` as read.
            news.wakers.extend(self.merges.lock().iter().filter_map(|(_, merge)| merge.mark_lost()));
        }
        self.spread(news);
    }

    /// Gives back what was charged for an event that is not appended after all.
    pub(crate) fn release(&self, entry: &Entry, cost: usize) {
        if entry.meta.as_ref().is_none_or(|meta| meta.shared_charge.is_none()) {
            self.budget.release(cost);
        }
    }

    /// The topics of these names, each once.
    fn topics_of(&self, names: &[TopicName]) -> Result<TopicsOfEvent, PublishError> {
        let full = PublishError::TopicsFull { topics_max: self.topics.count_max() };
        let topics = names.iter().map(|name| self.topics.obtain(name)).collect::<Option<_>>().ok_or(full)?;
        Ok(distinct(topics))
    }

    /// Whether every topic takes the event; if so its bytes are charged.
    fn admit(&self, topics: &[Arc<Topic>], cost: usize) -> Result<Admission, PublishError> {
        for topic in topics {
            match topic.lock().life() {
                Life::Open => (),
                Life::Closed { .. } => return Err(PublishError::Closed { topic: topic.name.clone() }),
                Life::Collected => return Ok(Admission::Stale),
            }
        }
        if self.order.newest() >= Cursor::SEQUENCE_MAX {
            return Err(PublishError::Exhausted);
        }
        let full = PublishError::RingsFull { bytes_max: self.budget.bytes_max() };
        if cost > self.budget.bytes_max() {
            return Err(full);
        }
        if self.charge(topics, cost) { Ok(Admission::Charged) } else { Err(full) }
    }

    /// Charges the bytes of an event to these topics; false if that cannot be.
    fn charge(&self, topics: &[Arc<Topic>], cost: usize) -> bool {
        while !self.budget.charge(cost) {
            // Only this event's own topics make room for it, the oldest frame first: nobody else's history pays.
            let oldest = topics.iter().filter_map(|topic| Some((topic.lock().ring.oldest()?, topic)));
            let Some((_, topic)) = oldest.min_by_key(|(sequence, _)| *sequence) else { return false };
            topic.lock().ring.drop_oldest(&self.budget);
        }
        true
    }

    fn meta(&self, names: &[TopicName], event: &Event, private: bool, shared_cost: Option<usize>) -> Option<Arc<Meta>> {
        if shared_cost.is_none() && !private && event.id().is_none() {
            return None;
        }
        let shared_charge = shared_cost.map(|bytes| Charge { budget: self.budget.clone(), bytes });
        Some(Arc::new(Meta { topics: names.into(), private, given_id: event.id().cloned(), shared_charge }))
    }

    fn finish(&self, draft: FrameDraft, sequence: u64, id_form: IdForm) -> Frame {
        draft.finish(|room| {
            if !room.is_empty() {
                self.cursor(sequence).write_as(id_form, room);
            }
        })
    }

    fn append_to_all(&self, mut topics: TopicsOfEvent, entry: Entry, news: &mut News, _numbered_under: &Appending<'_>) {
        let tick = self.tick.load(Ordering::Relaxed);
        let Some(last) = topics.pop() else { return };
        for topic in topics {
            if topic.append(entry.clone(), tick, &self.budget, &mut news.wakers) {
                news.followed.push(topic);
            }
        }
        if last.append(entry, tick, &self.budget, &mut news.wakers) {
            news.followed.push(last);
        }
    }

    fn spread(&self, news: News) {
        news.wakers.into_iter().for_each(Waker::wake);
        for topic in news.followed {
            if topic.wake_singles() {
                self.watch(topic);
            }
        }
    }
}

/// Each topic once.
fn distinct(mut topics: TopicsOfEvent) -> TopicsOfEvent {
    if topics.len() > 1 {
        topics.sort_unstable_by_key(|topic| topic.id);
        topics.dedup_by_key(|topic| topic.id);
    }
    topics
}

#[derive(Debug, PartialEq, Eq)]
enum Admission {
    Charged,
    /// A topic has been collected meanwhile: the names have to be looked up again.
    Stale,
}

/// The shards of these topics, sorted and each once.
fn shards_of(topics: &[Arc<Topic>]) -> SmallVec<[usize; 1]> {
    let mut shards: SmallVec<[usize; 1]> = topics.iter().map(|topic| topic.shard as usize).collect();
    shards.sort_unstable();
    shards.dedup();
    shards
}
