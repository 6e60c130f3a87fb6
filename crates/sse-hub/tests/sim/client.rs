//! A subscriber that knows what it has to get, whatever happens between the hub and the disk.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use sse_hub::{
    Cursor, Delivery, Durability, Epoch, Gap, GapReason, Grants, Item, Selector, SlowPolicy, Start, SubscribeError,
    SubscribeOptions, Subscription,
};

use crate::history::{Fate, Made, TOPICS, Wanted, id_of, name, topic_of};
use crate::world::World;

/// What it follows.
#[derive(Debug, Clone)]
struct Way {
    names: Vec<usize>,
    pattern: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Granted {
    Nothing,
    /// The first topic.
    First,
    All,
}

pub(crate) struct Client {
    key: usize,
    way: Way,
    granted: Granted,
    /// What it would send as its `Last-Event-ID`; empty for none, or `earliest`.
    last_id: String,
    /// Sequence and number of everything that came, below where it stands.
    seen: BTreeSet<(u64, usize)>,
    /// Events that were passed over and not told of yet.
    holes: BTreeSet<u64>,
    connection: Option<Connection>,
    /// Its topics have ended.
    pub(crate) is_over: bool,
}

struct Connection {
    subscription: Subscription,
    flag: Arc<Flag>,
    /// It asks for its start first, as a host does that has to answer with a status.
    is_asking: bool,
    /// Everything that has to come lies behind this.
    from: u64,
    /// Nothing may come at or below this.
    last: u64,
    /// The gap that has to come first.
    expected: Expected,
    /// Nothing has come yet.
    is_new: bool,
    asked_for_all: bool,
    received: BTreeSet<u64>,
    /// Gone, and told of or not to be told of.
    excused: BTreeSet<u64>,
    last_read: u64,
    may_be_evicted: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Expected {
    Nothing,
    Gap(GapReason),
    /// Unknown unless a publisher gave this id to an event that can be found.
    Given {
        id: String,
        finds: usize,
    },
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What one poll came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Something,
    Nothing,
}

impl Way {
    fn any(rng: &mut fastrand::Rng) -> Self {
        let one = rng.usize(0..TOPICS);
        let (names, pattern) = match rng.u8(0..8) {
            0..3 => (vec![one], None),
            3..5 => ((0..TOPICS).filter(|&topic| topic == one || rng.bool()).collect(), None),
            5 => (Vec::new(), Some("*")),
            6 => (Vec::new(), Some("/t/{n}")),
            _ => (vec![one], Some("/t/{n}")),
        };
        Self { names, pattern }
    }

    fn follows(&self, topic: usize) -> bool {
        self.pattern.is_some() || self.names.contains(&topic)
    }

    fn selectors(&self) -> Vec<Selector> {
        let names = self.names.iter().map(|&topic| Selector::exact(name(topic)));
        names.chain(self.pattern.map(|pattern| Selector::parse(pattern).unwrap())).collect()
    }
}

impl Client {
    pub(crate) fn any(world: &mut World, key: usize) -> Self {
        let way = Way::any(&mut world.rng);
        let granted = match world.rng.u8(0..4) {
            0 => Granted::First,
            1 => Granted::All,
            _ => Granted::Nothing,
        };
        let last_id = any_id(world);
        let (seen, holes) = (BTreeSet::new(), BTreeSet::new());
        Self { key, way, granted, last_id, seen, holes, connection: None, is_over: false }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    pub(crate) fn disconnect(&mut self) {
        self.connection = None;
    }

    pub(crate) fn was_woken(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| connection.flag.0.load(Ordering::SeqCst))
    }

    fn grants(&self) -> Grants {
        match self.granted {
            Granted::Nothing => Grants::None,
            Granted::First => Grants::Selectors([Selector::exact(name(0))].into()),
            Granted::All => Grants::All,
        }
    }

    fn follows(&self, wanted: &Wanted) -> bool {
        wanted.topics.iter().any(|&topic| self.way.follows(topic))
    }

    fn sees(&self, wanted: &Wanted) -> bool {
        let may_see = !wanted.private
            || match self.granted {
                Granted::Nothing => false,
                Granted::First => wanted.topics.contains(&0),
                Granted::All => true,
            };
        self.follows(wanted) && may_see
    }

    /// What it must get of what was published after one position and up to another.
    fn due(&self, world: &World, after: u64, up_to: u64) -> Vec<u64> {
        if up_to <= after {
            return Vec::new();
        }
        let is_due = |(_, made): &(&u64, &Made)| {
            let wanted = world.history.of(made);
            wanted.logged && self.sees(wanted)
        };
        world.history.events.range(after + 1..=up_to).filter(is_due).map(|(&sequence, _)| sequence).collect()
    }

