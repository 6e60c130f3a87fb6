//! What one reader thread writes down about everything that arrives.

use serde::{Deserialize, Serialize};
use sse_wire::{Parsed, ParsedEvent};

use crate::control::Control;
use crate::latency::{LastArrivals, Times};
use crate::scenario::{Layout, Plan, Scenario};
use crate::stamp::{Decoded, Stamp, Stamper};
use crate::verify::{Check, Hole, IdOrder, Order, Published};

/// How many faults are described one by one.
const EXAMPLES_MAX: usize = 20;
/// How many holes of streams that are gone are kept until it is known what was published.
const HOLES_MAX: usize = 100_000;

/// Counts of what arrived and of what was wrong with it. Faults are those that [`Tally::is_whole`] looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Events that came, late ones and repeats left out, on streams that read all the time.
    pub delivered: u64,
    /// The same on slow readers.
    pub delivered_slow: u64,
    /// Confirmed events that a subscriber never got.
    pub lost: u64,
    /// Events a subscriber got again.
    pub repeated: u64,
    /// Events that came after a later one of their topic.
    pub reordered: u64,
    /// Events whose data is not what was published, or that were never published, or of a topic not followed.
    pub damaged: u64,
    /// Ids that are not above the one before, though of the same epoch.
    pub ids_not_rising: u64,
    /// Ids of another epoch than the one before.
    pub epoch_changes: u64,
    /// Gaps that the server announced.
    pub gaps: u64,
    /// Streams that ended though their subscriber was reading.
    pub closed_early: u64,
    /// Visitors that could not open a stream.
    pub visits_failed: u64,
    /// Streams whose bytes were not HTTP or not an event stream.
    pub malformed: u64,
    /// Confirmed events that slow readers did not get: theirs to lose.
    pub skipped_slow: u64,
    /// Gaps announced to slow readers.
    pub gaps_slow: u64,
    /// Slow readers whose stream the server had ended.
    pub evicted_slow: u64,
    /// Visitors that came, followed and left.
    pub visits: u64,
    /// Streams that were cut and opened again.
    #[serde(default)]
    pub comebacks: u64,
    /// Events without a stamp of this run.
    pub foreign: u64,
    /// Events without an id of their own.
    pub ids_missing: u64,
    /// Comments, which is what heartbeats are.
    pub comments: u64,
    /// Other events of the server itself, whose type begins with `sse.`.
    pub signals: u64,
    /// Bytes of answers, heads and chunk framing included.
    pub bytes: u64,
    /// The first faults in words.
    pub examples: Vec<String>,
}

impl Tally {
    /// Whether every subscriber got everything once, in order and unharmed.
    pub fn is_whole(&self) -> bool {
        let faults = [
            self.lost,
            self.repeated,
            self.reordered,
            self.damaged,
            self.ids_not_rising,
            self.epoch_changes,
            self.gaps,
            self.closed_early,
            self.visits_failed,
            self.malformed,
        ];
        faults.iter().all(|count| *count == 0)
    }

    /// Notes a fault in words, if it is among the first.
    pub(crate) fn example(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES_MAX {
            let text = text();
            // A server that goes down ends all streams alike.
            if self.examples.last() != Some(&text) {
                self.examples.push(text);
            }
        }
    }

    /// Takes in another thread's.
    pub(crate) fn add(&mut self, other: Self) {
        let pairs = [
            (&mut self.delivered, other.delivered),
            (&mut self.delivered_slow, other.delivered_slow),
            (&mut self.lost, other.lost),
            (&mut self.repeated, other.repeated),
            (&mut self.reordered, other.reordered),
            (&mut self.damaged, other.damaged),
            (&mut self.ids_not_rising, other.ids_not_rising),
            (&mut self.epoch_changes, other.epoch_changes),
            (&mut self.gaps, other.gaps),
            (&mut self.closed_early, other.closed_early),
            (&mut self.visits_failed, other.visits_failed),
            (&mut self.malformed, other.malformed),
            (&mut self.skipped_slow, other.skipped_slow),
            (&mut self.gaps_slow, other.gaps_slow),
            (&mut self.evicted_slow, other.evicted_slow),
            (&mut self.visits, other.visits),
            (&mut self.comebacks, other.comebacks),
            (&mut self.foreign, other.foreign),
            (&mut self.ids_missing, other.ids_missing),
            (&mut self.comments, other.comments),
            (&mut self.signals, other.signals),
            (&mut self.bytes, other.bytes),
        ];
        for (mine, theirs) in pairs {
            *mine += theirs;
        }
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES_MAX);
    }
}

