//! The other nodes, as this one knows them: who follows what there, and what they have all been told to do.
//!
//! Nodes tell each other by notes in the engine's stream (`backplane/note.rs`). Each says what it has when it begins and whenever
//! something may have been missed; who has not been heard of for a while is gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Mutex, MutexGuard};
use sse_hub::{Promise, PublishError, SharedEvent};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::access::{Revocation, Revocations};
use crate::backplane::{Node, Note, Said, State};
use crate::presence::Presence;
use crate::roster::Wanted;

/// How often a node says that it is there.
const ALIVE_EVERY: Duration = Duration::from_secs(5);
/// A node that says nothing for so long is gone.
const GONE_AFTER: Duration = Duration::from_secs(16);
/// Subscriptions or revocations that one note tells.
const TOLD_AT_ONCE: usize = 500;
/// Subjects whose streams are still to be ended.
const KICKS_MAX: usize = 256;

/// What this node knows of the others, and whom it tells.
#[derive(Debug)]
pub(crate) struct Peers {
    /// This node's name among them.
    name: Uuid,
    node: Arc<Node>,
    presence: Option<Arc<Presence>>,
    revocations: Arc<Revocations>,
    /// When each was heard of last.
    heard: Mutex<BTreeMap<Uuid, Instant>>,
    kicks: mpsc::Sender<Wanted>,
    to_kick: Mutex<Option<mpsc::Receiver<Wanted>>>,
    /// Somebody has asked what this node has, or should be told.
    is_asked: tokio::sync::Notify,
    /// What the others have is to be asked for.
    is_unsure: AtomicBool,
    /// Something that this node said was not heard.
    is_unheard: Arc<AtomicBool>,
    /// Held while it is told what this node has, and while that changes.
    turn: Mutex<()>,
}

