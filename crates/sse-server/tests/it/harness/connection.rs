//! One TCP connection, byte by byte.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::gateway::seen_as;
use super::{DEADLINE, Head, Reply};

/// A connection to the server and what came from it.
pub(crate) struct Connection {
    socket: TcpStream,
    received: Vec<u8>,
    bytes_received: usize,
    end: Option<End>,
}

/// How the server ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// In order.
    Fin,
    /// By a reset.
    Reset,
}

/// What waiting for bytes came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    Bytes,
    End(End),
    /// The time was over first.
    Nothing,
}

impl Connection {
    pub(crate) fn open(addr: SocketAddr) -> Self {
        Self::from_socket(TcpStream::connect(addr).unwrap())
    }

    /// A connection from this address of the machine.
    pub(crate) fn open_from(source: IpAddr, addr: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
        socket.connect(&addr.into()).unwrap();
        Self::from_socket(socket.into())
    }

    /// A connection, unless nobody listens any more.
    pub(crate) fn try_open(addr: SocketAddr) -> Option<Self> {
        TcpStream::connect(addr).ok().map(Self::from_socket)
    }

    /// A connection that holds hardly anything its owner has not read.
    pub(crate) fn open_with_tiny_buffer(addr: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap();
        // Before it connects: afterwards the window has been promised.
        socket.set_recv_buffer_size(2048).unwrap();
        socket.connect(&addr.into()).unwrap();
        Self::from_socket(socket.into())
    }

    fn from_socket(socket: TcpStream) -> Self {
        socket.set_nodelay(true).unwrap();
        Self { socket, received: Vec::new(), bytes_received: 0, end: None }
    }

    /// The client's end, as the server sees it.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        seen_as(self.socket.local_addr().unwrap(), self.socket.peer_addr().unwrap())
    }

    /// Sends bytes that the server is expected to take.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.set_write_timeout(Some(DEADLINE)).unwrap();
        self.socket.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends bytes that the server may not want; false once it has closed.
    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.socket.set_write_timeout(Some(DEADLINE)).unwrap();
        match self.socket.write_all(bytes.as_ref()) {
            Ok(()) => true,
            Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => false,
            Err(error) => panic!("sending: {error}"),
        }
    }

    /// Says that nothing more will be sent.
    pub(crate) fn half_close(&self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }

    /// Closes with a reset.
    pub(crate) fn reset(self) {
        SockRef::from(&self.socket).set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// One reply, body included.
    #[track_caller]
    pub(crate) fn reply(&mut self) -> Reply {
        let head = self.head();
        let body = match head.field("content-length") {
            Some(len) => self.take(len.parse().unwrap()),
            None => Vec::new(),
        };
        Reply { head, body }
    }

    /// The head of a reply.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Head {
        loop {
            if let Some((head, len)) = Head::parse(&self.received) {
                self.received.drain(..len);
                return head;
            }
            self.more();
        }
    }

    /// Exactly this many bytes.
    #[track_caller]
    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        while self.received.len() < len {
            self.more();
        }
        self.received.drain(..len).collect()
    }

    /// Waits for further bytes; the server must not end first.
    #[track_caller]
    pub(crate) fn more(&mut self) {
        match self.receive(DEADLINE) {
            Received::Bytes => (),
            other => panic!("{other:?} after {:?}", String::from_utf8_lossy(&self.received)),
        }
    }

    /// Everything up to the end of the connection, and the end.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> (Vec<u8>, End) {
        loop {
            match self.receive(DEADLINE) {
                Received::Bytes => (),
                Received::End(end) => return (std::mem::take(&mut self.received), end),
                Received::Nothing => panic!("still open after {:?}", String::from_utf8_lossy(&self.received)),
            }
        }
    }

    /// The server closes at once and without another byte.
    #[track_caller]
    pub(crate) fn expect_closed(&mut self) -> End {
        let started = Instant::now();
        let (rest, end) = self.rest();
        assert_eq!(String::from_utf8_lossy(&rest), "");
        // A server that waits for the client to close first gives up on it after two seconds.
        assert!(started.elapsed() < Duration::from_millis(1500), "closed after {:?}", started.elapsed());
        end
    }

    /// The server closes in time; whatever comes before is dropped.
    #[track_caller]
    pub(crate) fn expect_end_within(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            match self.receive(until.saturating_duration_since(Instant::now())) {
                Received::Bytes => (),
                Received::End(_) => return,
                Received::Nothing => panic!("still open after {time:?}"),
            }
        }
    }

    /// Whether the server neither sends nor closes for so long.
    pub(crate) fn is_quiet_for(&mut self, time: Duration) -> bool {
        self.receive(time) == Received::Nothing
    }

    /// Whether the server sends anything before it closes.
    pub(crate) fn is_answered(&mut self) -> bool {
        self.receive(DEADLINE) == Received::Bytes
    }

    /// Waits for bytes, the end, or `time` to pass.
    pub(crate) fn receive(&mut self, time: Duration) -> Received {
        if let Some(end) = self.end {
            return Received::End(end);
        }
        let until = Instant::now() + time;
        let mut buffer = [0; 64 * 1024];
        loop {
            let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left)).unwrap();
            match self.socket.read(&mut buffer) {
                Ok(0) => return self.ended(End::Fin),
                Ok(len) => {
                    self.received.extend_from_slice(&buffer[..len]);
                    self.bytes_received += len;
                    return Received::Bytes;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if Instant::now() >= until {
                        return Received::Nothing;
                    }
                }
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return self.ended(End::Reset),
                Err(error) => panic!("reading: {error}"),
            }
        }
    }

    /// Takes a few bytes and waits a moment.
    pub(super) fn read_a_little(&mut self) {
        self.socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        // Whatever comes of it: the connection may be gone.
        let _ = self.socket.read(&mut [0; 16]);
        std::thread::park_timeout(Duration::from_millis(20));
    }

    fn ended(&mut self, end: End) -> Received {
        self.end = Some(end);
        Received::End(end)
    }

    /// How much has come, heads and framing included.
    pub(crate) fn bytes_received(&self) -> usize {
        self.bytes_received
    }

    /// What was received and not taken yet.
    pub(super) fn received(&mut self) -> &mut Vec<u8> {
        &mut self.received
    }
}
