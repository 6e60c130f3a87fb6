//! Fuzz target: what a writer is told, in any order. Every stream that nobody ended gets to the newest event, in order, with nothing
//! twice and nothing left out but what a gap tells of.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bolero::{TypeGenerator, check};
use futures_util::FutureExt;
use socket2::SockRef;
use sse_hub::{FeedStart, Grants, Hub, HubConfig, Publication, Start, TopicName};
use sse_wire::{Event, Parsed, Parser};
use tokio::sync::oneshot;

use super::{Errand, WriterSettings, Writers};
use crate::access::Revocations;
use crate::compression::Compressors;
use crate::config::Config;
use crate::roster::{Roll, Wanted};
use crate::signals::Signals;
use crate::stream::{
    Encoding, FollowedTopics, Framing, Interface, Notices, Opening, Protocol, Shape, Source, StreamInfo, StreamPlan,
    head_fields,
};
use crate::transport::RawTransport;
use crate::vital::Vitals;

const TOPICS: [&str; 2] = ["a", "b"];
const CLIENTS_MAX: usize = 6;
/// How long a stream may take to its newest event.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, TypeGenerator)]
enum Action {
    Publish {
        topic: bool,
        len: u16,
        is_private: bool,
    },
    Join {
        topic: bool,
        is_chunked: bool,
        from_the_start: bool,
        is_granted: bool,
    },
    Read {
        client: u8,
        len: u16,
    },
    Leave {
        client: u8,
    },
    /// It says that it will send no more, which ends a stream.
    HalfClose {
        client: u8,
    },
    /// Bytes that no follower has to say.
    Send {
        client: u8,
        len: u8,
    },
    Kick {
        topic: bool,
    },
    List,
    EndRevoked,
    Close {
        topic: bool,
    },
    Sweep,
}

/// A stream's other end.
struct Client {
    socket: UnixStream,
    topic: usize,
    is_chunked: bool,
    is_granted: bool,
    /// Somebody ended it, or may have.
    may_end: bool,
    head: Vec<u8>,
    parser: Parser,
    chunk: Chunks,
    /// What of its topic it has or was told to lack, up to here.
    position: u64,
}

/// Takes the framing off, a byte at a time.
#[derive(Default)]
struct Chunks {
    line: Vec<u8>,
    /// Bytes of a chunk and its end that are to come.
    left: usize,
}

impl Chunks {
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for &byte in bytes {
            if self.left > 0 {
                self.left -= 1;
                if self.left >= 2 {
                    out.push(byte);
                } else {
                    assert_eq!(byte, [b'\n', b'\r'][self.left], "a chunk ends where it says");
                }
                continue;
            }
            self.line.push(byte);
            if self.line.ends_with(b"\r\n") {
                let digits = std::str::from_utf8(&self.line[..self.line.len() - 2]).expect("a size is ASCII");
                let len = usize::from_str_radix(digits, 16).unwrap_or_else(|_| panic!("{digits:?} is no size"));
                self.left = len + 2;
                self.line.clear();
            }
        }
    }
}

/// The hub, its writers and what was published.
struct World {
    hub: Hub,
    writers: Writers,
    /// Sequences of each topic's events, and whether they are private.
    published: [Vec<(u64, bool)>; 2],
    is_closed: [bool; 2],
    clients: Vec<Client>,
    now: Instant,
}

fn topic(index: usize) -> TopicName {
    TopicName::parse(TOPICS[index]).expect("it is a letter")
}

