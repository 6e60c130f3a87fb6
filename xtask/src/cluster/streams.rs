//! Streams on all nodes, as `EventSource`s would hold them: whoever is cut comes to another node with its last id.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::faults::bench::{expect, wait_for};
use crate::faults::crash::Random;
use crate::faults::crowd::Crowd;
use crate::faults::press::origin;

/// How long one that was cut stays away, and as much again by chance.
const AWAY: Duration = Duration::from_millis(200);
/// A connection that has not been answered after so long is given up.
const ANSWERED_WITHIN: Duration = Duration::from_secs(8);
const OPEN_WITHIN: Duration = Duration::from_secs(60);
const TURN: Duration = Duration::from_millis(10);
/// How many open at a time.
const OPENING: usize = 200;
/// What the last event of a topic begins with.
pub const END: &str = "end ";

/// One thing that a stream was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// An event of a publisher's, by its id, the publisher and its number.
    Event { id: String, origin: (usize, u32) },
    /// The last event of one of its topics.
    End { id: String },
    /// That something is missing here, by the id that stands for it.
    Gap { id: String, data: String },
    /// What nobody has published.
    Strange(String),
}

/// One client, over all its connections.
#[derive(Debug)]
pub struct Client {
    pub topics: Vec<usize>,
    /// The id that it began after.
    pub began: String,
    pub told: Vec<Told>,
    /// When it was told of the first gap.
    pub gap_at: Option<Instant>,
    pub moves: usize,
    pub heartbeats: usize,
    /// Where it is.
    pub node: usize,
    cursor: String,
    ends: usize,
}

impl Client {
    /// One that was told so.
    pub fn of(topics: Vec<usize>, began: &str, told: Vec<Told>) -> Self {
        let [began, cursor] = [began; 2].map(str::to_owned);
        Self { topics, began, told, gap_at: None, moves: 0, heartbeats: 0, cursor, node: 0, ends: 0 }
    }
}

/// Clients that are read by a thread of their own.
#[derive(Debug)]
pub struct Streams {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<Vec<Client>>>,
    count: usize,
}

#[derive(Debug, Default)]
struct Shared {
    /// Streams that are open.
    following: AtomicUsize,
    /// Clients that were told of a gap.
    gapped: AtomicUsize,
    heartbeats: AtomicUsize,
    /// Clients that have the end of all their topics.
    ended: AtomicUsize,
    is_over: AtomicBool,
}

impl Streams {
    /// Opens one for each list of topics, in turns on the nodes, all after `began`; returns when all are open.
    pub fn open(nodes: &[SocketAddr], topics: Vec<Vec<usize>>, began: &str) -> Result<Self> {
        let (shared, count) = (Arc::new(Shared::default()), topics.len());
        let reader = Reader::new(shared.clone(), nodes, topics, began)?;
        let thread = std::thread::spawn(move || reader.run());
        let streams = Self { shared, thread, count };
        expect("open streams", OPEN_WITHIN, || Ok(streams.following() == count || streams.thread.is_finished()))?;
        Ok(streams)
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn following(&self) -> usize {
        self.shared.following.load(Ordering::Relaxed)
    }

    pub fn heartbeats(&self) -> usize {
        self.shared.heartbeats.load(Ordering::Relaxed)
    }

    /// Waits until every client was told of a gap.
    pub fn all_gapped(&self, limit: Duration) -> Result<Option<Duration>> {
        self.gapped_within(self.count, limit)
    }

    /// Waits until so many clients were told of one.
    pub fn gapped_within(&self, count: usize, limit: Duration) -> Result<Option<Duration>> {
        wait_for(limit, || Ok(self.shared.gapped.load(Ordering::Relaxed) >= count))
    }

    /// Waits until each has the last event of all its topics, at most for `limit`; all that they were told.
    pub fn finish(self, limit: Duration) -> Result<Finished> {
        let waited = wait_for(limit, || {
            Ok(self.shared.ended.load(Ordering::Relaxed) == self.count || self.thread.is_finished())
        })?;
        self.shared.is_over.store(true, Ordering::Relaxed);
        let whole = self.shared.ended.load(Ordering::Relaxed);
        let clients = self.thread.join().map_err(|_| anyhow!("the reader of streams panicked"))??;
        Ok(Finished { clients, whole, waited })
    }
}

/// What came of streams.
#[derive(Debug)]
pub struct Finished {
    pub clients: Vec<Client>,
    /// Clients that came to the end of all their topics.
    pub whole: usize,
    /// How long that took, if all did.
    pub waited: Option<Duration>,
}

struct Reader {
    shared: Arc<Shared>,
    crowd: Crowd,
    nodes: Vec<SocketAddr>,
    clients: Vec<Client>,
    /// Who comes back, and when.
    away: VecDeque<(Instant, usize)>,
    random: Random,
}

impl Reader {
    fn new(shared: Arc<Shared>, nodes: &[SocketAddr], topics: Vec<Vec<usize>>, began: &str) -> Result<Self> {
        let crowd = Crowd::new(*nodes.first().context("there are no nodes")?)?;
        let client = |(number, topics)| Client { node: number % nodes.len(), ..Client::of(topics, began, Vec::new()) };
        let clients = topics.into_iter().enumerate().map(client).collect();
        let nodes = nodes.to_vec();
        Ok(Self { shared, crowd, nodes, clients, away: VecDeque::new(), random: Random::seeded() })
    }

