//! `GET /.well-known/mercure/subscriptions..`: who follows what.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use sse_hub::{Cursor, Grants, IdForm};

use super::super::{Problem, ReplyBody, full, preflight, query};
use super::{query_token, secured, unauthorized};
use crate::app::App;
use crate::presence::{CONTEXT, Presence, SUBSCRIPTIONS, Subscription};

/// Subscriptions that one answer lists.
const LISTED_MAX: usize = 100_000;
/// How long whoever asks for more should wait: they may be fewer then.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// A collection as a document.
#[derive(Serialize)]
struct Collection<'a> {
    #[serde(rename = "@context")]
    context: &'static str,
    id: &'a str,
    #[serde(rename = "type")]
    document_type: &'static str,
    #[serde(rename = "lastEventID")]
    last_event_id: String,
    subscriptions: Vec<Subscription>,
}

/// Answers below [`SUBSCRIPTIONS`]; 404 unless they are on.
pub(in crate::http) async fn answer(
    app: &Arc<App>,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Problem> {
    const METHODS: &str = "GET, HEAD, OPTIONS";
    let answer = match (&app.presence, request.method()) {
        (None, _) => Err(Problem::not_found()),
        (Some(presence), &Method::GET | &Method::HEAD) => show(app, presence, &request).await,
        (Some(_), &Method::OPTIONS) => Ok(preflight(app, &request, METHODS)),
        (Some(_), _) => Err(Problem::method_not_allowed(METHODS)),
    };
    Ok(secured(answer))
}

async fn show(app: &App, presence: &Presence, request: &Request<Incoming>) -> Result<Response<ReplyBody>, Problem> {
    let path = request.uri().path();
    let token = query_token(request);
    let access = app.access.subscriber(request, token.as_deref()).await.map_err(unauthorized)?;
    let is_granted = match access.grants() {
        Grants::None => false,
        Grants::Selectors(selectors) => selectors.iter().any(|selector| selector.matches(path)),
        Grants::All => true,
    };
    if !is_granted {
        let detail = "the token does not grant this list of subscriptions";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "not_granted", detail));
    }
    // Taken first: whoever follows on from here is told again of what began meanwhile, but misses nothing.
    let last_event_id = last_event_id(app.hub.position());
    let known = request.headers().get(IF_NONE_MATCH);
    let is_known = known.is_some_and(|known| known.as_bytes() == last_event_id.as_bytes());
    let body = document(presence, path, &last_event_id, is_known)?;
    let status = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/ld+json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(ETAG, HeaderValue::from_str(&last_event_id).expect("ids of the server's own are ASCII"));
    Ok(response)
}

fn last_event_id(position: Cursor) -> String {
    if position.sequence == 0 { "earliest".to_owned() } else { position.text(IdForm::Urn) }
}

/// What the path names: all subscriptions, those of a selector, or one. For a client that knows it already nothing, and then
/// no list is made: whoever looks every second at one of thousands mostly finds it as it was.
fn document(presence: &Presence, path: &str, last_event_id: &str, is_known: bool) -> Result<Vec<u8>, Problem> {
    let parts: Vec<&str> = path.strip_prefix(SUBSCRIPTIONS).unwrap_or("").split('/').skip(1).collect();
    let list = |selector: Option<&str>| {
        if is_known {
            return Ok(Vec::new());
        }
        let listed = presence.list(selector, LISTED_MAX);
        let subscriptions = listed.ok_or_else(|| {
            let detail = format!("there are more than {LISTED_MAX} subscriptions: ask for those of one topic");
            Problem::unavailable("too_many_subscriptions", detail, RETRY_AFTER)
        })?;
        let last_event_id = last_event_id.to_owned();
        Ok(pretty(&Collection {
            context: CONTEXT,
            id: path,
            document_type: "Subscriptions",
            last_event_id,
            subscriptions,
        }))
    };
    match parts[..] {
        [] => list(None),
        [selector] => list(Some(&unescape(selector)?)),
        [selector, subscriber] => {
            let found = presence.find(&unescape(selector)?, &unescape(subscriber)?);
            let mut subscription = found.ok_or_else(Problem::not_found)?;
            subscription.context = Some(CONTEXT);
            subscription.last_event_id = Some(last_event_id.to_owned());
            Ok(if is_known { Vec::new() } else { pretty(&subscription) })
        }
        _ => Err(Problem::not_found()),
    }
}

fn unescape(part: &str) -> Result<String, Problem> {
    // A plus is a plus in a path.
    Ok(query::decode(&part.replace('+', "%2B"))?.into_owned())
}

fn pretty(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(document).expect("strings and JSON values have a JSON form")
}

#[cfg(test)]
mod tests {
    use sse_hub::{Hub, Selector};

    use super::*;
    use crate::signals::Signals;

    #[test]
    fn what_a_client_knows_is_not_written_again() {
        let presence = Presence::new(Hub::builder().build().unwrap(), Signals::new());
        let _present = presence.enter(&[Selector::parse("a").unwrap()], None).unwrap();
        let list = |is_known| document(&presence, SUBSCRIPTIONS, "x", is_known).unwrap();
        assert!(!list(false).is_empty() && list(true).is_empty());
        // One that is gone is gone, whatever the client knows.
        let gone = format!("{SUBSCRIPTIONS}/a/urn%3Auuid%3A018e5c8f-1c1a-4c3e-8f0a-1234567890ab");
        assert!(document(&presence, &gone, "x", true).is_err());
    }
}
