//! A connection's socket, plain or with TLS, that never waits.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;
use rustls::{ClientConnection, Stream};

use crate::tls::Trust;

/// Where a connection's bytes go and come from.
#[derive(Debug)]
pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<(ClientConnection, TcpStream)>),
}

impl Socket {
    /// A socket whose connection may still be under way.
    pub(crate) fn new(tcp: TcpStream, trust: Option<&Trust>) -> io::Result<Self> {
        Ok(match trust {
            Some(trust) => Self::Tls(Box::new((trust.session()?, tcp))),
            None => Self::Plain(tcp),
        })
    }

    pub(crate) fn tcp(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &mut tls.1,
        }
    }

    pub(crate) fn is_connected(&mut self) -> io::Result<bool> {
        let tcp = self.tcp();
        if let Some(error) = tcp.take_error()? {
            return Err(error);
        }
        match tcp.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether a read that gives less than there was room for leaves nothing to be read. TLS gives what is in one record.
    pub(crate) fn is_empty_after(&self, count: usize, room: usize) -> bool {
        matches!(self, Self::Plain(_)) && count < room
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(buffer),
            Self::Tls(tls) => {
                let (session, tcp) = &mut **tls;
                Stream::new(session, tcp).read(buffer)
            }
        }
    }

    /// Takes what there is room for. With TLS that may leave later, when the socket is next read or written.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Tls(tls) => {
                let (session, tcp) = &mut **tls;
                Stream::new(session, tcp).write(bytes)
            }
        }
    }
}
