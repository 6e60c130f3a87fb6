//! A tiny server of event streams, a thread for each connection, that can be told to go wrong in one place.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// What goes wrong. The number is that of the publish, counted from 0 over all topics; where it says "one follower",
/// that is the topic's first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Nothing,
    /// One follower does not get the event.
    Drop(u64),
    /// One follower gets it twice.
    Repeat(u64),
    /// One follower gets it after the next one.
    Swap(u64),
    /// One follower gets it with a byte changed.
    Damage(u64),
    /// It goes out with an id that was there before.
    OldId(u64),
    /// It goes out with an id of another epoch, as do all after it.
    NewEpoch(u64),
    /// Before it, one follower is told of a gap.
    Gap(u64),
    /// One follower's stream ends properly before it.
    End(u64),
    /// One follower's connection is closed before it.
    Cut(u64),
    /// All connections of its topic are closed before it; who comes back gets it then.
    CutAll(u64),
    /// The same, but who comes back does not get it.
    CutAllAndForget(u64),
    /// One follower gets bytes that are no chunk.
    Garbage(u64),
    /// Nothing happens for so long before it goes out and is answered.
    Stall(u64, Duration),
    /// It is not published and answered with 503.
    Refuse(u64),
    /// It goes out, but the connection is closed instead of an answer.
    NoAnswer(u64),
    /// It does not go out, and the connection is closed instead of an answer.
    Vanish(u64),
    /// Streams are answered with 503.
    NoStreams,
    /// Streams are no event streams.
    Html,
}

/// How streams are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Chunked,
    UntilClose,
}

/// Followers whose socket takes nothing for so long are dropped.
const WRITE_TIMEOUT: Duration = Duration::from_millis(200);

/// How long a test waits for something that should happen at once.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Server {
    addr: SocketAddr,
    hub: Arc<Hub>,
}

struct Hub {
    fault: Fault,
    framing: Framing,
    state: Mutex<State>,
    publishes: Condvar,
}

#[derive(Default)]
struct State {
    followers: HashMap<String, Vec<Follower>>,
    /// The numbers of each topic's events, and the events.
    history: HashMap<String, Vec<(u64, Vec<u8>)>>,
    published: u64,
}

struct Follower {
    stream: TcpStream,
    /// An event that is sent after the next one.
    held: Option<Vec<u8>>,
}

impl Server {
    /// Starts one; it goes on until the test process ends.
    pub(crate) fn start(fault: Fault, framing: Framing) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let hub = Arc::new(Hub { fault, framing, state: Mutex::default(), publishes: Condvar::new() });
        let serving = Arc::clone(&hub);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let hub = Arc::clone(&serving);
                std::thread::spawn(move || hub.serve(stream.unwrap()));
            }
        });
        Self { addr, hub }
    }

    /// Waits until so many publishes have come.
    pub(crate) fn wait_until_published(&self, count: u64) {
        let mut state = self.hub.state.lock();
        let waited = self.hub.publishes.wait_while_for(&mut state, |state| state.published < count, PATIENCE);
        assert!(!waited.timed_out(), "only {} were published", state.published);
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }
}

