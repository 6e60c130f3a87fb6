//! What has been published and what is kept, told as plainly as can be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use sse_hub::{Cursor, Epoch, Hub, HubConfig, Publication, PublishError, SlowPolicy, TopicName};
use sse_wire::{Event, EventId};

use crate::client::Client;
use crate::operation::Setting;

/// `/t/0` to `/t/2`.
pub(crate) const TOPICS: usize = 3;
const AGE_MAX: u64 = 25;
const CLOSED_AGE: u64 = 45;

pub(crate) struct World {
    pub(crate) hub: Hub,
    pub(crate) policy: Option<SlowPolicy>,
    /// By sequence, beginning with 1.
    events: Vec<Made>,
    topics: [TopicModel; TOPICS],
    frames_max: usize,
    started: Instant,
    seconds: u64,
}

pub(crate) struct Made {
    pub(crate) topics: Vec<usize>,
    pub(crate) private: bool,
    pub(crate) id: Option<String>,
    pub(crate) is_end: bool,
}

#[derive(Default)]
struct TopicModel {
    /// Sequences kept, with the second each was published in.
    kept: BTreeMap<u64, u64>,
    closed: Option<u64>,
    /// The earliest use of each publisher's id since when some event with it has been kept.
    ids: BTreeMap<String, u64>,
}

impl World {
    pub(crate) fn new(setting: &Setting) -> Self {
        let mut config = HubConfig { shards: setting.shards, floors_max: setting.floors_max, ..HubConfig::default() };
        config.topic_policy.ring.frames_max = setting.frames_max;
        config.topic_policy.ring.age_max = Duration::from_secs(AGE_MAX);
        config.closed_topic_age = Duration::from_secs(CLOSED_AGE);
        config.topic_policy.lag.frames_max = setting.policy.map_or(usize::MAX, |_| 2);
        config.topic_policy.lag.policy = setting.policy.unwrap_or(SlowPolicy::Evict);
        if setting.policy.is_none() {
            // Whoever has lost something would be too slow by that alone.
            config.topic_policy.lag.grace = Duration::MAX;
        }
        let hub = Hub::builder().config(config).epoch(Epoch::from_entropy(1)).build().unwrap();
        let started = Instant::now();
        hub.sweep(started);
        let topics = <[TopicModel; TOPICS]>::default();
        let (policy, frames_max) = (setting.policy, setting.frames_max);
        Self { hub, policy, events: Vec::new(), topics, frames_max, started, seconds: 0 }
    }

