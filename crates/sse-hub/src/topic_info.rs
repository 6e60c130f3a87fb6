//! Topics as operators see them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering;

use crate::topic::{Life, Topic};
use crate::{Hub, TopicName};

/// One topic as operators see it.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicInfo {
    /// Its name.
    pub name: TopicName,
    /// Who follows it by name; a feed counts once.
    pub followers: usize,
    /// How many of those follow it alone.
    pub alone: usize,
    /// How many are feeds.
    pub feeds: usize,
    /// Frames kept.
    pub frames: usize,
    /// Their bytes, as HTTP/1.1 chunks.
    pub bytes: usize,
    /// Frames appended per second of late, as far as they are kept.
    pub frames_per_second: f64,
    /// It takes no more events.
    pub is_closed: bool,
}

impl TopicInfo {
    fn of(topic: &Topic, tick: u32) -> Self {
        let state = topic.lock();
        Self {
            name: topic.name.clone(),
            followers: state.followers(),
            alone: state.alone(),
            feeds: state.feeds(),
            frames: state.ring.frames(),
            bytes: state.ring.bytes(),
            frames_per_second: state.ring.frames_per_second(tick),
            is_closed: matches!(state.life(), Life::Closed { .. }),
        }
    }
}

/// What a search for topics found.
#[derive(Debug)]
pub struct TopicsFound {
    /// Those that rank highest, the highest first; of the same rank by name.
    pub topics: Vec<TopicInfo>,
    /// How many were wanted, shown or not.
    pub total: usize,
}

/// A topic in its rank: the least is the first to make room.
struct Ranked {
    rank: u64,
    info: TopicInfo,
}

impl Ranked {
    fn order(&self) -> (u64, Reverse<&TopicName>) {
        (self.rank, Reverse(&self.info.name))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.order() == other.order()
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.order().cmp(&other.order())
    }
}

impl Hub {
    /// At most `topics_max` topics, in no order.
    pub fn topic_infos(&self, topics_max: usize) -> Vec<TopicInfo> {
        let tick = self.inner.tick.load(Ordering::Relaxed);
        let mut infos = Vec::new();
        for table in self.inner.topics.tables() {
            table.some(topics_max - infos.len(), |topic| infos.push(TopicInfo::of(topic, tick)));
        }
        infos
    }

    /// The `topics_max` wanted topics that rank highest. Every topic is looked at, a part of a table at a time: a million take
    /// a second, so this is nothing for a thread that others wait for. Neither function may call the hub.
    pub fn find_topics(
        &self,
        topics_max: usize,
        wanted: impl Fn(&TopicName) -> bool,
        rank: impl Fn(&TopicInfo) -> u64,
    ) -> TopicsFound {
        let tick = self.inner.tick.load(Ordering::Relaxed);
        let mut highest = BinaryHeap::new();
        let mut total = 0;
        self.inner.topics.each(|topic| {
            if !wanted(&topic.name) {
                return;
            }
            total += 1;
            let info = TopicInfo::of(topic, tick);
            let ranked = Ranked { rank: rank(&info), info };
            if highest.len() < topics_max || highest.peek().is_some_and(|Reverse(least)| *least < ranked) {
                highest.push(Reverse(ranked));
            }
            if highest.len() > topics_max {
                highest.pop();
            }
        });
        // The order is reversed, so ascending is the highest first.
        let topics = highest.into_sorted_vec().into_iter().map(|Reverse(ranked)| ranked.info).collect();
        TopicsFound { topics, total }
    }
}
