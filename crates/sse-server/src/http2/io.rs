//! An HTTP/2 connection's socket, as hyper has it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::ConnectionWatch;
use super::scan::{FrameScan, POISON};
use crate::signals::Signals;
use crate::transport::Transport;

/// Bytes read at a time.
const READ_BYTES: usize = 8 * 1024;

/// Counts what comes in, and tells the watch what the socket takes.
#[derive(Debug)]
pub(super) struct ScannedIo {
    transport: Transport,
    watch: Arc<ConnectionWatch>,
    signals: Signals,
    scan: FrameScan,
    /// What hyper is to read first.
    held: Vec<u8>,
}

impl ScannedIo {
    /// `first` has been read from the socket already.
    pub(super) fn new(transport: Transport, first: &[u8], watch: Arc<ConnectionWatch>, signals: Signals) -> Self {
        let mut io = Self { transport, watch, signals, scan: FrameScan::new(Instant::now()), held: Vec::new() };
        io.came(first);
        io
    }

    /// Takes what has come into `held`.
    fn came(&mut self, bytes: &[u8]) {
        let now = Instant::now();
        if let Err(flood) = self.scan.take(bytes, now, &mut self.held) {
            self.held.extend_from_slice(POISON);
            self.watch.flooded(flood);
            self.signals.connection_rejected(flood.as_str());
        }
        self.watch.received(self.scan.partial());
        match self.scan.take_opened() {
            0 => (),
            bytes => self.watch.opened(bytes, now),
        }
    }

    fn note(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let has_streams = self.watch.wrote(written.is_pending());
        if let Poll::Ready(Ok(len)) = &written {
            self.scan.wrote(*len);
            if has_streams {
                self.signals.sent(*len);
            }
        }
        written
    }
}

impl Read for ScannedIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.held.is_empty() {
            if this.watch.is_flooded() {
                // hyper has what makes it end.
                return Poll::Pending;
            }
            let mut scratch = [0; READ_BYTES];
            let mut read = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut this.transport).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.came(read.filled());
        }
        let len = this.held.len().min(buffer.remaining());
        buffer.put_slice(&this.held[..len]);
        this.held.drain(..len);
        if this.held.is_empty() {
            this.held = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl Write for ScannedIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.transport).poll_write_vectored(cx, pieces);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}
