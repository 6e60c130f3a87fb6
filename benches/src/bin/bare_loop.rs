//! The yardstick: what fanning out costs when a server does nothing but call `send`.
//!
//! One thread, one epoll loop. `GET` answers the head of an event stream and keeps the socket, `POST` takes the body as
//! data, encodes one event and calls `send` once for each follower of the path, then answers 200. No limits, no replay,
//! no slow-consumer policy: a follower whose socket is full is dropped.
//!
//! `bare_loop [--listen 127.0.0.1:0] [--ready-file FILE]` prints the address it listens on.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use ahash::AHashMap;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use slab::Slab;
use socket2::{Domain, Socket, Type};

const LISTENER: Token = Token(usize::MAX);
/// Bounded by `net.core.somaxconn`; a ramp of thousands of connects must not meet a full backlog.
const BACKLOG: i32 = 4096;
/// A request larger than this is not a publish this program was made for.
const REQUEST_BYTES_MAX: usize = 4 << 20;
const STREAM_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n\
    X-Accel-Buffering: no\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\nd\r\nretry: 3000\n\n\r\n";
const PUBLISHED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
const BAD_REQUEST: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

fn main() -> io::Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let listener = listen(options.listen)?;
    let addr = listener.local_addr()?;
    println!("listening on {addr}");
    if let Some(path) = options.ready_file {
        // Renamed into place, so that nobody reads half of it.
        let part = format!("{path}.part");
        std::fs::write(&part, format!("{{\"listen\":[\"{addr}\"]}}\n"))?;
        std::fs::rename(part, path)?;
    }
    Loop::new(listener)?.run()
}

struct Options {
    listen: SocketAddr,
    ready_file: Option<String>,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> io::Result<Self> {
        let mut options = Self { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ready_file: None };
        while let Some(flag) = args.next() {
            let value = args.next().ok_or_else(|| invalid(format!("{flag} needs a value")))?;
            match flag.as_str() {
                "--listen" => options.listen = value.parse().map_err(|error| invalid(format!("{flag}: {error}")))?,
                "--ready-file" => options.ready_file = Some(value),
                _ => return Err(invalid(format!("unknown flag {flag}"))),
            }
        }
        Ok(options)
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, text)
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from_std(socket.into()))
}

/// One open connection: a publisher's until a `GET` makes it a follower's.
struct Connection {
    stream: TcpStream,
    /// The request under way, as far as it has arrived.
    input: Vec<u8>,
    /// The path it follows.
    follows: Option<Vec<u8>>,
}

struct Loop {
    poll: Poll,
    listener: TcpListener,
    connections: Slab<Connection>,
    /// Which connections follow a path.
    followers: AHashMap<Vec<u8>, Vec<usize>>,
    /// Where each event is encoded, and where reads land; kept to save the allocations.
    event: Vec<u8>,
    buffer: Vec<u8>,
    sequence: u64,
}

impl Loop {
    fn new(mut listener: TcpListener) -> io::Result<Self> {
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            connections: Slab::new(),
            followers: AHashMap::new(),
            event: Vec::new(),
            buffer: vec![0; 64 << 10],
            sequence: 0,
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            match self.poll.poll(&mut events, None) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                match event.token() {
                    LISTENER => self.accept()?,
                    Token(key) => self.readable(key, event.is_read_closed()),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => continue,
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let entry = self.connections.vacant_entry();
            self.poll.registry().register(&mut stream, Token(entry.key()), Interest::READABLE)?;
            entry.insert(Connection { stream, input: Vec::new(), follows: None });
        }
    }

    fn readable(&mut self, key: usize, ended: bool) {
        // Closed while serving an earlier event of the same round.
        if !self.connections.contains(key) {
            return;
        }
        // An end that came together with the last bytes has no edge of its own.
        if self.fill(key).and_then(|()| self.serve(key)).is_err() || ended {
            close(&mut self.connections, &mut self.followers, self.poll.registry(), key);
        }
    }

