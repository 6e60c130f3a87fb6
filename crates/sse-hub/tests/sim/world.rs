//! Everything that happens, one thing at a time, as the seed has it.

use std::cell::RefCell;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use sse_hub::{
    Commit, Committer, Durability, Epoch, Hub, HubConfig, Publication, PublishError, Receipt, Record, RecordKind,
    SlowPolicy, Submission,
};
use sse_wire::{Event, EventId};

use crate::client::{Client, Step};
use crate::disk::{Disk, Fault};
use crate::history::{Fate, History, Made, TOPICS, Wanted, id_of, name, number_of, topic_of};

/// Seconds for which a subscriber may be behind.
const GRACE: u64 = 30;
/// Far more turns than anything takes to come to rest.
const TURNS_MAX: usize = 500;
const CLIENTS_MAX: usize = 8;

pub(crate) struct World {
    pub(crate) rng: fastrand::Rng,
    pub(crate) disk: Arc<Disk>,
    pub(crate) history: History,
    pub(crate) durability: Durability,
    pub(crate) policy: SlowPolicy,
    /// Epochs that are over, with their last sequences.
    pub(crate) epochs: Vec<(Epoch, u64)>,
    pub(crate) seconds: u64,
    hub: Option<Hub>,
    committer: Option<Committer>,
    config: HubConfig,
    waiting: Vec<(usize, Submission)>,
    /// Where the batches begin that events are of.
    batches: Vec<(usize, usize)>,
    last_receipt: u64,
    began_at: Instant,
    /// The process has died in the middle of a commit.
    is_dead: bool,
    trace: RefCell<DefaultHasher>,
    /// All that happens is printed.
    tells: bool,
}

