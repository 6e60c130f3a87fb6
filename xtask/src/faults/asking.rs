//! Requests one by one over one connection, whatever is asked for.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 16 << 10;

/// A keep-alive connection.
#[derive(Debug)]
pub struct Asking {
    socket: TcpStream,
}

impl Asking {
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Self::connect_patient(address, ANSWER_WITHIN)
    }

    /// One that waits so long for an answer.
    pub fn connect_patient(address: SocketAddr, answer_within: Duration) -> Result<Self> {
        let socket = TcpStream::connect_timeout(&address, ANSWER_WITHIN).context("connecting")?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(answer_within))?;
        Ok(Self { socket })
    }

    /// Sends a whole request; the answer must have this status. Its text, head and body.
    pub fn ask(&mut self, request: &[u8], status: u16) -> Result<String> {
        let answer = self.answer(request)?;
        let line = answer.lines().next().unwrap_or_default();
        ensure!(line.starts_with(&format!("HTTP/1.1 {status} ")), "the answer is {line:?} rather than {status}");
        Ok(answer)
    }

    /// Sends a whole request; the answer's text.
    pub fn answer(&mut self, request: &[u8]) -> Result<String> {
        self.socket.write_all(request).context("asking")?;
        let mut input = Vec::new();
        let mut buffer = [0; READ_BYTES];
        loop {
            if let Some(length) = whole(&input) {
                ensure!(length == input.len(), "an answer is followed by something that was not asked for");
                return String::from_utf8(input).context("the answer is no text");
            }
            match self.socket.read(&mut buffer) {
                Ok(0) => bail!("the server closed instead of answering"),
                Ok(count) => input.extend_from_slice(&buffer[..count]),
                // As after a stop and a continue of this process.
                Err(error) if error.kind() == ErrorKind::Interrupted => (),
                Err(error) => return Err(error).context("reading an answer"),
            }
        }
    }
}

/// The length of the answer, once its head has come.
fn whole(input: &[u8]) -> Option<usize> {
    let end = input.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&input[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?.trim().parse::<usize>().ok()?;
    (input.len() >= end + length).then_some(end + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(whole(answer), Some(answer.len()));
        assert_eq!(whole(&answer[..answer.len() - 1]), None);
        assert_eq!(whole(b"HTTP/1.1 200 OK\r\n"), None);
    }
}
