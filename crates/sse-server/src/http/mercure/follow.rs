//! `GET /.well-known/mercure`: a stream.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::super::follow::{Asking, Manner, Wish, check_topics, start};
use super::super::{Problem, ReplyBody, busy, query};
use super::{query_token, stream_fields, unauthorized};
use crate::app::App;
use crate::carrier::Carrier;
use crate::stream::{Notices, Opening, Shape};

/// Who may not follow is told so before anything else is looked at.
pub(super) async fn follow(
    app: &Arc<App>,
    carrier: &Carrier,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Problem> {
    let notices = if app.config().mercure_signals { Notices::On } else { Notices::Off };
    let asking = match Asking::admit(app, carrier, &request) {
        Ok(asking) => asking,
        Err(busy) => return busy::reply(app, &request, busy, notices),
    };
    let token = query_token(&request);
    let access = app.access.subscriber(&request, token.as_deref()).await.map_err(|error| {
        app.signals.connection_rejected(error.as_str());
        unauthorized(error)
    })?;
    let wish = parse(app, &request, notices)?;
    asking.open(&access, wish).await
}

fn parse(app: &App, request: &Request<Incoming>, notices: Notices) -> Result<Wish, Problem> {
    let selectors_max = app.config().mercure_topics_max();
    let mut selectors = Vec::new();
    let (mut last_event_id, mut legacy_id) = (None, None);
    for (name, value) in query::pairs(request.uri().query().unwrap_or(""))? {
        match &*name {
            "topic" => {
                check_topics(selectors.len() + 1, selectors_max)?;
                let selector = app.access.selector(&value).map_err(|error| Problem::bad("topic", error.to_string()))?;
                selectors.push(selector);
            }
            "lastEventID" => last_event_id = Some(value.into_owned()),
            // What clients of the protocol's first versions send.
            "Last-Event-ID" => legacy_id = Some(value.into_owned()),
            _ => (),
        }
    }
    if selectors.is_empty() {
        return Err(Problem::bad("topic", "no topic is named; use ?topic=a&topic=b"));
    }
    let start = start(request.headers(), last_event_id.or(legacy_id))?;
    let manner =
        Manner { opening: Opening::Comment, notices, headers: stream_fields(), announced: true, tells_start: true };
    Ok(Wish { selectors, start, shape: Shape::Plain, manner, ticket: None })
}