impl Hub {
    /// An error is a client that left.
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut input = BufReader::new(stream.try_clone()?);
        loop {
            let mut request = String::new();
            while !request.ends_with("\r\n\r\n") {
                if input.read_line(&mut request)? == 0 {
                    return Ok(());
                }
            }
            let target = request.split(' ').nth(1).unwrap_or_default().to_owned();
            if request.starts_with("GET") {
                return self.follow(&target, last_event(&request), stream);
            }
            let length = request.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            input.read_exact(&mut body)?;
            self.publish(target.strip_prefix("/events/").unwrap_or_default(), &body, &stream)?;
        }
    }

    /// Whoever has had an event, by its number, gets those after it.
    fn follow(&self, target: &str, last: Option<u64>, mut stream: TcpStream) -> io::Result<()> {
        let head = match self.fault {
            Fault::NoStreams => return stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
            Fault::Html => "Content-Type: text/html\r\nContent-Length: 0\r\n\r\n",
            _ if self.framing == Framing::UntilClose => "Content-Type: text/event-stream\r\n\r\nretry: 3000\n\n",
            _ => "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\nd\r\nretry: 3000\n\n\r\n",
        };
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        // Under the lock, so that a follower that has its head gets every later event.
        let mut state = self.state.lock();
        write!(stream, "HTTP/1.1 200 OK\r\n{head}")?;
        for topic in topics(target) {
            let history = state.history.entry(topic.to_owned()).or_default();
            for (_, event) in history.iter().filter(|(number, _)| last.is_some_and(|last| *number > last)) {
                stream.write_all(event)?;
            }
            let follower = Follower { stream: stream.try_clone()?, held: None };
            state.followers.entry(topic.to_owned()).or_default().push(follower);
        }
        Ok(())
    }

    fn publish(&self, topic: &str, data: &[u8], mut publisher: &TcpStream) -> io::Result<()> {
        let mut state = self.state.lock();
        let number = state.published;
        state.published += 1;
        self.publishes.notify_all();
        match self.fault {
            Fault::Refuse(at) if at == number => {
                return publisher.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy");
            }
            Fault::Vanish(at) if at == number => return publisher.shutdown(std::net::Shutdown::Both),
            Fault::Stall(at, duration) if at == number => std::thread::sleep(duration),
            _ => (),
        }
        let event = self.encode(number, data);
        if self.fault != Fault::CutAllAndForget(number) {
            state.history.entry(topic.to_owned()).or_default().push((number, event.clone()));
        }
        let followers = state.followers.entry(topic.to_owned()).or_default();
        let mut first = true;
        followers.retain_mut(|follower| self.deliver(follower, std::mem::take(&mut first), number, &event).is_ok());
        match self.fault {
            Fault::NoAnswer(at) if at == number => publisher.shutdown(std::net::Shutdown::Both),
            _ => publisher.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"),
        }
    }

    /// An error drops the follower.
    fn deliver(&self, follower: &mut Follower, is_first: bool, number: u64, event: &[u8]) -> io::Result<()> {
        let stream = &mut follower.stream;
        match self.fault {
            Fault::Drop(at) if is_first && at == number => return Ok(()),
            Fault::Repeat(at) if is_first && at == number => stream.write_all(event)?,
            Fault::Swap(at) if is_first && at == number => {
                follower.held = Some(event.to_vec());
                return Ok(());
            }
            Fault::Damage(at) if is_first && at == number => {
                let mut damaged = event.to_vec();
                let near_the_end = damaged.len() - 8;
                damaged[near_the_end] ^= 1;
                return stream.write_all(&damaged);
            }
            Fault::Gap(at) if is_first && at == number => {
                stream.write_all(&self.frame("event: sse.gap\nid: 1\ndata: {}\n\n"))?;
            }
            Fault::End(at) if is_first && at == number => {
                stream.write_all(b"0\r\n\r\n")?;
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Fault::Cut(at) if is_first && at == number => {
                stream.shutdown(std::net::Shutdown::Both)?;
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Fault::CutAll(at) | Fault::CutAllAndForget(at) if at == number => {
                stream.shutdown(std::net::Shutdown::Both)?;
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Fault::Garbage(at) if is_first && at == number => stream.write_all(b"no chunk\r\n")?,
            _ => (),
        }
        stream.write_all(event)?;
        match follower.held.take() {
            Some(held) => stream.write_all(&held),
            None => Ok(()),
        }
    }

    fn encode(&self, number: u64, data: &[u8]) -> Vec<u8> {
        let (epoch, number) = match self.fault {
            Fault::OldId(at) if at == number => ("0epoch00", 1),
            Fault::NewEpoch(at) if at <= number => ("1epoch00", number + 1),
            _ => ("0epoch00", number + 1),
        };
        self.frame(&format!("id: {epoch}-{number:016}\ndata: {}\n\n", std::str::from_utf8(data).unwrap()))
    }

    fn frame(&self, text: &str) -> Vec<u8> {
        match self.framing {
            Framing::Chunked => format!("{:x}\r\n{text}\r\n", text.len()).into_bytes(),
            Framing::UntilClose => text.as_bytes().to_vec(),
        }
    }
}

/// The number of the event that a request names: ids count from 1.
fn last_event(request: &str) -> Option<u64> {
    let id = request.lines().find_map(|line| line.strip_prefix("Last-Event-ID: "))?;
    id.split_once('-')?.1.parse().ok().map(|id: u64| id - 1)
}

fn topics(target: &str) -> Vec<&str> {
    match target.split_once('?') {
        Some((_, query)) => query.split('&').filter_map(|pair| pair.strip_prefix("topic=")).collect(),
        None => target.strip_prefix("/events/").into_iter().collect(),
    }
}
