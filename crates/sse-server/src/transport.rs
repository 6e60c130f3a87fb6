//! What a connection's bytes go through: a socket, or TLS over one.

use std::io;
use std::net;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::server::TlsStream;

use crate::late_socket::LateSocket;

/// A connection that was accepted and, with TLS, has shaken hands.
#[derive(Debug)]
pub(crate) enum Transport {
    Plain(LateSocket),
    /// Boxed, so that it takes no room in the tasks of the others.
    Tls(Box<TlsStream<MeteredSocket>>),
}

/// A connection as a writer takes it: a socket that no runtime knows, and the state of its TLS.
#[derive(Debug)]
pub(crate) struct RawTransport {
    pub(crate) socket: net::TcpStream,
    pub(crate) tls: Option<Box<ServerConnection>>,
}

impl Transport {
    /// Whether both sides have agreed on HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2"))
    }

    /// Whether nobody would tell that there is something to read.
    pub(crate) fn is_unwatched(&self) -> bool {
        matches!(self, Self::Plain(socket) if socket.is_unwatched())
    }

    /// Takes it out of tokio.
    ///
    /// # Errors
    /// When the runtime does not give it up.
    pub(crate) fn into_raw(self) -> io::Result<RawTransport> {
        match self {
            Self::Plain(socket) => Ok(RawTransport { socket: socket.into_unwatched()?, tls: None }),
            Self::Tls(stream) => {
                let (metered, tls) = stream.into_inner();
                Ok(RawTransport { socket: metered.socket.into_unwatched()?, tls: Some(Box::new(tls)) })
            }
        }
    }
}

/// How long a client that is closed on has to close as well.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// Closes, and waits a moment for the client to close as well; it may send so many bytes meanwhile. Closing with bytes unread
/// would reset the connection, and lose what was sent last.
pub(crate) async fn linger(mut socket: impl AsyncRead + AsyncWrite + Unpin, bytes_max: u64) {
    // Whatever comes of it: the connection is over.
    let _ = socket.shutdown().await;
    let drain = async { tokio::io::copy(&mut (&mut socket).take(bytes_max), &mut tokio::io::sink()).await };
    let _ = tokio::time::timeout(LINGER_MAX, drain).await;
}

/// TLS that brings no content costs work all the same: so many bytes of it in a row are too many (FAILURES F6).
const EMPTY_BYTES_MAX: usize = 64 * 1024;

/// The socket under TLS.
#[derive(Debug)]
pub(crate) struct MeteredSocket {
    socket: LateSocket,
    /// Bytes that have come since there was content.
    empty: usize,
    /// TLS has failed: rustls is not to be given more.
    has_failed: bool,
}

impl MeteredSocket {
    pub(crate) fn new(socket: LateSocket) -> Self {
        Self { socket, empty: 0, has_failed: false }
    }

    pub(crate) fn into_inner(self) -> LateSocket {
        self.socket
    }
}

impl AsyncRead for MeteredSocket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.socket).poll_read(cx, buffer))?;
        self.empty += buffer.filled().len() - before;
        if self.empty > EMPTY_BYTES_MAX {
            return Poll::Ready(Err(io::Error::other("too much TLS without content")));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MeteredSocket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl AsyncRead for Transport {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Self::Tls(stream) => {
                if stream.get_ref().0.has_failed {
                    return Poll::Ready(Ok(()));
                }
                let before = buffer.filled().len();
                let read = ready!(Pin::new(&mut **stream).poll_read(cx, buffer));
                stream.get_mut().0.has_failed = read.is_err();
                read?;
                if buffer.filled().len() > before {
                    stream.get_mut().0.empty = 0;
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, pieces),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        }
    }
}