impl World {
    fn run(&mut self, action: &Action) {
        let of = |client: u8, clients: usize| usize::from(client) % clients.max(1);
        let count = self.clients.len();
        match *action {
            Action::Publish { topic, len, is_private } => self.publish(usize::from(topic), len, is_private),
            Action::Join { topic, is_chunked, from_the_start, is_granted } if count < CLIENTS_MAX => {
                self.join(usize::from(topic), is_chunked, from_the_start, is_granted);
            }
            Action::Read { client, len } if count > 0 => {
                let published = &self.published;
                let client = &mut self.clients[of(client, count)];
                client.socket.set_nonblocking(true).unwrap();
                let _ = client.read(usize::from(len) % 4096 + 1, published);
            }
            Action::Leave { client } if count > 0 => drop(self.clients.swap_remove(of(client, count))),
            Action::HalfClose { client } if count > 0 => {
                let client = &mut self.clients[of(client, count)];
                client.may_end = true;
                // It may have been ended already.
                let _ = client.socket.shutdown(Shutdown::Write);
            }
            Action::Send { client, len } if count > 0 => {
                let client = &mut self.clients[of(client, count)];
                client.socket.set_nonblocking(true).unwrap();
                let _ = client.socket.write(&vec![b'x'; usize::from(len)]);
            }
            Action::Kick { topic } => {
                self.clients
                    .iter_mut()
                    .filter(|client| client.topic == usize::from(topic))
                    .for_each(|c| c.may_end = true);
                let wanted = Wanted { topic: Some(TOPICS[usize::from(topic)].into()), ..Wanted::default() };
                self.errand(|answer| Errand::Kick(wanted.clone(), 0, answer));
            }
            Action::List => {
                let roll = self.errand(|answer| Errand::List(Roll::new(Wanted::default(), 10), answer));
                assert!(roll.is_none_or(|roll| roll.finish().1 <= CLIENTS_MAX));
            }
            Action::EndRevoked => self.writers.end_revoked(),
            Action::Close { topic: index } => {
                let index = usize::from(index);
                if let Ok(_receipt) = self.hub.close(&topic(index)) {
                    self.is_closed[index] = true;
                    self.clients
                        .iter_mut()
                        .filter(|client| client.topic == index)
                        .for_each(|client| client.may_end = true);
                }
            }
            Action::Sweep => {
                self.now += Duration::from_secs(1);
                self.hub.sweep(self.now);
            }
            _ => (),
        }
    }

    /// Has the writer do something, and waits for what comes of it.
    fn errand<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Errand) -> Option<T> {
        let (sender, receiver) = oneshot::channel();
        self.writers.run_on(1, make(sender)).now_or_never().expect("there is room for a command");
        receiver.blocking_recv().ok()
    }

    fn publish(&mut self, index: usize, len: u16, is_private: bool) {
        let event = Event::new("x".repeat(usize::from(len) % 5000));
        let publication = Publication::new(topic(index), event);
        let publication = if is_private { publication.private() } else { publication };
        if let Ok(receipt) = self.hub.publish(publication) {
            let sequence = sse_hub::Cursor::parse(&receipt.id()).expect("it was given none").sequence;
            self.published[index].push((sequence, is_private));
        }
    }

    fn join(&mut self, index: usize, is_chunked: bool, from_the_start: bool, is_granted: bool) {
        let grants = if is_granted { Grants::All } else { Grants::None };
        let start = if from_the_start { Start::Earliest } else { Start::Live };
        let feed = self.hub.feed(&topic(index)).expect("there is room for topics");
        // A closed topic with nothing left is answered before anybody is a stream.
        let Ok(FeedStart::InRing { cursor, gap }) = feed.resolve(&start, &grants) else { return };
        let (ours, theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        // Small, so that many a write takes a part only.
        SockRef::from(&theirs).set_send_buffer_size(4096).unwrap();
        let replay_to = feed.newest();
        let plan = StreamPlan {
            source: Source::Topic { feed, cursor, replay_to, grants },
            opening: Opening::Comment,
            gap,
            shape: Shape::Plain,
            notices: Notices::On,
            framing: if is_chunked { Framing::Chunked } else { Framing::UntilClose },
            encoding: Encoding::Identity,
            headers: head_fields(),
            info: StreamInfo {
                remote_addr: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1).into(),
                user_agent: "fuzz".into(),
                topics: FollowedTopics::One(topic(index)),
                token: None,
                connected_at: Instant::now(),
                protocol: Protocol::Http1,
                interface: Interface::Native,
                _permit: None,
                _holdings: None,
            },
        };
        // A writer knows of its sockets that they can be read, written and shut: these need no port.
        let socket = TcpStream::from(OwnedFd::from(theirs));
        self.writers.join(RawTransport { socket, tls: None }, plan).now_or_never().expect("there is room");
        self.clients.push(Client {
            socket: ours,
            topic: index,
            is_chunked,
            is_granted,
            may_end: self.is_closed[index],
            head: Vec::new(),
            parser: Parser::new(1 << 20),
            chunk: Chunks::default(),
            position: cursor,
        });
    }
}

