//! Streams that were cut and come back: where each stood, and when it tries again.

use std::collections::VecDeque;

use crate::ledger::Follower;
use crate::verify::Check;

/// How long a stream waits after it could not come back before it tries again, in nanoseconds.
const AGAIN_AFTER: u64 = 100_000_000;
/// How long it goes on trying. A server that restarts is there by then.
const TRIES_FOR: u64 = 30_000_000_000;

/// One stream that is away.
#[derive(Debug)]
pub(crate) struct Comeback {
    pub(crate) follower: Follower,
    /// What it has had, if it is to get what it missed; without, it begins anew.
    pub(crate) check: Option<Check>,
    pub(crate) last_event_id: Box<str>,
    /// Since when it is away.
    pub(crate) since: u64,
}

/// All that are away and not on their way, in the order in which they try; at most one for each stream.
#[derive(Debug, Default)]
pub(crate) struct Comebacks {
    waiting: VecDeque<(u64, Comeback)>,
}

impl Comebacks {
    /// One was cut just now.
    pub(crate) fn cut(&mut self, comeback: Comeback) {
        let at = self.waiting.back().map_or(comeback.since, |(at, _)| comeback.since.max(*at));
        self.waiting.push_back((at, comeback));
    }

    /// One could not come back. Gives it back when it has tried for long enough.
    pub(crate) fn failed(&mut self, comeback: Comeback, now: u64) -> Option<Comeback> {
        if now.saturating_sub(comeback.since) > TRIES_FOR {
            return Some(comeback);
        }
        self.waiting.push_back((now + AGAIN_AFTER, comeback));
        None
    }

    /// The next whose time has come.
    pub(crate) fn due(&mut self, now: u64) -> Option<Comeback> {
        self.waiting.pop_front_if(|(at, _)| *at <= now).map(|(_, comeback)| comeback)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Role;

    fn comeback(since: u64) -> Comeback {
        let follower = Follower { role: Role::Steady, first_topic: 0 };
        Comeback { follower, check: None, last_event_id: "".into(), since }
    }

    #[test]
    fn who_fails_waits_and_gives_up_in_the_end() {
        let mut comebacks = Comebacks::default();
        comebacks.cut(comeback(5));
        assert!(comebacks.due(4).is_none());
        let one = comebacks.due(5).unwrap();
        assert!(comebacks.is_empty());
        assert!(comebacks.failed(one, 6).is_none());
        assert!(comebacks.due(6).is_none(), "not at once");
        let one = comebacks.due(6 + AGAIN_AFTER).unwrap();
        assert!(comebacks.failed(one, 6 + TRIES_FOR).is_some());
        assert!(comebacks.is_empty());
    }
}
