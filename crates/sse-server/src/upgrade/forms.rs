//! What the hub, the gate and publishers have, as messages carry it, and back.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sse_hub::{
    Cursor, Grants, IdForm, IdempotencyKey, MovedEvent, MovedMeta, MovedTopic, Publication, PublishError, Receipt,
    Selector, TopicName,
};
use sse_wire::{EventId, Frame};

use super::link::LinkError;
use super::message::{
    EventForm, GrantsForm, KeptKeyForm, KeyForm, MetaForm, Outcome, ReceiptForm, TicketForm, TokenForm, TopicForm,
};
use crate::access::{Gate, Ticket, Token};

pub(super) fn wrong(what: &str) -> LinkError {
    LinkError::Unexpected(format!("{what} of another form"))
}

pub(super) fn topic_name(name: &str) -> Result<TopicName, LinkError> {
    TopicName::parse(name).map_err(|_| wrong("a topic"))
}

/// A topic without its events.
pub(super) fn topic(moved: &MovedTopic) -> TopicForm {
    let MovedTopic { name, floor, is_floor_exact, closed_at, events: _ } = moved;
    let (floor, is_floor_exact, closed_at) = (*floor, *is_floor_exact, *closed_at);
    TopicForm { name: name.as_str().to_owned(), floor, is_floor_exact, closed_at, events: Vec::new() }
}

/// An event; its text is appended to `payload`.
pub(super) fn event(event: &MovedEvent, payload: &mut Vec<u8>) -> EventForm {
    payload.extend_from_slice(event.frame.text_bytes());
    let meta = event.meta.as_ref().map(|meta| MetaForm {
        topics: meta.topics.iter().map(|topic| topic.as_str().to_owned()).collect(),
        private: meta.private,
        given_id: meta.given_id.as_ref().map(|id| id.as_str().to_owned()),
        first_use: meta.first_use,
    });
    let (sequence, at, len) = (event.sequence, event.appended_at, event.frame.text_len());
    EventForm { sequence, at, len, is_end: event.is_end, meta }
}

/// The topic again; the texts of its events are taken off `payload`.
pub(super) fn topic_of(form: TopicForm, payload: &mut &[u8]) -> Result<MovedTopic, LinkError> {
    let TopicForm { name, floor, is_floor_exact, closed_at, events } = form;
    let events = events.into_iter().map(|event| event_of(event, payload)).collect::<Result<_, _>>()?;
    Ok(MovedTopic { name: topic_name(&name)?, floor, is_floor_exact, closed_at, events })
}

fn event_of(form: EventForm, payload: &mut &[u8]) -> Result<MovedEvent, LinkError> {
    let EventForm { sequence, at: appended_at, len, is_end, meta } = form;
    let text = payload.split_off(..len).ok_or_else(|| wrong("an event"))?;
    let frame = Frame::from_text(text).ok_or_else(|| wrong("an event"))?;
    let meta = meta.map(|MetaForm { topics, private, given_id, first_use }| {
        let topics = topics.iter().map(|topic| topic_name(topic)).collect::<Result<_, _>>()?;
        Ok::<_, LinkError>(MovedMeta { topics, private, given_id: given_id_of(given_id)?, first_use })
    });
    Ok(MovedEvent { sequence, appended_at, frame, is_end, meta: meta.transpose()? })
}

fn given_id_of(text: Option<String>) -> Result<Option<EventId>, LinkError> {
    text.map(|text| EventId::parse(&text).map_err(|_| wrong("an id"))).transpose()
}

/// A publisher's key, with what it stands for and when it came.
pub(super) fn kept_key((key, receipt, came_at): &(IdempotencyKey, Receipt, u32)) -> KeptKeyForm {
    (key_form(key), receipt_form(receipt), *came_at)
}

pub(super) fn kept_key_of((key, receipt, came_at): KeptKeyForm) -> Result<(IdempotencyKey, Receipt, u32), LinkError> {
    Ok((key_of(&key), receipt_of(receipt)?, came_at))
}

pub(super) fn ticket((name, ticket): (Box<str>, Ticket)) -> TicketForm {
    TicketForm {
        name: name.into(),
        topics: ticket.topics.iter().map(|topic| topic.as_str().to_owned()).collect(),
        token: token_form(&ticket.token),
        left_ms: ticket.ends_at.saturating_duration_since(Instant::now()).as_millis() as u64,
    }
}

pub(super) fn ticket_of(form: TicketForm, gate: &Gate) -> Result<(Box<str>, Ticket), LinkError> {
    let TicketForm { name, topics, token, left_ms } = form;
    let topics = topics.iter().map(|topic| topic_name(topic)).collect::<Result<_, _>>()?;
    let ends_at = Instant::now() + Duration::from_millis(left_ms);
    Ok((name.into(), Ticket { token: Arc::new(token_of(token, gate)?), topics, ends_at }))
}

/// An event that is passed on, with its key.
pub(super) fn publication(publication: &Publication) -> (String, Option<KeyForm>) {
    let json = String::from_utf8_lossy(&publication.to_json()).into_owned();
    (json, publication.key().map(|key| key_form(&key)))
}

