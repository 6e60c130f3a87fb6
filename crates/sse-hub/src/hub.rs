//! The hub: takes events in, hands subscriptions out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use slab::Slab;

use crate::archive::Archive;
use crate::backplane::{Backplane, Intake, Outgoing};
use crate::budget::Budget;
use crate::config::HubConfig;
use crate::durable::{Answer, Chain, Committer, Durable, Pending, Submission};
use crate::epochs::Epochs;
use crate::keys::Keys;
use crate::log::Durability;
use crate::merge::Merge;
use crate::order::Order;
use crate::publish::{check_reserved, text_bytes};
use crate::replay::From;
use crate::ring::EntryKind;
use crate::signals::Signals;
use crate::start::Wanted;
use crate::sweep::Rounds;
use crate::sync::{Mutex, RwLock};
use crate::topic::{Life, Topic, TopicState};
use crate::topics::Topics;
use crate::{
    Cursor, Epoch, Feed, HubBuilder, Publication, PublishError, Receipt, SubscribeError, SubscribeOptions,
    Subscription, TopicName,
};

/// A handle to a hub; cloning shares it.
#[derive(Debug, Clone)]
pub struct Hub {
    pub(crate) inner: Arc<HubInner>,
}

/// Lock order: `keys`, `selectors`, a merge's reader, append locks in index order, a table's own lock, a topic, a group's members,
/// a merge's marks. The floors of a table come after its own lock, a merge's marks after `merges`, which is held alone or under
/// append locks; `watched` is held alone.
#[derive(Debug)]
pub(crate) struct HubInner {
    pub(crate) config: HubConfig,
    /// Changes only with a backplane, whose engine may lose its history.
    pub(crate) epochs: RwLock<Epochs>,
    /// Where publishing leads.
    pub(crate) way: Way,
    /// With a log or a backplane: what the rings no longer hold.
    pub(crate) archive: Option<Arc<Archive>>,
    pub(crate) order: Arc<Order>,
    pub(crate) topics: Topics,
    /// Subscriptions over several topics, for the sweep.
    pub(crate) merges: Mutex<Slab<Arc<Merge>>>,
    /// Topics with subscribers of their own of whom somebody may be behind, for the sweep; each once.
    pub(crate) watched: Mutex<Vec<Arc<Topic>>>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) signals: Signals,
    /// Whole seconds since the first sweep.
    pub(crate) tick: AtomicU32,
    pub(crate) sweep: Mutex<Rounds>,
    pub(crate) keys: Mutex<Keys>,
}

/// Where publishing leads.
#[derive(Debug)]
pub(crate) enum Way {
    /// To the rings.
    Rings,
    /// Through a log.
    Log(Arc<Durable>),
    /// To the engine that orders the events of several nodes. Its entries' nonces go on from a random number.
    Backplane(Arc<dyn Backplane>, AtomicU64),
}

impl Hub {
    /// Starts building a hub.
    pub fn builder() -> HubBuilder {
        HubBuilder::default()
    }

    /// The history that this hub's cursors belong to.
    pub fn epoch(&self) -> Epoch {
        self.inner.epochs.read().current()
    }

    /// The position after every event given a sequence so far.
    pub fn newest(&self) -> Cursor {
        self.inner.cursor(self.inner.order.newest())
    }

    /// Where a live subscription begins that is made after this call: whoever comes back with this id before it was given an
    /// event misses nothing. Unlike [`newest`](Self::newest) this waits for events that are on their way into the rings.
    pub fn position(&self) -> Cursor {
        self.inner.cursor(self.settled())
    }

    /// Publishes an event. It is live for every follower when this returns. Without a log or a backplane this never waits and
    /// never calls back; with one it waits for the commit: see [`submit`](Self::submit).
    ///
    /// # Errors
    /// A [`PublishError`]; then nothing was published.
    pub fn publish(&self, publication: Publication) -> Result<Receipt, PublishError> {
        match &self.inner.way {
            Way::Rings => self.publish_now(&publication),
            Way::Log(_) | Way::Backplane(..) => self.submit(publication).wait(),
        }
    }

