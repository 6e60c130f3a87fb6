//! Open streams as operators see them: which are listed, and which are ended.
//!
//! Nothing is kept for it. Whoever owns streams, a writer or [`HyperStreams`], looks through them when somebody asks, a few
//! at a time, and writes what it finds on a [`Roll`].

use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sse_hub::{Lag, SlowPolicy, TopicName};

use crate::access::Token;
use crate::stream::{EndReason, FollowedTopics, Interface, Protocol, RemoteAddr, StreamInfo};

mod hyper_streams;
mod stream_id;

pub(crate) use hyper_streams::{HyperPlace, HyperStreams};
pub(crate) use stream_id::StreamId;

/// Bytes of what a stream follows that are shown: it may be a thousand topics.
const TOPICS_BYTES_MAX: usize = 1024;

/// Which streams are meant. Everything that is given has to be so.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    /// A topic or template, as it was asked for.
    pub(crate) topic: Option<Arc<str>>,
    pub(crate) subject: Option<Arc<str>>,
    pub(crate) ip: Option<IpAddr>,
}

impl Wanted {
    pub(crate) fn matches(&self, info: &StreamInfo) -> bool {
        let subject = || info.token.as_ref().and_then(|token| token.subject.as_deref());
        self.ip.is_none_or(|ip| ip == info.remote_addr.ip.to_canonical())
            && self.subject.as_deref().is_none_or(|wanted| subject() == Some(wanted))
            && self.topic.as_deref().is_none_or(|wanted| follows(&info.topics, wanted))
    }
}

/// Whether a topic or template is among those followed.
fn follows(topics: &FollowedTopics, wanted: &str) -> bool {
    match topics {
        FollowedTopics::One(topic) => topic.as_str() == wanted,
        // Parted by spaces, which a name may hold too.
        FollowedTopics::Several(text) => text.match_indices(wanted).any(|(at, _)| {
            let (before, behind) = (&text[..at], &text[at + wanted.len()..]);
            (before.is_empty() || before.ends_with(' ')) && (behind.is_empty() || behind.starts_with(' '))
        }),
    }
}

/// How a stream gets on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// It has everything.
    CaughtUp,
    /// Its turn in the round under way is yet to come.
    Waiting,
    /// It reads what it has missed.
    Reading,
    /// The same from the log.
    ReadingLog,
    /// Its client has taken nothing for so long.
    Blocked(Duration),
    /// It is about to end.
    Ending(EndReason),
}

/// How far a stream is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Progress {
    pub(crate) lag: Lag,
    /// Bytes that were read for it and that its socket has not taken.
    pub(crate) pending_bytes: u64,
    pub(crate) pace: Pace,
    /// It is over a bound: if that lasts, its policy applies.
    pub(crate) is_too_far: bool,
    /// How long it was not written to.
    pub(crate) quiet_for: Duration,
    pub(crate) policy: SlowPolicy,
    pub(crate) is_compressed: bool,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) id: StreamId,
    pub(crate) topics: Box<str>,
    pub(crate) remote_addr: RemoteAddr,
    pub(crate) user_agent: Arc<str>,
    pub(crate) token: Option<Arc<Token>>,
    pub(crate) connected_at: Instant,
    pub(crate) protocol: Protocol,
    pub(crate) interface: Interface,
    pub(crate) progress: Progress,
}

/// Where a stream stands in the listing: the furthest behind is the greatest, and of those alike the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    is_blocked: bool,
    bytes: u64,
    frames: usize,
    age: Duration,
    id: StreamId,
}

/// The streams that are furthest behind, of those that are wanted.
#[derive(Debug)]
pub(crate) struct Roll {
    pub(crate) wanted: Wanted,
    shown_max: usize,
    /// The least of those shown is the first to make room.
    shown: BinaryHeap<Ranked>,
    total: usize,
}

#[derive(Debug)]
struct Ranked {
    rank: Rank,
    listed: Box<Listed>,
}

impl Roll {
    pub(crate) fn new(wanted: Wanted, shown_max: usize) -> Self {
        Self { wanted, shown_max, shown: BinaryHeap::new(), total: 0 }
    }