impl Peers {
    /// Makes itself known to the node and to those who have something to tell.
    ///
    /// # Errors
    /// When the system has no random number for its name.
    pub(crate) fn new(
        node: &Arc<Node>,
        presence: Option<Arc<Presence>>,
        revocations: Arc<Revocations>,
    ) -> Result<Arc<Self>, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        let name = uuid::Builder::from_random_bytes(bytes).into_uuid();
        let (kicks, to_kick) = mpsc::channel(KICKS_MAX);
        let (heard, is_asked) = (Mutex::default(), tokio::sync::Notify::new());
        let (node, to_kick) = (node.clone(), Mutex::new(Some(to_kick)));
        let peers = Arc::new(Self {
            name,
            node,
            presence,
            revocations,
            heard,
            kicks,
            to_kick,
            is_asked,
            is_unsure: AtomicBool::new(true),
            is_unheard: Arc::default(),
            turn: Mutex::default(),
        });
        peers.presence.iter().for_each(|presence| presence.tell(peers.clone()));
        peers.node.tell(peers.clone());
        Ok(peers)
    }

    /// Tells all nodes something. If they do not hear it, they are told soon what this node has.
    pub(crate) fn say(&self, said: Said) {
        self.say_of(self.name, said);
    }

    fn say_of(&self, node: Uuid, said: Said) {
        self.node.say(&Note { node, said }, Promise::to_nobody().or_raise(self.is_unheard.clone()));
    }

    /// The same, and waits for them to have it.
    ///
    /// # Errors
    /// When nobody knows whether they have.
    pub(crate) async fn say_surely(&self, said: Said) -> Result<(), PublishError> {
        let (promise, submission) = Promise::pair();
        self.node.say(&Note { node: self.name, said }, promise.or_raise(self.is_unheard.clone()));
        submission.await.map(drop)
    }

    /// Until it is dropped, nobody else says what this node has.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock()
    }

    /// Whose streams are to end because another node was told so. Somebody takes this once.
    pub(crate) fn take_kicks(&self) -> Option<mpsc::Receiver<Wanted>> {
        self.to_kick.lock().take()
    }

    /// Takes in a note, the node's own as well: all make the same event of it, if any. `is_new` says that it was not said before
    /// this node began.
    pub(crate) fn hear(&self, note: Note, is_new: bool) -> Option<SharedEvent> {
        let Note { node, said } = note;
        let event = match (&self.presence, &said) {
            (Some(presence), Said::Entered { present }) => presence.announcement(present, true),
            (Some(presence), Said::Left { present }) => presence.announcement(present, false),
            _ => None,
        };
        if node != self.name {
            self.heed(node, said, is_new);
        }
        event.map(SharedEvent::from)
    }

    fn heed(&self, node: Uuid, said: Said, is_new: bool) {
        match said {
            Said::Revoked { revocation } => self.revoke(revocation),
            Said::Restored { revocation } => {
                if let Some((revoked, _)) = revocation.read() {
                    self.revocations.remove(&revoked);
                }
            }
            // What nodes said before this one began they tell again when it asks.
            _ if !is_new => (),
            Said::Hello { asks } => {
                self.presence.iter().for_each(|presence| presence.others.forget(node));
                self.heard.lock().insert(node, Instant::now());
                if asks {
                    self.is_asked.notify_one();
                }
            }
            Said::Alive => {
                if self.heard.lock().insert(node, Instant::now()).is_none() {
                    // It was given up, and what it had was forgotten.
                    self.is_unsure.store(true, Ordering::Relaxed);
                    self.is_asked.notify_one();
                }
            }
            Said::Have { present, revoked } => {
                revoked.into_iter().for_each(|revocation| self.revoke(revocation));
                if let Some(presence) = &self.presence {
                    present.into_iter().for_each(|present| presence.others.entered(node, present));
                }
            }
            Said::Entered { present } => {
                self.presence.iter().for_each(|presence| presence.others.entered(node, present.clone()));
            }
            Said::Left { present } => self.presence.iter().for_each(|presence| presence.others.left(node, &present)),
            Said::Kick { subject, topic, ip } => {
                if self
                    .kicks
                    .try_send(Wanted {
                        subject: Some((*subject).into()),
                        topic: topic.map(|topic| (*topic).into()),
                        ip,
                    })
                    .is_err()
                {
                    tracing::warn!("too many subjects are to be kicked at once: one was passed over");
                }
            }
        }
    }

    fn revoke(&self, revocation: Revocation) {
        let Some((revoked, until)) = revocation.read() else { return };
        if let Err(error) = self.revocations.add(revoked, until, SystemTime::now()) {
            tracing::error!(%error, "a revocation of another node does not hold here");
        }
    }

    /// Something may have been missed: everybody is to tell what there is.
    pub(crate) fn is_unsure(&self) {
        self.presence.iter().for_each(|presence| presence.others.forget_all());
        self.is_unsure.store(true, Ordering::Relaxed);
        self.is_asked.notify_one();
    }

    /// Tells others what this node has, that it is there, and who is not, for as long as the process runs.
    pub(crate) async fn run(&self) {
        let mut interval = tokio::time::interval(ALIVE_EVERY);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut state = self.node.state_changes();
        loop {
            tokio::select! {
                _ = interval.tick() => self.beat(),
                () = self.is_asked.notified() => self.tell_all(),
                _ = state.changed() => {
                    if *state.borrow_and_update() == State::Following {
                        // What it said while the engine was away nobody has heard.
                        self.tell_all();
                    }
                }
            }
        }
    }

    fn beat(&self) {
        if self.node.state() != State::Following {
            return;
        }
        if self.is_unheard.load(Ordering::Relaxed) {
            self.tell_all();
        }
        if self.presence.is_none() {
            return;
        }
        self.say(Said::Alive);
        let (gone, is_first) = self.gone(Instant::now());
        for gone in gone {
            tracing::info!(node = %gone, "another node is gone");
            for present in self.presence.iter().flat_map(|presence| presence.others.take(gone)) {
                if is_first {
                    self.say_of(gone, Said::Left { present });
                }
            }
        }
    }

    /// The nodes that were not heard of for too long, and whether it is this one that has to tell of them.
    fn gone(&self, now: Instant) -> (Vec<Uuid>, bool) {
        let mut heard = self.heard.lock();
        let gone: Vec<Uuid> = heard.iter().filter(|(_, at)| now - **at >= GONE_AFTER).map(|(name, _)| *name).collect();
        heard.retain(|_, at| now - *at < GONE_AFTER);
        let is_first = heard.keys().next().is_none_or(|first| self.name < *first);
        (gone, is_first)
    }

    fn tell_all(&self) {
        if self.node.state() != State::Following {
            // Nobody would hear it. It is told when the engine is back.
            return;
        }
        let _turn = self.turn();
        self.is_unheard.store(false, Ordering::Relaxed);
        self.say(Said::Hello { asks: self.is_unsure.swap(false, Ordering::Relaxed) });
        let mut present = self.presence.iter().flat_map(|presence| presence.own()).peekable();
        while present.peek().is_some() {
            let part: Vec<_> = present.by_ref().take(TOLD_AT_ONCE).collect();
            self.say(Said::Have { present: part, revoked: Vec::new() });
        }
        let (revoked, _) = self.revocations.list(usize::MAX, SystemTime::now());
        for part in revoked.chunks(TOLD_AT_ONCE) {
            let revoked = part.iter().cloned().map(|(revoked, until)| Revocation::new(revoked, until)).collect();
            self.say(Said::Have { present: Vec::new(), revoked });
        }
    }
}