/// Why a stream is there, which decides what it may miss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Reads from beginning to end.
    Steady,
    /// Stops reading.
    Slow,
    /// Comes and leaves.
    Visitor,
}

/// Whose stream something came on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Follower {
    pub(crate) role: Role,
    pub(crate) first_topic: u32,
}

/// The tally, the times and the holes of one thread's streams.
#[derive(Debug)]
pub(crate) struct Ledger<'a> {
    control: &'a Control,
    layout: Layout,
    publishers: u32,
    stamper: Stamper,
    wrapped: bool,
    pub(crate) tally: Tally,
    pub(crate) latency: Times,
    pub(crate) opening: Times,
    /// How long streams that were cut were away.
    pub(crate) away: Times,
    pub(crate) last: LastArrivals,
    /// Of streams that are gone.
    holes: Vec<(Role, Hole)>,
}

impl<'a> Ledger<'a> {
    pub(crate) fn new(control: &'a Control, plan: &Plan, scenario: &Scenario) -> Self {
        let layout = plan.layout;
        Self {
            control,
            layout,
            publishers: plan.publishers,
            stamper: Stamper::new(plan.run, scenario.event_bytes),
            wrapped: scenario.wrapped,
            tally: Tally::default(),
            latency: Times::new(),
            opening: Times::new(),
            away: Times::new(),
            last: LastArrivals::new(layout.topics),
            holes: Vec::new(),
        }
    }

    /// A record for a stream that has just opened: from here on it must get everything.
    pub(crate) fn open(&self, first_topic: u32) -> Check {
        Check::new(self.layout.topics_of(first_topic).map(|topic| self.control.sent(topic)))
    }

    /// A stream that had been away for so long is open again.
    pub(crate) fn came_back(&mut self, nanos: u64) {
        self.tally.comebacks += 1;
        self.away.record(nanos);
    }

    /// Writes down one thing that a stream's parser found, at `now`.
    pub(crate) fn note(&mut self, parsed: &Parsed<'_>, follower: Follower, check: &mut Check, now: u64) {
        match parsed {
            Parsed::Event(event) if event.event_type.starts_with(b"sse.") => self.signal(event, follower),
            Parsed::Event(event) => self.event(event, follower, check, now),
            Parsed::Comment(_) => self.tally.comments += 1,
            Parsed::Retry(_) => (),
        }
    }

    fn signal(&mut self, event: &ParsedEvent<'_>, follower: Follower) {
        if event.event_type != b"sse.gap" {
            self.tally.signals += 1;
        } else if follower.role == Role::Slow {
            self.tally.gaps_slow += 1;
        } else {
            self.tally.gaps += 1;
            let data = String::from_utf8_lossy(event.data).into_owned();
            self.tally.example(|| format!("a gap was announced: {data}"));
        }
    }

    fn event(&mut self, event: &ParsedEvent<'_>, follower: Follower, check: &mut Check, now: u64) {
        self.id(event, check);
        if !self.wrapped {
            let decoded = self.stamper.decode(event.data);
            return self.decoded(decoded, event.data, follower, check, now);
        }
        for (data, decoded) in self.stamper.decode_within(event.data) {
            self.decoded(decoded, data, follower, check, now);
        }
    }

    fn decoded(&mut self, decoded: Decoded, data: &[u8], follower: Follower, check: &mut Check, now: u64) {
        match decoded {
            Decoded::Stamped(stamp) => self.stamped(stamp, data, follower, check, now),
            Decoded::Foreign => self.tally.foreign += 1,
            Decoded::Damaged => self.damaged("is not what was published", data),
        }
    }

