//! What time does to a hub: old frames and idle topics go, slow subscribers are judged.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::Hub;
use crate::hub::HubInner;
use crate::table::Table;
use crate::topic::{Age, Topic};

/// Every topic is looked at once in this time: a second or ten do not matter to what is kept for minutes, and a million
/// topics are spread over it.
const ROUND: Duration = Duration::from_secs(10);

/// Where the sweep is on its way around the tables.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    started: Option<Instant>,
    last: Option<Instant>,
    next: usize,
    /// Seconds that another hub had counted before this one went on in its place.
    seconds_before: u32,
}

impl Rounds {
    /// The whole seconds since the first call, and how many tables are due, beginning with which.
    fn advance(&mut self, now: Instant, tables: usize) -> (u32, usize, usize) {
        let started = *self.started.get_or_insert(now);
        let last = self.last.map_or(now, |last| last.min(now));
        self.last = self.last.max(Some(now));
        let share = (now - last).as_secs_f64() / ROUND.as_secs_f64();
        let due = ((tables as f64 * share).ceil() as usize).clamp(1, tables);
        let first = self.next;
        self.next = (self.next + due) % tables;
        let seconds = now.saturating_duration_since(started).as_secs();
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX).saturating_add(self.seconds_before);
        (seconds, first, due)
    }

    /// Counts on from here.
    pub(crate) fn go_on_at(&mut self, seconds: u32) {
        self.seconds_before = seconds;
    }
}

impl Hub {
    /// Tells the hub the time. The host calls this a few times per second; each call judges the slow subscribers and looks
    /// at a share of the topics, so that every topic's turn comes within ten seconds. Without it nothing ages and nobody is
    /// ever too slow.
    pub fn sweep(&self, now: Instant) {
        let hub = &*self.inner;
        let tables = hub.topics.tables();
        let (seconds, first, due) = hub.sweep.lock().advance(now, tables.len());
        let tick = hub.tick.fetch_max(seconds, Ordering::Relaxed).max(seconds);
        let closed_max = u32::try_from(hub.config.closed_topic_age.as_secs()).unwrap_or(u32::MAX);
        let age = Age { tick, closed_max };

        let window = u32::try_from(hub.config.idempotency_window.as_secs()).unwrap_or(u32::MAX);
        hub.keys.lock().forget_before(tick.saturating_sub(window));
        hub.topics.retire_groups();
        (first..first + due).for_each(|table| hub.sweep_table(&tables[table % tables.len()], &age));
        hub.judge_singles(now);
        hub.judge_merges(now);
        hub.signals.topics.set(self.topics() as f64);
        hub.signals.ring_bytes.set(hub.budget.used() as f64);
    }
}

impl HubInner {
    fn sweep_table(&self, table: &Table, age: &Age) {
        let mut idle: Vec<Arc<Topic>> = Vec::new();
        table.each(|topic| {
            if topic.trim(age, &self.budget) {
                idle.push(topic.clone());
            }
        });
        idle.iter().for_each(|topic| self.collect(topic, age));
        if !idle.is_empty() {
            table.shrink();
        }
    }

    /// Takes an idle topic out of its table, leaving its floor. The append lock keeps publishers out meanwhile.
    fn collect(&self, topic: &Topic, age: &Age) {
        let _appending = self.order.enter(&[topic.shard as usize]);
        let floor = {
            let mut state = topic.lock();
            if !state.is_idle(age) {
                return;
            }
            state.collect(&self.budget)
        };
        self.topics.remove(topic, floor);
    }

    fn judge_singles(&self, now: Instant) {
        let mut watched = std::mem::take(&mut *self.watched.lock());
        watched.retain(|topic| topic.judge_singles(now));
        self.watched.lock().append(&mut watched);
    }

    fn judge_merges(&self, now: Instant) {
        let merges: Vec<_> = self.merges.lock().iter().map(|(_, merge)| merge.clone()).collect();
        merges.iter().filter_map(|merge| merge.judge(now)).for_each(Waker::wake);
    }
}
