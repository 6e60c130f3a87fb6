//! What is published on this node, on its way to the engine.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sse_hub::{Outgoing, PublishError};
use tokio::sync::Notify;

use super::engine::{self, Appended, EngineError, PATIENCE};
use super::node::{Node, State};

/// Most entries that go in one go.
const ENTRIES_MAX: usize = 512;
/// Most bytes of them; one entry may go beyond.
const BYTES_MAX: usize = 4 << 20;
/// What one more entry costs beyond its bytes.
const OVERHEAD: usize = 256;
/// How often those are looked at whose answer is late.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Entries in the order they came, bounded in bytes.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    news: Notify,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Outgoing>,
    bytes: usize,
}

fn bytes_of(outgoing: &Outgoing) -> usize {
    outgoing.entry.len() + OVERHEAD
}

impl Queue {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { waiting: Mutex::default(), news: Notify::new(), bytes_max }
    }

    /// Takes entries in, all that fit: the others' publishers are told.
    pub(super) fn push(&self, outgoing: Vec<Outgoing>) {
        let mut refused = Vec::new();
        {
            let mut waiting = self.waiting.lock();
            for outgoing in outgoing {
                let bytes = bytes_of(&outgoing);
                // Nothing goes past one that was refused before it. One entry goes in however large it is.
                let is_full = waiting.bytes + bytes > self.bytes_max && !waiting.entries.is_empty();
                if is_full || !refused.is_empty() {
                    refused.push(outgoing.promise);
                    continue;
                }
                waiting.bytes += bytes;
                waiting.entries.push_back(outgoing);
            }
        }
        self.news.notify_one();
        for promise in refused {
            promise.break_with(PublishError::BackplaneBusy { bytes_max: self.bytes_max });
        }
    }

    /// What fits one go, at least one entry if there is one.
    fn take(&self) -> Vec<Outgoing> {
        let mut waiting = self.waiting.lock();
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while let Some(next) = waiting.entries.front() {
            let more = bytes_of(next);
            if !taken.is_empty() && (taken.len() >= ENTRIES_MAX || bytes + more > BYTES_MAX) {
                break;
            }
            bytes += more;
            taken.extend(waiting.entries.pop_front());
        }
        waiting.bytes -= bytes;
        taken
    }

    /// Gives up what waits: dropped, its publishers hear that nobody has it.
    pub(super) fn clear(&self) {
        let dropped = std::mem::take(&mut *self.waiting.lock());
        drop(dropped);
    }
}

/// Sends what waits, for as long as the process runs.
pub(super) async fn run(node: Arc<Node>) {
    loop {
        let batch = node.queue.take();
        if batch.is_empty() {
            let _ = tokio::time::timeout(LOOK_EVERY, node.queue.news.notified()).await;
        } else {
            send(&node, batch).await;
        }
        match node.state() {
            State::Following => node.pending.settle_overdue(Instant::now()),
            // It may lose what it has taken.
            State::Beginning | State::Away => node.pending.distrust_overdue(Instant::now()),
        }
    }
}

async fn send(node: &Node, batch: Vec<Outgoing>) {
    let (mut nonces, mut entries) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
    for Outgoing { entry, nonce, topic, key, promise } in batch {
        nonces.push((nonce, entry.len()));
        // Before it leaves: it may be back before the answer is.
        node.pending.expect(nonce, promise);
        entries.push(engine::Outgoing { bytes: entry, topic, key });
    }
    let (read_to, began, epochs_before) = (node.position(), Instant::now(), node.epochs());
    let outcomes = node.engine.append(entries).await;
    if began.elapsed() >= PATIENCE && outcomes.iter().any(Result::is_err) {
        // Who waits behind them has waited as long, and would with the next batch as long again.
        node.queue.clear();
    }
    let epochs = node.epochs();
    for (&(nonce, bytes), outcome) in nonces.iter().zip(outcomes) {
        match outcome {
            // The engine gives a number again that it gave before: it has lost what had it. Or it has lost something meanwhile, and
            // nobody knows whether that was lost too; if not, it has come back already or will, and is another epoch's.
            Ok(Appended::New(number)) if number <= read_to || !Arc::ptr_eq(&epochs, &epochs_before) => {
                node.suspect();
                node.pending.settle(nonce, Err(PublishError::BackplaneDown));
            }
            Ok(Appended::New(number)) => node.pending.taken(nonce, epochs.cursor(number)),
            Ok(Appended::Known(number)) => node.pending.settle(nonce, Ok(epochs.cursor_of_any(number))),
            Ok(Appended::KeyReused) => node.pending.settle(nonce, Err(PublishError::KeyReused)),
            Err(EngineError::TooLarge { bytes_max }) => {
                node.pending.settle(nonce, Err(PublishError::TooLarge { bytes, bytes_max }));
            }
            Err(error @ (EngineError::Unavailable(_) | EngineError::Refused(_))) => {
                tracing::debug!(%error, "an event was not taken by the backplane");
                node.suspect();
                node.pending.settle(nonce, Err(PublishError::BackplaneDown));
            }
        }
    }
}
