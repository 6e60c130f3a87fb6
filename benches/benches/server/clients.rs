//! Followers that read everything, one after the other.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// What an event's chunk ends with.
const EVENT_END: &[u8] = b"\n\n\r\n";

pub(crate) struct Clients(Vec<TcpStream>);

impl Clients {
    /// That follow the topic at this address. All of them have been greeted.
    pub(crate) fn follow(addr: SocketAddr, topic: &str, count: usize) -> Self {
        let request = format!("GET /events/{topic} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let follow = |_| {
            let mut client = TcpStream::connect(addr).expect("somebody listens there");
            client.write_all(request.as_bytes()).expect("it takes requests");
            // The head, and the first block behind it.
            read_to(&mut client, b"\r\n\r\n", EVENT_END);
            client
        };
        Self((0..count).map(follow).collect())
    }

    /// Returns once each of them has this text and the end behind it.
    pub(crate) fn all_have(&mut self, text: &str) {
        self.0.iter_mut().for_each(|client| read_to(client, text.as_bytes(), EVENT_END));
    }
}

/// Reads until `end` is at the end, behind `text`.
fn read_to(stream: &mut TcpStream, text: &[u8], end: &[u8]) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let len = stream.read(&mut buffer).expect("the stream goes on");
        assert!(len > 0, "the stream ended");
        bytes.extend_from_slice(&buffer[..len]);
        let at = bytes.windows(text.len()).position(|part| part == text);
        if at.is_some_and(|at| bytes[at + text.len()..].ends_with(end)) {
            return;
        }
    }
}