    /// Publishes an event; what comes back resolves when it is as durable as promised and live. This never waits.
    pub fn submit(&self, publication: Publication) -> Submission {
        match &self.inner.way {
            Way::Rings => Submission::known(self.publish_now(&publication)),
            Way::Log(durable) => self.enqueue(durable, publication, None),
            Way::Backplane(backplane, nonces) => {
                let (outgoing, submission) = self.outgoing(publication, nonces);
                outgoing.into_iter().for_each(|outgoing| backplane.submit(vec![outgoing]));
                submission
            }
        }
    }

    /// Publishes events in their order, up to the first that is refused: those behind it are
    /// [`PublishError::Skipped`]. With a log they share a commit, or a few. A backplane's engine may take what is behind one that
    /// it has refused.
    pub fn submit_all(&self, publications: Vec<Publication>) -> Vec<Submission> {
        if let Way::Backplane(backplane, nonces) = &self.inner.way {
            return self.send_all(backplane, nonces, publications);
        }
        let chain = Arc::new(Chain::default());
        // Kept apart from the chain: those before one that is not even queued are still committed.
        let mut is_over = false;
        let submit = |publication| {
            if is_over || chain.is_broken() {
                return Submission::known(Err(PublishError::Skipped));
            }
            let submission = match &self.inner.way {
                Way::Log(durable) => self.enqueue(durable, publication, Some(chain.clone())),
                Way::Rings | Way::Backplane(..) => Submission::known(self.publish_now(&publication)),
            };
            is_over = submission.is_refused();
            submission
        };
        publications.into_iter().map(submit).collect()
    }

    fn send_all(
        &self,
        backplane: &Arc<dyn Backplane>,
        nonces: &AtomicU64,
        publications: Vec<Publication>,
    ) -> Vec<Submission> {
        let (mut sent, mut submissions) = (Vec::new(), Vec::with_capacity(publications.len()));
        for publication in publications {
            let (outgoing, submission) = self.outgoing(publication, nonces);
            let is_refused = outgoing.is_none();
            sent.extend(outgoing);
            submissions.push(submission);
            if is_refused {
                break;
            }
        }
        backplane.submit(sent);
        submissions.resize_with(submissions.capacity(), || Submission::known(Err(PublishError::Skipped)));
        submissions
    }

    /// The event as it leaves for the engine, unless it is refused here already.
    fn outgoing(&self, publication: Publication, nonces: &AtomicU64) -> (Option<Outgoing>, Submission) {
        match self.check(&publication).and_then(|()| self.inner.check_open(&publication)) {
            Ok(()) => {
                let nonce = nonces.fetch_add(1, Ordering::Relaxed);
                let (outgoing, answer) = Outgoing::new(&publication, nonce);
                (Some(outgoing), Submission::waiting(answer))
            }
            Err(error) => (None, Submission::known(Err(error))),
        }
    }

    fn publish_now(&self, publication: &Publication) -> Result<Receipt, PublishError> {
        self.check(publication)?;
        let Some(key) = publication.key else { return self.inner.publish_now(publication) };
        // Held until it is published: a retry that comes meanwhile waits for the receipt.
        let mut keys = self.inner.keys.lock();
        if let Some(receipt) = keys.find(&key)? {
            return Ok(receipt);
        }
        let receipt = self.inner.publish_now(publication)?;
        keys.remember(key, receipt.clone(), self.inner.tick.load(Ordering::Relaxed));
        Ok(receipt)
    }