    fn stamped(&mut self, stamp: Stamp, data: &[u8], follower: Follower, check: &mut Check, now: u64) {
        let Some(slot) = self.layout.slot(follower.first_topic, stamp.topic) else {
            return self.damaged("is of a topic that was not followed", data);
        };
        if stamp.sequence >= self.control.sent(stamp.topic)
            || u32::from(stamp.publisher) != stamp.topic % self.publishers
        {
            return self.damaged("was never published", data);
        }
        self.count(check.event(slot, stamp.topic, stamp.sequence), stamp, follower, now);
    }

    fn count(&mut self, order: Order, stamp: Stamp, follower: Follower, now: u64) {
        match order {
            Order::Next | Order::AfterHole => (),
            Order::Late => {
                self.tally.reordered += 1;
                self.tally.example(|| format!("topic {}: {} came late", stamp.topic, stamp.sequence));
            }
            Order::Repeated => {
                self.tally.repeated += 1;
                self.tally.example(|| format!("topic {}: {} came again", stamp.topic, stamp.sequence));
                return;
            }
        }
        if follower.role == Role::Slow {
            // Its waiting is its own doing and would drown what the others saw.
            self.tally.delivered_slow += 1;
            return;
        }
        let nanos = now.saturating_sub(stamp.intended);
        self.tally.delivered += 1;
        self.latency.record(nanos);
        self.last.record(stamp.topic, stamp.sequence, nanos);
    }

    fn id(&mut self, event: &ParsedEvent<'_>, check: &mut Check) {
        if !event.id_set {
            self.tally.ids_missing += 1;
            return;
        }
        match check.id(event.last_event_id) {
            IdOrder::Rising | IdOrder::Unknown => (),
            IdOrder::NotRising => {
                self.tally.ids_not_rising += 1;
                self.tally.example(|| format!("id {} does not rise", event.last_event_id));
            }
            IdOrder::OtherEpoch => {
                self.tally.epoch_changes += 1;
                self.tally.example(|| format!("id {} is of another epoch", event.last_event_id));
            }
        }
    }

    fn damaged(&mut self, how: &str, data: &[u8]) {
        self.tally.damaged += 1;
        let shown = String::from_utf8_lossy(&data[..data.len().min(64)]).into_owned();
        self.tally.example(|| format!("an event {how}: {shown}"));
    }

    /// Adds up what a stream that is gone had missed; with [`Tail::Owed`] also what it should have got since.
    pub(crate) fn gone(&mut self, follower: Follower, check: Check, tail: Tail) {
        let owed = match tail {
            Tail::Owed => check.tails(self.layout.topics_of(follower.first_topic).map(|topic| (topic, u32::MAX))),
            Tail::Waived => Vec::new(),
        };
        let (holes, untracked) = check.into_holes();
        self.lose(follower.role, untracked);
        for hole in holes.into_iter().chain(owed) {
            match self.control.published() {
                Some(published) => self.settle(follower.role, hole, published),
                None if self.holes.len() < HOLES_MAX => self.holes.push((follower.role, hole)),
                // Too many to wait for what will turn out to have been confirmed.
                None => {
                    let to = hole.to.min(self.control.sent(hole.topic));
                    self.lose(follower.role, u64::from(to.saturating_sub(hole.from)));
                }
            }
        }
    }

    /// Adds up what streams had missed that were gone before it was known what was published.
    pub(crate) fn settle_all(&mut self, published: &Published) {
        for (role, hole) in std::mem::take(&mut self.holes) {
            self.settle(role, hole, published);
        }
    }

    fn settle(&mut self, role: Role, hole: Hole, published: &Published) {
        let lost = published.lost(hole);
        self.lose(role, lost);
        if lost > 0 && role != Role::Slow {
            let to = hole.to.min(published.expected(hole.topic));
            self.tally.example(|| format!("topic {}: {}..{to} never came to one subscriber", hole.topic, hole.from));
        }
    }

    fn lose(&mut self, role: Role, count: u64) {
        match role {
            Role::Slow => self.tally.skipped_slow += count,
            Role::Steady | Role::Visitor => self.tally.lost += count,
        }
    }
}

/// Whether a stream that is gone should have got what came after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    Owed,
    Waived,
}
