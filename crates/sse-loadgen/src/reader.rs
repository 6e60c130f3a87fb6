//! A thread that opens its share of the streams and reads them all.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::clock::{Clock, nanos};
use crate::comeback::{Comeback, Comebacks};
use crate::connection::{Connection, Until};
use crate::connector::Connector;
use crate::control::{Control, Stage};
use crate::ledger::{Follower, Ledger, Role, Tail};
use crate::multiplex::Multiplex;
use crate::procfs;
use crate::scenario::{Plan, Scenario};
use crate::socket::Socket;
use crate::subscriber::{Gone, Subscriber};
use crate::verify::Check;
use crate::visits::Visits;

/// How long a thread waits with nothing to read before it looks whether the run has moved on.
const IDLE_WAIT: Duration = Duration::from_millis(20);
/// The same while visitors come and go, who have their times.
const CHURN_WAIT: Duration = Duration::from_millis(2);
/// How often it is looked whether everybody has everything.
const CAUGHT_UP_INTERVAL: u64 = 5_000_000;
const READ_BYTES: usize = 256 << 10;
const EVENTS_PER_POLL: usize = 1024;

/// What all readers of a run are given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) scenario: &'a Scenario,
    pub(crate) plan: &'a Plan,
    pub(crate) control: &'a Control,
    pub(crate) clock: Clock,
    pub(crate) sources: u32,
}

/// What a reader comes back with.
pub(crate) struct Read<'a> {
    pub(crate) ledger: Ledger<'a>,
    /// CPU time under load.
    pub(crate) cpu: Duration,
}

/// One reading thread.
pub(crate) struct Reader<'a> {
    context: Context<'a>,
    poll: Poll,
    connections: Slab<Connection>,
    connector: Connector,
    ledger: Ledger<'a>,
    buffer: Box<[u8]>,
    /// The numbers of the streams still to open.
    to_open: std::iter::StepBy<std::ops::Range<u32>>,
    /// How many are opening.
    opening: u32,
    opening_max: u32,
    visits: Visits,
    /// When all streams are cut, once that is known.
    storm_at: Option<u64>,
    comebacks: Comebacks,
    /// Slow readers and when each reads again; in order, for all wait equally long.
    holding: VecDeque<(u64, usize)>,
    /// This thread's CPU time when the load began.
    cpu_at_start: Option<Duration>,
    /// What was last told to [`Control::delivered`].
    delivered: u64,
    caught_up_at: u64,
    caught_up: bool,
}

impl<'a> Reader<'a> {
    /// The reader with this number, which opens every so-manieth stream.
    pub(crate) fn new(context: Context<'a>, number: usize, ledger: Ledger<'a>) -> io::Result<Self> {
        let Context { scenario, plan, .. } = context;
        let threads = scenario.threads;
        Ok(Self {
            context,
            poll: Poll::new()?,
            connections: Slab::new(),
            connector: Connector::new(plan.follow.addr, context.sources),
            ledger,
            buffer: vec![0; READ_BYTES].into(),
            to_open: (number as u32..scenario.streams()).step_by(threads),
            opening: 0,
            opening_max: scenario.opening_max.div_ceil(threads as u32),
            visits: Visits::new(scenario.churn / threads as f64, scenario.visit, number as u32),
            storm_at: None,
            comebacks: Comebacks::default(),
            holding: VecDeque::new(),
            cpu_at_start: None,
            delivered: 0,
            caught_up_at: 0,
            caught_up: false,
        })
    }

