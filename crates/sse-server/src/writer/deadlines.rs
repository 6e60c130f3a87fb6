//! What time does to streams: heartbeats, ages, the drain, the slow and the silent.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sse_hub::{Lag, LagJudge, SlowPolicy};

use super::entry::{Ending, Entry, EntrySource, Written};
use super::thread::WriterThread;
use super::wheel::{Due, TICK, Tick};
use crate::access::Token;
use crate::compression::Secrecy;
use crate::stream::{EndReason, Framing, HEARTBEAT, Notices, jittered, last_bytes, push_frame, reconnect_frame};

/// How long a client has to close its side once everything is written.
const CLOSING_MAX: Duration = Duration::from_secs(2);
/// How long a stream whose token is over may take to read what it was sent. It is judged twice a second, so that it is
/// gone within two.
const UNGRANTED_MAX: Duration = Duration::from_secs(1);
/// How often those behind are judged, in ticks.
const JUDGE_EVERY: Tick = 2;

impl WriterThread {
    /// Puts the entry's next deadline on the wheel.
    pub(super) fn schedule(&mut self, key: u32) {
        let heartbeat = self.heartbeat_at(key);
        let entry = &mut self.entries[key as usize];
        let at = if entry.end_at == 0 { heartbeat } else { heartbeat.min(entry.end_at) };
        entry.due = at.max(self.wheel.now() + 1);
        self.wheel.insert(Due { key, at: entry.due });
    }

    /// When the stream will have been quiet for long enough. Up to an eighth early, so that streams whose topic spoke last at
    /// the same moment are not all written to at the same moment.
    fn heartbeat_at(&self, key: u32) -> Tick {
        let interval = ticks(self.settings.heartbeat_interval);
        let early = key.wrapping_mul(0x9E37_79B9) % (interval / 8 + 1);
        self.last_written(key).saturating_add(interval - early).max(1)
    }

    pub(super) fn last_written(&self, key: u32) -> Tick {
        let entry = &self.entries[key as usize];
        match entry.source {
            EntrySource::Lane { lane, .. } if entry.behind.is_none() => {
                entry.written.max(self.lanes[lane as usize].written)
            }
            EntrySource::Lane { .. } | EntrySource::Own(_) => entry.written,
        }
    }

    /// One of the entry's deadlines may have come.
    pub(super) fn attend(&mut self, key: u32) {
        let now = self.wheel.now();
        let entry = &self.entries[key as usize];
        if entry.is_ending() {
            return;
        }
        if entry.end_at != 0 && entry.end_at <= now {
            let reason = self.end_reason(entry);
            self.end_stream(key, reason);
            self.advance(key);
            return;
        }
        if self.heartbeat_at(key) <= now {
            self.heartbeat(key);
        }
        if self.entries.contains(key as usize) {
            self.schedule(key);
        }
    }

    /// Writes the heartbeat on a stream that is quiet because it has everything; one whose socket is full is judged by
    /// what it does not take.
    fn heartbeat(&mut self, key: u32) {
        let framing = self.framing(key);
        let tick = self.wheel.now();
        let entry = &mut self.entries[key as usize];
        entry.written = tick;
        if entry.behind.is_some() {
            return;
        }
        if let EntrySource::Lane { lane, .. } = entry.source
            && self.lanes[lane as usize].shared.is_some()
        {
            self.lanes[lane as usize].heartbeat = true;
            return self.lane_has_news(lane, None);
        }
        let bytes = match framing {
            Framing::Chunked => HEARTBEAT.chunk().clone(),
            Framing::UntilClose => HEARTBEAT.text(),
        };
        tracing::debug!(remote_addr = %entry.card.info.remote_addr, "heartbeat");
        match entry.write(&bytes) {
            Written::All => self.settings.signals.sent(bytes.len()),
            Written::Part(len) => {
                self.settings.signals.sent(len);
                self.fall_behind_here(key, bytes.slice(len..));
            }
            Written::Broken => self.remove(key, EndReason::Broken),
        }
    }

