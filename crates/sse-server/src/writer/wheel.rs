//! Coarse timers: one slot per tick, one place per entry.

use std::time::{Duration, Instant};

/// How fine the timers are: heartbeats, ages and timeouts need no better.
pub(super) const TICK: Duration = Duration::from_millis(250);
/// Slots; what lies further ahead comes round again. 128 s is beyond nearly every heartbeat.
const SLOTS: usize = 512;

/// A point in time, in ticks since the wheel was made.
pub(super) type Tick = u32;

/// Keys by the tick at which they are due. A key that was moved leaves its old place behind: whoever takes it out
/// compares the tick with the one the entry says it is due at.
#[derive(Debug)]
pub(super) struct Wheel {
    started: Instant,
    now: Tick,
    slots: Vec<Vec<Due>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) key: u32,
    pub(super) at: Tick,
}

impl Wheel {
    pub(super) fn new(started: Instant) -> Self {
        Self { started, now: 0, slots: vec![Vec::new(); SLOTS] }
    }

    /// The last tick that was taken.
    pub(super) fn now(&self) -> Tick {
        self.now
    }

    /// The tick so long from now, at least the next one.
    pub(super) fn after(&self, duration: Duration) -> Tick {
        let ticks = u32::try_from(duration.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX / 2);
        self.now.saturating_add(ticks.max(1))
    }

    pub(super) fn insert(&mut self, due: Due) {
        let at = due.at.max(self.now + 1);
        self.slots[at as usize % SLOTS].push(Due { at, ..due });
    }

    /// Moves on to `now` and takes out what is due.
    pub(super) fn advance(&mut self, now: Instant, due: &mut Vec<Due>) {
        let target = now.saturating_duration_since(self.started).as_millis() / TICK.as_millis();
        let target = Tick::try_from(target).unwrap_or(Tick::MAX);
        while self.now < target {
            self.now += 1;
            let slot = &mut self.slots[self.now as usize % SLOTS];
            let now = self.now;
            slot.retain(|item| {
                if item.at <= now {
                    due.push(*item);
                }
                item.at > now
            });
            if slot.is_empty() && slot.capacity() > 64 {
                *slot = Vec::new();
            }
        }
    }

    /// How long until the next tick.
    pub(super) fn until_next(&self, now: Instant) -> Duration {
        let next = self.started + TICK * (self.now + 1);
        next.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_comes_out_at_its_tick() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        for at in [1, 2, 2, 500, 600, 1200] {
            wheel.insert(Due { key: at, at });
        }
        let mut seen = Vec::new();
        for tick in 1..=1300 {
            let mut due = Vec::new();
            wheel.advance(start + TICK * tick, &mut due);
            seen.extend(due.iter().map(|due| (tick, due.key)));
        }
        assert_eq!(seen, [(1, 1), (2, 2), (2, 2), (500, 500), (600, 600), (1200, 1200)]);
    }

    #[test]
    fn a_long_sleep_takes_everything_out() {
        let start = Instant::now();
        let mut wheel = Wheel::new(start);
        wheel.insert(Due { key: 1, at: 3 });
        wheel.insert(Due { key: 2, at: 700 });
        let mut due = Vec::new();
        wheel.advance(start + TICK * 2000, &mut due);
        assert_eq!(due.len(), 2);
        assert_eq!(wheel.now(), 2000);
    }
}
