//! What a TLS client says first.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::bench::{Bench, expect};
use crate::loadtest::process::Process;

const WAIT: Duration = Duration::from_secs(5);
/// A record's type, version and length.
const HEADER_BYTES: usize = 5;

/// A sound `ClientHello` in its record, taken down from openssl.
pub fn client_hello(bench: &Bench) -> Result<Vec<u8>> {
    let listener = TcpListener::bind("127.0.0.1:0").context("listening for a client")?;
    listener.set_nonblocking(true)?;
    let mut openssl = Command::new("openssl");
    openssl.args(["s_client", "-alpn", "h2,http/1.1", "-servername", "localhost", "-connect"]);
    openssl.arg(listener.local_addr()?.to_string());
    // Ends when dropped.
    let _client = Process::start(&mut openssl, &bench.file("openssl.log"))?;
    let mut accepted: Option<TcpStream> = None;
    expect("a client", WAIT, || {
        accepted = listener.accept().ok().map(|(socket, _)| socket);
        Ok(accepted.is_some())
    })?;
    let mut socket = accepted.context("no client came")?;
    socket.set_nonblocking(false)?;
    socket.set_read_timeout(Some(WAIT))?;
    let mut hello = vec![0; HEADER_BYTES];
    socket.read_exact(&mut hello).context("reading a record")?;
    let length = u16::from_be_bytes([hello[3], hello[4]]);
    hello.resize(HEADER_BYTES + usize::from(length), 0);
    socket.read_exact(&mut hello[HEADER_BYTES..]).context("reading a ClientHello")?;
    Ok(hello)
}
