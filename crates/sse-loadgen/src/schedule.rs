//! When each event is meant to go out. It depends on nothing that happens, so it cannot slip.

use crate::scenario::Scenario;

/// One event to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) topic: u32,
    pub(crate) sequence: u32,
    /// Nanoseconds since the start of the run.
    pub(crate) intended: u64,
}

/// The events of one publisher, which owns every so-manieth topic: a burst goes to one topic, the next to the next.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    start: u64,
    /// Nanoseconds between two bursts of all publishers together.
    interval: f64,
    burst: u32,
    bursts: u64,
    topics: u32,
    publishers: u32,
    publisher: u32,
    /// The burst under way and how many of its events are out.
    at: u64,
    out: u32,
}

impl Schedule {
    /// The share of one of `publishers`, beginning at `start`.
    pub(crate) fn new(scenario: &Scenario, publishers: u32, publisher: u32, start: u64) -> Self {
        let interval = 1e9 * f64::from(scenario.burst) / scenario.rate;
        let bursts = (scenario.duration.as_secs_f64() * 1e9 / interval).round().max(1.0) as u64;
        let topics = scenario.topics;
        let schedule =
            Self { start, interval, burst: scenario.burst, bursts, topics, publishers, publisher, at: 0, out: 0 };
        schedule.at_own_burst()
    }

    /// What is next, without taking it.
    pub(crate) fn peek(&self) -> Option<Due> {
        (self.at < self.bursts).then(|| Due {
            topic: (self.at % u64::from(self.topics)) as u32,
            sequence: ((self.at / u64::from(self.topics)) as u32).wrapping_mul(self.burst).wrapping_add(self.out),
            intended: self.start + (self.interval * self.at as f64) as u64,
        })
    }

    /// How many events there are still to come.
    pub(crate) fn remaining(self) -> u64 {
        self.count() as u64
    }

    fn at_own_burst(mut self) -> Self {
        self.skip_others();
        self
    }

    fn skip_others(&mut self) {
        let owner = |burst: u64| (burst % u64::from(self.topics)) as u32 % self.publishers;
        while self.at < self.bursts && owner(self.at) != self.publisher {
            self.at += 1;
        }
    }
}

impl Iterator for Schedule {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let due = self.peek()?;
        self.out += 1;
        if self.out == self.burst {
            self.out = 0;
            self.at += 1;
            self.skip_others();
        }
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn publishers_share_every_event_once_and_in_order() {
        let mut scenario = Scenario::new("", "");
        scenario.topics = 3;
        scenario.rate = 100.0;
        scenario.burst = 4;
        scenario.duration = Duration::from_secs(1);
        let mut all = Vec::new();
        for publisher in 0..2 {
            let schedule = Schedule::new(&scenario, 2, publisher, 1_000);
            assert_eq!(schedule.clone().remaining(), schedule.clone().count() as u64);
            assert!(schedule.clone().all(|due| due.topic % 2 == publisher));
            all.extend(schedule);
        }
        assert_eq!(all.len(), 100);
        all.sort_by_key(|due| (due.topic, due.sequence));
        for topic in 0..3 {
            let of_topic: Vec<&Due> = all.iter().filter(|due| due.topic == topic).collect();
            let numbers = of_topic.iter().map(|due| due.sequence);
            assert!(numbers.eq(0..of_topic.len() as u32));
            assert!(of_topic.is_sorted_by_key(|due| due.intended));
        }
        let second_burst = Due { topic: 1, sequence: 3, intended: 1_000 + 40_000_000 };
        assert!(all.contains(&second_burst));
    }
}
