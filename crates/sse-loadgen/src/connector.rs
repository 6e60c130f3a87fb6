//! Opens connections without waiting, from as many source addresses as the number of streams asks for.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};

use crate::ledger::Role;

/// What the kernel gives out when the range cannot be read.
const PORT_RANGE: (u32, u32) = (32_768, 60_999);
/// What a slow reader's kernel may hold for it, so that the server soon feels that it does not read. The kernel doubles
/// it.
const SLOW_RECEIVE_BYTES: usize = 4 << 10;

/// One reader thread's way to open streams.
#[derive(Debug)]
pub(crate) struct Connector {
    target: SocketAddr,
    /// How many of 127.0.0.1, 127.0.0.2 and so on to use; with one the kernel chooses.
    sources: u32,
    opened: u32,
}

impl Connector {
    pub(crate) fn new(target: SocketAddr, sources: u32) -> Self {
        Self { target, sources, opened: 0 }
    }

    /// Begins to connect; the socket becomes writable once it is.
    pub(crate) fn open(&mut self, role: Role) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(self.target), Type::STREAM.nonblocking(), None)?;
        if role == Role::Slow {
            socket.set_recv_buffer_size(SLOW_RECEIVE_BYTES)?;
        }
        if self.sources > 1 {
            let source = Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + self.opened % self.sources);
            socket.bind(&SocketAddr::from((source, 0)).into())?;
        }
        self.opened = self.opened.wrapping_add(1);
        match socket.connect(&self.target.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => Err(error),
            _ => Ok(TcpStream::from_std(socket.into())),
        }
    }
}

/// How many source addresses `streams` need to one target. Ports of streams that have just left are not free at once,
/// and others use the range too, so a fifth of it is left alone.
pub(crate) fn sources_needed(streams: u64, port_range: (u32, u32)) -> u64 {
    let ports = u64::from(port_range.1.saturating_sub(port_range.0)) + 1;
    streams.div_ceil((ports * 4 / 5).max(1)).max(1)
}

/// The ports the kernel gives out.
pub(crate) fn port_range() -> (u32, u32) {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_whitespace().map_while(|word| word.parse().ok());
    numbers.next().zip(numbers.next()).unwrap_or(PORT_RANGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_grow_with_the_streams() {
        assert_eq!(sources_needed(0, PORT_RANGE), 1);
        assert_eq!(sources_needed(22_000, PORT_RANGE), 1);
        assert_eq!(sources_needed(23_000, PORT_RANGE), 2);
        assert_eq!(sources_needed(100_000, PORT_RANGE), 5);
        assert_eq!(sources_needed(5, (9, 9)), 5);
    }

    #[test]
    fn each_connection_takes_the_next_source() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut connector = Connector::new(listener.local_addr().unwrap(), 3);
        let mut sources = Vec::new();
        for _ in 0..4 {
            let _stream = connector.open(Role::Steady).unwrap();
            sources.push(listener.accept().unwrap().1.ip().to_string());
        }
        assert_eq!(sources, ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.1"]);
    }
}
