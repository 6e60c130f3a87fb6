//! `POST /tickets`: a token for something that may stand in an address.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use sse_hub::TopicName;

use super::body::read_body;
use super::{Problem, ReplyBody, json, query};
use crate::access::{AccessError, TicketError};
use crate::app::App;

/// Bytes of a body that names topics: far more than they may have.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// What the body says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish<'a> {
    #[serde(borrow)]
    topics: Vec<Cow<'a, str>>,
}

#[derive(Debug, Serialize)]
struct Answer {
    ticket: Box<str>,
    /// In seconds.
    expires_in: u64,
}

/// Gives a ticket for the topics that the body or the query names.
pub(super) async fn issue(app: &Arc<App>, request: Request<Incoming>) -> Result<Response<ReplyBody>, Problem> {
    let answer = give(app, request).await;
    app.signals.ticket(answer.as_ref().map_or_else(Problem::reason, |_| "issued"));
    Ok(json(&answer?))
}

async fn give(app: &Arc<App>, request: Request<Incoming>) -> Result<Answer, Problem> {
    if !app.access.has_subscriber_key() {
        return Err(Problem::not_found());
    }
    let access = app.access.subscriber(&request, None).await?;
    let Some(token) = access.token().cloned() else { return Err(AccessError::Missing.into()) };
    if !access.may_follow(&[]) {
        return Err(Problem::not_granted("the token is not one for following"));
    }
    let mut topics = Vec::new();
    for (name, value) in query::pairs(request.uri().query().unwrap_or(""))? {
        match &*name {
            "topic" => topics.push(query::topic(&value)?),
            _ => return Err(Problem::bad("query", "the query takes topic")),
        }
    }
    let body = read_body(request.into_body(), BODY_BYTES_MAX).await?;
    if !body.is_empty() {
        let wish: Wish<'_> = serde_json::from_slice(&body).map_err(|error| Problem::bad("body", error.to_string()))?;
        for topic in &wish.topics {
            topics.push(query::topic(topic)?);
        }
    }
    let topics = checked(topics, app.config().topics_per_subscription_max.get())?;
    let _way = app.passage.enter_here().await?;
    let ticket = app.access.tickets.issue(token, topics, Instant::now()).map_err(|error| match error {
        TicketError::Full => Problem::too_many("tickets_full", error.to_string(), app.access.tickets.life()),
        TicketError::Random => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "random", "no ticket can be made at the moment")
        }
    })?;
    Ok(Answer { ticket, expires_in: app.access.tickets.life().as_secs() })
}

fn checked(topics: Vec<TopicName>, topics_max: usize) -> Result<Arc<[TopicName]>, Problem> {
    match topics.len() {
        0 => Err(Problem::bad("topics", r#"no topic is named; send {"topics":["a"]} or ?topic=a"#)),
        count if count > topics_max => {
            Err(Problem::bad("topics", format!("{count} topics are named, more than {topics_max}")))
        }
        _ => Ok(topics.into()),
    }
}