    pub(crate) fn connect(&mut self, world: &mut World) {
        let start = Start::parse(&self.last_id);
        let newest = world.hub().newest();
        let (from, expected) = self.position(world, &start, newest);
        let asked_for_all = start == Start::Earliest;
        let options = SubscribeOptions::selectors(self.way.selectors()).from(start).with_grants(self.grants());
        world.trace(&("connect", self.key, &self.last_id));
        world.history.tell(newest.epoch, newest.sequence);
        let subscription = match world.hub().subscribe(options) {
            Ok(subscription) => subscription,
            Err(SubscribeError::Ended) => return self.check_ended(world, from, &expected),
            Err(SubscribeError::TopicsFull { .. }) => return,
            Err(error) => panic!("{error}"),
        };
        // Nobody is blamed for what came again after an id that names an earlier place, or none.
        self.seen.retain(|&(sequence, _)| sequence <= from);
        if self.last_id.is_empty() || asked_for_all || !matches!(expected, Expected::Nothing) {
            self.holes.clear();
        }
        self.holes.retain(|&sequence| sequence <= from && world.history.events.contains_key(&sequence));
        let connection = Connection {
            subscription,
            flag: Arc::default(),
            is_asking: world.rng.bool(),
            from,
            last: from,
            expected,
            is_new: true,
            asked_for_all,
            received: BTreeSet::new(),
            excused: BTreeSet::new(),
            last_read: world.seconds,
            may_be_evicted: false,
        };
        connection.flag.0.store(true, Ordering::SeqCst);
        self.connection = Some(connection);
    }

    /// Where its id has it begin, and the gap it has to be told of.
    fn position(&self, world: &World, start: &Start, newest: Cursor) -> (u64, Expected) {
        let id = match start {
            Start::Live => return (newest.sequence, Expected::Nothing),
            Start::Earliest => return (0, Expected::Nothing),
            Start::After(id) => id,
        };
        let Some(cursor) = Cursor::parse(id) else {
            return (0, Expected::Given { id: id.clone(), finds: world.disk.finds() });
        };
        let last = match world.epochs.iter().find(|(epoch, _)| *epoch == cursor.epoch) {
            _ if cursor.epoch == newest.epoch => newest.sequence,
            Some(&(_, last)) => last,
            None => return (0, Expected::Gap(GapReason::Epoch)),
        };
        match cursor.sequence <= last {
            true => (cursor.sequence, Expected::Nothing),
            false if cursor.epoch == newest.epoch => (0, Expected::Gap(GapReason::Unknown)),
            false => (last, Expected::Gap(GapReason::Epoch)),
        }
    }

    /// Where an event with this id was that it may see, whenever the log was asked.
    fn found(&self, world: &World, finds: usize, id: &str) -> Vec<Option<u64>> {
        let is_seen =
            |sequence: &u64| world.history.events.get(sequence).is_some_and(|made| self.sees(world.history.of(made)));
        let all = world.disk.found_since(finds, id);
        all.into_iter().map(|found| found.into_iter().find(is_seen)).collect()
    }

    fn check_ended(&mut self, world: &World, from: u64, expected: &Expected) {
        assert!(self.has_ended(world), "{:?} has not ended", self.way);
        assert!(matches!(expected, Expected::Nothing), "a gap is to be told first");
        if self.last_id != "earliest" && !self.last_id.is_empty() {
            let due = self.due(world, from, u64::MAX);
            assert!(due.is_empty(), "{due:?} never came to client {}", self.key);
        }
        self.is_over = true;
    }

    fn has_ended(&self, world: &World) -> bool {
        self.way.pattern.is_none() && self.way.names.iter().all(|&topic| world.is_closed(topic))
    }

    /// Reads at most so many deliveries.
    pub(crate) fn read(&mut self, world: &mut World, deliveries: usize) {
        for _ in 0..deliveries {
            if self.step(world) == Step::Nothing {
                return;
            }
        }
    }