pub(super) fn publication_of((json, key): &(String, Option<KeyForm>)) -> Result<Publication, LinkError> {
    let publication = Publication::from_json(json.as_bytes()).map_err(|_| wrong("an event"))?;
    Ok(match key {
        Some(key) => publication.with_key(key_of(key)),
        None => publication,
    })
}

pub(super) fn outcome(result: &Result<Receipt, PublishError>) -> Outcome {
    match result {
        Ok(receipt) => Outcome::Published(receipt_form(receipt)),
        Err(PublishError::Closed { topic }) => Outcome::Closed(topic.as_str().to_owned()),
        Err(PublishError::TopicsFull { topics_max }) => Outcome::TopicsFull(*topics_max),
        Err(PublishError::RingsFull { bytes_max }) => Outcome::RingsFull(*bytes_max),
        Err(PublishError::KeyReused) => Outcome::KeyReused,
        Err(PublishError::Skipped) => Outcome::Skipped,
        Err(_) => Outcome::Unavailable,
    }
}

pub(super) fn outcome_of(outcome: Outcome) -> Result<Receipt, PublishError> {
    match outcome {
        Outcome::Published(receipt) => receipt_of(receipt).map_err(|_| PublishError::Elsewhere),
        Outcome::Closed(topic) => Err(match TopicName::parse(&topic) {
            Ok(topic) => PublishError::Closed { topic },
            Err(_) => PublishError::Elsewhere,
        }),
        Outcome::TopicsFull(topics_max) => Err(PublishError::TopicsFull { topics_max }),
        Outcome::RingsFull(bytes_max) => Err(PublishError::RingsFull { bytes_max }),
        Outcome::KeyReused => Err(PublishError::KeyReused),
        Outcome::Skipped => Err(PublishError::Skipped),
        Outcome::Unavailable => Err(PublishError::Elsewhere),
    }
}

fn key_form(key: &IdempotencyKey) -> KeyForm {
    KeyForm(key.key, key.fingerprint)
}

fn key_of(KeyForm(key, fingerprint): &KeyForm) -> IdempotencyKey {
    IdempotencyKey { key: *key, fingerprint: *fingerprint }
}

fn receipt_form(Receipt { cursor, given_id, id_form }: &Receipt) -> ReceiptForm {
    let given_id = given_id.as_ref().map(|id| id.as_str().to_owned());
    ReceiptForm { cursor: cursor.to_string(), given_id, is_urn: *id_form == IdForm::Urn }
}

fn receipt_of(ReceiptForm { cursor, given_id, is_urn }: ReceiptForm) -> Result<Receipt, LinkError> {
    let cursor = Cursor::parse(&cursor).ok_or_else(|| wrong("a cursor"))?;
    let id_form = if is_urn { IdForm::Urn } else { IdForm::Cursor };
    Ok(Receipt { cursor, given_id: given_id_of(given_id)?, id_form })
}

pub(super) fn token_form(token: &Token) -> TokenForm {
    TokenForm {
        id: token.id.clone().map(Into::into),
        subject: token.subject.clone().map(Into::into),
        expires_ms: token.expires_at.map(millis),
        not_before_ms: token.not_before.map(millis),
        publish: token.publish.as_deref().map(texts),
        subscribe: token.subscribe.as_deref().map(texts),
        payload: token.payload.clone(),
    }
}

pub(super) fn token_of(form: TokenForm, gate: &Gate) -> Result<Token, LinkError> {
    let TokenForm { id, subject, expires_ms, not_before_ms, publish, subscribe, payload } = form;
    let compile = |texts: Option<Vec<String>>| texts.map(|texts| selectors(&texts, gate)).transpose();
    Ok(Token {
        id: id.map(Into::into),
        subject: subject.map(Into::into),
        expires_at: expires_ms.map(time),
        not_before: not_before_ms.map(time),
        publish: compile(publish)?.map(Into::into),
        subscribe: compile(subscribe)?.map(Into::into),
        payload,
    })
}

pub(super) fn grants_form(grants: &Grants) -> GrantsForm {
    match grants {
        Grants::None => GrantsForm::None,
        Grants::All => GrantsForm::All,
        Grants::Selectors(selectors) => GrantsForm::Selectors(texts(selectors)),
    }
}

pub(super) fn grants_of(form: &GrantsForm, gate: &Gate) -> Result<Grants, LinkError> {
    Ok(match form {
        GrantsForm::None => Grants::None,
        GrantsForm::All => Grants::All,
        GrantsForm::Selectors(texts) => Grants::Selectors(selectors(texts, gate)?.into()),
    })
}

fn texts(selectors: &[Selector]) -> Vec<String> {
    selectors.iter().map(|selector| selector.text().as_str().to_owned()).collect()
}

fn selectors(texts: &[String], gate: &Gate) -> Result<Vec<Selector>, LinkError> {
    texts.iter().map(|text| gate.selector(text).map_err(|_| wrong("a selector"))).collect()
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn time(millis: u64) -> SystemTime {
    /// As good as never, and no clock overflows.
    const MILLIS_MAX: u64 = 100_000_000_000_000;
    UNIX_EPOCH + Duration::from_millis(millis.min(MILLIS_MAX))
}