    fn enqueue(&self, durable: &Durable, publication: Publication, chain: Option<Arc<Chain>>) -> Submission {
        let answer = Arc::new(Answer::default());
        let enqueued = self.check(&publication).and_then(|()| {
            let draft = publication.draft();
            // It is in the draft from now on: what waits holds it once.
            let publication = publication.without_data();
            durable.queue.push(Pending::Event { publication, draft, answer: answer.clone(), chain })
        });
        match enqueued {
            Ok(()) => Submission::waiting(answer),
            Err(error) => Submission::known(Err(error)),
        }
    }

    /// With a log: the one who commits what is published. Its host runs it.
    pub fn committer(&self) -> Option<Committer> {
        match &self.inner.way {
            Way::Log(durable) => Some(Committer::new(self.clone(), durable.clone())),
            Way::Rings | Way::Backplane(..) => None,
        }
    }

    /// With a backplane: where its host gives the hub what the engine has. There must be one only.
    pub fn intake(&self) -> Option<Intake> {
        matches!(self.inner.way, Way::Backplane(..)).then(|| Intake::new(self.clone()))
    }

    /// With a log or a backplane: reads what one subscriber waits for; false if none did within `timeout`. Its host calls this
    /// again and again on a thread or a few, until [`log_is_stopped`](Self::log_is_stopped).
    pub fn serve_log_read(&self, timeout: Duration) -> bool {
        self.inner.archive.as_ref().is_some_and(|archive| archive.serve_read(timeout))
    }

    /// Takes nothing more to publish. What was submitted is still committed.
    pub fn stop_publishing(&self) {
        if let Way::Log(durable) = &self.inner.way {
            durable.queue.stop();
        }
    }

    /// Ends the [`Committer::wait`](crate::Committer::wait) that is under way, or the next one: its host has something else for
    /// it to do.
    pub fn nudge_committer(&self) {
        if let Way::Log(durable) = &self.inner.way {
            durable.queue.nudge();
        }
    }

    /// Has the threads that read the log return.
    pub fn stop_log_reads(&self) {
        self.inner.archive.iter().for_each(|archive| archive.reads.stop());
    }

    /// Whether [`stop_log_reads`](Self::stop_log_reads) was called.
    pub fn log_is_stopped(&self) -> bool {
        self.inner.archive.as_ref().is_none_or(|archive| archive.reads.is_stopped())
    }

    /// Whether the log has failed: then nothing is published until the next start.
    pub fn log_has_failed(&self) -> bool {
        matches!(&self.inner.way, Way::Log(durable) if durable.queue.has_failed())
    }

    /// What an acknowledged publish stands for.
    pub fn durability(&self) -> Durability {
        match &self.inner.way {
            Way::Rings => Durability::Memory,
            Way::Log(durable) => durable.durability,
            Way::Backplane(..) => Durability::Backplane,
        }
    }

    /// Whether somebody follows the topic, by name or by a selector, or did until just now: who has something to tell only
    /// those who follow need not make an event of it otherwise.
    pub fn is_followed(&self, topic: &TopicName) -> bool {
        self.inner.topics.is_followed(topic)
    }

    /// Takes a place in the order of all events without an event: [`newest`](Self::newest) tells that something happened.
    pub fn skip(&self) {
        match &self.inner.way {
            // Refused, it is not told; nobody was promised.
            Way::Log(durable) => drop(durable.queue.push(Pending::Skip)),
            Way::Rings if self.inner.order.newest() < Cursor::SEQUENCE_MAX => {
                self.inner.order.enter(&[]).take_sequence();
            }
            // Places are the engine's to give.
            Way::Rings | Way::Backplane(..) => (),
        }
    }

    /// Whether the publication breaks a rule that does not depend on the state of any topic: a batch is checked whole
    /// before its first event is published.
    ///
    /// # Errors
    /// A [`PublishError`] that says which.
    pub fn check(&self, publication: &Publication) -> Result<(), PublishError> {
        let config = &self.inner.config;
        let bytes = text_bytes(&publication.event);
        if bytes > config.event_bytes_max {
            return Err(PublishError::TooLarge { bytes, bytes_max: config.event_bytes_max });
        }
        let topics = publication.topics.len();
        if topics > config.topics_per_event_max {
            return Err(PublishError::TooManyTopics { topics, topics_max: config.topics_per_event_max });
        }
        match publication.kind {
            EntryKind::Event => check_reserved(&publication.event),
            EntryKind::End => Ok(()),
        }
    }

