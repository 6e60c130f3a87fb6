//! Many streams on one thread, each read as soon as something comes.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket, Type};

use super::answer::Answer;

const EVENTS_PER_TURN: usize = 1024;
const READ_BYTES: usize = 64 << 10;
/// How long one turn waits for something to come.
const TURN: Duration = Duration::from_millis(10);

/// Streams that are all read.
#[derive(Debug)]
pub struct Crowd {
    address: SocketAddr,
    /// What the kernel may hold for each new client that does not read; its own measure unless given.
    pub receive_bytes: Option<usize>,
    /// Where new clients come from, if the kernel is not to choose: it has so many ports for each.
    pub source: Option<IpAddr>,
    epoll: OwnedFd,
    members: Vec<Member>,
    /// Members that follow, counted as they come and go: there may be 19,000.
    following: usize,
    /// Members that have had an event, each on any of its connections.
    reached: usize,
    buffer: Vec<u8>,
}

/// One client.
#[derive(Debug, Default)]
pub struct Member {
    socket: Option<TcpStream>,
    /// The request, until it is sent.
    request: Option<Vec<u8>>,
    pub answer: Answer,
    /// When it began to connect.
    opened_at: Option<Instant>,
    /// When the head of the answer had come.
    pub answered_at: Option<Instant>,
    /// When the server, or the connection, ended it: the client then closes.
    pub ended_at: Option<Instant>,
    /// It has had an event.
    is_reached: bool,
}

impl Member {
    /// The stream was opened, and still is open.
    pub fn is_following(&self) -> bool {
        self.answer.status() == Some(200) && self.ended_at.is_none()
    }

    /// From its beginning to its end, once that has come.
    pub fn lasted(&self) -> Option<Duration> {
        Some(self.ended_at?.duration_since(self.opened_at?))
    }

    /// It began to connect so long ago, and has no answer.
    pub fn is_unanswered_for(&self, time: Duration) -> bool {
        let is_waiting = self.socket.is_some() && self.answered_at.is_none();
        is_waiting && self.opened_at.is_some_and(|opened_at| opened_at.elapsed() > time)
    }

    /// Closes one that has no answer yet.
    pub fn give_up(&mut self) {
        self.socket = None;
        self.ended_at = Some(Instant::now());
    }

    /// Sends more. Whether the server still takes it shows when it is read.
    pub fn send(&mut self, bytes: &[u8]) {
        if let Some(socket) = &mut self.socket {
            let _ = socket.write(bytes);
        }
    }

    /// Closes without a word: the kernel resets the connection.
    pub fn reset(&mut self) -> Result<()> {
        let Some(socket) = self.socket.take() else { return Ok(()) };
        SockRef::from(&socket).set_linger(Some(Duration::ZERO)).context("setting linger")
    }
}