    /// Takes what comes next. Who was not woken does not look.
    pub(crate) fn step(&mut self, world: &mut World) -> Step {
        let Some(mut connection) = self.connection.take() else { return Step::Nothing };
        if !connection.flag.0.load(Ordering::SeqCst) {
            self.connection = Some(connection);
            return Step::Nothing;
        }
        let waker = Waker::from(connection.flag.clone());
        let mut cx = Context::from_waker(&waker);
        connection.flag.0.store(false, Ordering::SeqCst);
        if connection.is_asking {
            let started = pin!(connection.subscription.started()).poll(&mut cx);
            match started {
                Poll::Pending => {
                    self.connection = Some(connection);
                    return Step::Nothing;
                }
                Poll::Ready(Err(error)) => {
                    assert_eq!(error, SubscribeError::Ended);
                    world.learn();
                    assert!(self.has_ended(world));
                    self.is_over = true;
                    return Step::Nothing;
                }
                Poll::Ready(Ok(())) => (),
            }
            connection.is_asking = false;
            let gap = connection.subscription.take_start_gap();
            connection.flag.0.store(true, Ordering::SeqCst);
            world.learn();
            if let Some(gap) = gap {
                self.take_gap(world, &mut connection, &gap);
            }
            self.connection = Some(connection);
            return Step::Something;
        }
        let polled = connection.subscription.poll_delivery(&mut cx);
        world.learn();
        let Poll::Ready(delivery) = polled else {
            self.connection = Some(connection);
            return Step::Nothing;
        };
        connection.flag.0.store(true, Ordering::SeqCst);
        connection.last_read = world.seconds;
        match delivery {
            Some(Delivery::Frames(batch)) => {
                for item in batch.items() {
                    self.take_item(world, &mut connection, item);
                }
            }
            Some(Delivery::Gap(gap)) => self.take_gap(world, &mut connection, &gap),
            Some(Delivery::Evicted(_)) => {
                assert!(connection.may_be_evicted, "client {} reads and is evicted", self.key);
                return Step::Something;
            }
            None => {
                self.check_over(world, &connection);
                return Step::Something;
            }
        }
        self.connection = Some(connection);
        Step::Something
    }

    fn check_over(&mut self, world: &World, connection: &Connection) {
        world.trace(&("over", self.key));
        assert!(self.has_ended(world), "{:?} has not ended", self.way);
        self.check_nothing_missing(world, connection);
        self.is_over = true;
    }

    fn take_item(&mut self, world: &mut World, connection: &mut Connection, item: &Item) {
        let sequence = item.sequence;
        let text = std::str::from_utf8(item.frame.text_bytes()).unwrap();
        world.trace(&("item", self.key, sequence, text));
        self.check_first(world, connection, None);
        assert!(sequence > connection.last, "client {} gets {sequence} after {}", self.key, connection.last);
        let number = world.history.number_of_item(item);
        let id = id_of(text);
        if !world.history.events.contains_key(&sequence) {
            let wanted = &world.history.wanted[number];
            let may_be_early = !wanted.logged || world.durability == Durability::Memory;
            assert!(may_be_early && wanted.fate == Fate::Waiting, "{sequence}, event {number}, is not published");
            world.history.note(world.hub().epoch(), sequence, number, id);
        }
        let made = &world.history.events[&sequence];
        let wanted = world.history.of(made);
        assert_eq!((made.number, made.id.as_str(), wanted.is_end), (number, id, item.is_end), "at {sequence}");
        assert!(!matches!(wanted.fate, Fate::Refused), "{sequence} was refused");
        assert!(self.sees(wanted), "client {} may not see {sequence}", self.key);
        let first = wanted.topics.iter().find(|&&topic| self.way.follows(topic)).unwrap();
        assert_eq!(topic_of(&item.topic), *first, "the first of its topics that is followed");
        if wanted.logged && world.durability == Durability::Fsync {
            assert!(world.disk.is_synced(sequence), "{sequence} is not on the disk yet");
        }
        let is_new = self.seen.insert((sequence, number));
        let came_before = self.seen.iter().any(|&(at, seen)| seen == number && at != sequence && !item.is_end);
        assert!(is_new && !came_before, "event {number} came before to client {}", self.key);
        self.last_id = id.to_owned();
        self.pass(world, connection, sequence - 1, connection.is_new && connection.asked_for_all, false);
        connection.received.insert(sequence);
        (connection.last, connection.is_new) = (sequence, false);
    }

    /// Goes on after `up_to`, and what was due up to there did not come.
    fn pass(&mut self, world: &World, connection: &mut Connection, up_to: u64, is_excused: bool, may_skip: bool) {
        for sequence in self.due(world, connection.last, up_to) {
            let may_pass = may_skip || !world.disk.keeps(sequence);
            assert!(may_pass, "{sequence} is kept and was passed over for client {}", self.key);
            if is_excused {
                connection.excused.insert(sequence)
            } else {
                self.holes.insert(sequence)
            };
        }
    }

    fn take_gap(&mut self, world: &mut World, connection: &mut Connection, gap: &Gap) {
        let Cursor { epoch, sequence: up_to } = gap.resumed_after;
        world.trace(&("gap", self.key, up_to, gap.reason.as_str()));
        world.history.tell(epoch, up_to);
        let was_lost = self.check_first(world, connection, Some(gap));
        assert!(up_to >= connection.last, "the gap of client {} goes back", self.key);
        if !was_lost {
            self.check_reason(world, connection, gap);
        }
        let may_skip =
            gap.reason == GapReason::Lagged || world.disk.was_unreadable(up_to) || world.hub().log_has_failed();
        self.pass(world, connection, up_to, true, may_skip);
        let told = self.holes.split_off(&(up_to + 1));
        connection.excused.extend(std::mem::replace(&mut self.holes, told));
        self.last_id = gap.resumed_after.to_string();
        (connection.last, connection.is_new) = (up_to.max(connection.last), false);
    }