    /// Reads until the run is over.
    pub(crate) fn run(mut self) -> io::Result<Read<'a>> {
        let mut events = Events::with_capacity(EVENTS_PER_POLL);
        let wait = if self.visits.is_none() { IDLE_WAIT } else { CHURN_WAIT };
        loop {
            match self.context.control.stage() {
                Stage::Ramp => self.open_more(),
                Stage::Run => self.mingle(),
                Stage::Finish => {
                    self.come_back();
                    self.look_whether_caught_up();
                }
                Stage::Close => break,
            }
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                result => result?,
            }
            for event in &events {
                let ends = event.is_read_closed() || event.is_error();
                self.ready(event.token().0, if ends { Until::Blocked } else { Until::Short });
            }
            self.tell_delivered();
            // Who sends to many is let go on before the next few are looked for: fewer turns, each with more to read.
            if !events.is_empty() {
                std::thread::yield_now();
            }
        }
        let cpu = procfs::thread_cpu();
        let cpu = self.cpu_at_start.map_or(Duration::ZERO, |start| cpu.saturating_sub(start));
        self.close();
        Ok(Read { ledger: self.ledger, cpu })
    }

    fn open_more(&mut self) {
        while self.opening < self.opening_max {
            let result = match self.context.scenario.streams_per_connection() {
                Some(count) => self.open_several(count),
                None => self.open_next(),
            };
            match result {
                Ok(0) => return,
                Ok(count) => self.opening += count,
                Err(error) => return self.context.control.fail(format!("a connection could not be opened: {error}")),
            }
        }
    }

    /// Begins to open the next stream; gives how many that are.
    fn open_next(&mut self) -> io::Result<u32> {
        let Some(number) = self.to_open.next() else { return Ok(0) };
        let role = if number < self.context.scenario.subscribers { Role::Steady } else { Role::Slow };
        self.open(self.context.plan.layout.first_topic(number), role).map(|_| 1)
    }

    /// The same for the next `count` of them, on one connection.
    fn open_several(&mut self, count: u32) -> io::Result<u32> {
        let Context { plan, clock, .. } = self.context;
        let numbers: Vec<u32> = self.to_open.by_ref().take(count as usize).collect();
        if numbers.is_empty() {
            return Ok(0);
        }
        let socket = Socket::new(self.connector.open(Role::Steady)?, plan.follow.trust.as_ref())?;
        let since = clock.nanos();
        let streams = numbers.iter().map(|number| {
            let first_topic = plan.layout.first_topic(*number);
            (
                Subscriber::new(Follower { role: Role::Steady, first_topic }, plan.encoding, since),
                plan.follow_fields(first_topic),
            )
        });
        let (multiplex, out) = Multiplex::new(streams.collect());
        self.begin(Connection::for_several(socket, multiplex, out))?;
        Ok(numbers.len() as u32)
    }

    fn open(&mut self, first_topic: u32, role: Role) -> io::Result<usize> {
        let Context { plan, clock, .. } = self.context;
        let request = plan.follow_request(first_topic);
        let socket = Socket::new(self.connector.open(role)?, plan.follow.trust.as_ref())?;
        let subscriber = Subscriber::new(Follower { role, first_topic }, plan.encoding, clock.nanos());
        self.begin(Connection::for_one(socket, subscriber, request))
    }

    fn begin(&mut self, connection: Connection) -> io::Result<usize> {
        let entry = self.connections.vacant_entry();
        let key = entry.key();
        let connection = entry.insert(connection);
        self.poll.registry().register(connection.tcp(), Token(key), Interest::READABLE | Interest::WRITABLE)?;
        Ok(key)
    }

    fn ready(&mut self, key: usize, until: Until) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let opened_before = connection.opened();
        // A slow reader leaves its bytes where they are, unless the stream has ended.
        if opened_before > 0 && connection.role() == Role::Slow && until == Until::Short {
            return;
        }
        let result = connection.advance(until, &mut self.buffer, &mut self.ledger, self.context.clock);
        let (role, opened, ended) = (connection.role(), connection.opened(), connection.take_ended());
        for _ in opened_before..opened {
            self.opened(key, role);
        }
        for (subscriber, gone) in ended {
            self.lost(key, subscriber, &gone);
        }
        if let Err(gone) = result {
            self.gone(key, &gone);
        }
    }

    fn opened(&mut self, key: usize, role: Role) {
        if self.context.control.stage() == Stage::Ramp && role != Role::Visitor {
            self.opening = self.opening.saturating_sub(1);
            self.context.control.opened.fetch_add(1, Ordering::Relaxed);
        }
        if let (Role::Slow, Some(hold)) = (role, self.context.scenario.slow_hold) {
            self.holding.push_back((self.context.clock.nanos() + nanos(hold), key));
        }
    }

    /// What has its time while the run is on: visitors, and slow readers that read again.
    fn mingle(&mut self) {
        self.cpu_at_start.get_or_insert_with(procfs::thread_cpu);
        let now = self.context.clock.nanos();
        self.storm(now);
        self.come_back();
        while let Some(key) = self.visits.leaving(now) {
            if !self.leave(key) {
                self.visit_failed(&"no answer before it had to leave");
            }
        }
        while let Some(number) = self.visits.coming(now) {
            match self.open(self.context.plan.layout.first_topic(number), Role::Visitor) {
                Ok(key) => self.visits.came(key, now),
                Err(error) => self.visit_failed(&error),
            }
        }
        while let Some((_, key)) = self.holding.pop_front_if(|(at, _)| *at <= now) {
            self.read_on(key, now);
        }
    }

    /// Cuts all streams that read, when it is time.
    fn storm(&mut self, now: u64) {
        let Some(after) = self.context.scenario.storm else { return };
        if *self.storm_at.get_or_insert(now + nanos(after)) > now {
            return;
        }
        self.storm_at = Some(u64::MAX);
        let steady = |(key, connection): (usize, &Connection)| (connection.role() == Role::Steady).then_some(key);
        let keys: Vec<usize> = self.connections.iter().filter_map(steady).collect();
        for key in keys {
            for subscriber in self.connections.remove(key).into_subscribers() {
                self.cut(subscriber, now);
            }
        }
    }

    /// A stream is away, and will be back; what it missed it must get then, or begins anew.
    fn cut(&mut self, subscriber: Subscriber, now: u64) {
        let Some(mut comeback) = subscriber.into_comeback(now) else { return };
        if !self.context.scenario.resume
            && let Some(check) = comeback.check.take()
        {
            comeback.last_event_id = "".into();
            self.ledger.gone(comeback.follower, check, Tail::Waived);
        }
        self.comebacks.cut(comeback);
    }

    /// Opens the streams again whose time has come.
    fn come_back(&mut self) {
        let Context { plan, clock, .. } = self.context;
        while let Some(comeback) = self.comebacks.due(clock.nanos()) {
            let request = plan.resume_request(comeback.follower.first_topic, &comeback.last_event_id);
            let socket = self.connector.open(comeback.follower.role);
            match socket.and_then(|socket| Socket::new(socket, plan.follow.trust.as_ref())) {
                Ok(socket) => {
                    let subscriber = Subscriber::back(comeback, plan.encoding, clock.nanos());
                    if let Err(error) = self.begin(Connection::for_one(socket, subscriber, request)) {
                        self.context.control.fail(error.to_string());
                    }
                }
                Err(error) => self.stays_away(comeback, &error),
            }
        }
    }

    /// One could not come back and tries again, unless it has for too long.
    fn stays_away(&mut self, comeback: Comeback, why: &dyn std::error::Error) {
        let now = self.context.clock.nanos();
        let Some(Comeback { follower, check, .. }) = self.comebacks.failed(comeback, now) else { return };
        self.never_came_back(follower, check, &chain(why));
    }

    fn never_came_back(&mut self, follower: Follower, check: Option<Check>, why: &str) {
        self.ledger.tally.closed_early += 1;
        self.ledger.tally.example(|| format!("a stream did not come back: {why}"));
        if let Some(check) = check {
            self.ledger.gone(follower, check, Tail::Owed);
        }
    }

    fn visit_failed(&mut self, error: &dyn std::fmt::Display) {
        self.ledger.tally.visits_failed += 1;
        self.ledger.tally.example(|| format!("a visitor could not open a stream: {error}"));
    }

    /// Closes a visitor's stream; gives whether it had opened.
    fn leave(&mut self, key: usize) -> bool {
        let mut has_opened = false;
        for subscriber in self.connections.remove(key).into_subscribers() {
            let follower = subscriber.follower;
            let Some(check) = subscriber.into_check() else { continue };
            self.ledger.tally.visits += 1;
            self.ledger.gone(follower, check, Tail::Waived);
            has_opened = true;
        }
        has_opened
    }

    /// A slow reader reads what has piled up, then holds again.
    fn read_on(&mut self, key: usize, now: u64) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match connection.advance(Until::Blocked, &mut self.buffer, &mut self.ledger, self.context.clock) {
            Ok(()) => {
                let hold = self.context.scenario.slow_hold.unwrap_or_default();
                self.holding.push_back((now + nanos(hold), key));
            }
            Err(gone) => self.gone(key, &gone),
        }
    }

    /// A connection is over, and all its streams with it.
    fn gone(&mut self, key: usize, gone: &Gone) {
        for subscriber in self.connections.remove(key).into_subscribers() {
            self.lost(key, subscriber, gone);
        }
    }

    /// The server, or the connection, ended a stream.
    fn lost(&mut self, key: usize, subscriber: Subscriber, gone: &Gone) {
        let follower = subscriber.follower;
        let is_fault = matches!(gone, Gone::Chunk(_) | Gone::Parse(_) | Gone::Frame(_));
        if subscriber.is_coming_back() {
            if let Some(comeback) = subscriber.into_comeback(0) {
                self.stays_away(comeback, gone);
            }
            return;
        }
        if self.context.scenario.resume && follower.role == Role::Steady && subscriber.is_open() && !is_fault {
            return self.cut(subscriber, self.context.clock.nanos());
        }
        let check = subscriber.into_check();
        if is_fault {
            self.ledger.tally.malformed += 1;
            self.ledger.tally.example(|| format!("a stream could not be read: {gone}"));
        }
        match (follower.role, check) {
            (Role::Visitor, check) => {
                self.visits.left(key);
                match check {
                    Some(check) => self.closed_early(follower, check, gone),
                    None => self.visit_failed(gone),
                }
            }
            (_, None) => self.context.control.fail(format!("a stream could not be opened: {}", chain(gone))),
            (Role::Steady, Some(check)) => self.closed_early(follower, check, gone),
            (Role::Slow, Some(check)) => self.evicted(follower, check, key),
        }
    }

    fn closed_early(&mut self, follower: Follower, check: Check, gone: &Gone) {
        self.ledger.tally.closed_early += 1;
        self.ledger.tally.example(|| format!("a stream ended early: {}", chain(gone)));
        let tail = if follower.role == Role::Steady { Tail::Owed } else { Tail::Waived };
        self.ledger.gone(follower, check, tail);
    }

    /// A slow reader was dropped; if it holds only for a time, another takes its place.
    fn evicted(&mut self, follower: Follower, check: Check, key: usize) {
        self.ledger.tally.evicted_slow += 1;
        self.ledger.gone(follower, check, Tail::Waived);
        self.holding.retain(|(_, other)| *other != key);
        let again = self.context.scenario.slow_hold.is_some() && self.context.control.stage() == Stage::Run;
        if again && let Err(error) = self.open(follower.first_topic, Role::Slow) {
            self.ledger.tally.example(|| format!("a slow reader could not come back: {error}"));
        }
    }

    fn tell_delivered(&mut self) {
        let delivered = self.ledger.tally.delivered + self.ledger.tally.delivered_slow;
        if delivered > self.delivered {
            self.context.control.delivered.fetch_add(delivered - self.delivered, Ordering::Relaxed);
            self.delivered = delivered;
        }
    }

    fn look_whether_caught_up(&mut self) {
        // Those who had just come were given no time to open.
        while let Some(key) = self.visits.leaving(u64::MAX) {
            self.leave(key);
        }
        let now = self.context.clock.nanos();
        if self.caught_up || now < self.caught_up_at {
            return;
        }
        self.caught_up_at = now + CAUGHT_UP_INTERVAL;
        let Some(published) = self.context.control.published() else { return };
        let layout = self.context.plan.layout;
        let mut subscribers = self.connections.iter().flat_map(|(_, connection)| connection.subscribers());
        self.caught_up = self.comebacks.is_empty()
            && subscribers.all(|subscriber| {
                let expected = layout.topics_of(subscriber.follower.first_topic).map(|topic| published.expected(topic));
                subscriber.follower.role == Role::Slow
                    || subscriber.check().is_some_and(|check| check.caught_up(expected))
            });
        if self.caught_up {
            self.context.control.caught_up.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Adds up the streams that stayed to the end.
    fn close(&mut self) {
        let slow = |(key, connection): (usize, &Connection)| (connection.role() == Role::Slow).then_some(key);
        let slow: Vec<usize> = self.connections.iter().filter_map(slow).collect();
        for key in slow {
            // Whether the server had given up on it shows only now.
            self.read_on(key, 0);
        }
        let Some(published) = self.context.control.published() else { return };
        while let Some(Comeback { follower, check, .. }) = self.comebacks.due(u64::MAX) {
            self.never_came_back(follower, check, "there was no time left");
        }
        let subscribers: Vec<Subscriber> = self.connections.drain().flat_map(Connection::into_subscribers).collect();
        for subscriber in subscribers {
            let follower = subscriber.follower;
            if subscriber.is_coming_back() {
                self.never_came_back(follower, subscriber.into_check(), "it had no answer yet");
                continue;
            }
            let tail = if follower.role == Role::Steady { Tail::Owed } else { Tail::Waived };
            if let Some(check) = subscriber.into_check() {
                self.ledger.gone(follower, check, tail);
            }
        }
        self.ledger.settle_all(published);
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
