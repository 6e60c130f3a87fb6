//! What an operator has a writer do: look through its streams, a few at a time.

use std::time::{Duration, Instant};

use sse_hub::{Lag, LagBounds};
use tokio::sync::oneshot;

use super::entry::{Behind, Entry, EntrySource, Own, Place};
use super::thread::WriterThread;
use super::wheel::TICK;
use crate::roster::{Pace, Progress, Roll, StreamId, Wanted};
use crate::stream::{Encoding, EndReason};

/// Streams looked at in one turn: then it is the lanes' turn again. Twenty thousand take forty turns.
const LOOKS_PER_TURN: usize = 512;
/// How long one turn may spend on it, as some looks take longer: at streams over many topics, or that are ended.
const SLICE: Duration = Duration::from_micros(250);
/// Streams between two looks at the clock.
const LOOKS: usize = 16;
/// Errands at a time; the admin listener has one under way. A further one is not taken.
const ERRANDS_MAX: usize = 4;

/// One errand, and where its outcome goes. Whoever gives up waiting drops the other end, and that ends it.
#[derive(Debug)]
pub(crate) enum Errand {
    /// Write down the streams that the roll wants.
    List(Roll, oneshot::Sender<Roll>),
    /// End those that are wanted; how many.
    Kick(Wanted, usize, oneshot::Sender<usize>),
    /// End this one; how many there are of it.
    KickOne(StreamId, oneshot::Sender<usize>),
}

/// An errand under way.
#[derive(Debug)]
pub(super) struct Walk {
    errand: Errand,
    /// The next key to look at.
    next: usize,
}

impl Errand {
    fn is_given_up(&self) -> bool {
        match self {
            Self::List(_, answer) => answer.is_closed(),
            Self::Kick(_, _, answer) | Self::KickOne(_, answer) => answer.is_closed(),
        }
    }

    fn finish(self) {
        // Nobody may be waiting any more.
        match self {
            Self::List(roll, answer) => drop(answer.send(roll)),
            Self::Kick(_, kicked, answer) => drop(answer.send(kicked)),
            Self::KickOne(_, answer) => drop(answer.send(0)),
        }
    }
}

impl WriterThread {
    pub(super) fn take_errand(&mut self, errand: Errand) {
        match errand {
            Errand::KickOne(id, answer) => drop(answer.send(self.kick_one(id))),
            errand if self.errands.len() < ERRANDS_MAX => self.errands.push_back(Walk { errand, next: 0 }),
            // Its answer is dropped, which tells.
            _ => (),
        }
    }

    /// Goes on with the first errand, for a slice of time.
    pub(super) fn run_errands(&mut self) {
        let Some(mut walk) = self.errands.pop_front() else { return };
        if walk.errand.is_given_up() {
            return;
        }
        let (started, end) = (Instant::now(), self.entries.capacity());
        for _ in 0..LOOKS_PER_TURN / LOOKS {
            for _ in 0..LOOKS {
                self.look_at(&mut walk);
            }
            if walk.next >= end || started.elapsed() >= SLICE {
                break;
            }
        }
        if walk.next < end { self.errands.push_front(walk) } else { walk.errand.finish() }
    }

    fn look_at(&mut self, walk: &mut Walk) {
        let key = walk.next;
        walk.next += 1;
        let Some(entry) = self.entries.get(key) else { return };
        match &mut walk.errand {
            Errand::List(roll, _) if roll.wanted.matches(&entry.card.info) => {
                roll.add(self.id_of(key as u32, entry), &entry.card.info, self.progress_of(key as u32, entry));
            }
            Errand::Kick(wanted, kicked, _) if wanted.matches(&entry.card.info) => {
                *kicked += usize::from(self.kick(key as u32));
            }
            _ => (),
        }
    }

    fn kick_one(&mut self, id: StreamId) -> usize {
        let entry = self.entries.get(id.key as usize);
        match entry.filter(|entry| entry.generation == id.generation) {
            Some(_) => usize::from(self.kick(id.key)),
            None => 0,
        }
    }

    /// Ends a stream as planned; false if it is ending already.
    fn kick(&mut self, key: u32) -> bool {
        if self.entries[key as usize].is_ending() {
            return false;
        }
        self.end_stream(key, EndReason::Kicked);
        self.advance(key);
        true
    }

    fn id_of(&self, key: u32, entry: &Entry) -> StreamId {
        StreamId { owner: self.owner, key, generation: entry.generation }
    }