    /// Takes a stream that was caught up off its lane's list, with something to write first.
    fn fall_behind_here(&mut self, key: u32, pending: Bytes) {
        let cursor = match self.entries[key as usize].source {
            EntrySource::Lane { lane, place } => self.lanes[lane as usize].cursor_at(place),
            EntrySource::Own(_) => 0,
        };
        self.leave_lane_list(key);
        self.fall_behind(key, pending, cursor);
    }

    fn framing(&self, key: u32) -> Framing {
        match &self.entries[key as usize].source {
            EntrySource::Lane { lane, .. } => self.lanes[*lane as usize].key.framing,
            EntrySource::Own(own) => own.framing,
        }
    }

    fn notices(&self, key: u32) -> Notices {
        match &self.entries[key as usize].source {
            EntrySource::Lane { lane, .. } => self.lanes[*lane as usize].key.notices,
            EntrySource::Own(own) => own.notices,
        }
    }

    /// When a stream that joins now has to end: at its age, or with its token; 0 for never.
    pub(super) fn end_of(&self, token: Option<&Token>) -> Tick {
        let now = SystemTime::now();
        // On its way here when the drain began, or when its token was revoked.
        if self.draining || token.is_some_and(|token| self.settings.revocations.holds_for(token, now)) {
            return self.wheel.after(Duration::ZERO);
        }
        let age = self.settings.connection_age_max.map(|age| self.wheel.after(jittered(age, 0.1)));
        // Rather a tick late than early: what a token grants, it grants to its end.
        let life = token.and_then(|token| token.life_left(now)).map(|life| self.wheel.after(life.saturating_add(TICK)));
        age.into_iter().chain(life).min().unwrap_or(0)
    }

    /// Why a stream ends whose time has come.
    fn end_reason(&self, entry: &Entry) -> EndReason {
        /// Ticks are coarse, so the end comes a moment early.
        const ABOUT_NOW: Duration = Duration::from_secs(1);
        let now = SystemTime::now();
        match entry.card.info.token.as_deref() {
            _ if self.draining => EndReason::Drain,
            Some(token) if self.settings.revocations.holds_for(token, now) => EndReason::Revoked,
            Some(token) if token.life_left(now).is_some_and(|life| life < ABOUT_NOW) => EndReason::Expired,
            _ => EndReason::Age,
        }
    }

    /// Ends the streams whose tokens were revoked.
    pub(super) fn end_revoked(&mut self) {
        let now = SystemTime::now();
        let revocations = self.settings.revocations.clone();
        let is_revoked =
            |entry: &Entry| entry.card.info.token.as_ref().is_some_and(|token| revocations.holds_for(token, now));
        let keys: Vec<u32> =
            self.entries.iter().filter(|(_, entry)| is_revoked(entry)).map(|(key, _)| key as u32).collect();
        for key in keys {
            self.end_stream(key, EndReason::Revoked);
            self.advance(key);
        }
    }

    /// Plans the stream's end: what is pending, the reason, the last chunk. A closed topic's stream has had its `sse.end`.
    pub(super) fn end_stream(&mut self, key: u32, reason: EndReason) {
        let (framing, notices) = (self.framing(key), self.notices(key));
        if self.entries[key as usize].behind.is_none() {
            // One that still waits for a round ends without it: it will resume by its last id.
            self.fall_behind_here(key, Bytes::new());
        }
        let Some(behind) = self.entries[key as usize].behind.as_mut() else { return };
        if behind.ending.is_some() {
            return;
        }
        let mut bytes = behind.pending.to_vec();
        if reason != EndReason::Ended && notices == Notices::On {
            let mut told = Vec::new();
            push_frame(&mut told, &reconnect_frame(reason), self.gzip.text_framing(key, framing));
            bytes.extend_from_slice(&self.gzip.own(key, told.into(), Secrecy::Public, framing));
        }
        bytes.extend_from_slice(&self.gzip.end(key, framing));
        bytes.extend_from_slice(last_bytes(framing));
        behind.pending = bytes.into();
        // Whoever may see no more is not waited for.
        let until = reason.is_impatient().then(|| self.now + UNGRANTED_MAX);
        behind.ending = Some(Ending { reason, until, closing_since: None });
    }