    /// Takes down a stream that is wanted.
    pub(crate) fn add(&mut self, id: StreamId, info: &StreamInfo, progress: Progress) {
        self.total += 1;
        let rank = Rank {
            is_blocked: matches!(progress.pace, Pace::Blocked(_)),
            bytes: progress.lag.bytes + progress.pending_bytes,
            frames: progress.lag.frames,
            age: info.connected_at.elapsed(),
            id,
        };
        // What would not be shown is not put together.
        if self.shown.len() < self.shown_max || self.shown.peek().is_some_and(|least| least.rank < rank) {
            self.put(Ranked { rank, listed: Box::new(Listed::new(id, info, progress)) });
        }
    }

    fn put(&mut self, ranked: Ranked) {
        self.shown.push(ranked);
        if self.shown.len() > self.shown_max {
            self.shown.pop();
        }
    }

    /// Adds what another has found.
    pub(crate) fn merge(&mut self, other: Self) {
        self.total += other.total;
        other.shown.into_iter().for_each(|ranked| self.put(ranked));
    }

    /// Those shown, the furthest behind first; and how many were wanted.
    pub(crate) fn finish(self) -> (Vec<Listed>, usize) {
        let ranked = self.shown.into_sorted_vec();
        (ranked.into_iter().map(|ranked| *ranked.listed).collect(), self.total)
    }
}

impl Listed {
    fn new(id: StreamId, info: &StreamInfo, progress: Progress) -> Self {
        Self {
            id,
            topics: shortened(&info.topics).into(),
            remote_addr: info.remote_addr,
            user_agent: info.user_agent.clone(),
            token: info.token.clone(),
            connected_at: info.connected_at,
            protocol: info.protocol,
            interface: info.interface,
            progress,
        }
    }
}

fn shortened(topics: &FollowedTopics) -> String {
    let text = match topics {
        FollowedTopics::One(topic) => TopicName::as_str(topic),
        FollowedTopics::Several(text) => text,
    };
    if text.len() <= TOPICS_BYTES_MAX {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(TOPICS_BYTES_MAX)])
}

// Reversed, so that the heap's greatest is the least.
impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.rank.cmp(&self.rank)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}

impl Eq for Ranked {}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(topics: FollowedTopics) -> StreamInfo {
        StreamInfo {
            remote_addr: RemoteAddr::from(std::net::SocketAddr::from(([127, 0, 0, 1], 7))),
            user_agent: "".into(),
            topics,
            token: None,
            connected_at: Instant::now(),
            protocol: Protocol::Http1,
            interface: Interface::Native,
            _permit: None,
            _holdings: None,
        }
    }

    fn progress(bytes: u64) -> Progress {
        Progress {
            lag: Lag { bytes, ..Lag::default() },
            pending_bytes: 0,
            pace: Pace::Reading,
            is_too_far: false,
            quiet_for: Duration::ZERO,
            policy: SlowPolicy::Evict,
            is_compressed: false,
        }
    }

    #[test]
    fn the_furthest_behind_are_shown() {
        let info = info(FollowedTopics::Several("a b".into()));
        let mut rolls = [Roll::new(Wanted::default(), 2), Roll::new(Wanted::default(), 2)];
        for (key, bytes) in (0..).zip([5, 1, 9, 7, 3]) {
            rolls[key as usize % 2].add(StreamId { owner: 0, key, generation: 1 }, &info, progress(bytes));
        }
        let [mut one, other] = rolls;
        one.merge(other);
        let (shown, total) = one.finish();
        assert_eq!((shown.iter().map(|listed| listed.progress.lag.bytes).collect::<Vec<_>>(), total), (vec![9, 7], 5));
    }

    #[test]
    fn topics_are_wanted_whole() {
        let several = info(FollowedTopics::Several("a b/{id} c d".into()));
        let matches = |wanted: &str| Wanted { topic: Some(wanted.into()), ..Wanted::default() }.matches(&several);
        let found = ["a", "b/{id}", "c d", "d", "b", "", "a b"].map(matches);
        assert_eq!(found, [true, true, true, true, false, false, false]);
    }

    #[test]
    fn many_topics_are_shortened() {
        let long = info(FollowedTopics::Several("é".repeat(2000).into()));
        let shown = shortened(&long.topics);
        assert!(shown.len() <= TOPICS_BYTES_MAX + "…".len() && shown.ends_with("é…"), "{}", shown.len());
    }
}
