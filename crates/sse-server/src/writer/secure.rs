//! A stream's TLS, on a writer.

use std::io::{ErrorKind, Read, Write};

use mio::net::TcpStream;
use rustls::ServerConnection;

use super::entry::Written;
use crate::stream::{EndReason, RECEIVED_MAX};

/// Bytes that are encrypted ahead of the socket: one record.
const AHEAD_BYTES_MAX: usize = 16 * 1024;

/// One connection's keys, and what was encrypted and has not left.
#[derive(Debug)]
pub(super) struct Secure {
    tls: ServerConnection,
}

/// What became of what was encrypted.
enum Flushed {
    All,
    Full,
    Broken,
}

impl Secure {
    pub(super) fn new(mut tls: Box<ServerConnection>) -> Box<Self> {
        tls.set_buffer_limit(Some(AHEAD_BYTES_MAX));
        Box::new(Self { tls: *tls })
    }

    pub(super) fn is_flushed(&self) -> bool {
        !self.tls.wants_write()
    }

    /// Encrypts and writes as much of `bytes` as the socket takes, after whatever was encrypted before.
    pub(super) fn write(&mut self, socket: &TcpStream, bytes: &[u8]) -> Written {
        let mut done = 0;
        loop {
            match self.flush(socket) {
                Flushed::All if done == bytes.len() => return Written::All,
                Flushed::All => (),
                Flushed::Full => return Written::Part(done),
                Flushed::Broken => return Written::Broken,
            }
            match self.tls.writer().write(&bytes[done..]) {
                // There is room, as everything has left: nothing more may be sent.
                Ok(0) | Err(_) => return Written::Broken,
                Ok(len) => done += len,
            }
        }
    }

    fn flush(&mut self, mut socket: &TcpStream) -> Flushed {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut socket) {
                Ok(0) => return Flushed::Broken,
                Ok(_) => (),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Flushed::Full,
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(_) => return Flushed::Broken,
            }
        }
        Flushed::All
    }

    /// Reads what the client has sent: alerts and new keys count, content is dropped. All of it is counted, so that neither
    /// can be sent for ever (FAILURES F6).
    pub(super) fn drain_input(&mut self, mut socket: &TcpStream, received: &mut u32) -> Option<EndReason> {
        loop {
            match self.tls.read_tls(&mut socket) {
                Ok(0) => return Some(EndReason::Disconnected),
                Ok(len) => *received = received.saturating_add(len as u32),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Some(EndReason::Broken),
            }
            if *received as usize > RECEIVED_MAX {
                return Some(EndReason::Flooded);
            }
            let Ok(state) = self.tls.process_new_packets() else {
                // It is told why, if its socket takes that.
                self.flush(socket);
                return Some(EndReason::Broken);
            };
            if state.peer_has_closed() {
                return Some(EndReason::Disconnected);
            }
            let mut scratch = [0; 4096];
            while self.tls.reader().read(&mut scratch).is_ok_and(|len| len > 0) {}
            // New keys are answered with new keys; what a full socket does not take leaves with the next write.
            if let Flushed::Broken = self.flush(socket) {
                return Some(EndReason::Broken);
            }
        }
    }

    /// Says that nothing more will be written.
    pub(super) fn say_goodbye(&mut self, socket: &TcpStream) {
        self.tls.send_close_notify();
        // A failure means that the connection is gone already, which reading will tell.
        self.flush(socket);
    }
}
