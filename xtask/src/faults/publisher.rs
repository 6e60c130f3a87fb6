//! Publishes events one by one over a connection of its own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::asking::Asking;

/// A keep-alive connection that publishes.
#[derive(Debug)]
pub struct Publisher {
    asking: Asking,
}

impl Publisher {
    pub fn connect(address: SocketAddr) -> Result<Self> {
        Ok(Self { asking: Asking::connect(address).context("connecting to publish")? })
    }

    /// Publishes one event; its id.
    pub fn publish(&mut self, topic: &str, data: &str) -> Result<String> {
        let head =
            format!("POST /events/{topic} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", data.len());
        let answer = self.asking.ask(&[head.as_bytes(), data.as_bytes()].concat(), 200).context("publishing")?;
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
}
