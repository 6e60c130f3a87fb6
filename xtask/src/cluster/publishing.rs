//! Publishers that press on all nodes at once, one event after another, and remember what became of each.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};

use crate::faults::asking::Asking;
use crate::faults::crash::Random;
use crate::faults::press::text;

/// How long a publisher waits for its answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// What one does after it was refused.
const PAUSE: Duration = Duration::from_millis(20);

/// What is published.
#[derive(Debug, Clone)]
pub struct Pressing {
    pub nodes: Vec<SocketAddr>,
    pub topics: usize,
    /// Events a second, of all publishers together.
    pub rate: f64,
    pub publishers: usize,
    /// The number of the first of them: each has its own in a row.
    pub first: usize,
    /// Bytes of data in each.
    pub bytes: usize,
}

impl Pressing {
    /// The same by other publishers.
    pub fn named_from(self, first: usize) -> Self {
        Self { first, ..self }
    }
}

/// What became of one event.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub publisher: usize,
    pub number: u32,
    pub topic: usize,
    pub began: Instant,
    pub took: Duration,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// With this id.
    Acked(String),
    /// Told so, with this status.
    Refused(u16),
    /// No answer came.
    Unanswered,
}

/// Publishers at work, each on a thread of its own.
#[derive(Debug)]
pub struct Publishing {
    acked: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Attempt>>>,
}

impl Publishing {
    pub fn start(pressing: &Pressing) -> Self {
        let (acked, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let publisher = |name: usize| {
            let (acked, is_over, pressing) = (acked.clone(), is_over.clone(), pressing.clone());
            std::thread::spawn(move || publish(name, &pressing, &acked, &is_over))
        };
        let threads = (pressing.first..pressing.first + pressing.publishers).map(publisher).collect();
        Self { acked, is_over, threads }
    }

    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Has each end with what it has begun; everything that was tried.
    pub fn finish(self) -> Result<Vec<Attempt>> {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for thread in self.threads {
            all.extend(thread.join().map_err(|_| anyhow!("a publisher panicked"))?);
        }
        Ok(all)
    }
}

fn publish(name: usize, pressing: &Pressing, acked: &AtomicU64, is_over: &AtomicBool) -> Vec<Attempt> {
    let mut random = Random::of(Random::seeded().next(), name as u64);
    let mut doors: Vec<Option<Asking>> = pressing.nodes.iter().map(|_| None).collect();
    let mut attempts = Vec::new();
    let gap = Duration::from_secs_f64(pressing.publishers as f64 / pressing.rate);
    let mut due = Instant::now() + gap.mul_f64((name - pressing.first) as f64 / pressing.publishers as f64);
    while !is_over.load(Ordering::Relaxed) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // What was late is not made up for in a burst.
        due = (due + gap).max(Instant::now() - gap);
        let number = attempts.len() as u32;
        let (node, topic) = (random.below(doors.len() as u64) as usize, random.below(pressing.topics as u64) as usize);
        let began = Instant::now();
        let outcome = ask(&mut doors[node], pressing.nodes[node], topic, &text(name, number, pressing.bytes));
        match outcome {
            Outcome::Acked(_) => _ = acked.fetch_add(1, Ordering::Relaxed),
            _ => std::thread::sleep(PAUSE),
        }
        attempts.push(Attempt { publisher: name, number, topic, began, took: began.elapsed(), outcome });
    }
    attempts
}

/// Publishes one event over a connection that is kept.
fn ask(door: &mut Option<Asking>, node: SocketAddr, topic: usize, data: &str) -> Outcome {
    let mut try_it = || {
        let asking = match door {
            Some(asking) => asking,
            None => door.insert(Asking::connect_patient(node, ANSWER_WITHIN)?),
        };
        asking.answer(&request(topic, data))
    };
    match try_it().and_then(|answer| understood(&answer)) {
        Ok(Outcome::Acked(id)) => Outcome::Acked(id),
        Ok(outcome) => {
            *door = None;
            outcome
        }
        Err(_) => {
            *door = None;
            Outcome::Unanswered
        }
    }
}

pub fn request(topic: usize, data: &str) -> Vec<u8> {
    let length = data.len();
    format!("POST /events/t{topic} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{data}").into_bytes()
}

/// What an answer says.
fn understood(answer: &str) -> Result<Outcome> {
    let status = answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()).context("no status")?;
    if !(200..300).contains(&status) {
        return Ok(Outcome::Refused(status));
    }
    let id = answer.split_once(r#""id":""#).and_then(|(_, rest)| Some(rest.split_once('"')?.0.to_owned()));
    Ok(Outcome::Acked(id.context("an answer without an id")?))
}

/// Publishes to `topic`, again and again until some node takes it; the id.
pub fn publish_surely(nodes: &[SocketAddr], topic: usize, data: &str, limit: Duration) -> Result<String> {
    let deadline = Instant::now() + limit;
    let mut door = None;
    for node in nodes.iter().cycle() {
        match ask(&mut door, *node, topic, data) {
            Outcome::Acked(id) => return Ok(id),
            outcome if Instant::now() > deadline => return Err(anyhow!("no node takes an event: {outcome:?}")),
            _ => std::thread::sleep(PAUSE),
        }
        door = None;
    }
    Err(anyhow!("there are no nodes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_understood() {
        let acked = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"id\":\"e-17\"}";
        assert_eq!(understood(acked).unwrap(), Outcome::Acked("e-17".to_owned()));
        assert_eq!(understood("HTTP/1.1 503 Busy\r\n\r\n").unwrap(), Outcome::Refused(503));
        assert!(understood("HTTP/1.1 200 OK\r\n\r\n{}").is_err());
        assert!(understood("nonsense").is_err());
    }
}