    /// The first thing that comes: true if it is the gap of an id that names no place.
    fn check_first(&mut self, world: &World, connection: &mut Connection, gap: Option<&Gap>) -> bool {
        if !connection.is_new {
            return false;
        }
        let requested = gap.map(|gap| gap.requested.as_str());
        match std::mem::replace(&mut connection.expected, Expected::Nothing) {
            Expected::Nothing => false,
            Expected::Gap(reason) => {
                assert_eq!(gap.map(|gap| gap.reason), Some(reason), "client {} after {}", self.key, self.last_id);
                assert_eq!(requested, Some(self.last_id.as_str()));
                true
            }
            Expected::Given { id, finds } => {
                // Others may have asked for the same id, before or after it went.
                let found = self.found(world, finds, &id);
                let is_unknown = gap.is_some_and(|gap| gap.reason == GapReason::Unknown);
                // Of what a failed log may hold nothing is said to be there.
                let may_be_unknown = found.contains(&None) || world.hub().log_has_failed();
                assert!(!is_unknown || may_be_unknown, "the event with the id {id} is there");
                if !is_unknown {
                    let places = || found.iter().copied().flatten();
                    connection.from = places().max().expect("it was found");
                    connection.last = places().min().unwrap_or(0);
                }
                let last = connection.last;
                self.seen.retain(|&(sequence, _)| sequence <= last);
                is_unknown
            }
        }
    }

    fn check_reason(&self, world: &World, connection: &Connection, gap: &Gap) {
        let up_to = gap.resumed_after.sequence;
        let is_right = match gap.reason {
            GapReason::Trimmed => (0..TOPICS).any(|topic| {
                self.way.follows(topic) && world.disk.trimmed_to(&name(topic)) >= up_to.min(connection.last + 1)
            }),
            GapReason::Damaged => {
                world.disk.has_damaged(connection.last + 1, up_to)
                    || world.disk.was_unreadable(up_to)
                    || world.hub().log_has_failed()
            }
            GapReason::Lagged => world.policy == SlowPolicy::Skip,
            _ => false,
        };
        assert!(is_right, "client {} is told of {gap:?} at {}", self.key, connection.last);
    }

    /// Time has passed.
    pub(crate) fn note_time(&mut self, seconds: u64, grace: u64) {
        if let Some(connection) = &mut self.connection
            && seconds - connection.last_read >= grace
        {
            connection.may_be_evicted = true;
        }
    }

    /// Nothing goes on any more, and nobody was woken who has not read.
    pub(crate) fn check_caught_up(&self, world: &World) {
        let Some(connection) = &self.connection else { return };
        assert!(!self.has_ended(world), "the topics of client {} have ended", self.key);
        if let Expected::Gap(_) = &connection.expected {
            panic!("client {} was not told that {} is lost", self.key, self.last_id);
        }
        self.check_nothing_missing(world, connection);
    }

    fn check_nothing_missing(&self, world: &World, connection: &Connection) {
        assert!(self.holes.is_empty(), "client {} misses {:?} and was not told", self.key, self.holes);
        let is_missing =
            |sequence: &u64| !connection.received.contains(sequence) && !connection.excused.contains(sequence);
        let is_excused = |sequence: &u64| connection.asked_for_all && connection.is_new && !world.disk.keeps(*sequence);
        let from = match &connection.expected {
            Expected::Given { id, finds } => {
                let found = self.found(world, *finds, id);
                let Some(from) = found.iter().copied().flatten().max() else {
                    panic!("client {} was not told that {id} is not known: {found:?}", self.key);
                };
                from
            }
            _ => connection.from,
        };
        let mut due = self.due(world, from, u64::MAX);
        due.retain(|sequence| is_missing(sequence) && !is_excused(sequence));
        assert!(due.is_empty(), "{due:?} never came to client {} of {:?}", self.key, self.way);
    }
}

/// Some id that a client may come with.
fn any_id(world: &mut World) -> String {
    let newest = world.hub().newest();
    let cursor = |epoch, sequence| Cursor { epoch, sequence }.to_string();
    match world.rng.u8(0..12) {
        0..4 => String::new(),
        4..6 => "earliest".to_owned(),
        6..8 => cursor(newest.epoch, world.rng.u64(0..=newest.sequence)),
        8 => cursor(newest.epoch, newest.sequence + world.rng.u64(1..5)),
        9 => cursor(Epoch::from_entropy(1), world.rng.u64(0..9)),
        10 => format!("g{}", world.rng.u8(0..3)),
        _ => "\u{1}no such id \u{fe0f} 18446744073709551616".to_owned(),
    }
}