    /// Everything is written: the client has a moment to close, so that closing does not reset what is on its way.
    pub(super) fn begin_closing(&mut self, key: u32) {
        let now = self.now;
        let entry = &mut self.entries[key as usize];
        let Some(ending) = entry.behind.as_mut().and_then(|behind| behind.ending.as_mut()) else { return };
        if ending.closing_since.replace(now).is_none() {
            entry.finish_writing();
        }
    }

    /// Judges those behind: endings that take too long, sockets that take nothing, subscribers that are too slow.
    pub(super) fn watch_those_behind(&mut self) {
        if self.wheel.now() < self.judged_at + JUDGE_EVERY {
            return;
        }
        self.judged_at = self.wheel.now();
        for key in self.behind.clone() {
            if let Some(reason) = self.verdict(key) {
                self.remove(key, reason);
            }
        }
    }

    fn verdict(&mut self, key: u32) -> Option<EndReason> {
        let now = self.now;
        let entry = &mut self.entries[key as usize];
        let behind = entry.behind.as_mut()?;
        if let Some(Ending { reason, until: Some(until), .. }) = behind.ending
            && until <= now
        {
            return Some(reason);
        }
        if let Some(Ending { reason, closing_since: Some(since), .. }) = behind.ending {
            return (now.saturating_duration_since(since) >= CLOSING_MAX).then_some(reason);
        }
        if behind.blocked && now.saturating_duration_since(behind.progress_at) >= self.settings.write_timeout {
            return Some(EndReason::Stalled);
        }
        let lane = match &entry.source {
            EntrySource::Lane { lane, .. } => *lane,
            // The hub judges a subscription, but a full socket keeps it from being asked.
            EntrySource::Own(own) if own.subscription.is_evicted() => {
                self.settings.signals.eviction("lagged");
                return Some(EndReason::Lagged);
            }
            EntrySource::Own(_) => return None,
        };
        let feed = &self.lanes[lane as usize].feed;
        let mut lag = feed.lag(behind.cursor);
        lag += Lag { bytes: behind.pending.len() as u64, ..Lag::default() };
        let bounds = feed.lag_bounds();
        if behind.ending.is_some() || !behind.judge.is_too_slow(now, lag, behind.bytes_written, bounds) {
            return None;
        }
        match bounds.policy {
            SlowPolicy::Evict => {
                self.settings.signals.eviction("lagged");
                Some(EndReason::Lagged)
            }
            // It cannot be told what it would miss: it is to come back, and learns it then.
            SlowPolicy::Skip if self.lanes[lane as usize].key.notices == Notices::Off => {
                self.settings.signals.eviction("lagged");
                Some(EndReason::Lagged)
            }
            SlowPolicy::Skip => {
                self.skip(key, lane);
                None
            }
            SlowPolicy::Latest => None,
        }
    }

    /// The `skip` policy: what is being written is finished, then the stream is told and goes on with the newest frame,
    /// which may be its topic's end.
    fn skip(&mut self, key: u32, lane: u32) {
        let lane = &self.lanes[lane as usize];
        let Some(behind) = self.entries[key as usize].behind.as_mut() else { return };
        let resumed_after = lane.feed.before_newest();
        if resumed_after <= behind.cursor {
            return;
        }
        let gap = lane.gap(behind.cursor, resumed_after);
        let mut bytes = behind.pending.to_vec();
        push_frame(&mut bytes, &gap.frame(), lane.key.framing);
        behind.pending = bytes.into();
        behind.cursor = resumed_after;
        behind.judge = LagJudge::default();
        self.settings.signals.gaps(gap.reason.as_str(), 1);
    }

    /// Ends every stream, evenly over `window`.
    pub(super) fn drain(&mut self, window: Duration) {
        self.draining = true;
        let keys: Vec<u32> = self.entries.iter().map(|(key, _)| key as u32).collect();
        let count = keys.len().max(1) as u32;
        for (index, key) in (0..).zip(keys) {
            self.entries[key as usize].end_at = self.wheel.after(window * index / count);
            self.schedule(key);
        }
    }
}

fn ticks(duration: Duration) -> Tick {
    Tick::try_from(duration.as_millis() / TICK.as_millis()).unwrap_or(Tick::MAX / 2).max(1)
}
