//! A socket that tells its connection what it takes and gives.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::StatusCode;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, ReadBuf};

use crate::connection::ConnectionState;
use crate::http::Problem;
use crate::request_scan::{HeadFault, RequestScan};
use crate::signals::Signals;
use crate::stream::{EndReason, RECEIVED_MAX};
use crate::transport::{Transport, linger};

/// hyper's socket. hyper polls a body only while the socket takes bytes, so deadlines have to be watched out here
/// (TRAPS S3).
#[derive(Debug)]
pub(crate) struct WatchedIo {
    socket: TokioIo<Transport>,
    state: Arc<ConnectionState>,
    signals: Signals,
    scan: RequestScan,
    fault: Option<HeadFault>,
    /// What came before hyper did, or behind the request under way.
    held: Vec<u8>,
    /// Bytes that came while a stream was under way, read and dropped.
    dropped: usize,
}

/// Bytes read at a time.
const READ_BYTES: usize = 8 * 1024;
/// How much a client that is closed on may still send.
const LINGER_BYTES_MAX: u64 = 1 << 20;
/// Given to hyper in place of a head that is refused: no request has a NUL, so it answers with its own refusal.
const NO_REQUEST: &[u8] = b"\0\r\n\r\n";

impl WatchedIo {
    /// `held` has been read from the socket already.
    pub(crate) fn new(
        socket: TokioIo<Transport>,
        held: Vec<u8>,
        state: Arc<ConnectionState>,
        signals: Signals,
    ) -> Self {
        Self { socket, state, signals, scan: RequestScan::default(), fault: None, held, dropped: 0 }
    }

    pub(crate) fn into_transport(self) -> Transport {
        self.socket.into_inner()
    }

    /// Waits a moment for a client whose last bytes nobody read to close as well: closing first would reset the connection,
    /// and what it was told could be lost.
    pub(crate) async fn linger(self) {
        if self.fault.is_none() && self.scan.is_between() && self.held.is_empty() && self.dropped == 0 {
            return;
        }
        linger(self.into_transport(), LINGER_BYTES_MAX).await;
    }

    /// The problem document in place of hyper's own bare answer to a head that it could not parse.
    fn refusal(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let (status, detail) = match (bytes.get(..12)?, self.fault) {
            (_, Some(fault)) => fault.answer(),
            (b"HTTP/1.1 400", _) => (StatusCode::BAD_REQUEST, "the request is not valid HTTP"),
            (b"HTTP/1.1 414", _) => (StatusCode::URI_TOO_LONG, "the target is too long"),
            (b"HTTP/1.1 431", _) => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head has too many fields or bytes")
            }
            _ => return None,
        };
        let is_bare = bytes.to_ascii_lowercase().windows(19).any(|part| part == b"content-length: 0\r\n");
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
        if self.state.has_stream() {
            return self.poll_drop(cx);
        }
        if self.scan.is_between() && self.state.is_answering() {
            return self.poll_hold(cx);
        }
        let mut scratch = [0; READ_BYTES];
        let held = std::mem::take(&mut self.held);
        let bytes = if held.is_empty() { ready!(self.poll_scratch(cx, &mut scratch))? } else { &held[..] };
        self.give(bytes, buffer);
        Poll::Ready(Ok(()))
    }
}

impl WatchedIo {
    /// Reads from the socket; nothing at its end.
    fn poll_scratch<'a>(&mut self, cx: &mut Context<'_>, scratch: &'a mut [u8]) -> Poll<io::Result<&'a [u8]>> {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(self.socket.inner_mut()).poll_read(cx, &mut buffer))?;
        let len = buffer.filled().len();
        Poll::Ready(Ok(&scratch[..len]))
    }

    /// Gives hyper what belongs to one request, and holds what comes behind it.
    fn give(&mut self, bytes: &[u8], mut buffer: ReadBufCursor<'_>) {
        let given = &bytes[..bytes.len().min(buffer.remaining())];
        if !given.is_empty() {
            self.state.received();
        }
        match self.scan.take(given) {
            Ok(taken) => {
                buffer.put_slice(&given[..taken]);
                self.held = bytes[taken..].to_vec();
            }
            Err(fault) => {
                self.fault = Some(fault);
                buffer.put_slice(&NO_REQUEST[..NO_REQUEST.len().min(buffer.remaining())]);
            }
        }
    }

    /// A request is being answered, and hyper looks whether its client is still there. What comes is kept from hyper, which
    /// would not look any more; it may be that nobody is to read it.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.held.is_empty() {
            if !self.state.stays() && self.socket.inner().is_unwatched() {
                // It is asked again once it has stayed.
                return Poll::Pending;
            }
            let mut scratch = [0; READ_BYTES];
            let bytes = ready!(self.poll_scratch(cx, &mut scratch))?;
            if bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.held = bytes.to_vec();
        }
        self.state.wake_when_answered(cx.waker());
        Poll::Pending
    }

    /// A follower has nothing to say: what it sends is dropped, as a writer would.
    fn poll_drop(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.dropped += std::mem::take(&mut self.held).len();
        let mut scratch = [0; READ_BYTES];
        loop {
            let len = ready!(self.poll_scratch(cx, &mut scratch))?.len();
            self.dropped += len;
            if len == 0 {
                return Poll::Ready(Ok(()));
            }
            if self.dropped > RECEIVED_MAX {
                self.state.end_stream(EndReason::Flooded);
                return Poll::Ready(Ok(()));
            }
        }
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
