//! Hubs that have one order of events between them.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use sse_hub::{
    Backplane, Cursor, Epoch, Epochs, GapReason, History, Hub, HubConfig, Intake, LogError, LogRead, Outgoing, Page,
    Publication, PublishError, Receipt, Record, Selector, SharedContent, Step, Submission,
};
use sse_wire::{Event, EventId};

use crate::pages::{Kept, PageBounds, is_followed};
use crate::story::{Story, name, publication};

/// An engine that is only pretended. Its numbers are the hub's sequences.
#[derive(Debug, Default)]
struct Engine {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    submitted: Vec<Outgoing>,
    records: BTreeMap<u64, Record>,
    /// Records that no node can have.
    damaged: BTreeSet<u64>,
    /// Nothing at or below it came to a reader for sure.
    boundary: u64,
}

impl History for Engine {
    fn read(&self, read: &LogRead<'_>) -> Result<Page, LogError> {
        let state = self.state.lock();
        if read.after < state.boundary {
            let lost = Step::Lost { up_to: state.boundary, reason: GapReason::Epoch };
            return Ok(Page { steps: vec![lost], covered_to: state.boundary });
        }
        let kept = Kept { records: &state.records, trimmed_to: &BTreeMap::new(), damaged: &state.damaged };
        Ok(kept.read(read, &PageBounds { steps_max: 3, scans_max: usize::MAX }))
    }

    fn find_given(&self, followed: &[Selector], id: &EventId) -> Result<Vec<Record>, LogError> {
        let state = self.state.lock();
        let is_wanted = |record: &&Record| record.given_id.as_ref() == Some(id) && is_followed(record, followed);
        Ok(state.records.values().filter(is_wanted).cloned().collect())
    }
}

impl Backplane for Engine {
    fn submit(&self, outgoing: Vec<Outgoing>) {
        self.state.lock().submitted.extend(outgoing);
    }
}

/// One node and its way to the engine.
struct Node {
    story: Story,
    intake: Intake,
    engine: Arc<Engine>,
}

fn epochs() -> Epochs {
    Epochs::new(Epoch::from_entropy(9))
}

impl Node {
    fn new(engine: &Arc<Engine>, configure: impl FnOnce(&mut HubConfig)) -> Self {
        let mut config = HubConfig { shards: 3, ..HubConfig::default() };
        configure(&mut config);
        let hub = Hub::builder().config(config).backplane(engine.clone()).build().unwrap();
        let intake = hub.intake().unwrap();
        intake.turn_to_history(epochs(), 0);
        Self { story: Story::sharing(hub), intake, engine: engine.clone() }
    }

    /// Has the engine take what was submitted, and this node and the others append it.
    fn pass_on(&self, others: &[&Self]) {
        let submitted = std::mem::take(&mut self.engine.state.lock().submitted);
        for outgoing in submitted {
            let sequence = self.story.hub.newest().sequence + 1;
            let cursor = Cursor { epoch: self.story.hub.epoch(), sequence };
            let mut outcome = Ok(());
            for node in [self].iter().chain(others) {
                let entry = node.intake.read(&outgoing.entry).unwrap();
                assert_eq!(entry.nonce, outgoing.nonce);
                let SharedContent::Event(event) = entry.content else { panic!("it is an event") };
                outcome = node.intake.append(event.clone(), sequence);
                self.engine.state.lock().records.insert(sequence, Intake::record(event, cursor));
            }
            match outcome {
                Ok(()) => outgoing.promise.keep(cursor),
                Err(error) => outgoing.promise.break_with(error),
            }
        }
    }

    fn submit(&self, publication: Publication) -> Submission {
        self.story.hub.submit(publication)
    }

    fn publish(&self, topic: &str, data: &str, others: &[&Self]) -> Receipt {
        let submission = self.submit(publication(&[topic], data));
        self.pass_on(others);
        known(submission).unwrap().unwrap()
    }
}

fn known(mut submission: Submission) -> Option<Result<Receipt, PublishError>> {
    match Pin::new(&mut submission).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}

const WAYS: [&[&str]; 4] = [&["a"], &["a", "b"], &["*"], &["{x}", "b"]];