    /// Closes a topic: its followers get what is left, then `sse.end`, and their streams end.
    ///
    /// # Errors
    /// [`PublishError::Closed`] if it is closed already, [`PublishError::TopicsFull`] or [`PublishError::RingsFull`].
    pub fn close(&self, topic: &TopicName) -> Result<Receipt, PublishError> {
        self.publish(Publication::end_of(topic.clone()))
    }

    /// Follows topics. Dropping the subscription unsubscribes.
    ///
    /// # Errors
    /// A [`SubscribeError`].
    pub fn subscribe(&self, options: SubscribeOptions) -> Result<Subscription, SubscribeError> {
        Subscription::open(self.clone(), options)
    }

    /// A feed of one topic for a host that keeps the cursors of many subscribers itself.
    ///
    /// # Errors
    /// [`SubscribeError::TopicsFull`].
    pub fn feed(&self, topic: &TopicName) -> Result<Feed, SubscribeError> {
        Feed::open(self.clone(), topic)
    }

    /// How many topics there are.
    pub fn topics(&self) -> usize {
        self.inner.topics.count()
    }

    /// Bytes of all rings together.
    pub fn ring_bytes(&self) -> usize {
        self.inner.budget.used()
    }

    /// Sets another bound of topics, in place of `HubConfig::topics_max`. Those above it stay until they are forgotten.
    pub fn bound_topics(&self, topics_max: usize) {
        self.inner.topics.bound(topics_max);
    }
}

impl HubInner {
    fn publish_now(&self, publication: &Publication) -> Result<Receipt, PublishError> {
        let receipt = self.append(publication)?;
        self.count_published(publication);
        Ok(receipt)
    }

    /// The end of a topic is no event that somebody published.
    pub(crate) fn count_published(&self, publication: &Publication) {
        if publication.kind == EntryKind::Event {
            self.signals.published.increment(1);
        }
    }

    pub(crate) fn cursor(&self, sequence: u64) -> Cursor {
        self.epochs.read().cursor(sequence)
    }

    /// Runs `with` on the topic of this name and its state, the topic not being collected meanwhile. `None` when there are
    /// too many topics.
    pub(crate) fn with_topic<R>(
        &self,
        name: &TopicName,
        with: impl FnOnce(&Arc<Topic>, &mut TopicState) -> R,
    ) -> Option<R> {
        loop {
            let topic = self.topics.obtain(name)?;
            let mut state = topic.lock();
            if state.life() != Life::Collected {
                return Some(with(&topic, &mut state));
            }
            drop(state);
            // Whoever collects it holds this lock until the name is free.
            drop(self.order.enter(&[topic.shard as usize]));
        }
    }

    /// Where the archive has to be read from for somebody whose rings are trimmed to `floor`, if they do not suffice. `is_here` tells
    /// whether they know a publisher's id that was asked for.
    pub(crate) fn archive_start(&self, wanted: &Wanted, floor: u64, is_here: impl FnOnce() -> bool) -> Option<From> {
        self.archive.as_ref()?;
        // An engine's stream is long, and nearly all ids are used once: only a log is asked for an earlier use.
        let is_given = matches!((wanted, &self.way), (Wanted::Given(_), Way::Backplane(..)));
        if is_given && is_here() { None } else { wanted.in_log(floor) }
    }

    /// Has the sweep judge the topic's subscribers.
    pub(crate) fn watch(&self, topic: Arc<Topic>) {
        self.watched.lock().push(topic);
    }
}
