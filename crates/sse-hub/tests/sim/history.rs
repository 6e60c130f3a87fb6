//! What happened, as told by nobody but the publishers and the disk: the oracle that deliveries are held against.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sse_hub::{Cursor, Epoch, Item, Receipt, TopicName};

/// `/t/0` and so on.
pub(crate) const TOPICS: usize = 4;

/// What was asked to be published, by its number: its place here.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) topics: Vec<usize>,
    pub(crate) private: bool,
    pub(crate) given: Option<String>,
    pub(crate) is_end: bool,
    pub(crate) logged: bool,
    pub(crate) fate: Fate,
}

/// What its publisher was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Waiting,
    Published,
    Refused,
    /// The log failed, or the process died first: nobody knows, and it may be there after the next start.
    Unknown,
}

/// One event in the present line of history.
#[derive(Debug, Clone)]
pub(crate) struct Made {
    pub(crate) number: usize,
    pub(crate) id: String,
    pub(crate) acknowledged: bool,
}

#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) events: BTreeMap<u64, Made>,
    sequences: HashMap<usize, u64>,
    /// What every number of every epoch was given to.
    given: HashMap<(Epoch, u64), usize>,
    /// The highest number of each epoch that somebody was told.
    told: HashMap<Epoch, u64>,
    /// Acknowledged as synced, or synced since.
    pub(crate) safe: BTreeSet<u64>,
}

pub(crate) fn name(topic: usize) -> TopicName {
    TopicName::parse(&format!("/t/{topic}")).unwrap()
}

pub(crate) fn topic_of(name: &TopicName) -> usize {
    name.as_str()[3..].parse().unwrap()
}

/// The number that a frame carries; an end carries none.
pub(crate) fn number_of(text: &str) -> Option<usize> {
    text.lines().find_map(|line| line.strip_prefix("data: "))?.parse().ok()
}

pub(crate) fn id_of(text: &str) -> &str {
    text.lines().find_map(|line| line.strip_prefix("id: ")).unwrap()
}

impl History {
    pub(crate) fn want(&mut self, wanted: Wanted) -> usize {
        self.wanted.push(wanted);
        self.wanted.len() - 1
    }

    pub(crate) fn of(&self, made: &Made) -> &Wanted {
        &self.wanted[made.number]
    }

    /// The end of a topic has no number of its own: it is that of the first who asked and was not refused.
    pub(crate) fn end_of(&self, topic: usize) -> usize {
        let is_it = |wanted: &Wanted| wanted.is_end && wanted.topics == [topic] && wanted.fate != Fate::Refused;
        let known = self.events.values().map(|made| made.number).find(|&number| is_it(&self.wanted[number]));
        let new = || {
            let is_new = |number: &usize| is_it(&self.wanted[*number]) && !self.sequences.contains_key(number);
            let of_this_run = |number: &usize| self.wanted[*number].fate != Fate::Unknown;
            let mut all = (0..self.wanted.len()).filter(is_new);
            all.clone().find(of_this_run).or_else(|| all.next())
        };
        known.or_else(new).expect("somebody closed it")
    }

    /// An event has this sequence.
    pub(crate) fn note(&mut self, epoch: Epoch, sequence: u64, number: usize, id: &str) {
        let before = *self.given.entry((epoch, sequence)).or_insert(number);
        assert!(
            before == number || self.wanted[number].is_end,
            "{sequence} was given to event {before} and then to {number}"
        );
        let first = *self.sequences.entry(number).or_insert(sequence);
        assert!(first == sequence || self.wanted[number].is_end, "event {number} is at {first} and at {sequence}");
        self.tell(epoch, sequence);
        let made = Made { number, id: id.to_owned(), acknowledged: false };
        let present = self.events.entry(sequence).or_insert(made);
        assert_eq!((present.number, present.id.as_str()), (number, id), "two events at {sequence}");
    }

    pub(crate) fn note_receipt(&mut self, number: usize, receipt: &Receipt) {
        let Cursor { epoch, sequence } = receipt.cursor;
        self.note(epoch, sequence, number, &receipt.id());
        if let Some(made) = self.events.get_mut(&sequence) {
            made.acknowledged = true;
        }
        self.wanted[number].fate = Fate::Published;
    }

    pub(crate) fn number_of_item(&self, item: &Item) -> usize {
        let text = std::str::from_utf8(item.frame.text_bytes()).unwrap();
        if item.is_end { self.end_of(topic_of(&item.topic)) } else { number_of(text).unwrap() }
    }

    /// Somebody has an id with this number.
    pub(crate) fn tell(&mut self, epoch: Epoch, sequence: u64) {
        let told = self.told.entry(epoch).or_default();
        *told = sequence.max(*told);
    }

    /// A hub begins behind `newest`.
    pub(crate) fn check_start(&self, epoch: Epoch, newest: u64) {
        let told = self.told.get(&epoch).copied().unwrap_or(0);
        assert!(newest >= told, "{told} was told of in this epoch, and the hub goes on after {newest}");
    }

    /// The process is gone: what was not logged is too, and what is not in the log, unless it was trimmed.
    pub(crate) fn restart(&mut self, is_there: impl Fn(u64, &Wanted) -> bool) {
        let wanted = &self.wanted;
        self.events.retain(|&sequence, made| {
            let of = &wanted[made.number];
            of.logged && is_there(sequence, of)
        });
        for &sequence in &self.safe {
            assert!(self.events.contains_key(&sequence), "{sequence} was acknowledged as on the disk and is gone");
        }
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.fate == Fate::Waiting) {
            wanted.fate = Fate::Unknown;
        }
    }
}
