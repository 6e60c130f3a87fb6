//! A socket that the runtime watches only once it has to be waited for.
//!
//! Most requests are there when their connection is accepted, and most of those become streams, whose sockets go to a writer
//! at once. To have the runtime watch them for that moment would be two system calls and an entry in its tables each.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream as Unwatched};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream as Watched;

#[derive(Debug)]
pub(crate) struct LateSocket(State);

#[derive(Debug)]
enum State {
    Unwatched(Unwatched),
    Watched(Watched),
    /// The runtime could not watch it; it is closed.
    Lost,
}

impl LateSocket {
    /// Of a socket that does not block.
    pub(crate) fn new(socket: Unwatched) -> Self {
        Self(State::Unwatched(socket))
    }

    /// Whether nobody would tell that there is something to read.
    pub(crate) fn is_unwatched(&self) -> bool {
        matches!(self.0, State::Unwatched(_))
    }

    /// The socket, out of the runtime if it was there.
    ///
    /// # Errors
    /// When the runtime does not give it back.
    pub(crate) fn into_unwatched(self) -> io::Result<Unwatched> {
        match self.0 {
            State::Unwatched(socket) => Ok(socket),
            State::Watched(socket) => socket.into_std(),
            State::Lost => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Does what can be done without waiting; nothing if it has to be waited for.
    fn at_once<T>(&self, mut act: impl FnMut(&Unwatched) -> io::Result<T>) -> Option<io::Result<T>> {
        let State::Unwatched(socket) = &self.0 else { return None };
        loop {
            match act(socket) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                done => return Some(done),
            }
        }
    }

    /// Has the runtime watch the socket.
    fn watched(&mut self) -> io::Result<Pin<&mut Watched>> {
        self.0 = match std::mem::replace(&mut self.0, State::Lost) {
            State::Unwatched(socket) => State::Watched(Watched::from_std(socket)?),
            state => state,
        };
        match &mut self.0 {
            State::Watched(socket) => Ok(Pin::new(socket)),
            State::Unwatched(_) | State::Lost => Err(ErrorKind::NotConnected.into()),
        }
    }
}

impl AsyncRead for LateSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.at_once(|mut socket| socket.read(buffer.initialize_unfilled())) {
            Some(Ok(len)) => {
                buffer.advance(len);
                Poll::Ready(Ok(()))
            }
            Some(Err(error)) => Poll::Ready(Err(error)),
            None => self.watched()?.poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for LateSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.at_once(|mut socket| socket.write(bytes)) {
            Some(written) => Poll::Ready(written),
            None => self.watched()?.poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.at_once(|mut socket| socket.write_vectored(pieces)) {
            Some(written) => Poll::Ready(written),
            None => self.watched()?.poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing is kept back.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.at_once(|socket| socket.shutdown(Shutdown::Write)) {
            Some(done) => Poll::Ready(done),
            None => self.watched()?.poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn pair() -> (LateSocket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        (LateSocket::new(server), client)
    }

    #[tokio::test]
    async fn it_is_watched_once_it_has_to_wait() {
        let (mut socket, mut client) = pair();
        client.write_all(b"at once").unwrap();
        let mut bytes = [0; 7];
        socket.read_exact(&mut bytes).await.unwrap();
        socket.write_all(b"answer").await.unwrap();
        assert!(socket.is_unwatched() && &bytes == b"at once");
        let mut answer = [0; 6];
        client.read_exact(&mut answer).unwrap();
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut socket).poll_read(cx, &mut buffer))).await;
        assert!(read.is_pending() && !socket.is_unwatched());
        client.write_all(b"later").unwrap();
        socket.read_exact(&mut bytes[..5]).await.unwrap();
        assert_eq!((&bytes[..5], &answer), (&b"later"[..], b"answer"));
    }

    #[tokio::test]
    async fn it_leaves_the_runtime_as_it_came() {
        let (mut socket, mut client) = pair();
        socket.watched().unwrap();
        assert!(!socket.is_unwatched());
        socket.write_all(b"a").await.unwrap();
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        drop(client);
        let mut socket = socket.into_unwatched().unwrap();
        assert_eq!((byte, socket.read(&mut byte).unwrap()), (*b"a", 0));
    }
}