    fn run(mut self) -> Result<Vec<Client>> {
        for number in 0..self.clients.len() {
            self.open(number, true)?;
            let opened = number + 1;
            while opened - self.crowd.following().min(opened) >= OPENING {
                self.turn()?;
            }
        }
        while !self.shared.is_over.load(Ordering::Relaxed) {
            self.turn()?;
            self.come_back()?;
            self.shared.following.store(self.crowd.following(), Ordering::Relaxed);
        }
        Ok(self.clients)
    }

    fn open(&mut self, number: usize, is_first: bool) -> Result<()> {
        let client = &self.clients[number];
        self.crowd.turn_to(self.nodes[client.node]);
        let topics: Vec<String> = client.topics.iter().map(|topic| format!("topic=t{topic}")).collect();
        let path = match client.topics.as_slice() {
            [topic] => format!("/events/t{topic}"),
            _ => format!("/events?{}", topics.join("&")),
        };
        match is_first {
            true => self.crowd.follow(&path, Some(&client.cursor)).map(drop),
            false => self.crowd.come_again(number, &path, Some(&client.cursor)),
        }
    }

    fn turn(&mut self) -> Result<()> {
        let ended = self.crowd.turn(TURN)?;
        let now = Instant::now();
        for number in 0..self.crowd.members().len() {
            let member = self.crowd.member(number);
            let heartbeats = std::mem::take(&mut member.answer.heartbeats);
            let events = std::mem::take(&mut member.answer.events);
            self.shared.heartbeats.fetch_add(heartbeats, Ordering::Relaxed);
            self.clients[number].heartbeats += heartbeats;
            for event in events {
                self.take(number, event, now);
            }
            if self.crowd.member(number).is_unanswered_for(ANSWERED_WITHIN) {
                self.crowd.member(number).give_up();
                self.leave(number, now);
            }
        }
        ended.into_iter().for_each(|number| self.leave(number, now));
        Ok(())
    }

    fn take(&mut self, number: usize, event: crate::faults::answer::Event, now: Instant) {
        let client = &mut self.clients[number];
        if !event.id.is_empty() {
            client.cursor.clone_from(&event.id);
        }
        let told = match (event.kind.as_str(), origin(&event.data)) {
            ("sse.gap", _) => {
                let is_first = client.gap_at.is_none();
                client.gap_at.get_or_insert(now);
                self.shared.gapped.fetch_add(usize::from(is_first), Ordering::Relaxed);
                Told::Gap { id: event.id, data: event.data }
            }
            ("sse.reconnect", _) => return,
            ("", Some(origin)) => Told::Event { id: event.id, origin },
            ("", None) if event.data.starts_with(END) => {
                client.ends += 1;
                let has_all = client.ends == client.topics.len();
                self.shared.ended.fetch_add(usize::from(has_all), Ordering::Relaxed);
                Told::End { id: event.id }
            }
            _ => Told::Strange(event.data),
        };
        client.told.push(told);
    }

    /// It stays away for a moment, and turns to another node.
    fn leave(&mut self, number: usize, now: Instant) {
        let away = AWAY + Duration::from_millis(self.random.below(AWAY.as_millis() as u64));
        let others = self.nodes.len() as u64 - 1;
        let client = &mut self.clients[number];
        client.moves += 1;
        client.node = (client.node + 1 + self.random.below(others) as usize) % self.nodes.len();
        self.away.push_back((now + away, number));
    }

    fn come_back(&mut self) -> Result<()> {
        let now = Instant::now();
        for _ in 0..self.away.len().min(OPENING) {
            match self.away.pop_front() {
                Some((due, number)) if due <= now => self.open(number, false)?,
                Some(later) => self.away.push_back(later),
                None => break,
            }
        }
        Ok(())
    }
}
