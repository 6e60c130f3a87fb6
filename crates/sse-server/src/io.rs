//! A socket that tells its connection what it takes and gives.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::StatusCode;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::connection::ConnectionState;
use crate::http::Problem;
use crate::signals::Signals;

/// hyper's socket. hyper polls a body only while the socket takes bytes, so deadlines have to be watched out here
/// (TRAPS S3).
#[derive(Debug)]
pub(crate) struct WatchedIo {
    socket: TokioIo<TcpStream>,
    state: Arc<ConnectionState>,
    signals: Signals,
}

impl WatchedIo {
    pub(crate) fn new(socket: TokioIo<TcpStream>, state: Arc<ConnectionState>, signals: Signals) -> Self {
        Self { socket, state, signals }
    }

    pub(crate) fn into_socket(self) -> TcpStream {
        self.socket.into_inner()
    }

    /// The problem document in place of hyper's own bare answer to a head that it could not parse.
    fn refusal(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let detail = match bytes.get(..12)? {
            b"HTTP/1.1 400" => "the request is not valid HTTP",
            b"HTTP/1.1 414" => "the target is too long",
            b"HTTP/1.1 431" => "the head has too many fields or bytes",
            _ => return None,
        };
        let is_bare = bytes.to_ascii_lowercase().windows(19).any(|part| part == b"content-length: 0\r\n");
        let status = StatusCode::from_bytes(&bytes[9..12]).ok()?;
        (is_bare && self.state.is_reading_head()).then(|| Problem::new(status, "malformed", detail).into_bytes())
    }

    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let of_stream = self.state.wrote(written.is_pending());
        if let (true, Poll::Ready(Ok(len))) = (of_stream, &written) {
            self.signals.sent(*len);
        }
        written
    }
}

impl Read for WatchedIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        if matches!(read, Poll::Ready(Ok(()))) {
            self.state.received();
        }
        read
    }
}

impl Write for WatchedIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(refusal) = self.refusal(bytes) {
            // The connection closes behind it: what a full socket does not take is lost with it.
            let written = Pin::new(&mut self.socket).poll_write(cx, &refusal);
            return self.note(written.map_ok(|_| bytes.len()));
        }
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = pieces
            && self.refusal(only).is_some()
        {
            return self.poll_write(cx, only);
        }
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, pieces);
        self.note(written)
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