#[test]
fn every_node_has_every_event_in_one_order() {
    let engine = Arc::default();
    let (one, other) = (Node::new(&engine, |_| ()), Node::new(&engine, |_| ()));
    let mut streams: Vec<_> =
        [&one, &other].into_iter().flat_map(|node| WAYS.map(|way| node.story.follow(way).live())).collect();
    let receipt = one.publish("a", "x", &[&other]);
    assert_eq!(receipt.id(), one.story.id(1));
    other.publish("a", "y", &[&one]);
    for stream in &mut streams {
        assert_eq!(stream.read(), ["1:x", "2:y"]);
    }
    // A client that moves goes on where it was.
    let id = one.story.id(1);
    for way in WAYS {
        assert_eq!(other.story.follow(way).after_id(&id).read(), ["2:y"], "{way:?}");
    }
}

#[test]
fn what_the_rings_dropped_comes_from_the_engine() {
    let engine = Arc::default();
    let node = Node::new(&engine, |config| config.topic_policy.ring.frames_max = 2);
    for n in 1..=9 {
        node.publish("a", &n.to_string(), &[]);
    }
    for way in WAYS {
        assert_eq!(node.story.follow(way).after(3).read(), (4..=9).map(|n| format!("{n}:{n}")).collect::<Vec<_>>());
    }
}

#[test]
fn a_history_that_was_lost_is_told_to_all() {
    let engine: Arc<Engine> = Arc::default();
    let node = Node::new(&engine, |_| ());
    let mut live: Vec<_> = WAYS.iter().map(|way| node.story.follow(way).live()).collect();
    // Of a topic that never was.
    let mut quiet = node.story.follow(&["b/{x}", "b/{y}/z"]).live();
    node.publish("a", "1", &[]);
    node.publish("a", "2", &[]);
    live.iter_mut().for_each(|stream| assert_eq!(stream.read().len(), 2));
    assert!(quiet.read().is_empty());

    let old = node.story.id(2);
    {
        let state = &mut *engine.state.lock();
        state.records.clear();
        state.boundary = 100;
    }
    let next = epochs().followed_by(Epoch::from_entropy(10), 0);
    node.intake.turn_to_history(next, 100);
    assert!(live.iter().chain([&quiet]).all(crate::story::Stream::was_woken));
    node.publish("a", "3", &[]);
    for stream in &mut live {
        assert_eq!(stream.read(), ["gap:epoch>100", "101:3"]);
    }
    assert_eq!(quiet.read(), ["gap:epoch>100"]);
    for way in WAYS {
        assert_eq!(node.story.follow(way).after_id(&old).read(), ["gap:epoch>100", "101:3"], "{way:?}");
    }
    node.publish("a", "4", &[]);
    for stream in &mut live {
        assert_eq!(stream.read(), ["102:4"]);
    }
}

#[test]
fn an_event_behind_the_end_of_its_topic_opens_it_for_all() {
    let engine = Arc::default();
    let (one, other) = (Node::new(&engine, |_| ()), Node::new(&engine, |_| ()));
    let mut stream = other.story.follow(&["a"]).live();
    let mut all = [&one, &other].map(|node| node.story.follow(&["{x}"]).live());
    let end = one.submit(Publication::end_of(name("a")));
    let late = one.submit(publication(&["a"], "late"));
    one.pass_on(&[&other]);
    assert!(known(end).unwrap().is_ok());
    assert!(known(late).unwrap().is_ok());
    assert_eq!(stream.read(), ["1:end", "over"]);
    all.iter_mut().for_each(|stream| assert_eq!(stream.read(), ["1:end", "2:late"]));
    let end = one.submit(Publication::end_of(name("a")));
    one.pass_on(&[&other]);
    assert!(known(end).unwrap().is_ok());
    // What a node knows of it, it says.
    assert_eq!(known(other.submit(publication(&["a"], "x"))), Some(Err(PublishError::Closed { topic: name("a") })));
}

