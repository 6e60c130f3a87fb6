//! Following the engine's stream: every entry is appended here, in the engine's order.

use std::convert::Infallible;
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sse_hub::{Epoch, SharedContent};

use super::engine::{EngineError, Entry, Extent, Opened, Range};
use super::epochs::{EpochsError, SharedEpochs};
use super::node::{Node, State};
use super::trace::Trace;
use crate::fan_out::publishing;
use crate::signals::Signals;

/// How often the engine is compared with what was read of it.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The same while entries come, which might soon be others under the same numbers.
const CHECK_EVERY_WHILE_BUSY: Duration = Duration::from_millis(250);
/// How long between two tries to reach it: doubled each time up to the second, and of random length.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// After that long a connection counts as a good one.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// How often an engine that is away is told of.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// How often nodes may come in between while this one declares an epoch.
const TRIES: usize = 16;
/// After so many entries others have a turn.
const SLICE: usize = 256;

/// What ends a connection.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Epochs(#[from] EpochsError),
    #[error("the system has no random number")]
    Random(#[from] getrandom::Error),
    #[error("other nodes change the epochs all the time")]
    Restless,
}

/// The one task that reads the engine's stream.
#[derive(Debug)]
struct Following {
    node: Arc<Node>,
    trace: Trace,
    /// The last entry that was read when the engine was compared last. What came since may be of another stream, if the
    /// engine has lost its own without a word.
    compared: Option<(u64, u64)>,
    /// When it began, the engine had so many entries; `None` before it has begun.
    warm_at: Option<u64>,
    opened: Option<Opened>,
    /// Since when the engine is away, and when that was last told.
    away: Option<(Instant, Instant)>,
}

/// Follows for as long as the process runs. It returns if the engine does not want this node, at the first try.
pub(super) async fn run(node: Arc<Node>) {
    let mut following =
        Following { node, trace: Trace::default(), compared: None, warm_at: None, opened: None, away: None };
    let mut wait = RETRY_AFTER.0;
    loop {
        let began = Instant::now();
        let Err(broken) = following.connect().await;
        if following.opened.is_none() && matches!(broken, Broken::Engine(EngineError::Refused(_))) {
            tracing::error!(error = %broken, "the backplane cannot be used");
            return;
        }
        following.is_away(&broken);
        wait = if began.elapsed() >= SETTLED_AFTER { RETRY_AFTER.0 } else { (wait * 2).min(RETRY_AFTER.1) };
        tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    }
}

impl Following {
    /// One connection, from its beginning to what ends it.
    async fn connect(&mut self) -> Result<Infallible, Broken> {
        let node = self.node.clone();
        let opened = node.engine.open().await?;
        self.tell(opened);
        self.agree().await?;
        let mut tail = node.engine.tail(node.position()).await?;
        let (mut checked_at, mut stood_at) = (Instant::now(), None);
        self.is_back();
        loop {
            let entries = tail.next().await?;
            let is_quiet = entries.is_empty();
            let check_every = if is_quiet { CHECK_EVERY } else { CHECK_EVERY_WHILE_BUSY };
            if node.take_suspicion() || checked_at.elapsed() >= check_every {
                checked_at = Instant::now();
                // First: what came may be of another stream than what was read before.
                let agreed = self.agree().await?;
                // It has what does not come: whoever was to bring it is gone.
                let is_stuck = is_quiet && node.lag() > 0 && stood_at == Some(node.position());
                stood_at = Some(node.position());
                if agreed == Agreed::Anew || is_stuck {
                    tail = node.engine.tail(node.position()).await?;
                    continue;
                }
            }
            self.take_in(entries).await;
            self.is_back();
        }
    }

    /// Says what the engine is, once for each that is found.
    fn tell(&mut self, opened: Opened) {
        if self.opened.as_ref() == Some(&opened) {
            return;
        }
        tracing::info!(engine = opened.version, entry_bytes_max = opened.entry_bytes_max, "the backplane");
        opened.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        self.opened = Some(opened);
    }

    fn is_away(&mut self, broken: &Broken) {
        self.node.state.send_replace(if self.has_begun() { State::Away } else { State::Beginning });
        // Who waits to be sent is told now, and not when the engine is back.
        self.node.queue.clear();
        let now = Instant::now();
        let (since, told) = self.away.get_or_insert((now, now));
        if *told == now || now - *told >= COMPLAIN_EVERY {
            *told = now;
            let seconds = (now - *since).as_secs();
            tracing::warn!(error = %broken, seconds, "the backplane is away: publishing is refused, streams stay open");
        }
        Signals::backplane_lost();
    }