    fn progress_of(&self, key: u32, entry: &Entry) -> Progress {
        let quiet_for = TICK * self.wheel.now().saturating_sub(self.last_written(key));
        let (lag, bounds) = self.lag_of(entry);
        let pending_bytes = entry.behind.as_ref().map_or(0, |behind| behind.pending.len() as u64);
        let is_compressed = match &entry.source {
            EntrySource::Lane { lane, .. } => self.lanes[*lane as usize].key.encoding == Encoding::Gzip,
            EntrySource::Own(_) => self.gzip.has(key),
        };
        Progress {
            lag,
            pending_bytes,
            pace: self.pace_of(entry, lag),
            is_too_far: bounds.are_exceeded_by(lag),
            quiet_for,
            policy: bounds.policy,
            is_compressed,
        }
    }

    fn lag_of<'a>(&'a self, entry: &'a Entry) -> (Lag, &'a LagBounds) {
        match &entry.source {
            EntrySource::Lane { lane, place } => {
                let lane = &self.lanes[*lane as usize];
                let cursor = entry.behind.as_ref().map_or_else(|| lane.cursor_at(*place), |behind| behind.cursor);
                (lane.feed.lag(cursor), lane.feed.lag_bounds())
            }
            EntrySource::Own(own) => (own.subscription.lag(), own.subscription.lag_bounds()),
        }
    }

    fn pace_of(&self, entry: &Entry, lag: Lag) -> Pace {
        let behind = entry.behind.as_deref();
        match (behind, &entry.source) {
            (Some(Behind { ending: Some(ending), .. }), _) => Pace::Ending(ending.reason),
            (Some(behind), _) if behind.blocked => {
                Pace::Blocked(self.now.saturating_duration_since(behind.progress_at))
            }
            (_, EntrySource::Own(own)) if is_reading_log(own) => Pace::ReadingLog,
            (Some(_), _) => Pace::Reading,
            (None, EntrySource::Lane { place: Place::Listed { .. }, .. }) if lag.frames > 0 => Pace::Waiting,
            (None, EntrySource::Own(_)) if lag.frames > 0 => Pace::Waiting,
            (None, _) => Pace::CaughtUp,
        }
    }
}

fn is_reading_log(own: &Own) -> bool {
    own.subscription.is_replaying()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::WriterSettings;
    use super::*;
    use crate::access::Revocations;
    use crate::compression::Compressors;
    use crate::config::Config;
    use crate::signals::Signals;

    fn writer() -> WriterThread {
        let (config, signals) = (Config::for_memory(1 << 30), Signals::new());
        let compressors = Compressors::new(&config, signals.clone());
        let settings = WriterSettings::new(&config, signals, Arc::new(Revocations::new()), compressors);
        WriterThread::new(1, crossbeam_channel::bounded(1).1, settings).unwrap()
    }

    fn list() -> (Errand, oneshot::Receiver<Roll>) {
        let (answer, roll) = oneshot::channel();
        (Errand::List(Roll::new(Wanted::default(), 1), answer), roll)
    }

    #[test]
    fn a_turn_looks_at_so_many_streams() {
        let mut writer = writer();
        // A place without a stream is looked at too.
        writer.entries.reserve(20_000);
        let (errand, mut roll) = list();
        writer.take_errand(errand);
        let mut turns = 0;
        while roll.try_recv().is_err() {
            let before = writer.errands[0].next;
            writer.run_errands();
            turns += 1;
            let after = writer.errands.front().map_or(writer.entries.capacity(), |walk| walk.next);
            assert!(after - before <= LOOKS_PER_TURN, "{before} to {after}");
        }
        assert!(turns >= 20_000 / LOOKS_PER_TURN && writer.errands.is_empty(), "{turns} turns");
    }

    #[test]
    fn errands_are_few_and_end_with_who_gave_them() {
        let mut writer = writer();
        writer.entries.reserve(20_000);
        let mut rolls: Vec<_> = (0..=ERRANDS_MAX)
            .map(|_| {
                let (errand, roll) = list();
                writer.take_errand(errand);
                roll
            })
            .collect();
        assert_eq!(rolls.pop().unwrap().try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
        drop(rolls);
        (0..ERRANDS_MAX).for_each(|_| writer.run_errands());
        assert!(writer.errands.is_empty());
    }
}