    pub(crate) fn publish(&mut self, topics: u8, private: bool, id: Option<u8>, clients: &mut [Client]) {
        let topics: Vec<usize> = (0..TOPICS).filter(|topic| topics & 1 << topic != 0).collect();
        let id = id.map(|id| format!("p{id}"));
        let mut event = Event::new(format!("event {}", self.newest() + 1));
        if let Some(id) = &id {
            event = event.with_id(EventId::parse(id).unwrap());
        }
        let first = Publication::new(name(topics[0]), event);
        let publication = topics[1..].iter().fold(first, |publication, &topic| publication.also_to(name(topic)));
        let publication = if private { publication.private() } else { publication };
        match self.hub.publish(publication) {
            Ok(receipt) => {
                self.append(receipt.cursor, Made { topics, private, id, is_end: false }, clients);
            }
            Err(PublishError::Closed { .. }) => {
                assert!(topics.iter().any(|&topic| self.topics[topic].closed.is_some()), "no topic is closed");
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn close(&mut self, topic: usize, clients: &mut [Client]) {
        let Ok(receipt) = self.hub.close(&name(topic)) else {
            assert!(self.topics[topic].closed.is_some());
            return;
        };
        self.topics[topic].closed = Some(self.seconds);
        self.append(receipt.cursor, Made { topics: vec![topic], private: false, id: None, is_end: true }, clients);
    }

    fn append(&mut self, cursor: Cursor, made: Made, clients: &mut [Client]) {
        let sequence = cursor.sequence;
        assert_eq!(sequence, self.newest() + 1, "sequences are dense");
        for &topic in &made.topics {
            let topic = &mut self.topics[topic];
            if let Some(id) = &made.id {
                topic.ids.entry(id.clone()).or_insert(sequence);
            }
            topic.kept.insert(sequence, self.seconds);
        }
        self.events.push(made);
        self.trim();
        let made = &self.events[sequence as usize - 1];
        clients.iter_mut().for_each(|client| client.note_published(sequence, made));
    }

    pub(crate) fn wait(&mut self, seconds: u64, clients: &[Client]) {
        self.seconds += seconds;
        self.hub.sweep(self.started + Duration::from_secs(self.seconds));
        self.trim();
        for (index, topic) in self.topics.iter_mut().enumerate() {
            let is_followed = clients.iter().any(|client| client.holds(index));
            if topic.closed.is_some_and(|closed| self.seconds - closed > CLOSED_AGE) && !is_followed {
                *topic = TopicModel::default();
            }
        }
    }

    /// Drops what no bound allows.
    fn trim(&mut self) {
        for topic in &mut self.topics {
            let is_end = |sequence: &u64| self.events[*sequence as usize - 1].is_end;
            while let Some(oldest) = topic.kept.first_entry() {
                let is_old = self.seconds - oldest.get() > AGE_MAX && !is_end(oldest.key());
                if !is_old && topic.kept.len() <= self.frames_max {
                    break;
                }
                topic.kept.pop_first();
            }
            let kept_ids: BTreeSet<&String> =
                topic.kept.keys().filter_map(|&sequence| self.events[sequence as usize - 1].id.as_ref()).collect();
            topic.ids.retain(|id, _| kept_ids.contains(id));
        }
    }

    /// Whether the hub keeps what the model keeps.
    pub(crate) fn check(&self) {
        for info in self.hub.topic_infos(usize::MAX) {
            let index: usize = info.name.as_str()[3..].parse().unwrap();
            assert_eq!(info.frames, self.topics[index].kept.len(), "frames of {}", info.name);
        }
    }

    pub(crate) fn newest(&self) -> u64 {
        self.events.len() as u64
    }

    pub(crate) fn event(&self, sequence: u64) -> &Made {
        &self.events[sequence as usize - 1]
    }

    pub(crate) fn events(&self) -> impl Iterator<Item = (u64, &Made)> {
        (1..).zip(&self.events)
    }

    /// Whether some of these topics still has the event.
    pub(crate) fn keeps(&self, sequence: u64, followed: impl Fn(usize) -> bool) -> bool {
        (0..TOPICS).any(|topic| followed(topic) && self.topics[topic].kept.contains_key(&sequence))
    }

    pub(crate) fn kept(&self, topic: usize) -> impl DoubleEndedIterator<Item = u64> {
        self.topics[topic].kept.keys().copied()
    }

    pub(crate) fn is_closed(&self, topic: usize) -> bool {
        self.topics[topic].closed.is_some()
    }

    /// What a publisher's id names for somebody who follows these topics and sees these events. The id of an event that is
    /// kept and not seen is none.
    pub(crate) fn named(
        &self,
        id: &str,
        followed: impl Fn(usize) -> bool,
        sees: impl Fn(&Made) -> bool,
    ) -> Option<u64> {
        let topics = (0..TOPICS).filter(|&topic| followed(topic)).map(|topic| &self.topics[topic]);
        let named = topics.filter_map(|topic| {
            let sequence = *topic.ids.get(id)?;
            (!topic.kept.contains_key(&sequence) || sees(self.event(sequence))).then_some(sequence)
        });
        named.min()
    }
}

pub(crate) fn name(topic: usize) -> TopicName {
    TopicName::parse(&format!("/t/{topic}")).unwrap()
}