    fn is_back(&mut self) {
        if self.node.state() == State::Following || self.warm_at.is_none_or(|warm_at| self.node.position() < warm_at) {
            return;
        }
        let away_ms = self.away.take().map_or(0, |(since, _)| since.elapsed().as_millis() as u64);
        tracing::info!(entry = self.node.position(), away_ms, "following the backplane");
        self.node.state.send_replace(State::Following);
    }

    fn has_begun(&self) -> bool {
        self.warm_at.is_some_and(|warm_at| self.node.position() >= warm_at)
    }

    /// Appends entries, and passes over what is no event.
    async fn take_in(&mut self, entries: Vec<Entry>) {
        let node = self.node.clone();
        if entries.is_empty() {
            return;
        }
        let came_at = Instant::now();
        node.count_entries(entries.len() as u64);
        for (index, Entry { number, bytes }) in entries.into_iter().enumerate() {
            let position = node.position();
            if number <= position {
                continue;
            }
            if number > position + 1 {
                self.miss(position, number - 1);
            }
            self.take(number, &bytes, came_at);
            self.trace.note(number, hash(&bytes));
            node.set_position(number);
            if index % SLICE == SLICE - 1 {
                tokio::task::yield_now().await;
            }
        }
        node.set_engine_last(node.position());
        node.arrivals.notify_waiters();
    }

    fn take(&self, number: u64, bytes: &[u8], came_at: Instant) {
        let (node, epochs) = (&self.node, self.node.epochs());
        let sequence = epochs.sequence(number);
        let entry = match node.read_entry(bytes) {
            Ok(entry) => entry,
            Err(error) => {
                Signals::backplane_entry_dropped(error.as_str());
                tracing::debug!(number, %error, "an entry of the backplane is no event");
                return node.intake().skip_to(sequence);
            }
        };
        match entry.content {
            SharedContent::Event(event) => {
                let began_at = node.pending.began_at(entry.nonce).unwrap_or(came_at);
                let appended = publishing(began_at, || node.intake().append(event, sequence));
                if let Err(error) = &appended {
                    Signals::backplane_entry_dropped(error.as_str());
                    node.intake().skip_to(sequence);
                }
                node.pending.settle(entry.nonce, appended.map(|()| epochs.cursor(number)));
            }
            SharedContent::Missed { topics, error } => {
                Signals::backplane_entry_dropped(error.as_str());
                tracing::warn!(number, %error, "an event of another node cannot be had here: its followers are told of a gap");
                if node.intake().miss(&topics, sequence).is_err() {
                    node.intake().skip_to(sequence);
                }
            }
            SharedContent::Note(note) => {
                self.hear(&note, sequence);
                node.pending.settle(entry.nonce, Ok(epochs.cursor(number)));
            }
        }
    }

    /// What nodes tell each other may be an event for those who follow.
    fn hear(&self, note: &str, sequence: u64) {
        let intake = self.node.intake();
        let event = match (serde_json::from_str(note), self.node.peers()) {
            (Ok(note), Some(peers)) => peers.hear(note, self.node.state() != State::Beginning),
            (Ok(_), None) => None,
            (Err(error), _) => {
                Signals::backplane_entry_dropped("note");
                tracing::debug!(%error, "a note of another node is not understood");
                None
            }
        };
        if event.is_none_or(|event| intake.append(event, sequence).is_err()) {
            intake.skip_to(sequence);
        }
    }

    /// The engine dropped entries before this node had read them.
    fn miss(&self, after: u64, up_to: u64) {
        tracing::warn!(after, up_to, "the backplane dropped entries before they were read: streams are told of a gap");
        Signals::backplane_missed(up_to - after);
        let epochs = self.node.epochs();
        self.node.intake().turn_to_history(epochs.for_hub(), epochs.sequence(up_to));
        self.is_unsure();
    }

    /// Compares what was read with what the engine has, and the epochs with the engine's.
    async fn agree(&mut self) -> Result<Agreed, Broken> {
        let node = self.node.clone();
        for _ in 0..TRIES {
            let extent = node.engine.extent().await?;
            let (theirs, revision) = match node.engine.document().await? {
                Some((document, revision)) => (Some(SharedEpochs::parse(&document)?), Some(revision)),
                None => (None, None),
            };
            let next = match (self.warm_at.is_some(), theirs) {
                (false, Some(theirs)) => return Ok(self.begin(theirs, extent)),
                (false, None) => SharedEpochs::first(Epoch::random()?),
                (true, Some(theirs)) if theirs != *node.epochs() => {
                    if theirs.is_above(node.epochs().sequence(node.position())) {
                        return Ok(self.adopt(theirs));
                    }
                    // Its maker's clock is behind, and it knew of less.
                    theirs.followed_by(Epoch::random()?, extent.last, node.epochs().sequence(node.position()))
                }
                (true, theirs) => {
                    if theirs.is_some() && self.is_intact(extent).await? {
                        node.set_engine_last(extent.last);
                        self.compared = self.trace.last();
                        return Ok(Agreed::AsBefore);
                    }
                    let after = self.last_in_common(extent).await?;
                    tracing::warn!(
                        read = node.position(),
                        kept = after,
                        "the backplane has lost entries: a new epoch begins"
                    );
                    node.epochs().followed_by(Epoch::random()?, after, node.epochs().sequence(node.position()))
                }
            };
            if node.engine.put_document(next.document().into(), revision).await? {
                return Ok(if self.warm_at.is_some() { self.adopt(next) } else { self.begin(next, extent) });
            }
        }
        Err(Broken::Restless)
    }

