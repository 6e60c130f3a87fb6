//! One of several nodes: what others see of it, and what its parts share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::RwLock;
use sse_hub::{Backplane, Cursor, EntryError, Epoch, Hub, Intake, Outgoing, Promise, SharedEntry, Start, encode_note};
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use super::engine::{Engine, EngineSettings, engine};
use super::epochs::SharedEpochs;
use super::note::Note;
use super::pending::Pending;
use super::sender::Queue;
use crate::peers::Peers;

/// Bytes of events that wait for the engine.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// How long a client waits whose cursor is ahead of this node.
const REACH_WITHIN: Duration = Duration::from_secs(5);
/// How long one waits whose epoch this node has not heard of: it asks every second.
const HEAR_WITHIN: Duration = Duration::from_millis(1_500);

/// A node: its way to the engine, and where it stands in the engine's stream.
#[derive(Debug)]
pub(crate) struct Node {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) runtime: Handle,
    pub(super) queue: Queue,
    pub(super) pending: Pending,
    /// The hub's, once there is one.
    intake: OnceLock<Intake>,
    /// Who takes the notes of other nodes.
    peers: OnceLock<Arc<Peers>>,
    epochs: RwLock<Arc<SharedEpochs>>,
    /// The last entry that was appended to the rings, or passed over.
    position: AtomicU64,
    entries: AtomicU64,
    /// The last one that the engine is known to have.
    engine_last: AtomicU64,
    pub(super) state: watch::Sender<State>,
    /// Something came back that should not: the engine is to be looked at.
    suspected: AtomicBool,
    is_stopping: AtomicBool,
    /// Told whenever entries have come.
    pub(super) arrivals: Notify,
    /// Entries that are read before the first stream is taken.
    pub(super) warm_up: u64,
}

/// The client has read on at another node, and this one cannot ask for what it lacks.
#[derive(Debug)]
pub(crate) struct Behind;

/// Where a node stands with its engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It has not yet read what it is to have when it starts.
    Beginning,
    /// It follows the engine's stream.
    Following,
    /// The engine is away.
    Away,
}

impl Node {
    /// A node of that engine, which nothing is asked of yet. It reads so many entries when it begins.
    pub(crate) fn new(settings: EngineSettings, warm_up: u64) -> Arc<Self> {
        Arc::new(Self {
            engine: engine(settings),
            runtime: Handle::current(),
            queue: Queue::new(QUEUE_BYTES_MAX),
            pending: Pending::default(),
            intake: OnceLock::new(),
            peers: OnceLock::new(),
            epochs: RwLock::new(Arc::new(SharedEpochs::first(Epoch::from_entropy(0)))),
            position: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            engine_last: AtomicU64::new(0),
            state: watch::Sender::new(State::Beginning),
            suspected: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            arrivals: Notify::new(),
            warm_up,
        })
    }

    /// Has it feed the hub that was built with it.
    pub(crate) fn feed(&self, hub: &Hub) {
        if let Some(intake) = hub.intake() {
            // There is one hub, and this is called once.
            let _ = self.intake.set(intake);
        }
    }

    /// Has it tell the other nodes' words here.
    pub(crate) fn tell(&self, peers: Arc<Peers>) {
        let _ = self.peers.set(peers);
    }

    /// Tells all nodes something, this one as well. While the engine is away nobody hears it: then the promise is broken.
    pub(crate) fn say(&self, note: &Note, promise: Promise) {
        let text = serde_json::to_string(note).expect("a note has a JSON form");
        let nonce = fastrand::u64(..);
        let Some(entry) = encode_note(&text, nonce) else { return };
        self.submit(vec![Outgoing { entry, nonce, topic: None, key: None, promise }]);
    }

    pub(super) fn peers(&self) -> Option<&Arc<Peers>> {
        self.peers.get()
    }

    /// Tells of changes of [`state`](Self::state).
    pub(crate) fn state_changes(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Where it stands with its engine.
    pub(crate) fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Entries that the engine has and this node has not.
    pub(crate) fn lag(&self) -> u64 {
        self.engine_last.load(Ordering::Relaxed).saturating_sub(self.position())
    }

    /// Waits a moment for this node to come to where a client says that it stands, having read another node.
    ///
    /// # Errors
    /// [`Behind`] if it is the engine's absence that keeps this node from it.
    pub(crate) async fn reach(&self, hub: &Hub, start: &Start) -> Result<(), Behind> {
        let Start::After(id) = start else { return Ok(()) };
        let Some(cursor) = Cursor::parse(id) else { return Ok(()) };
        let began = Instant::now();
        loop {
            let arrival = self.arrivals.notified();
            let within = match self.knows(cursor.epoch) {
                _ if cursor.epoch == hub.epoch() && cursor.sequence > hub.newest().sequence => REACH_WITHIN,
                false => HEAR_WITHIN,
                true => return Ok(()),
            };
            if timeout_at(began + within, arrival).await.is_err() {
                return if self.state() == State::Following { Ok(()) } else { Err(Behind) };
            }
        }
    }

    /// Readers give up soon from now on.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Relaxed)
    }

    pub(super) fn intake(&self) -> &Intake {
        self.intake.get().expect("the hub is there before the node begins")
    }

    pub(super) fn read_entry(&self, entry: &[u8]) -> Result<SharedEntry, EntryError> {
        self.intake().read(entry)
    }

    pub(super) fn epochs(&self) -> Arc<SharedEpochs> {
        self.epochs.read().clone()
    }

    pub(super) fn set_epochs(&self, epochs: Arc<SharedEpochs>) {
        *self.epochs.write() = epochs;
    }

    fn knows(&self, epoch: Epoch) -> bool {
        self.epochs.read().knows(epoch)
    }

    pub(super) fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// Entries that have come since it began.
    pub(crate) fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    pub(super) fn count_entries(&self, entries: u64) {
        self.entries.fetch_add(entries, Ordering::Relaxed);
    }

    pub(super) fn set_position(&self, number: u64) {
        self.position.store(number, Ordering::Release);
    }

    pub(super) fn set_engine_last(&self, number: u64) {
        self.engine_last.store(number, Ordering::Relaxed);
    }

    /// Something came back that should not.
    pub(super) fn suspect(&self) {
        self.suspected.store(true, Ordering::Relaxed);
    }

    pub(super) fn take_suspicion(&self) -> bool {
        self.suspected.swap(false, Ordering::Relaxed)
    }
}

impl Backplane for Node {
    fn submit(&self, outgoing: Vec<Outgoing>) {
        // Dropped otherwise, which their publishers are told.
        if self.state() == State::Following {
            self.queue.push(outgoing);
        }
    }
}
