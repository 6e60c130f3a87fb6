//! A client that knows what it has to get.

use std::collections::BTreeSet;
use std::sync::Arc;

use proptest::prelude::*;
use sse_hub::{
    Cursor, Epoch, FeedStart, Gap, GapReason, Grants, Item, Selector, SlowPolicy, Start, SubscribeError,
    SubscribeOptions,
};

use crate::feed::{Flag, Source, Word};
use crate::world::{Made, TOPICS, World, name};

/// What it follows.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    Topic(usize),
    Feed(usize),
    /// A subscription whose host reads by a feed.
    Passing(usize),
    Topics(Vec<usize>),
    Template,
    All,
    /// A name that the template matches as well.
    Mixed(usize),
}

/// Where a new client starts.
#[derive(Debug, Clone)]
pub(crate) enum From {
    Live,
    Earliest,
    /// After one of the events so far, by the server's id or the publisher's.
    Event(usize),
    Epoch,
    Future,
    Nonsense,
}

pub(crate) struct Client {
    way: Way,
    granted: bool,
    connection: Option<Connection>,
    /// What it would send as its `Last-Event-ID`.
    last_id: String,
    /// Events that were passed over without a word so far.
    holes: BTreeSet<u64>,
}

struct Connection {
    source: Source,
    flag: Arc<Flag>,
    /// It waits to be woken.
    waiting: bool,
    /// What has to come.
    due: BTreeSet<u64>,
    /// The position of the last thing that came.
    last: u64,
}

impl Way {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            3 => (0..TOPICS).prop_map(Self::Topic),
            2 => (0..TOPICS).prop_map(Self::Feed),
            2 => (0..TOPICS).prop_map(Self::Passing),
            4 => prop::sample::subsequence(vec![0, 1, 2], 2..4).prop_map(Self::Topics),
            2 => Just(Self::Template),
            2 => Just(Self::All),
            1 => (0..TOPICS).prop_map(Self::Mixed),
        ]
    }

    fn names(&self) -> &[usize] {
        match self {
            Self::Topic(topic) | Self::Feed(topic) | Self::Passing(topic) | Self::Mixed(topic) => {
                std::slice::from_ref(topic)
            }
            Self::Topics(topics) => topics,
            Self::Template | Self::All => &[],
        }
    }

    fn has_pattern(&self) -> bool {
        matches!(self, Self::Template | Self::All | Self::Mixed(_))
    }

    fn follows(&self, topic: usize) -> bool {
        self.has_pattern() || self.names().contains(&topic)
    }

    fn selectors(&self) -> Vec<Selector> {
        let pattern = match self {
            Self::Template | Self::Mixed(_) => Some("/t/{n}"),
            Self::All => Some("*"),
            Self::Topic(_) | Self::Feed(_) | Self::Passing(_) | Self::Topics(_) => None,
        };
        let names = self.names().iter().map(|&topic| Selector::exact(name(topic)));
        names.chain(pattern.map(|pattern| Selector::parse(pattern).unwrap())).collect()
    }
}

impl From {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            3 => Just(Self::Live),
            2 => Just(Self::Earliest),
            4 => any::<usize>().prop_map(Self::Event),
            1 => Just(Self::Epoch),
            1 => Just(Self::Future),
            1 => Just(Self::Nonsense),
        ]
    }

    fn id(&self, world: &World) -> String {
        let own = |sequence| Cursor { epoch: world.hub.epoch(), sequence }.to_string();
        match self {
            Self::Live => String::new(),
            Self::Earliest => "earliest".to_owned(),
            Self::Event(_) if world.newest() == 0 => own(0),
            Self::Event(index) => {
                let sequence = *index as u64 % world.newest() + 1;
                world.event(sequence).id.clone().unwrap_or_else(|| own(sequence))
            }
            Self::Epoch => Cursor { epoch: Epoch::from_entropy(2), sequence: 3 }.to_string(),
            Self::Future => own(world.newest() + 1),
            Self::Nonsense => "nonsense".to_owned(),
        }
    }
}

impl Client {
    pub(crate) fn join(world: &mut World, way: Way, from: &From, granted: bool) -> Option<Self> {
        let last_id = from.id(world);
        let mut client = Self { way, granted, connection: None, last_id, holes: BTreeSet::new() };
        client.connect(world);
        client.connection.is_some().then_some(client)
    }

    pub(crate) fn reconnect(&mut self, world: &mut World) {
        self.connection = None;
        self.connect(world);
    }

    /// Whether it keeps a topic from being forgotten.
    pub(crate) fn holds(&self, topic: usize) -> bool {
        self.connection.is_some() && self.way.names().contains(&topic)
    }

