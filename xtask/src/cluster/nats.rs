//! A NATS as any client of it sees it: some lines of its protocol.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail};

const INBOX: &str = "_INBOX.xtask";

/// Publishes, and waits until it has been taken in.
pub fn publish(socket: TcpStream, subject: &str, bytes: &[u8]) -> Result<()> {
    let mut client = Client::begin(socket)?;
    client.send(&format!("PUB {subject} {}", bytes.len()), bytes)?;
    client.next("PONG").map(drop)
}

/// Asks; the answer.
pub fn ask(socket: TcpStream, subject: &str) -> Result<String> {
    let mut client = Client::begin(socket)?;
    client.send(&format!("SUB {INBOX} 1\r\nPUB {subject} {INBOX} 0"), b"")?;
    let head = client.next("MSG ")?;
    let length = head.rsplit(' ').next().and_then(|length| length.parse().ok()).context("a message has no length")?;
    let mut text = vec![0; length];
    client.0.read_exact(&mut text).context("reading a message")?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn begin(socket: TcpStream) -> Result<Self> {
        let mut client = Self(BufReader::new(socket));
        client.next("INFO ")?;
        client.0.get_mut().write_all(b"CONNECT {\"verbose\":false}\r\n").context("greeting NATS")?;
        Ok(client)
    }

    /// A line with what belongs to it, and a ping: its answer comes when all of it was read.
    fn send(&mut self, line: &str, bytes: &[u8]) -> Result<()> {
        let text = [line.as_bytes(), b"\r\n", bytes, b"\r\nPING\r\n"].concat();
        self.0.get_mut().write_all(&text).context("asking NATS")
    }

    /// The next line that begins so.
    fn next(&mut self, start: &str) -> Result<String> {
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).context("reading from NATS")? == 0 || line.starts_with("-ERR") {
                bail!("NATS said {line:?} in place of {start}");
            }
            if line.starts_with(start) {
                return Ok(line.trim_end().to_owned());
            }
        }
    }
}
