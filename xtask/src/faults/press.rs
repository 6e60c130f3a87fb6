//! Publishers that press on the durable log, and remember what they were told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::publisher::Publisher;

/// Topics that every publisher uses in turn, so that order within one publisher is order across topics.
pub const TOPICS: [&str; 3] = ["press-0", "press-1", "press-2"];

/// One publisher's account: the numbers below `sent` may have been taken, those in `acked` were, with these ids.
#[derive(Debug, Default, Clone)]
pub struct Journal {
    pub sent: u32,
    pub acked: Vec<(u32, String)>,
}

/// Publishers at work, each on a thread and a connection of its own.
#[derive(Debug)]
pub struct Press {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<(Journal, Option<String>)>>,
}

#[derive(Debug, Default)]
struct Shared {
    acked: AtomicU64,
    late: AtomicU64,
    /// Somebody got an error.
    has_error: AtomicBool,
    is_over: AtomicBool,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Pressed {
    pub journals: Vec<Journal>,
    /// What ended those that did not end by themselves.
    pub errors: Vec<String>,
    /// Acknowledged, and sent after another had been refused.
    pub late: u64,
}

impl Press {
    /// Goes on from `journals`, as fast as answers come; each event has its publisher, its number, and `bytes` in all.
    pub fn start(address: SocketAddr, journals: Vec<Journal>, bytes: usize) -> Self {
        let shared = Arc::new(Shared::default());
        let publisher = |(name, mut journal): (usize, Journal)| {
            let shared = shared.clone();
            std::thread::spawn(move || {
                let error = shared.publish(address, name, &mut journal, bytes).err();
                shared.has_error.fetch_or(error.is_some(), Ordering::SeqCst);
                (journal, error.map(|error| format!("{error:#}")))
            })
        };
        let threads = journals.into_iter().enumerate().map(publisher).collect();
        Self { shared, threads }
    }

    /// Events acknowledged so far.
    pub fn acked(&self) -> u64 {
        self.shared.acked.load(Ordering::Relaxed)
    }

    /// Whether a publisher still works.
    pub fn is_running(&self) -> bool {
        self.threads.iter().any(|thread| !thread.is_finished())
    }

    /// Lets each finish what it has begun.
    pub fn finish(self) -> Result<Pressed> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        self.ended()
    }

    /// Waits until all have failed: the server is gone, or refuses.
    pub fn ended(self) -> Result<Pressed> {
        let mut pressed = Pressed::default();
        for thread in self.threads {
            let (journal, error) = thread.join().map_err(|_| anyhow!("a publisher panicked"))?;
            pressed.journals.push(journal);
            pressed.errors.extend(error);
        }
        pressed.late = self.shared.late.load(Ordering::Relaxed);
        Ok(pressed)
    }

    /// Presses for so long.
    pub fn run(address: SocketAddr, journals: Vec<Journal>, bytes: usize, time: Duration) -> Result<Pressed> {
        let press = Self::start(address, journals, bytes);
        std::thread::sleep(time);
        press.finish()
    }
}

impl Shared {
    fn publish(&self, address: SocketAddr, name: usize, journal: &mut Journal, bytes: usize) -> Result<()> {
        let mut publisher = Publisher::connect(address)?;
        while !self.is_over.load(Ordering::Relaxed) {
            let number = journal.sent;
            journal.sent += 1;
            let is_late = self.has_error.load(Ordering::SeqCst);
            let id = publisher.publish(TOPICS[number as usize % TOPICS.len()], &text(name, number, bytes))?;
            journal.acked.push((number, id));
            self.acked.fetch_add(1, Ordering::Relaxed);
            self.late.fetch_add(u64::from(is_late), Ordering::Relaxed);
        }
        Ok(())
    }
}

/// What publisher `name` sends as its event `number`.
pub fn text(name: usize, number: u32, bytes: usize) -> String {
    let mut text = format!("p{name}-{number}. ");
    text.extend(std::iter::repeat_n('x', bytes.saturating_sub(text.len())));
    text
}

/// The publisher and the number of such a text.
pub fn origin(text: &str) -> Option<(usize, u32)> {
    let (name, number) = text.strip_prefix('p')?.split_once('.')?.0.split_once('-')?;
    Some((name.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_tells_where_it_is_from() {
        assert_eq!(text(3, 17, 10), "p3-17. xxx");
        assert_eq!(origin(&text(3, 17, 200)), Some((3, 17)));
        assert_eq!(origin("end"), None);
    }
}
