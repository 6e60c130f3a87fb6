//! Streams that leave for another process, and those that come from one.

use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use mio::{Interest, Token};
use parking_lot::Mutex;
use sse_hub::{Feed, Grants, TopicName};

use super::Seat;
use super::entry::{Card, Entry, EntrySource, Place};
use super::lane::LaneKey;
use super::thread::WriterThread;
use super::wheel::TICK;
use crate::stream::{Encoding, Framing, HEARTBEAT, Notices, Shape, StreamInfo};
use crate::upgrade::{Link, LinkError, StreamBatch};

/// Has a writer send its streams, and touch nothing until it is told whose they are.
#[derive(Debug)]
pub(crate) struct Passing {
    pub(crate) link: Arc<Mutex<Link>>,
    /// How many were sent.
    pub(crate) sent: Sender<Result<usize, LinkError>>,
    /// Something comes here once the other process has them; dropped instead, they stay.
    pub(crate) taken: Receiver<()>,
}

/// A stream as another process has to know it.
#[derive(Debug)]
pub(crate) struct Passed<'a> {
    pub(crate) socket: BorrowedFd<'a>,
    /// Its lane's key on this writer.
    pub(crate) lane: u32,
    pub(crate) topic: &'a TopicName,
    pub(crate) shape: Shape,
    pub(crate) framing: Framing,
    pub(crate) notices: Notices,
    pub(crate) grants: &'a Grants,
    pub(crate) cursor: u64,
    pub(crate) replay_to: u64,
    /// What it gets first, which brings it to its cursor.
    pub(crate) pending: Bytes,
    pub(crate) quiet: Duration,
    pub(crate) blocked_for: Duration,
    pub(crate) ends_in: Option<Duration>,
    pub(crate) received: u32,
    pub(crate) info: &'a StreamInfo,
}

/// A stream of another process that is this one's now.
#[derive(Debug)]
pub(crate) struct Adopted {
    pub(crate) socket: TcpStream,
    pub(crate) feed: Feed,
    pub(crate) cursor: u64,
    pub(crate) replay_to: u64,
    pub(crate) shape: Shape,
    pub(crate) framing: Framing,
    pub(crate) notices: Notices,
    pub(crate) grants: Grants,
    pub(crate) pending: Bytes,
    pub(crate) quiet: Duration,
    pub(crate) blocked_since: Instant,
    pub(crate) ends_in: Option<Duration>,
    pub(crate) received: u32,
    pub(crate) info: StreamInfo,
}

impl WriterThread {
    /// Sends all streams that can be passed, and waits to be told whose they are. Meanwhile nothing is written or read here.
    pub(super) fn pass(&mut self, passing: &Passing) {
        let mut keys: Vec<(u32, u32)> = self
            .entries
            .iter()
            .filter_map(|(key, entry)| Some((self.passing_lane(key as u32, entry)?, key as u32)))
            .collect();
        keys.sort_unstable();
        let sent = self.send_streams(&keys, passing);
        let has_sent = sent.is_ok();
        // Whoever has given up waiting drops the other channel as well.
        let _ = passing.sent.send(sent);
        if has_sent && passing.taken.recv().is_ok() {
            keys.into_iter().for_each(|(_, key)| self.let_go(key));
        }
        self.now = Instant::now();
    }

    /// The lane of a stream that can be passed. What is encrypted or compressed depends on more than what is told of it here,
    /// and what follows several topics on more than one cursor.
    fn passing_lane(&self, key: u32, entry: &Entry) -> Option<u32> {
        let EntrySource::Lane { lane, .. } = entry.source else { return None };
        let is_plain = entry.tls.is_none() && !self.gzip.has(key) && !entry.is_ending();
        let is_listed = entry.card.info._holdings.as_ref().is_some_and(|holdings| holdings.present.is_some());
        (is_plain && !is_listed).then_some(lane)
    }

    fn send_streams(&self, keys: &[(u32, u32)], passing: &Passing) -> Result<usize, LinkError> {
        let mut link = passing.link.lock();
        let mut batch = StreamBatch::default();
        for &(lane, key) in keys {
            batch.add(&self.passed(lane, key), &mut link)?;
        }
        batch.send(&mut link)?;
        Ok(keys.len())
    }