#[test]
fn topics_beyond_the_bound_stay_in_the_engine() {
    let engine = Arc::default();
    let node = Node::new(&engine, |config| config.topics_max = 1);
    let mut wild = node.story.follow(&["a{x}", "c"]).live();
    assert_eq!(node.story.hub.topics(), 1, "the one followed by name");
    node.publish("b", "1", &[]);
    assert_eq!(node.story.hub.topics(), 1, "nobody follows it");
    node.publish("a1", "2", &[]);
    assert_eq!(wild.read(), ["2:2"], "somebody may");
    node.story.hub.bound_topics(9);
    node.publish("b", "3", &[]);
    assert_eq!(node.story.follow(&["b"]).after(0).read(), ["1:1", "3:3"]);
}

#[test]
fn what_no_ring_can_hold_stays_in_the_engine() {
    let engine = Arc::default();
    let node = Node::new(&engine, |config| config.rings_bytes_max = 1_000);
    let mut streams: Vec<_> = WAYS.iter().map(|way| node.story.follow(way).live()).collect();
    let mut feed_reader = node.story.follow(&["a"]).live();
    node.publish("a", "1", &[]);
    let large = "x".repeat(2_000);
    node.publish("a", &large, &[]);
    node.publish("a", "3", &[]);
    for stream in streams.iter_mut().chain([&mut feed_reader]) {
        assert_eq!(stream.read(), ["1:1".to_owned(), format!("2:{large}"), "3:3".to_owned()]);
    }
}

#[test]
fn what_a_node_cannot_have_is_told_to_those_who_follow_it() {
    let engine: Arc<Engine> = Arc::default();
    let node = Node::new(&engine, |_| ());
    let mut streams: Vec<_> = WAYS.iter().map(|way| node.story.follow(way).live()).collect();
    let mut other = node.story.follow(&["c"]).live();
    node.publish("a", "1", &[]);
    streams.iter_mut().for_each(|stream| assert_eq!(stream.read(), ["1:1"]));
    let cursor = Cursor { epoch: node.story.hub.epoch(), sequence: 2 };
    let record = Intake::record(publication(&["a"], "2").into(), cursor);
    engine.state.lock().records.insert(2, record);
    engine.state.lock().damaged.insert(2);
    assert_eq!(node.intake.miss(&[name("a"), name("d")], 2), Ok(()));
    assert_eq!(node.intake.miss(&[name("a")], 2), Err(PublishError::Exhausted));
    assert!(streams.iter().all(crate::story::Stream::was_woken));
    node.publish("a", "3", &[]);
    node.publish("c", "4", &[]);
    for stream in &mut streams {
        assert_eq!(stream.read()[..2], ["gap:damaged>2", "3:3"]);
    }
    assert_eq!(other.read(), ["4:4"]);
}

#[test]
fn a_publisher_whose_event_is_dropped_hears_of_it() {
    let engine: Arc<Engine> = Arc::default();
    let node = Node::new(&engine, |_| ());
    let submission = node.submit(publication(&["a"], "x"));
    assert!(engine.state.lock().submitted.pop().is_some());
    assert_eq!(known(submission), Some(Err(PublishError::BackplaneDown)));
    let batch = node.story.hub.submit_all(vec![
        publication(&["a"], "1"),
        Publication::new(name("a"), Event::new("2").with_id(EventId::parse("earliest").unwrap())),
        publication(&["a"], "3"),
    ]);
    node.pass_on(&[]);
    let outcomes: Vec<_> = batch.into_iter().map(|submission| known(submission).unwrap()).collect();
    assert!(outcomes[0].is_ok() && matches!(outcomes[1], Err(PublishError::ReservedId { .. })));
    assert_eq!(outcomes[2], Err(PublishError::Skipped));
}

#[test]
fn places_only_rise() {
    let engine = Arc::default();
    let node = Node::new(&engine, |_| ());
    node.publish("a", "1", &[]);
    let entry = node.submit(publication(&["a"], "2"));
    let outgoing = engine.state.lock().submitted.pop().unwrap();
    let SharedContent::Event(event) = node.intake.read(&outgoing.entry).unwrap().content else { panic!("an event") };
    assert_eq!(node.intake.append(event.clone(), 1), Err(PublishError::Exhausted));
    node.intake.skip_to(7);
    assert_eq!(node.intake.append(event, 8), Ok(()));
    assert_eq!(node.story.follow(&["a"]).after(0).read(), ["1:1", "8:2"]);
    drop((outgoing, entry));
}