    fn sees(&self, made: &Made) -> bool {
        // Its grant, if it has one, is for topic 0.
        let granted = self.granted && made.topics.contains(&0);
        made.topics.iter().any(|&topic| self.way.follows(topic)) && (!made.private || granted)
    }

    fn connect(&mut self, world: &mut World) {
        let start = Start::parse(&self.last_id);
        let all: BTreeSet<u64> =
            world.events().filter(|(_, made)| self.sees(made)).map(|(sequence, _)| sequence).collect();
        let is_kept = |sequence: &u64| world.keeps(*sequence, |topic| self.way.follows(topic));
        let kept: BTreeSet<u64> = all.iter().copied().filter(is_kept).collect();
        let after = |position: u64| all.range(position + 1..).copied().collect::<BTreeSet<u64>>();
        let position = self.position(world, &start);
        let (due, lost) = match (&start, position) {
            (Start::Live, _) => (BTreeSet::new(), false),
            (Start::Earliest, _) => (kept, false),
            (Start::After(_), Some(position)) => (after(position), false),
            // Lost: everything kept has to come, behind a gap.
            (Start::After(_), None) => (kept, true),
        };
        if matches!(start, Start::Live | Start::Earliest)
            || position.is_some_and(|position| position != self.last_seen(world))
        {
            // It is not where it was: what it had missed there is of no account.
            self.holes.clear();
        }
        let begins = (start == Start::Live).then(|| world.hub.position().to_string());
        let source = match self.open(world, start) {
            Ok(source) => source,
            Err(SubscribeError::Ended) => {
                assert!(!self.way.has_pattern() && self.way.names().iter().all(|&topic| world.is_closed(topic)));
                assert!(due.is_empty() && !lost, "{due:?} is left");
                return;
            }
            Err(error) => panic!("{error}"),
        };
        if let Some(begins) = begins {
            self.last_id = begins;
        }
        let last = position.unwrap_or(0);
        let mut connection = Connection { source, flag: Arc::default(), waiting: false, due, last };
        if lost {
            let Word::Gap(gap) = connection.source.poll(&connection.flag) else { panic!("a gap comes first") };
            assert_eq!(gap.requested, self.last_id);
            assert!([GapReason::Epoch, GapReason::Unknown].contains(&gap.reason));
            self.take_gap(world, &mut connection, &gap);
        }
        self.connection = Some(connection);
    }

    /// The sequence that its id names.
    fn position(&self, world: &World, start: &Start) -> Option<u64> {
        let id = match start {
            Start::Live => return Some(world.newest()),
            Start::Earliest => return Some(0),
            Start::After(id) => id,
        };
        match Cursor::parse(id) {
            Some(cursor) => {
                (cursor.epoch == world.hub.epoch() && cursor.sequence <= world.newest()).then_some(cursor.sequence)
            }
            None => world.named(id, |topic| self.way.follows(topic), |made| self.sees(made)),
        }
    }

    /// The sequence of its last id, if that is the server's own.
    fn last_seen(&self, world: &World) -> u64 {
        Cursor::parse(&self.last_id)
            .filter(|cursor| cursor.epoch == world.hub.epoch())
            .map_or(0, |cursor| cursor.sequence)
    }

    fn open(&self, world: &World, start: Start) -> Result<Source, SubscribeError> {
        let grants = if self.granted { Grants::Selectors([Selector::exact(name(0))].into()) } else { Grants::None };
        if let Way::Feed(topic) = self.way {
            let feed = world.hub.feed(&name(topic))?;
            let FeedStart::InRing { cursor, gap: first } = feed.resolve(&start, &grants)? else {
                unreachable!("there is no log")
            };
            return Ok(Source::Feed { feed, cursor, first, grants, over: false });
        }
        let options = SubscribeOptions::selectors(self.way.selectors()).from(start).with_grants(grants.clone());
        let subscription = Box::new(world.hub.subscribe(options)?);
        if let Way::Passing(topic) = self.way {
            let feed = world.hub.feed(&name(topic))?;
            return Ok(Source::Passing { subscription, feed, grants, over: false });
        }
        Ok(Source::Subscription(subscription))
    }

    /// Hears of a new event, as a bystander who knows what should come of it.
    pub(crate) fn note_published(&mut self, sequence: u64, made: &Made) {
        let (is_followed, sees) = (made.topics.iter().any(|&topic| self.way.follows(topic)), self.sees(made));
        let Some(connection) = &mut self.connection else { return };
        if connection.waiting && is_followed {
            assert!(connection.flag.take(), "it waits and is woken");
            connection.waiting = false;
        }
        if sees {
            connection.due.insert(sequence);
        }
    }

    pub(crate) fn read(&mut self, world: &mut World, deliveries: usize) {
        for _ in 0..deliveries {
            if self.step(world) {
                return;
            }
        }
    }