    fn passed(&self, lane_key: u32, key: u32) -> Passed<'_> {
        let (lane, entry) = (&self.lanes[lane_key as usize], &self.entries[key as usize]);
        let LaneKey { topic, shape, framing, notices, grants, .. } = &lane.key;
        let (cursor, replay_to, pending, blocked_for) = match (&entry.behind, &entry.source) {
            (Some(behind), _) => {
                let blocked_for = if behind.blocked { behind.progress_at.elapsed() } else { Duration::ZERO };
                (behind.cursor, behind.replay_to, behind.pending.clone(), blocked_for)
            }
            (None, EntrySource::Lane { place, .. }) => (lane.cursor_at(*place), 0, Bytes::new(), Duration::ZERO),
            (None, EntrySource::Own(_)) => unreachable!("only streams of lanes are passed"),
        };
        let now = self.wheel.now();
        Passed {
            socket: entry.socket.as_fd(),
            lane: lane_key,
            topic,
            shape: *shape,
            framing: *framing,
            notices: *notices,
            grants,
            cursor,
            replay_to,
            pending,
            quiet: TICK * now.saturating_sub(self.last_written(key)),
            blocked_for,
            ends_in: (entry.end_at != 0).then(|| TICK * entry.end_at.saturating_sub(now)),
            received: entry.received,
            info: &entry.card.info,
        }
    }

    /// Forgets a stream that another process has. Its socket is open there, so that nothing is said on it here.
    fn let_go(&mut self, key: u32) {
        self.leave_lists(key);
        let Some(mut entry) = self.entries.try_remove(key as usize) else { return };
        // The poller watches the connection for as long as any process has it open.
        if let Err(error) = self.deregister(&mut entry.socket) {
            tracing::warn!(%error, "cannot forget a socket that was handed over");
        }
        if let EntrySource::Lane { lane, .. } = entry.source {
            self.settings.signals.lane_left();
            self.leave_lane(lane);
        }
        self.settings.signals.stream_closed(entry.card.info.connected_at.elapsed());
    }

    /// Goes on with a stream where another process was.
    pub(super) fn adopt(&mut self, adopted: Adopted, seat: Seat) {
        let Adopted { socket, feed, cursor, replay_to, shape, framing, notices, grants, mut pending, info, .. } =
            adopted;
        // Silence is counted anew here: what was silent for long already is told now that it lives.
        if pending.is_empty() && adopted.quiet * 2 > self.settings.heartbeat_interval {
            pending = match framing {
                Framing::Chunked => HEARTBEAT.chunk().clone(),
                Framing::UntilClose => HEARTBEAT.text(),
            };
        }
        let mut socket = mio::net::TcpStream::from_std(socket);
        let key = self.entries.vacant_key();
        if let Err(error) = self.register(&mut socket, Token(key), Interest::READABLE | Interest::WRITABLE) {
            tracing::warn!(%error, "cannot watch a stream");
            self.settings.signals.connection_rejected("poller");
            return;
        }
        let generation = self.next_generation();
        self.settings.signals.stream_opened();
        self.settings.signals.lane_joined();
        let (topic, encoding) = (feed.topic().clone(), Encoding::Identity);
        let lane = self.lane(LaneKey { topic, shape, framing, notices, encoding, grants }, feed);
        let revoked_or_late = self.end_of(info.token.as_deref());
        let end_at = match adopted.ends_in {
            Some(left) => self.wheel.after(left),
            None => 0,
        };
        let end_at = if self.draining || self.is_revoked(&info) { revoked_or_late } else { end_at };
        self.entries.insert(Entry {
            socket,
            tls: None,
            generation,
            source: EntrySource::Lane { lane, place: Place::Off },
            behind: None,
            due: 0,
            written: self.wheel.now(),
            end_at,
            received: adopted.received,
            card: Box::new(Card { info, _seat: seat }),
        });
        let key = key as u32;
        self.fall_behind(key, pending, cursor);
        if let Some(behind) = self.entries[key as usize].behind.as_mut() {
            behind.replay_to = replay_to;
            behind.progress_at = adopted.blocked_since;
        }
        self.schedule(key);
        self.advance(key);
    }

    fn is_revoked(&self, info: &StreamInfo) -> bool {
        let now = std::time::SystemTime::now();
        info.token.as_ref().is_some_and(|token| self.settings.revocations.holds_for(token, now))
    }
}
