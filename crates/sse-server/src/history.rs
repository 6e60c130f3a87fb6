//! What went through the server in the last minutes, second by second, for whoever comes to look.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::MissedTickBehavior;

use crate::app::App;

/// Seconds that are kept: a few minutes, in some kilobytes, however busy the server is.
pub(crate) const SECONDS_MAX: usize = 300;

/// One second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Second {
    /// Open at its end.
    pub(crate) connections: usize,
    /// Published in it.
    pub(crate) events: u64,
    /// Put on their way to sockets in it.
    pub(crate) deliveries: u64,
    /// That sockets took in it.
    pub(crate) bytes: u64,
}

/// Counters as they stood.
#[derive(Debug, Clone, Copy, Default)]
struct Totals {
    events: u64,
    deliveries: u64,
    bytes: u64,
}

/// The last seconds, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<VecDeque<Second>>);

impl History {
    /// Notes every second, for as long as it is polled.
    pub(crate) async fn run(app: &App) {
        let mut interval = tokio::time::interval(Duration::from_secs(1));
        // A second that was missed cannot be told from the next.
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Totals::of(app);
        interval.tick().await;
        loop {
            interval.tick().await;
            let now = Totals::of(app);
            app.history.push(now.since(before, app.connections.open()));
            before = now;
        }
    }

    fn push(&self, second: Second) {
        let mut seconds = self.0.lock();
        if seconds.len() == SECONDS_MAX {
            seconds.pop_front();
        }
        seconds.push_back(second);
    }

    /// At most so many of the last seconds, the oldest first.
    pub(crate) fn last(&self, seconds_max: usize) -> Vec<Second> {
        let seconds = self.0.lock();
        seconds.iter().skip(seconds.len().saturating_sub(seconds_max)).copied().collect()
    }
}

impl Totals {
    fn of(app: &App) -> Self {
        let totals = app.signals.totals();
        // Each event takes a number; so does the end of a topic. Of several nodes this one has begun somewhere.
        let events = app.backplane.as_ref().map_or(app.hub.newest().sequence, |backplane| backplane.node.entries());
        Self { events, deliveries: totals.delivered(), bytes: totals.sent() }
    }

    fn since(self, before: Self, connections: usize) -> Second {
        Second {
            connections,
            events: self.events.saturating_sub(before.events),
            deliveries: self.deliveries.saturating_sub(before.deliveries),
            bytes: self.bytes.saturating_sub(before.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_minutes_are_kept() {
        let history = History::default();
        let second = |connections| Second { connections, ..Second::default() };
        (0..SECONDS_MAX + 5).for_each(|n| history.push(second(n)));
        assert_eq!(history.last(usize::MAX).len(), SECONDS_MAX);
        assert_eq!(history.last(2), [second(SECONDS_MAX + 3), second(SECONDS_MAX + 4)]);
    }
}
