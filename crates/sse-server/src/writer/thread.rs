//! A writer's loop: commands, sockets, news and timers, in turns that none of them can stretch.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use super::behind::SLICE;
use super::entry::{Card, Entry, EntrySource, Own, Place};
use super::errand::Walk;
use super::gzip::Gzip;
use super::lane::{Lane, LaneKey};
use super::news::{News, NewsBox, NewsOf, WAKE_TOKEN};
use super::ring::Ring;
use super::secure::Secure;
use super::wheel::{Due, Tick, Wheel};
use super::{Command, Joining, WriterSettings};
use crate::compression::Shared;
use crate::stream::{Encoding, EndReason, Source};
use crate::transport::RawTransport;

/// Sockets that are looked at per turn: very many may close at once, and closing each costs microseconds.
const EVENTS_PER_TURN: usize = 128;
/// Sends per lane and turn: a hot topic's round goes in slices, between which others get theirs.
#[cfg(not(test))]
pub(super) const SENDS_PER_TURN: usize = 64;
/// With the few streams of a test, too, a round takes several turns.
#[cfg(test)]
pub(super) const SENDS_PER_TURN: usize = 3;

/// One writer.
#[derive(Debug)]
pub(super) struct WriterThread {
    pub(super) settings: WriterSettings,
    poll: Poll,
    commands: Receiver<Command>,
    pub(super) news_box: Arc<NewsBox>,
    pub(super) entries: Slab<Entry>,
    pub(super) lanes: Slab<Lane>,
    pub(super) lanes_by_key: HashMap<LaneKey, u32, ahash::RandomState>,
    /// Lanes with a round under way or news to look at.
    pub(super) active_lanes: VecDeque<(u32, u32)>,
    /// Lanes that wait for more to leave together.
    pub(super) coalescing: VecDeque<News>,
    /// Entries that are not caught up.
    pub(super) behind: Vec<u32>,
    /// Entries that stopped at their budget and can go on.
    pub(super) runnable: VecDeque<(u32, u32)>,
    /// Sends to lanes since other threads were let in.
    pub(super) sends_since_offer: usize,
    /// Sends to many at once, where that can be had.
    pub(super) ring: Option<Ring>,
    pub(super) gzip: Gzip,
    pub(super) wheel: Wheel,
    /// When those behind were judged last.
    pub(super) judged_at: Tick,
    generation: u32,
    /// What it is called in the names of its streams.
    pub(super) owner: u32,
    /// What operators have it do.
    pub(super) errands: VecDeque<Walk>,
    pub(super) draining: bool,
    pub(super) now: Instant,
    stopping: bool,
}

impl WriterThread {
    pub(super) fn new(owner: u32, commands: Receiver<Command>, settings: WriterSettings) -> io::Result<Self> {
        let poll = Poll::new()?;
        let now = Instant::now();
        Ok(Self {
            news_box: NewsBox::new(poll.registry(), &settings.signals)?,
            poll,
            commands,
            entries: Slab::new(),
            lanes: Slab::new(),
            lanes_by_key: HashMap::default(),
            active_lanes: VecDeque::new(),
            coalescing: VecDeque::new(),
            behind: Vec::new(),
            runnable: VecDeque::new(),
            sends_since_offer: 0,
            ring: None,
            gzip: Gzip::new(&settings),
            wheel: Wheel::new(now),
            judged_at: 0,
            generation: 0,
            owner,
            errands: VecDeque::new(),
            draining: false,
            now,
            settings,
            stopping: false,
        })
    }

    pub(super) fn news(&self) -> Arc<NewsBox> {
        self.news_box.clone()
    }

    pub(super) fn run(mut self) {
        // Here, for only the thread that opens it may use it.
        self.ring = self.settings.ring();
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        let mut news = Vec::new();
        let mut due = Vec::new();
        while !self.stopping {
            self.wait(&mut events);
            // First of all: who joins counts its age and its silence from this tick, however long the writer slept.
            self.wheel.advance(self.now, &mut due);
            due.drain(..).for_each(|due| self.when_due(due));
            self.take_commands();
            for event in &events {
                if event.token() != WAKE_TOKEN {
                    let readable = event.is_readable() || event.is_read_closed() || event.is_error();
                    self.socket_event(event.token().0, readable, event.is_writable());
                }
            }
            self.news_box.take(&mut news);
            news.drain(..).for_each(|news| self.hear(news));
            self.end_coalescing();
            self.run_lanes();
            self.run_entries();
            self.run_errands();
            self.watch_those_behind();
        }
        let keys: Vec<usize> = self.entries.iter().map(|(key, _)| key).collect();
        keys.into_iter().for_each(|key| self.remove(key as u32, EndReason::Stopped));
    }

