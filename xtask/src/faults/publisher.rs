//! Publishes events one by one over a connection of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 4 << 10;

/// A keep-alive connection that publishes.
#[derive(Debug)]
pub struct Publisher {
    socket: TcpStream,
}

impl Publisher {
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let socket = TcpStream::connect_timeout(&address, ANSWER_WITHIN).context("connecting to publish")?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(ANSWER_WITHIN))?;
        Ok(Self { socket })
    }

    /// Publishes one event; its id.
    pub fn publish(&mut self, topic: &str, data: &str) -> Result<String> {
        let head =
            format!("POST /events/{topic} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", data.len());
        self.socket.write_all(&[head.as_bytes(), data.as_bytes()].concat()).context("publishing")?;
        let answer = self.answer()?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "publishing was answered with {:?}", answer.lines().next());
        let id = answer.split_once(r#""id":""#).and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()));
        id.context("the answer to a publish names no id")
    }

    /// Publishes the numbers of `range`, each padded to `bytes`, at this many per second; 0 for as fast as it goes.
    pub fn publish_numbers(
        &mut self,
        topic: &str,
        range: std::ops::Range<u32>,
        bytes: usize,
        rate: f64,
    ) -> Result<Vec<String>> {
        let started = Instant::now();
        let mut ids = Vec::new();
        for (count, number) in (0_u32..).zip(range) {
            if rate > 0.0 {
                let due = started + Duration::from_secs_f64(f64::from(count) / rate);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            ids.push(self.publish(topic, &numbered(number, bytes))?);
        }
        Ok(ids)
    }

    /// Reads one answer, head and body.
    fn answer(&mut self) -> Result<String> {
        let mut input = Vec::new();
        let mut buffer = [0; READ_BYTES];
        loop {
            if let Some(length) = whole(&input) {
                ensure!(length == input.len(), "an answer is followed by something that was not asked for");
                return String::from_utf8(input).context("the answer is no text");
            }
            match self.socket.read(&mut buffer).context("reading an answer")? {
                0 => bail!("the server closed instead of answering a publish"),
                count => input.extend_from_slice(&buffer[..count]),
            }
        }
    }
}

/// `number` and a space, padded.
pub fn numbered(number: u32, bytes: usize) -> String {
    let mut text = format!("{number} ");
    text.extend(std::iter::repeat_n('x', bytes.saturating_sub(text.len())));
    text
}

/// The number that such data begins with.
pub fn number(data: &str) -> Option<u32> {
    data.split(' ').next()?.parse().ok()
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
    fn numbers_are_padded_and_found_again() {
        assert_eq!(numbered(17, 6), "17 xxx");
        assert_eq!(number(&numbered(4711, 200)), Some(4711));
        assert_eq!(number(&numbered(4711, 0)), Some(4711));
        assert_eq!(number("x"), None);
    }

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(whole(answer), Some(answer.len()));
        assert_eq!(whole(&answer[..answer.len() - 1]), None);
        assert_eq!(whole(b"HTTP/1.1 200 OK\r\n"), None);
    }
}