/// What a read came to.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    Some,
    /// Nothing for now, or for as long as it waits.
    Nothing,
    End,
}

impl Client {
    fn read(&mut self, len: usize, published: &[Vec<(u64, bool)>; 2]) -> Came {
        let mut scratch = vec![0; len];
        match self.socket.read(&mut scratch) {
            Ok(0) => Came::End,
            Ok(len) => {
                self.take(&scratch[..len], published);
                Came::Some
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Came::Nothing,
            Err(_) => Came::End,
        }
    }

    fn take(&mut self, bytes: &[u8], published: &[Vec<(u64, bool)>; 2]) {
        let mut bytes = bytes;
        while !self.head.ends_with(b"\r\n\r\n") {
            let Some((first, rest)) = bytes.split_first() else { return };
            self.head.push(*first);
            bytes = rest;
        }
        let mut text = Vec::new();
        if self.is_chunked {
            self.chunk.take(bytes, &mut text)
        } else {
            text.extend_from_slice(bytes)
        }
        let visible: Vec<u64> = published[self.topic]
            .iter()
            .filter(|(_, is_private)| self.is_granted || !is_private)
            .map(|(sequence, _)| *sequence)
            .collect();
        let position = &mut self.position;
        let fed = self.parser.feed(&text, |parsed| {
            let Parsed::Event(event) = parsed else { return };
            let at = |id: &str| sse_hub::Cursor::parse(id).expect("ids are cursors").sequence;
            match &*String::from_utf8_lossy(event.event_type) {
                "message" => {
                    let sequence = at(event.last_event_id);
                    let next = visible.iter().copied().find(|visible| visible > position);
                    assert_eq!(Some(sequence), next, "after {position}");
                    *position = sequence;
                }
                "sse.gap" => {
                    let up_to = at(event.last_event_id);
                    assert!(up_to >= *position, "a gap leads forward: {position} to {up_to}");
                    *position = up_to;
                }
                "sse.end" | "sse.reconnect" => (),
                other => panic!("{other} was never sent"),
            }
        });
        fed.expect("every event is small");
    }

    /// Reads until it has the newest it may see, or its stream ends.
    fn read_to_the_end(&mut self, published: &[Vec<(u64, bool)>; 2]) {
        self.socket.set_nonblocking(false).unwrap();
        self.socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let visible = |(_, is_private): &&(u64, bool)| self.is_granted || !is_private;
        let newest = published[self.topic].iter().rfind(visible).map_or(0, |(sequence, _)| *sequence);
        while self.position < newest || self.head.is_empty() {
            match self.read(1 << 16, published) {
                Came::Some => (),
                Came::Nothing => panic!("at {} of {newest} nothing came for {PATIENCE:?}", self.position),
                Came::End => {
                    assert!(self.may_end, "at {} of {newest} it was ended by nobody", self.position);
                    return;
                }
            }
        }
    }
}

#[test]
fn writer_commands() {
    let (config, signals) = (Config::for_memory(1 << 30), Signals::new());
    let compressors = Compressors::new(&config, signals.clone());
    // What a panic leaves behind is looked at by nobody.
    let settings = AssertUnwindSafe(WriterSettings::new(&config, signals, Arc::new(Revocations::new()), compressors));
    check!().with_type::<Vec<Action>>().for_each(|actions| {
        let mut hub = HubConfig { shards: 1, ..HubConfig::default() };
        hub.topic_policy.ring.frames_max = 5;
        let vitals = Vitals::default();
        let mut world = World {
            hub: Hub::builder().config(hub).build().unwrap(),
            writers: Writers::start(1, &settings, &vitals).unwrap(),
            published: Default::default(),
            is_closed: [false; 2],
            clients: Vec::new(),
            now: Instant::now(),
        };
        actions.iter().take(60).for_each(|action| world.run(action));
        let published = std::mem::take(&mut world.published);
        world.clients.iter_mut().for_each(|client| client.read_to_the_end(&published));
        world.writers.stop();
        assert!(!vitals.have_failed(), "the writer panicked");
    });
}