    /// Waits for sockets, news, commands or the next tick.
    fn wait(&mut self, events: &mut Events) {
        self.news_box.about_to_sleep();
        let timeout = if self.has_work() { Some(Duration::ZERO) } else { self.timeout() };
        if let Err(error) = self.poll.poll(events, timeout)
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::error!(%error, "a writer cannot poll");
        }
        self.news_box.woke_up();
        self.now = Instant::now();
    }

    fn has_work(&self) -> bool {
        !self.active_lanes.is_empty()
            || !self.runnable.is_empty()
            || !self.errands.is_empty()
            || !self.commands.is_empty()
            || !self.news_box.is_empty()
    }

    fn timeout(&self) -> Option<Duration> {
        if self.entries.is_empty() {
            return None;
        }
        let now = Instant::now();
        let tick = self.wheel.until_next(now);
        let window = self.settings.coalesce_window;
        let coalesced = self.coalescing.front().map(|news| (news.at + window).saturating_duration_since(now));
        Some(coalesced.map_or(tick, |coalesced| coalesced.min(tick)))
    }

    /// Takes streams in for a slice of time, so that a burst of them does not hold up those who are there.
    fn take_commands(&mut self) {
        while self.now.elapsed() < SLICE {
            match self.commands.try_recv() {
                Ok(Command::Join(joining)) => self.join(*joining),
                Ok(Command::Adopt(adopted)) => {
                    let (adopted, seat) = *adopted;
                    self.adopt(adopted, seat);
                }
                Ok(Command::Pass(passing)) => self.pass(&passing),
                Ok(Command::Drain(window)) => self.drain(window),
                Ok(Command::EndRevoked) => self.end_revoked(),
                Ok(Command::Run(errand)) => self.take_errand(*errand),
                Ok(Command::Stop) | Err(crossbeam_channel::TryRecvError::Disconnected) => {
                    self.stopping = true;
                    return;
                }
                Err(crossbeam_channel::TryRecvError::Empty) => return,
            }
        }
    }

    pub(super) fn register(&self, socket: &mut TcpStream, token: Token, interest: Interest) -> io::Result<()> {
        self.poll.registry().register(socket, token, interest)
    }

    pub(super) fn deregister(&self, socket: &mut TcpStream) -> io::Result<()> {
        self.poll.registry().deregister(socket)
    }

    pub(super) fn next_generation(&mut self) -> u32 {
        self.generation = self.generation.wrapping_add(1);
        self.generation
    }

    fn join(&mut self, joining: Joining) {
        let Joining { transport: RawTransport { socket, tls }, mut plan, seat, followers } = joining;
        let mut socket = TcpStream::from_std(socket);
        let key = self.entries.vacant_key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.poll.registry().register(&mut socket, Token(key), interest) {
            // Without the poller nobody would notice that it closes.
            tracing::warn!(%error, "cannot watch a stream");
            self.settings.signals.connection_rejected("poller");
            return;
        }
        let encoding = self.encoding(&plan, followers);
        let first = match encoding {
            Encoding::Identity => plan.first_bytes(),
            Encoding::Gzip => self.gzip.begin(key as u32, &mut plan),
        };
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        plan.info.begin(&self.settings.signals);
        let (source, cursor, replay_to) = match plan.source {
            Source::Topic { feed, cursor, replay_to, grants } => {
                self.settings.signals.lane_joined();
                let topic = feed.topic().clone();
                let (shape, framing, notices) = (plan.shape, plan.framing, plan.notices);
                let lane_key = LaneKey { topic, shape, framing, notices, encoding, grants };
                let lane = self.lane(lane_key, feed);
                (EntrySource::Lane { lane, place: Place::Off }, cursor, replay_to)
            }
            Source::Own { subscription, topic } => {
                let waker = self.news_box.waker(NewsOf::Entry { key: key as u32, generation });
                let (shape, framing, notices) = (plan.shape, plan.framing, plan.notices);
                let lane_key = |(topic, grants)| Box::new(LaneKey { topic, shape, framing, notices, encoding, grants });
                let own =
                    Own { subscription: *subscription, waker, shape, framing, notices, lane: topic.map(lane_key) };
                (EntrySource::Own(Box::new(own)), 0, 0)
            }
        };
        let end_at = self.end_of(plan.info.token.as_deref());
        let card = Box::new(Card { info: plan.info, _seat: seat });
        self.entries.insert(Entry {
            socket,
            tls: tls.map(Secure::new),
            generation,
            source,
            behind: None,
            due: 0,
            written: self.wheel.now(),
            end_at,
            received: 0,
            card,
        });
        self.fall_behind(key as u32, first.into(), cursor);
        if let Some(behind) = self.entries[key].behind.as_mut() {
            behind.replay_to = replay_to;
        }
        self.schedule(key as u32);
        self.advance(key as u32);
    }

    /// The lane of this key, made if it is new.
    pub(super) fn lane(&mut self, key: LaneKey, feed: sse_hub::Feed) -> u32 {
        if let Some(&lane) = self.lanes_by_key.get(&key) {
            self.lanes[lane as usize].members += 1;
            return lane;
        }
        self.generation = self.generation.wrapping_add(1);
        let vacant = self.lanes.vacant_entry();
        let index = vacant.key() as u32;
        let waker = self.news_box.waker(NewsOf::Lane { key: index, generation: self.generation });
        let head = feed.newest();
        let shared = (key.encoding == Encoding::Gzip).then(|| Box::new(Shared::new(key.framing)));
        vacant.insert(Lane {
            key: key.clone(),
            generation: self.generation,
            feed: Arc::new(feed),
            waker,
            head,
            caught_up: Vec::new(),
            waiting: Vec::new(),
            phase: false,
            round: None,
            members: 1,
            written: self.wheel.now(),
            fan_out: None,
            read_at: None,
            active: false,
            shared,
            heartbeat: false,
        });
        self.lanes_by_key.insert(key, index);
        // Armed before its first stream has its head: whatever a client publishes then counts as news.
        if self.begin_round(index) {
            self.lane_has_news(index, None);
        }
        index
    }

    fn hear(&mut self, news: News) {
        match news.of {
            NewsOf::Lane { key, generation } => {
                if self.lanes.get(key as usize).is_some_and(|lane| lane.generation == generation) {
                    if self.settings.coalesce_window.is_zero() {
                        self.lane_has_news(key, news.fan_out);
                    } else {
                        self.coalescing.push_back(news);
                    }
                }
            }
            NewsOf::Entry { key, generation } => {
                match self.entries.get(key as usize).filter(|entry| entry.generation == generation) {
                    Some(entry) if entry.is_replaying() => self.go_on_later(key),
                    Some(_) => self.advance(key),
                    None => (),
                }
            }
        }
    }

    fn end_coalescing(&mut self) {
        let (now, window) = (self.now, self.settings.coalesce_window);
        while let Some(news) = self.coalescing.pop_front_if(|news| news.at + window <= now) {
            if let NewsOf::Lane { key, generation } = news.of
                && self.lanes.get(key as usize).is_some_and(|lane| lane.generation == generation)
            {
                self.lane_has_news(key, news.fan_out);
            }
        }
    }

    fn socket_event(&mut self, key: usize, readable: bool, writable: bool) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if readable && let Some(reason) = entry.drain_input() {
            self.remove(key as u32, reason);
            return;
        }
        if writable && let Some(behind) = self.entries[key].behind.as_mut() {
            behind.blocked = false;
            self.go_on_later(key as u32);
        }
    }

    /// Takes the entry at its tick, unless it was moved to another since.
    fn when_due(&mut self, due: Due) {
        if self.entries.get(due.key as usize).is_some_and(|entry| entry.due == due.at) {
            self.attend(due.key);
        }
    }

    /// Forgets a stream; its socket is closed.
    pub(super) fn remove(&mut self, key: u32, reason: EndReason) {
        self.leave_lists(key);
        let Some(mut entry) = self.entries.try_remove(key as usize) else { return };
        self.gzip.forget(key);
        let reason = entry.behind.as_ref().and_then(|behind| behind.ending).map_or(reason, |ending| ending.reason);
        // Closing the descriptor takes it out of the poller as well; this only keeps mio's own books.
        let _ = self.poll.registry().deregister(&mut entry.socket);
        if let EntrySource::Lane { lane, .. } = entry.source {
            self.settings.signals.lane_left();
            self.leave_lane(lane);
        }
        entry.card.info.end(reason, &self.settings.signals);
    }

    pub(super) fn leave_lane(&mut self, lane: u32) {
        let members = &mut self.lanes[lane as usize].members;
        *members -= 1;
        if *members == 0 {
            self.end_round(lane);
            let lane = self.lanes.remove(lane as usize);
            self.lanes_by_key.remove(&lane.key);
        }
    }
}