    /// Reads all there is; a follower's bytes are dropped.
    fn fill(&mut self, key: usize) -> io::Result<()> {
        let connection = &mut self.connections[key];
        loop {
            match connection.stream.read(&mut self.buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) if connection.follows.is_some() => (),
                Ok(count) => {
                    connection.input.extend_from_slice(&self.buffer[..count]);
                    // Edge-triggered: less than was asked for means the socket is empty, and more is a new edge.
                    if count < self.buffer.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
    }

    /// Serves every request that is complete; pipelined ones follow each other.
    fn serve(&mut self, key: usize) -> io::Result<()> {
        let mut input = std::mem::take(&mut self.connections[key].input);
        let mut used = 0;
        while let Some(request) = Request::parse(&input[used..]).inspect_err(|_| {
            let _ = self.connections[key].stream.write(BAD_REQUEST);
        })? {
            used += request.length;
            match request.body {
                None => return self.follow(key, request.path),
                Some(body) => {
                    self.publish(request.path, body);
                    write_whole(&mut self.connections[key].stream, PUBLISHED)?;
                }
            }
        }
        input.drain(..used);
        self.connections[key].input = input;
        Ok(())
    }

    fn follow(&mut self, key: usize, path: &[u8]) -> io::Result<()> {
        let connection = &mut self.connections[key];
        write_whole(&mut connection.stream, STREAM_HEAD)?;
        connection.follows = Some(path.to_vec());
        self.followers.entry(path.to_vec()).or_default().push(key);
        Ok(())
    }

    /// The bar: one encoding, then one `send` per follower.
    fn publish(&mut self, path: &[u8], data: &[u8]) {
        self.sequence += 1;
        encode(&mut self.event, self.sequence, data);
        let Some(followers) = self.followers.get(path) else { return };
        let mut full = Vec::new();
        for &key in followers {
            if write_whole(&mut self.connections[key].stream, &self.event).is_err() {
                full.push(key);
            }
        }
        for key in full {
            eprintln!("follower {key} dropped: its socket is full or gone");
            close(&mut self.connections, &mut self.followers, self.poll.registry(), key);
        }
    }
}

fn close(
    connections: &mut Slab<Connection>,
    followers: &mut AHashMap<Vec<u8>, Vec<usize>>,
    registry: &Registry,
    key: usize,
) {
    let mut connection = connections.remove(key);
    let _ = registry.deregister(&mut connection.stream);
    let Some(path) = connection.follows else { return };
    let Some(keys) = followers.get_mut(&path) else { return };
    if let Some(position) = keys.iter().position(|other| *other == key) {
        keys.swap_remove(position);
    }
}

fn write_whole(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let count = stream.write(bytes)?;
    if count < bytes.len() { Err(ErrorKind::WriteZero.into()) } else { Ok(()) }
}

/// One event as one HTTP/1.1 chunk. Data with line breaks is not this program's to publish.
fn encode(out: &mut Vec<u8>, sequence: u64, data: &[u8]) {
    let id = format!("id: {sequence}\ndata: ");
    let length = id.len() + data.len() + 2;
    out.clear();
    out.extend_from_slice(format!("{length:x}\r\n{id}").as_bytes());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n\r\n");
}

/// A request at the front of the input: a body makes it a publish.
struct Request<'a> {
    path: &'a [u8],
    body: Option<&'a [u8]>,
    length: usize,
}

impl<'a> Request<'a> {
    /// `None` while it is incomplete.
    fn parse(input: &'a [u8]) -> io::Result<Option<Self>> {
        let Some(head_length) = input.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else {
            return if input.len() > REQUEST_BYTES_MAX { Err(ErrorKind::InvalidData.into()) } else { Ok(None) };
        };
        let head = &input[..head_length];
        let mut words = head.split(|byte| *byte == b' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let path = target.strip_prefix(b"/events/").ok_or(ErrorKind::InvalidData)?;
        match method {
            b"GET" => Ok(Some(Self { path, body: None, length: head_length })),
            b"POST" => {
                let length = head_length + content_length(head).ok_or(ErrorKind::InvalidData)?;
                if length > REQUEST_BYTES_MAX {
                    return Err(ErrorKind::InvalidData.into());
                }
                Ok(input.get(head_length..length).map(|body| Self { path, body: Some(body), length }))
            }
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"content-length:";
    let line = head
        .split(|byte| *byte == b'\n')
        .find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)))?;
    std::str::from_utf8(&line[NAME.len()..]).ok()?.trim().parse().ok()
}