/// Plays a seed; the hash of all that happened.
pub(crate) fn play(seed: u64, actions: usize, tells: bool) -> u64 {
    let mut world = World::new(seed);
    world.tells = tells;
    let mut clients = Vec::new();
    world.start();
    for _ in 0..actions {
        world.act(&mut clients);
    }
    world.come_to_rest(&mut clients);
    world.stop(&mut clients);
    world.come_to_rest(&mut clients);
    world.trace.into_inner().finish()
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let policy = if rng.u8(0..4) == 0 { SlowPolicy::Skip } else { SlowPolicy::Evict };
        let config = any_config(&mut rng, policy);
        Self {
            disk: Arc::new(Disk::new(rng.u64(..))),
            rng,
            history: History::default(),
            durability: Durability::Fsync,
            policy,
            epochs: Vec::new(),
            seconds: 0,
            hub: None,
            committer: None,
            config,
            waiting: Vec::new(),
            batches: Vec::new(),
            last_receipt: 0,
            began_at: Instant::now(),
            is_dead: false,
            trace: RefCell::new(DefaultHasher::new()),
            tells: false,
        }
    }

    pub(crate) fn hub(&self) -> &Hub {
        self.hub.as_ref().expect("it runs")
    }

    pub(crate) fn is_closed(&self, topic: usize) -> bool {
        let is_end = |wanted: &Wanted| wanted.is_end && wanted.topics == [topic];
        // Delivered before it is written, its publisher may not have the answer yet.
        let may_be =
            |wanted: &Wanted| is_end(wanted) && wanted.fate == Fate::Waiting && self.durability == Durability::Memory;
        self.history.events.values().any(|made| is_end(self.history.of(made))) || self.history.wanted.iter().any(may_be)
    }

    pub(crate) fn trace(&self, what: &(impl Hash + std::fmt::Debug)) {
        if self.tells {
            println!("{what:?}");
        }
        what.hash(&mut *self.trace.borrow_mut());
    }

    fn start(&mut self) {
        self.durability = match self.rng.u8(0..6) {
            0 => Durability::Memory,
            1 | 2 => Durability::Interval,
            _ => Durability::Fsync,
        };
        let contents = self.disk.open(self.durability);
        self.epochs = contents.epochs.past().iter().map(|past| (past.epoch, past.last)).collect();
        let builder = Hub::builder().config(self.config.clone());
        let hub = builder.log(self.disk.clone(), contents, self.durability).build().unwrap();
        hub.sweep(self.now());
        self.trace(&("start", hub.epoch(), hub.newest().sequence));
        self.history.check_start(hub.epoch(), hub.newest().sequence);
        (self.committer, self.is_dead, self.last_receipt) = (hub.committer(), false, 0);
        self.hub = Some(hub);
    }

    fn now(&self) -> Instant {
        self.began_at + Duration::from_secs(self.seconds)
    }

    /// One thing happens.
    fn act(&mut self, clients: &mut Vec<Client>) {
        match self.rng.u8(0..100) {
            0..30 => self.publish(),
            30..35 => self.publish_batch(),
            35..50 => drop(self.commit(clients)),
            50..53 => self.sync(),
            53..55 => self.trim(),
            55 => self.disk.damage_one(),
            56..58 => self.fail(),
            58 => self.restart(clients),
            59 => self.come_to_rest(clients),
            60..64 => self.sweep(clients),
            64..68 if clients.len() < CLIENTS_MAX => {
                let client = Client::any(self, clients.len());
                clients.push(client);
            }
            _ => self.act_as_client(clients),
        }
    }

    /// What others do in the middle of a commit, or at any time.
    fn act_as_client(&mut self, clients: &mut [Client]) {
        let may_read_log = !(self.durability == Durability::Memory && self.committer.is_none());
        let count = clients.len();
        if count == 0 {
            return;
        }
        let index = self.rng.usize(0..count);
        let client = &mut clients[index];
        match self.rng.u8(0..12) {
            // Before an event is written that was delivered, a reader of the log would wait for it.
            0..4 if may_read_log => drop(self.hub().serve_log_read(Duration::ZERO)),
            4..8 => {
                let deliveries = self.rng.usize(1..4);
                client.read(self, deliveries);
            }
            8 => client.read(self, usize::MAX),
            9 => client.disconnect(),
            _ if !client.is_connected() && !client.is_over => client.connect(self),
            _ => (),
        }
    }

    fn wanted(&mut self) -> Wanted {
        let rng = &mut self.rng;
        let one = rng.usize(0..TOPICS);
        if rng.u8(0..40) == 0 {
            return Wanted {
                topics: vec![one],
                private: false,
                given: None,
                is_end: true,
                logged: true,
                fate: Fate::Waiting,
            };
        }
        let is_several = rng.u8(0..4) == 0;
        let mut topics = vec![one];
        topics.extend((0..TOPICS).filter(|&topic| is_several && topic != one && rng.bool()));
        let logged = rng.u8(0..20) != 0;
        let given = (logged && rng.u8(0..8) == 0).then(|| format!("g{}", rng.u8(0..3)));
        Wanted { topics, private: rng.u8(0..5) == 0, given, is_end: false, logged, fate: Fate::Waiting }
    }

    fn publication(&mut self) -> (usize, Publication) {
        let wanted = self.wanted();
        let number = self.history.want(wanted.clone());
        if wanted.is_end {
            return (number, Publication::end_of(name(wanted.topics[0])));
        }
        let mut event = Event::new(number.to_string());
        if let Some(id) = &wanted.given {
            event = event.with_id(EventId::parse(id).unwrap());
        }
        let first = Publication::new(name(wanted.topics[0]), event);
        let mut publication = wanted.topics[1..].iter().fold(first, |one, &topic| one.also_to(name(topic)));
        if wanted.private {
            publication = publication.private();
        }
        if !wanted.logged {
            publication = publication.unlogged();
        }
        (number, publication)
    }

    fn publish(&mut self) {
        if self.rng.u8(0..30) == 0 {
            return self.hub().skip();
        }
        let (number, publication) = self.publication();
        let submission = self.hub().submit(publication);
        self.waiting.push((number, submission));
    }

    fn publish_batch(&mut self) {
        let count = self.rng.usize(2..5);
        let (numbers, publications): (Vec<_>, Vec<_>) = (0..count).map(|_| self.publication()).unzip();
        let first = numbers[0];
        self.batches.extend(numbers.iter().map(|&number| (number, first)));
        let submissions = self.hub().submit_all(publications);
        self.waiting.extend(numbers.into_iter().zip(submissions));
    }

    /// Hears of everything that was answered and written.
    pub(crate) fn learn(&mut self) {
        if self.is_dead {
            return;
        }
        let mut cx = Context::from_waker(Waker::noop());
        for (number, mut submission) in std::mem::take(&mut self.waiting) {
            match Pin::new(&mut submission).poll(&mut cx) {
                Poll::Ready(outcome) => self.note_answer(number, outcome),
                Poll::Pending => self.waiting.push((number, submission)),
            }
        }
        let epoch = self.hub().epoch();
        for record in self.disk.take_appended() {
            self.note_record(epoch, &record);
        }
    }

    fn note_answer(&mut self, number: usize, outcome: Result<Receipt, PublishError>) {
        let batch = self.batches.iter().find(|(of, _)| *of == number).map_or(number, |(_, first)| *first);
        let before = &self.history.wanted[batch..number];
        match outcome {
            Ok(receipt) => {
                assert!(
                    before.iter().all(|one| one.fate == Fate::Published),
                    "an event before {number} was not published"
                );
                let sequence = receipt.cursor.sequence;
                self.trace(&("published", number, sequence));
                assert!(sequence > self.last_receipt, "{sequence} after {}", self.last_receipt);
                self.last_receipt = sequence;
                self.history.note_receipt(number, &receipt);
                if !self.history.wanted[number].logged {
                    return;
                }
                if self.durability != Durability::Memory {
                    assert!(self.disk.had(sequence), "{sequence} was acknowledged and is not written");
                }
                if self.durability == Durability::Fsync {
                    assert!(self.disk.is_synced(sequence), "{sequence} was acknowledged and is not synced");
                    self.history.safe.insert(sequence);
                }
            }
            Err(error) => {
                self.trace(&("refused", number, error.to_string()));
                if error == PublishError::Skipped {
                    let is_refused = |one: &Wanted| matches!(one.fate, Fate::Refused | Fate::Unknown);
                    assert!(before.iter().any(is_refused), "nothing before {number} was refused");
                }
                let fate = if error == PublishError::LogFailed { Fate::Unknown } else { Fate::Refused };
                self.history.wanted[number].fate = fate;
            }
        }
    }

    fn note_record(&mut self, epoch: Epoch, record: &Record) {
        let text = std::str::from_utf8(record.frame.text_bytes()).unwrap();
        let number = match record.kind {
            RecordKind::End => self.history.end_of(topic_of(&record.topics[0])),
            RecordKind::Event => number_of(text).unwrap(),
        };
        self.history.note(epoch, record.sequence, number, id_of(text));
    }

    /// One step of the committer, between whose deliveries anything may happen.
    fn commit(&mut self, clients: &mut [Client]) -> bool {
        let Some(mut committer) = self.committer.take() else { return false };
        let commit = committer.step(|_, deliver| {
            self.learn();
            if self.is_dead || self.rng.u8(0..100) == 0 {
                self.is_dead = true;
                return self.disk.kill();
            }
            deliver();
            self.learn();
            for _ in 0..self.rng.u8(0..3) {
                self.act_as_client(clients);
            }
        });
        self.committer = Some(committer);
        self.learn();
        if self.is_dead {
            self.die(clients);
            return true;
        }
        !matches!(commit, Commit::Idle | Commit::Stopped)
    }

    fn sync(&mut self) {
        if self.durability == Durability::Fsync && self.rng.bool() {
            return;
        }
        let Some(committer) = &mut self.committer else { return };
        if committer.sync().is_ok() && !self.hub().log_has_failed() {
            let is_safe = |(sequence, made): &(&u64, &Made)| {
                self.history.of(made).logged && self.disk.is_synced(**sequence) && self.disk.had(**sequence)
            };
            let safe: Vec<u64> = self.history.events.iter().filter(is_safe).map(|(&sequence, _)| sequence).collect();
            self.history.safe.extend(safe);
        }
    }

    fn trim(&mut self) {
        let (topic, newest) = (self.rng.usize(0..TOPICS), self.hub().newest().sequence);
        self.disk.trim(&name(topic), self.rng.u64(0..=newest));
    }

    fn fail(&mut self) {
        let fault = match self.rng.u8(0..8) {
            0 => Fault::Write,
            1 => Fault::Sync,
            2..5 => Fault::Full,
            _ => Fault::Read,
        };
        self.disk.fail_next(fault);
    }

    fn sweep(&mut self, clients: &mut [Client]) {
        // Ten seconds at least: then every table is looked at, however the names are spread over them.
        self.seconds += self.rng.u64(10..25);
        clients.iter_mut().for_each(|client| client.note_time(self.seconds, GRACE));
        self.hub().sweep(self.now());
    }

    fn restart(&mut self, clients: &mut [Client]) {
        if self.rng.bool() { self.die(clients) } else { self.stop(clients) }
    }

    /// The process dies, or the machine.
    fn die(&mut self, clients: &mut [Client]) {
        self.learn();
        self.disk.kill();
        if self.rng.bool() {
            self.disk.lose_unsynced();
        }
        self.begin_again(clients);
    }

    /// The process ends as it should, unless the disk fails.
    fn stop(&mut self, clients: &mut [Client]) {
        self.disk.heal();
        self.hub().stop_publishing();
        while self.commit(clients) {}
        if let Some(committer) = self.committer.take() {
            let _ = committer.close();
        }
        self.learn();
        self.begin_again(clients);
    }

    fn begin_again(&mut self, clients: &mut [Client]) {
        clients.iter_mut().for_each(Client::disconnect);
        let epoch = self.hub().epoch();
        (self.committer, self.hub) = (None, None);
        self.waiting.clear();
        let disk = self.disk.clone();
        self.history.restart(|sequence, _| disk.had(sequence));
        // What nobody was told of may be there as well.
        for record in self.disk.records() {
            if !self.history.events.contains_key(&record.sequence) {
                self.note_record(epoch, &record);
            }
        }
        self.start();
    }

    /// Everybody comes back and reads, until nobody has anything to do: then nothing may be missing.
    fn come_to_rest(&mut self, clients: &mut [Client]) {
        self.disk.heal();
        for _ in 0..TURNS_MAX {
            let mut is_busy = self.commit(clients);
            for client in clients.iter_mut().filter(|client| !client.is_over) {
                if !client.is_connected() {
                    client.connect(self);
                    is_busy |= client.is_connected();
                }
                while client.is_connected() && client.was_woken() && client.step(self) == Step::Something {
                    is_busy = true;
                }
            }
            while self.hub().serve_log_read(Duration::ZERO) {
                is_busy = true;
            }
            if !is_busy {
                clients.iter().for_each(|client| client.check_caught_up(self));
                return;
            }
        }
        panic!("it never comes to rest");
    }
}

fn any_config(rng: &mut fastrand::Rng, policy: SlowPolicy) -> HubConfig {
    let mut config = HubConfig { shards: rng.usize(1..4), ..HubConfig::default() };
    config.topic_policy.ring.frames_max = rng.usize(1..5);
    config.topic_policy.ring.age_max = Duration::from_secs(rng.u64(10..60));
    config.topic_policy.lag.frames_max = rng.usize(1..4);
    config.topic_policy.lag.bytes_max = 1;
    config.topic_policy.lag.grace = Duration::from_secs(GRACE);
    config.topic_policy.lag.policy = policy;
    config.floors_max = [0, 1, 100][rng.usize(0..3)];
    // For ever: what comes after an end would need a second history.
    config.closed_topic_age = Duration::from_secs(u64::from(u32::MAX));
    if rng.u8(0..4) == 0 {
        config.log_queue_bytes_max = rng.usize(500..4000);
    }
    if rng.u8(0..4) == 0 {
        config.replay_bytes_max = 1;
    }
    if rng.u8(0..6) == 0 {
        config.rings_bytes_max = rng.usize(1000..4000);
    }
    config
}
