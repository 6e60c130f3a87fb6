//! One keep-alive connection that publishes: requests out, statuses back.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustls::{ClientConnection, StreamOwned};

use crate::chunked::{Body, ChunkError, Piece};
use crate::head::{Head, HeadError};
use crate::tls::Trust;

/// A connection that lay idle for longer is not used again: the server may be closing it at this moment, and then it
/// could not be told whether the event went out.
const IDLE_MAX: Duration = Duration::from_secs(4);
const READ_BYTES: usize = 16 << 10;

/// Why an answer did not come.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Head(#[from] HeadError),
    #[error(transparent)]
    Chunk(#[from] ChunkError),
}

/// Publishes over one connection, which it opens anew when the server has closed it.
#[derive(Debug)]
pub(crate) struct Poster {
    addr: SocketAddr,
    trust: Option<Trust>,
    timeout: Duration,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    stream: Stream,
    /// What came behind the last answer.
    input: Vec<u8>,
    used: Instant,
}

/// Where its bytes go and come from.
#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Poster {
    /// No single write or read may take longer than `timeout`, and an exchange at most twice that.
    pub(crate) fn new(addr: SocketAddr, trust: Option<Trust>, timeout: Duration) -> Self {
        Self { addr, trust, timeout, connection: None }
    }

    /// Sends `count` requests and hands each answer's status to `answered`, in order. After an error the requests whose
    /// answers did not come may or may not have been served.
    pub(crate) fn exchange(
        &mut self,
        requests: &[u8],
        count: usize,
        mut answered: impl FnMut(u16),
    ) -> Result<(), PostError> {
        // Kept only if everything went well.
        let mut connection = match self.connection.take().filter(|connection| connection.used.elapsed() < IDLE_MAX) {
            Some(connection) => connection,
            None => Connection::open(self.addr, self.trust.as_ref(), self.timeout)?,
        };
        let deadline = Instant::now() + self.timeout;
        connection.stream.write_all(requests)?;
        connection.stream.flush()?;
        for _ in 0..count {
            let head = connection.answer(deadline)?;
            answered(head.status);
            if head.closes {
                return Ok(());
            }
        }
        connection.used = Instant::now();
        self.connection = Some(connection);
        Ok(())
    }
}

impl Connection {
    fn open(addr: SocketAddr, trust: Option<&Trust>, timeout: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        let stream = match trust {
            Some(trust) => Stream::Tls(Box::new(StreamOwned::new(trust.session()?, stream))),
            None => Stream::Plain(stream),
        };
        Ok(Self { stream, input: Vec::new(), used: Instant::now() })
    }

    /// Reads one answer to its end.
    fn answer(&mut self, deadline: Instant) -> Result<Head, PostError> {
        let head = loop {
            match Head::parse(&self.input)? {
                Some(head) if head.status == 100 => drop(self.input.drain(..head.length)),
                Some(head) => break head,
                None => self.fill(deadline)?,
            }
        };
        self.input.drain(..head.length);
        let mut body = Body::new(head.framing());
        loop {
            let mut rest = &self.input[..];
            let ended = loop {
                match body.next(&mut rest)? {
                    Piece::Data(_) => (),
                    Piece::More => break false,
                    Piece::End => break true,
                }
            };
            let used = self.input.len() - rest.len();
            self.input.drain(..used);
            if ended {
                return Ok(head);
            }
            self.fill(deadline)?;
        }
    }

    fn fill(&mut self, deadline: Instant) -> io::Result<()> {
        // A single read is bounded by the socket's own timeout.
        if Instant::now() > deadline {
            return Err(ErrorKind::TimedOut.into());
        }
        let mut buffer = [0; READ_BYTES];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                self.input.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
            Err(error) => Err(error),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Posts two requests to a server that answers with `answers` and then closes.
    fn post(answers: &'static [u8]) -> (Vec<u16>, Result<(), PostError>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut poster = Poster::new(listener.local_addr().unwrap(), None, Duration::from_secs(5));
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 8];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(answers).unwrap();
        });
        let mut statuses = Vec::new();
        let result = poster.exchange(b"one\ntwo\n", 2, |status| statuses.push(status));
        server.join().unwrap();
        (statuses, result)
    }

    #[test]
    fn pipelined_answers_are_taken_one_by_one() {
        let (statuses, result) = post(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n\
            HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy",
        );
        assert_eq!(statuses, [200, 503]);
        assert!(result.is_ok(), "{result:?}");
    }

    #[test]
    fn what_was_not_answered_is_told() {
        let (statuses, result) = post(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 2");
        assert_eq!(statuses, [200]);
        assert!(matches!(result, Err(PostError::Io(_))), "{result:?}");
        let (statuses, result) = post(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert_eq!(statuses, [200], "the second was not answered, and nobody waits for it");
        assert!(result.is_ok());
    }
}
