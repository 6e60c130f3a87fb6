//! Follows connections whose clients do not read: when they filled up, and when the server gave up on them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::sockets::Connections;

/// The connections that there were at the start.
#[derive(Debug)]
pub struct Watch {
    port: u16,
    watched: HashMap<u16, Watched>,
}

#[derive(Debug)]
struct Watched {
    /// Bytes that the server has got rid of and the client has not read.
    under_way: u64,
    /// When that grew last: the connection has been full since.
    full_since: Instant,
    closed_at: Option<Instant>,
}

impl Watch {
    pub fn connections_to(port: u16) -> Result<Self> {
        let now = Instant::now();
        let watched = Connections::to(port)?.clients().map(|client| (client, Watched::new(now))).collect();
        Ok(Self { port, watched })
    }

    pub fn count(&self) -> usize {
        self.watched.len()
    }

    /// Looks at all of them; true once the server has closed every one.
    pub fn look(&mut self) -> Result<bool> {
        let connections = Connections::to(self.port)?;
        let now = Instant::now();
        for (client, watched) in &mut self.watched {
            match connections.of(*client) {
                Some(queues) => watched.note(queues.sending + queues.unread, now),
                None => _ = watched.closed_at.get_or_insert(now),
            }
        }
        Ok(self.watched.values().all(|watched| watched.closed_at.is_some()))
    }

    pub fn closed(&self) -> usize {
        self.waits().count()
    }

    /// The longest that the server bore with one of them after it was full; nothing if one is open still.
    pub fn longest_wait(&self) -> Option<Duration> {
        if self.closed() < self.count() { None } else { self.waits().max() }
    }

    fn waits(&self) -> impl Iterator<Item = Duration> {
        self.watched.values().filter_map(|watched| Some(watched.closed_at?.duration_since(watched.full_since)))
    }
}

impl Watched {
    fn new(now: Instant) -> Self {
        Self { under_way: 0, full_since: now, closed_at: None }
    }

    fn note(&mut self, under_way: u64, now: Instant) {
        if under_way > self.under_way {
            self.full_since = now;
        }
        self.under_way = under_way;
    }
}
