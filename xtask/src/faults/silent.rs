//! Streams that are opened and then not read.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::io::Errno;
use socket2::{Domain, SockRef, Socket, Type};

use super::crowd::request;

/// As little as the kernel gives: it takes the smallest it allows, about 2 KiB.
const RECEIVE_BYTES: usize = 1;
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Opens a stream whose client has hardly any room for what it does not read.
pub fn stalled(address: SocketAddr, path: &str) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_recv_buffer_size(RECEIVE_BYTES)?;
    opened(socket, address, path)
}

/// Opens a stream with the kernel's own buffers.
pub fn silent(address: SocketAddr, path: &str) -> Result<TcpStream> {
    opened(Socket::new(Domain::for_address(address), Type::STREAM, None)?, address, path)
}

/// Sends the request and waits for the first byte of the answer, which stays unread.
fn opened(socket: Socket, address: SocketAddr, path: &str) -> Result<TcpStream> {
    socket.connect_timeout(&address.into(), ANSWER_WITHIN).context("connecting")?;
    let mut socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(ANSWER_WITHIN))?;
    socket.write_all(&request(path, None)).context("sending a request")?;
    ensure!(socket.peek(&mut [0]).context("waiting for an answer")? == 1, "the server closed instead of answering");
    Ok(socket)
}

/// Reads one byte if there is one.
pub fn trickle(socket: &mut TcpStream) -> Result<()> {
    socket.set_nonblocking(true)?;
    // That the server has given up on it is what the row looks for elsewhere.
    let _ = socket.read(&mut [0]);
    Ok(())
}

/// Connects, perhaps sends a request, and resets the connection at once.
pub fn hit_and_reset(address: SocketAddr, request: Option<&[u8]>) -> Result<()> {
    let mut socket = TcpStream::connect_timeout(&address, ANSWER_WITHIN).context("connecting")?;
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    if let Some(request) = request
        && let Err(error) = socket.write_all(request)
    {
        let gone = matches!(Errno::from_io_error(&error), Some(Errno::PIPE | Errno::CONNRESET));
        ensure!(gone, "sending a request: {error}");
    }
    Ok(())
}