    /// Where this node begins to read: as much as is worth having in the rings.
    fn begin(&mut self, epochs: SharedEpochs, extent: Extent) -> Agreed {
        // Not across the beginning of an epoch: passing that is told of.
        let first = extent.first.saturating_sub(1).max(epochs.begins_after());
        let after = first.max(extent.last.saturating_sub(self.node.warm_up));
        self.stand_at(epochs, after);
        self.node.set_engine_last(extent.last);
        self.warm_at = Some(extent.last);
        Agreed::Anew
    }

    /// Another node, or this one, has found that the engine lost entries.
    fn adopt(&mut self, epochs: SharedEpochs) -> Agreed {
        let after = epochs.begins_after();
        self.trace.forget_after(after);
        self.compared = self.trace.last();
        Signals::backplane_epoch();
        self.node.pending.distrust();
        self.stand_at(epochs, after);
        // Numbers may be lower from now on than what it waited for when it began.
        self.warm_at = Some(after);
        self.is_unsure();
        Agreed::Anew
    }

    /// Notes may have been lost with the events.
    fn is_unsure(&self) {
        self.node.peers().iter().for_each(|peers| peers.is_unsure());
    }

    fn stand_at(&self, epochs: SharedEpochs, after: u64) {
        let epochs = Arc::new(epochs);
        self.node.set_epochs(epochs.clone());
        self.node.set_position(after);
        self.node.intake().turn_to_history(epochs.for_hub(), epochs.sequence(after));
        self.node.arrivals.notify_waiters();
    }

    /// Whether the engine still has what was read last, now and when it was compared last.
    async fn is_intact(&mut self, extent: Extent) -> Result<bool, Broken> {
        if extent.last < self.node.position() {
            return Ok(false);
        }
        if let Some(compared) = self.compared.filter(|compared| self.trace.last() != Some(*compared))
            && !self.still_has(compared, extent).await?
        {
            // Another stream has gone past it meanwhile, and what was read since is of that one.
            self.trace.forget_after(compared.0);
            return Ok(false);
        }
        match self.trace.last() {
            Some(last) => self.still_has(last, extent).await,
            None => Ok(true),
        }
    }

    /// What it has dropped since, as it was told to keep no more, cannot be compared.
    async fn still_has(&self, (number, hash): (u64, u64), extent: Extent) -> Result<bool, Broken> {
        if number < extent.first || self.has(number, hash).await? {
            return Ok(true);
        }
        // It may have been dropped between both questions.
        let now = self.node.engine.extent().await?;
        Ok(now.last >= extent.last && number < now.first)
    }

    async fn has(&self, number: u64, expected: u64) -> Result<bool, Broken> {
        let range = Range { after: number - 1, up_to: number, entries_max: 1, topic: None };
        let found = self.node.engine.read(range).await?;
        Ok(found.entries.first().is_some_and(|entry| entry.number == number && hash(&entry.bytes) == expected))
    }

    /// The last entry that this node has read and the engine still has.
    async fn last_in_common(&self, extent: Extent) -> Result<u64, Broken> {
        let known = self.trace.between(extent.first, extent.last.min(self.node.position()));
        let (mut same, mut others) = (0, known.len());
        while same < others {
            let middle = same + (others - same) / 2;
            let (number, hash) = known[middle];
            if self.has(number, hash).await? { same = middle + 1 } else { others = middle }
        }
        match same.checked_sub(1).map(|index| known[index].0) {
            // What was written since lies behind it.
            Some(number) if self.trace.is_recent(number) => Ok(number),
            // Somewhere behind it begins what is new: streams are told of a gap, and are spared to get the rest again.
            Some(_) => Ok(extent.last),
            None => Ok(0),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Agreed {
    /// The node goes on where it stands.
    AsBefore,
    /// It stands elsewhere from now on.
    Anew,
}

/// Tells entries apart: each has a nonce.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}
