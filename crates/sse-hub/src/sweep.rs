//! What time does to a hub: old frames and idle topics go, slow subscribers are judged.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use crate::hub::HubInner;
use crate::topic::Topic;
use crate::{Hub, TopicName};

#[derive(Debug, Default)]
pub(crate) struct SweepState {
    started: Option<Instant>,
    /// The table swept next: one at a time, so that a sweep of a million topics comes in parts.
    table: usize,
}

impl Hub {
    /// Tells the hub the time. The host calls this a few times per second; each call looks at one shard's topics. Without
    /// it nothing ages and nobody is ever too slow.
    pub fn sweep(&self, now: Instant) {
        let hub = &*self.inner;
        let table = {
            let mut state = hub.sweep.lock();
            let started = *state.started.get_or_insert(now);
            let seconds = now.saturating_duration_since(started).as_secs();
            hub.tick.store(u32::try_from(seconds).unwrap_or(u32::MAX), Ordering::Relaxed);
            state.table = (state.table + 1) % hub.tables.len();
            state.table
        };
        hub.sweep_table(table, now);
        if table == 0 {
            hub.judge_merges(now);
        }
        hub.signals.topics.set(self.topics() as f64);
        hub.signals.ring_bytes.set(hub.budget.used() as f64);
    }
}

impl HubInner {
    fn sweep_table(&self, table: usize, now: Instant) {
        let tick = self.tick.load(Ordering::Relaxed);
        let closed_age_max = u32::try_from(self.config.closed_topic_age.as_secs()).unwrap_or(u32::MAX);
        let mut attention: Vec<Arc<Topic>> = Vec::new();
        self.tables[table].each(|topic| {
            if topic.trim(tick, &self.budget) {
                attention.push(topic.clone());
            }
        });
        for topic in attention {
            topic.judge_followers(now);
            if topic.lock().is_idle(tick, closed_age_max) {
                self.collect(&topic, tick, closed_age_max);
            }
        }
    }

    /// Takes an idle topic out of its table, leaving its floor. The append lock keeps publishers out meanwhile.
    fn collect(&self, topic: &Topic, tick: u32, closed_age_max: u32) {
        let _appending = self.order.enter(&[topic.shard]);
        let floor = {
            let mut state = topic.lock();
            if !state.is_idle(tick, closed_age_max) {
                return;
            }
            state.collect(&self.budget)
        };
        self.tables[topic.shard].remove(topic, floor);
        self.topic_count.fetch_sub(1, Ordering::Relaxed);
    }

    fn judge_merges(&self, now: Instant) {
        let merges: Vec<_> = self.merges.lock().iter().map(|(_, merge)| merge.clone()).collect();
        merges.iter().filter_map(|merge| merge.judge(now)).for_each(std::task::Waker::wake);
    }
}

/// One topic as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// Its name.
    pub name: TopicName,
    /// Who follows it by name; a feed counts once.
    pub followers: usize,
    /// Frames kept.
    pub frames: usize,
}

impl Hub {
    /// At most `topics_max` topics, in no order.
    pub fn topic_infos(&self, topics_max: usize) -> Vec<TopicInfo> {
        let mut infos = Vec::new();
        for table in &self.inner.tables {
            table.each(|topic| {
                if infos.len() < topics_max {
                    let state = topic.lock();
                    infos.push(TopicInfo {
                        name: topic.name.clone(),
                        followers: state.followers(),
                        frames: state.ring.frames(),
                    });
                }
            });
        }
        infos
    }
}
