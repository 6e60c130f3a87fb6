//! Bytes to an address and back, for what needs no stream.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A connection from this address of the machine.
pub fn connect_from(here: IpAddr, address: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(here, 0).into()).context("taking an address of loopback")?;
    socket.connect(&address.into()).context("connecting")?;
    Ok(socket.into())
}

/// Sends this and gives all that comes back until the other side closes.
pub fn exchange(address: SocketAddr, request: &[u8]) -> Result<String> {
    let mut socket = TcpStream::connect(address).context("connecting")?;
    socket.write_all(request).context("asking")?;
    read_all(&mut socket, ANSWER_WITHIN, |_| false)
}

/// What comes until the other side closes, `is_enough` says so, or the time is over.
pub fn read_all(socket: &mut TcpStream, limit: Duration, is_enough: impl Fn(&str) -> bool) -> Result<String> {
    let deadline = Instant::now() + limit;
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while !is_enough(&text) {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        socket.set_read_timeout(Some(left))?;
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => text.push_str(&String::from_utf8_lossy(&buffer[..count])),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            // A reset is an end as well.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error).context("reading an answer"),
        }
    }
    Ok(text)
}
