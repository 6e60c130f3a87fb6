//! One connection: connects, asks, and hands what comes to its stream or, in HTTP/2, to its streams.

use std::io::{self, ErrorKind};

use mio::net::TcpStream;

use crate::clock::Clock;
use crate::ledger::{Ledger, Role};
use crate::multiplex::Multiplex;
use crate::socket::Socket;
use crate::subscriber::{Gone, Subscriber};

/// A connection and whom it is for.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket,
    /// What is still to be sent.
    out: Vec<u8>,
    carried: Carried,
}

#[derive(Debug)]
enum Carried {
    One(Subscriber),
    Several(Box<Multiplex>),
}

/// How far to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Until the socket gave less than there was room for: it is empty, and what comes then is a new edge.
    Short,
    /// Until it would block or has ended; an end that came together with the last bytes has no edge of its own.
    Blocked,
}

impl Connection {
    /// A connection that is under way, for one stream, and what it will ask.
    pub(crate) fn for_one(socket: Socket, subscriber: Subscriber, request: Vec<u8>) -> Self {
        Self { socket, out: request, carried: Carried::One(subscriber) }
    }

    /// The same for the streams of `multiplex`, whose requests are `out`.
    pub(crate) fn for_several(socket: Socket, multiplex: Multiplex, out: Vec<u8>) -> Self {
        Self { socket, out, carried: Carried::Several(Box::new(multiplex)) }
    }

    pub(crate) fn tcp(&mut self) -> &mut TcpStream {
        self.socket.tcp()
    }

    /// What its streams have in common.
    pub(crate) fn role(&self) -> Role {
        match &self.carried {
            Carried::One(subscriber) => subscriber.follower.role,
            Carried::Several(_) => Role::Steady,
        }
    }

    /// How many of its streams have opened, ever.
    pub(crate) fn opened(&self) -> usize {
        match &self.carried {
            Carried::One(subscriber) => usize::from(subscriber.is_open()),
            Carried::Several(multiplex) => multiplex.opened(),
        }
    }

    /// Streams that have ended while the connection goes on, since this was last asked.
    pub(crate) fn take_ended(&mut self) -> Vec<(Subscriber, Gone)> {
        match &mut self.carried {
            Carried::One(_) => Vec::new(),
            Carried::Several(multiplex) => multiplex.take_ended(),
        }
    }

    pub(crate) fn subscribers(&self) -> Box<dyn Iterator<Item = &Subscriber> + '_> {
        match &self.carried {
            Carried::One(subscriber) => Box::new(std::iter::once(subscriber)),
            Carried::Several(multiplex) => Box::new(multiplex.subscribers()),
        }
    }

    pub(crate) fn into_subscribers(self) -> Vec<Subscriber> {
        match self.carried {
            Carried::One(subscriber) => vec![subscriber],
            Carried::Several(multiplex) => multiplex.into_subscribers(),
        }
    }

    /// Does what the socket is ready for and writes down what came.
    pub(crate) fn advance(
        &mut self,
        until: Until,
        buffer: &mut [u8],
        ledger: &mut Ledger<'_>,
        clock: Clock,
    ) -> Result<(), Gone> {
        if !self.out.is_empty() && !self.socket.is_connected()? {
            return Ok(());
        }
        loop {
            self.send()?;
            let count = match self.socket.read(buffer) {
                Ok(0) => return Err(Gone::Closed),
                Ok(count) => count,
                // Reading may have ended the handshake for which writing had waited.
                Err(error) if error.kind() == ErrorKind::WouldBlock && self.send()? => continue,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if is_end(&error) => return Err(Gone::Closed),
                Err(error) => return Err(error.into()),
            };
            ledger.tally.bytes += count as u64;
            let now = clock.nanos();
            match &mut self.carried {
                Carried::One(subscriber) => subscriber.take(&buffer[..count], ledger, now)?,
                Carried::Several(multiplex) => multiplex.take(&buffer[..count], ledger, now, &mut self.out)?,
            }
            if until == Until::Short && self.out.is_empty() && self.socket.is_empty_after(count, buffer.len()) {
                return Ok(());
            }
        }
    }

    /// Sends what there is room for; true if that was anything.
    fn send(&mut self) -> io::Result<bool> {
        let mut sent = 0;
        while sent < self.out.len() {
            match self.socket.write(&self.out[sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        if sent == self.out.len() {
            self.out = Vec::new();
        } else {
            self.out.drain(..sent);
        }
        Ok(sent > 0)
    }
}

/// Whether the other side has closed, in whatever way.
fn is_end(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof)
}
