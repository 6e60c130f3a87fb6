//! What memory holds, in messages of a bounded size.

use std::time::{Instant, SystemTime};

use sse_hub::MovedTopic;

use super::forms;
use super::link::{Link, LinkError};
use super::message::{KeptKeyForm, Message, StateForm, TicketForm, TopicForm};
use crate::access::Revocation;
use crate::app::App;

/// Bytes of events in one message, unless one alone has more.
const BYTES_MAX: usize = 1 << 20;
/// Things of a kind in one message.
const COUNT_MAX: usize = 1_000;

/// Sends what the hub has that came after `after`.
pub(super) fn send_history(app: &App, after: u64, link: &mut Link) -> Result<(), LinkError> {
    let (mut batch, mut sent) = (TopicBatch::default(), Ok(()));
    app.hub.moved_topics(after, |topic| {
        if sent.is_ok() {
            sent = batch.add(&topic, link);
        }
    });
    sent?;
    batch.send(link)?;
    let mut floors = Vec::new();
    app.hub.moved_floors(|name, floor| {
        if floor > after {
            floors.push((name.map(|name| name.as_str().to_owned()), floor));
        }
    });
    send_all(&floors, Message::Floors, link)?;
    let keys: Vec<_> = app.hub.moved_keys(after).iter().map(forms::kept_key).collect();
    send_all(&keys, Message::Keys, link)
}

/// Sends what the gate knows, and where the hub stands, while nobody publishes.
pub(super) fn send_state(app: &App, link: &mut Link) -> Result<(), LinkError> {
    let tickets: Vec<_> = app.access.tickets.all(Instant::now()).into_iter().map(forms::ticket).collect();
    send_all(&tickets, Message::Tickets, link)?;
    let (revoked, _) = app.access.revocations.list(usize::MAX, SystemTime::now());
    let revoked: Vec<_> = revoked.into_iter().map(|(revoked, until)| Revocation::new(revoked, until)).collect();
    send_all(&revoked, Message::Revocations, link)?;
    link.send(&Message::State(StateForm { newest: app.hub.settled(), seconds: app.hub.seconds() }))
}

fn send_all<T: Clone>(all: &[T], message: impl Fn(Vec<T>) -> Message, link: &mut Link) -> Result<(), LinkError> {
    all.chunks(COUNT_MAX).try_for_each(|part| link.send(&message(part.to_vec())))
}

pub(super) fn take_topics(app: &App, topics: Vec<TopicForm>, payload: &[u8]) -> Result<(), LinkError> {
    let mut rest = payload;
    for topic in topics {
        app.hub.take_over_topic(forms::topic_of(topic, &mut rest)?);
    }
    Ok(())
}

pub(super) fn take_floors(app: &App, floors: Vec<(Option<String>, u64)>) -> Result<(), LinkError> {
    for (name, floor) in floors {
        let name = name.as_deref().map(forms::topic_name).transpose()?;
        app.hub.take_over_floor(name.as_ref(), floor);
    }
    Ok(())
}

pub(super) fn take_keys(app: &App, keys: Vec<KeptKeyForm>) -> Result<(), LinkError> {
    for key in keys {
        let (key, receipt, came_at) = forms::kept_key_of(key)?;
        app.hub.take_over_key(key, receipt, came_at);
    }
    Ok(())
}

pub(super) fn take_tickets(app: &App, tickets: Vec<TicketForm>) -> Result<(), LinkError> {
    for ticket in tickets {
        let (name, ticket) = forms::ticket_of(ticket, &app.access)?;
        app.access.tickets.take_over(name, ticket);
    }
    Ok(())
}

pub(super) fn take_revocations(app: &App, revocations: Vec<Revocation>) -> Result<(), LinkError> {
    for revocation in revocations {
        let (revoked, until) = revocation.read().ok_or_else(|| forms::wrong("a revocation"))?;
        // There are as many as the predecessor had, which has the same bound.
        let _ = app.access.revocations.add(revoked, until, SystemTime::now());
    }
    Ok(())
}

/// Topics, until they fill a message.
#[derive(Debug, Default)]
struct TopicBatch {
    topics: Vec<TopicForm>,
    /// Their events.
    payload: Vec<u8>,
}

impl TopicBatch {
    /// Adds a topic, in as many messages as its events take.
    fn add(&mut self, topic: &MovedTopic, link: &mut Link) -> Result<(), LinkError> {
        self.topics.push(forms::topic(topic));
        for event in &topic.events {
            if self.payload.len() >= BYTES_MAX {
                self.send(link)?;
                self.topics.push(forms::topic(topic));
            }
            let form = forms::event(event, &mut self.payload);
            self.topics.last_mut().into_iter().for_each(|topic| topic.events.push(form.clone()));
        }
        if self.topics.len() >= COUNT_MAX { self.send(link) } else { Ok(()) }
    }

    /// Sends what there is.
    fn send(&mut self, link: &mut Link) -> Result<(), LinkError> {
        let Self { topics, payload } = std::mem::take(self);
        if topics.is_empty() { Ok(()) } else { link.send_with(&Message::Topics(topics), &payload, &[]) }
    }
}