impl Crowd {
    pub fn new(address: SocketAddr) -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("creating a poller")?;
        Ok(Self {
            address,
            receive_bytes: None,
            source: None,
            epoll,
            members: Vec::new(),
            following: 0,
            reached: 0,
            buffer: vec![0; READ_BYTES],
        })
    }

    /// Who connects from now on does so here.
    pub fn turn_to(&mut self, address: SocketAddr) {
        self.address = address;
    }

    /// One that follows `topic` after `last_event_id`; its number.
    pub fn follow(&mut self, path: &str, last_event_id: Option<&str>) -> Result<usize> {
        self.connect(request(path, last_event_id))
    }

    /// One that sends this; its number.
    pub fn connect(&mut self, request: Vec<u8>) -> Result<usize> {
        self.members.push(Member::default());
        let number = self.members.len() - 1;
        self.open(number, request)?;
        Ok(number)
    }

    /// The same client comes again; all that it had is forgotten.
    pub fn come_again(&mut self, number: usize, path: &str, last_event_id: Option<&str>) -> Result<()> {
        self.open(number, request(path, last_event_id))
    }

    fn open(&mut self, number: usize, request: Vec<u8>) -> Result<()> {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM.nonblocking(), None)?;
        if let Some(bytes) = self.receive_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(source) = self.source {
            socket.bind(&SocketAddr::new(source, 0).into()).context("taking a port")?;
        }
        let opened_at = Some(Instant::now());
        match socket.connect(&self.address.into()) {
            Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => {
                return Err(error).context("connecting");
            }
            _ => (),
        }
        let socket = TcpStream::from(socket);
        epoll::add(&self.epoll, &socket, EventData::new_u64(number as u64), EventFlags::IN | EventFlags::OUT)?;
        let before = &mut self.members[number];
        self.following -= usize::from(before.is_following());
        let is_reached = before.is_reached;
        *before = Member { socket: Some(socket), request: Some(request), opened_at, is_reached, ..Member::default() };
        Ok(())
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    pub fn member(&mut self, number: usize) -> &mut Member {
        &mut self.members[number]
    }

    pub fn following(&self) -> usize {
        self.following
    }

    /// Members that have had an event.
    pub fn reached(&self) -> usize {
        self.reached
    }

    /// Reads whatever comes until `is_done`; gives whether it was within `limit`.
    pub fn read_until(&mut self, limit: Duration, mut is_done: impl FnMut(&Self) -> bool) -> Result<bool> {
        let deadline = Instant::now() + limit;
        while !is_done(self) {
            if Instant::now() > deadline {
                return Ok(false);
            }
            self.turn(TURN)?;
        }
        Ok(true)
    }

    /// Reads whatever comes for so long.
    pub fn read_for(&mut self, time: Duration) -> Result<()> {
        self.read_until(time, |_| false).map(drop)
    }

    /// Waits for something to come, at most for `wait`, and takes it in; gives the numbers of those that ended.
    pub fn turn(&mut self, wait: Duration) -> Result<Vec<usize>> {
        let mut events = Vec::with_capacity(EVENTS_PER_TURN);
        let timeout = wait.try_into().context("a wait beyond all time")?;
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Err(Errno::INTR) => return Ok(Vec::new()),
            result => result.context("waiting for sockets")?,
        };
        let mut ended = Vec::new();
        for event in events {
            let number = event.data.u64() as usize;
            let was_following = self.members[number].is_following();
            if self.advance(number)? {
                ended.push(number);
            }
            self.count(number, was_following);
        }
        Ok(ended)
    }

    fn count(&mut self, number: usize, was_following: bool) {
        let member = &mut self.members[number];
        self.following += usize::from(member.is_following());
        self.following -= usize::from(was_following);
        if !member.is_reached && !member.answer.events.is_empty() {
            member.is_reached = true;
            self.reached += 1;
        }
    }

    /// Sends what is to be sent and reads what has come; true if that was the end.
    fn advance(&mut self, number: usize) -> Result<bool> {
        let member = &mut self.members[number];
        let Some(socket) = &mut member.socket else { return Ok(false) };
        let mut ended = false;
        if let Some(request) = member.request.take() {
            // It is one small segment: a new socket takes it whole.
            ended = socket.write_all(&request).is_err();
            epoll::modify(&self.epoll, &*socket, EventData::new_u64(number as u64), EventFlags::IN)?;
        }
        while !ended {
            match socket.read(&mut self.buffer) {
                Ok(0) => ended = true,
                Ok(len) => member.answer.push(&self.buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(_) => ended = true,
            }
        }
        if member.answered_at.is_none() && member.answer.status().is_some() {
            member.answered_at = Some(Instant::now());
        }
        if ended || member.answer.is_ended {
            member.ended_at = Some(Instant::now());
            member.socket = None;
        }
        Ok(member.socket.is_none())
    }
}

/// An `EventSource`'s request.
pub fn request(path: &str, last_event_id: Option<&str>) -> Vec<u8> {
    let last = last_event_id.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{last}\r\n").into_bytes()
}