    pub(crate) fn catch_up(&mut self, world: &mut World) {
        while !self.step(world) {}
    }

    /// Reads one thing; true if there is none.
    fn step(&mut self, world: &mut World) -> bool {
        let Some(mut connection) = self.connection.take() else { return true };
        match connection.source.poll(&connection.flag) {
            Word::Items(items) => items.iter().for_each(|item| self.take_item(world, &mut connection, item)),
            Word::Gap(gap) => self.take_gap(world, &mut connection, &gap),
            Word::Evicted => {
                assert_eq!(world.policy, Some(SlowPolicy::Evict));
                drop(connection);
                self.connect(world);
                return false;
            }
            Word::Over => {
                assert!(!self.way.has_pattern() && self.way.names().iter().all(|&topic| world.is_closed(topic)));
                assert!(connection.due.is_empty() && self.holes.is_empty(), "{:?} never came", connection.due);
                return true;
            }
            Word::Waiting => {
                self.check_caught_up(world, &connection);
                connection.waiting = true;
                connection.flag.take();
                connection.due.clear();
                self.connection = Some(connection);
                return true;
            }
        }
        self.connection = Some(connection);
        false
    }

    fn check_caught_up(&self, world: &World, connection: &Connection) {
        let is_finished = self.way.names().iter().all(|&topic| world.is_closed(topic)) && !self.way.has_pattern();
        assert!(!is_finished, "all its topics have ended");
        assert!(self.holes.is_empty(), "{:?} are missing without a word", self.holes);
        if world.policy == Some(SlowPolicy::Latest) {
            for topic in (0..TOPICS).filter(|&topic| self.way.follows(topic)) {
                let newest = world.kept(topic).rev().find(|&sequence| self.sees(world.event(sequence)));
                assert!(newest.is_none_or(|newest| !connection.due.contains(&newest)), "the newest is missing");
            }
        } else {
            assert!(connection.due.is_empty(), "{:?} never came", connection.due);
        }
    }

    fn take_item(&mut self, world: &World, connection: &mut Connection, item: &Item) {
        let sequence = item.sequence;
        assert!(sequence > connection.last, "{sequence} comes after {}", connection.last);
        assert!(connection.due.remove(&sequence), "{sequence} is not due");
        let made = world.event(sequence);
        assert_eq!(made.is_end, item.is_end);
        let first = made.topics.iter().find(|topic| self.way.follows(**topic)).unwrap();
        assert_eq!(item.topic, name(*first), "the first of its topics that is followed");
        connection.last = sequence;
        let own_id = Cursor { epoch: world.hub.epoch(), sequence }.to_string();
        self.last_id = made.id.clone().unwrap_or(own_id);
        let text = std::str::from_utf8(item.frame.text_bytes()).unwrap();
        assert!(text.contains(&format!("id: {}\n", self.last_id)), "{text}");
        let passed = passed_over(&mut connection.due, sequence - 1);
        if world.policy == Some(SlowPolicy::Latest) {
            return self.check_no_end(world, &passed);
        }
        self.check_not_kept(world, &passed);
        self.holes.extend(passed);
    }

    fn take_gap(&mut self, world: &World, connection: &mut Connection, gap: &Gap) {
        let resumed_after = gap.resumed_after.sequence;
        assert!(resumed_after >= connection.last, "the gap goes back");
        connection.last = resumed_after;
        self.last_id = gap.resumed_after.to_string();
        self.holes.retain(|hole| *hole > resumed_after);
        let mut passed = passed_over(&mut connection.due, resumed_after);
        // The event that the gap ends with may be lost in one topic and kept in another.
        passed.remove(&resumed_after);
        self.check_no_end(world, &passed);
        let may_pass_over = match world.policy {
            Some(SlowPolicy::Skip) => gap.reason == GapReason::Lagged,
            Some(SlowPolicy::Latest) => true,
            Some(SlowPolicy::Evict) | None => false,
        };
        if !may_pass_over {
            self.check_not_kept(world, &passed);
        }
    }

    fn check_no_end(&self, world: &World, passed: &BTreeSet<u64>) {
        let ends = passed.iter().copied().filter(|&sequence| world.event(sequence).is_end).collect();
        self.check_not_kept(world, &ends);
    }

    fn check_not_kept(&self, world: &World, passed: &BTreeSet<u64>) {
        for &sequence in passed {
            assert!(!world.keeps(sequence, |topic| self.way.follows(topic)), "{sequence} is kept and was passed over");
        }
    }
}

/// Takes out what was due up to there.
fn passed_over(due: &mut BTreeSet<u64>, up_to: u64) -> BTreeSet<u64> {
    let rest = due.split_off(&(up_to + 1));
    std::mem::replace(due, rest)
}
