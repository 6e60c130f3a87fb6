//! One publisher to many topics, while servers come and go: what was answered, and what was asked for in vain.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use super::asking::Asking;
use super::crowd::Member;

pub const TOPICS: usize = 100;

/// One publisher on a connection that it keeps for as long as it may.
pub struct Publishing {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Published>>,
}

/// What was published.
#[derive(Debug, Default)]
pub struct Published {
    /// To each topic, the ids and data that were answered for.
    answered: HashMap<usize, Vec<(String, String)>>,
    /// Data that may have been published or not: nobody said.
    unanswered: HashSet<String>,
    pub events: usize,
    pub failed: usize,
    pub first_failure: Option<String>,
    /// When each was asked for, and how long its publisher waited.
    waits: Vec<(Instant, Duration)>,
}

impl Publishing {
    pub fn start(address: SocketAddr, rate: f64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || publish_until(address, rate, &stopped));
        Self { stop, thread }
    }

    pub fn stop(self) -> Result<Published> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the publisher panicked"))?
    }
}

fn publish_until(address: SocketAddr, rate: f64, stop: &AtomicBool) -> Result<Published> {
    let mut published = Published::default();
    let started = Instant::now();
    let mut connection = None;
    for number in 0_usize.. {
        let due = started + Duration::from_secs_f64(number as f64 / rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let asked = Instant::now();
        let outcome = published.publish(address, &mut connection, number % TOPICS, number);
        published.waits.push((asked, asked.elapsed()));
        if let Err(error) = outcome {
            published.failed += 1;
            published.first_failure.get_or_insert_with(|| format!("publish {number}: {error:#}"));
        }
    }
    Ok(published)
}

/// Its id, and whether the connection closes behind the answer.
fn ask(asking: &mut Asking, topic: usize, data: &str) -> Result<(String, bool)> {
    let request =
        format!("POST /events/up-{topic} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{data}", data.len());
    let answer = asking.ask(request.as_bytes(), 200)?;
    let id = answer.split_once(r#""id":""#).and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()));
    Ok((id.context("the answer names no id")?, answer.to_ascii_lowercase().contains("connection: close")))
}

impl Published {
    /// Publishes one more on the connection that there is, or on a new one.
    fn publish(
        &mut self,
        address: SocketAddr,
        connection: &mut Option<Asking>,
        topic: usize,
        number: usize,
    ) -> Result<()> {
        let data = number.to_string();
        let answer = match connection.take() {
            Some(asking) => Ok(asking),
            None => Asking::connect(address),
        }
        .and_then(|mut asking| {
            let (id, is_last) = ask(&mut asking, topic, &data)?;
            Ok((id, (!is_last).then_some(asking)))
        });
        match answer {
            Ok((id, kept)) => {
                *connection = kept;
                self.answered.entry(topic).or_default().push((id, data));
                self.events += 1;
                Ok(())
            }
            Err(error) => {
                self.unanswered.insert(data);
                Err(error)
            }
        }
    }

    /// Publishes one to every topic, numbered from `first`.
    pub fn publish_to_all(&mut self, address: SocketAddr, first: usize) -> Result<()> {
        let mut connection = None;
        (0..TOPICS).try_for_each(|topic| self.publish(address, &mut connection, topic, first + topic))
    }

    /// With what came after it.
    pub fn and(mut self, later: Self) -> Self {
        for (topic, events) in later.answered {
            self.answered.entry(topic).or_default().extend(events);
        }
        self.unanswered.extend(later.unanswered);
        self
    }

    pub fn longest_between(&self, from: Instant, to: Instant) -> Duration {
        let waits = self.waits.iter().filter(|(at, _)| (from..to).contains(at));
        waits.map(|(_, wait)| *wait).max().unwrap_or_default()
    }

    /// What the topic of this stream was answered for.
    pub fn of(&self, stream: usize) -> &[(String, String)] {
        self.answered.get(&(stream % TOPICS)).map_or(&[], Vec::as_slice)
    }

    /// Whether it may be there or not.
    pub fn is_open(&self, data: &str) -> bool {
        self.unanswered.contains(data)
    }

    /// Whether the stream has the last of its topic.
    pub fn ends(&self, stream: usize, member: &Member) -> bool {
        self.of(stream).last().is_none_or(|(id, _)| member.answer.events.last().is_some_and(|event| event.id == *id))
    }

    /// Whether it has each of its topic, and nothing else.
    pub fn is_exactly(&self, stream: usize, member: &Member) -> bool {
        let events = member.answer.events.iter().map(|event| (&event.id, &event.data));
        events.eq(self.of(stream).iter().map(|(id, data)| (id, data)))
    }
}

#[cfg(test)]
impl Published {
    /// What was published to one topic.
    pub fn of_one(topic: usize, answered: &[(&str, &str)], unanswered: &[&str]) -> Self {
        let answered = answered.iter().map(|(id, data)| ((*id).to_owned(), (*data).to_owned())).collect();
        let unanswered = unanswered.iter().map(|data| (*data).to_owned()).collect();
        Self { answered: HashMap::from([(topic, answered)]), unanswered, ..Self::default() }
    }
}
