//! Following over HTTP: a request to a stream.

use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use sse_hub::{Selector, Start, SubscribeError, SubscribeOptions, TopicName};

use super::{Problem, ReplyBody, busy, full, origin, query};
use crate::access::Access;
use crate::app::{App, Busy};
use crate::connection::ConnectionState;
use crate::limits::Shares;
use crate::stream::{
    FollowedTopics, Framing, RemoteAddr, Shape, Source, StreamInfo, StreamPlan, body, head_fields, jittered,
};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// A `Last-Event-ID` is an id that a publisher chose or the server made: longer ones are an attack.
const LAST_EVENT_ID_BYTES_MAX: usize = 1024;
/// Bytes of a user agent that are worth keeping.
const USER_AGENT_BYTES_MAX: usize = 256;

/// What the request asks to follow.
#[derive(Debug)]
struct Wish {
    selectors: Vec<Selector>,
    start: Start,
    shape: Shape,
}

/// `GET /events/{topic}` and `GET /events?topic=..`.
pub(super) async fn follow(
    app: &Arc<App>,
    connection: &Arc<ConnectionState>,
    request: Request<Incoming>,
    topic: Option<TopicName>,
) -> Result<Response<ReplyBody>, Problem> {
    if let Some(busy) = app.busy(connection) {
        return busy::reply(app, &request, busy);
    }
    let client = app.limits.client(connection.remote_addr(), request.headers());
    if let Err(exceeded) = app.limits.subscribes(client.ip()) {
        return busy::reply(app, &request, Busy::Exceeded(exceeded));
    }
    let access = app.access.subscriber(&request, None).await.inspect_err(|error| {
        app.signals.connection_rejected(error.as_str());
    })?;
    let wish = Wish::parse(&request, topic)?;
    check_topics(wish.selectors.len(), app.config.topics_per_subscription_max.get())?;
    let mut headers = head_fields();
    origin::add_cors(&mut headers, request.headers(), &app.config);
    if request.method() == Method::HEAD {
        let mut response = Response::new(full(""));
        *response.headers_mut() = headers;
        return Ok(response);
    }
    let shares = match app.limits.take_shares(connection.remote_addr().ip(), client.ip(), access.subject()) {
        Ok(shares) => shares,
        Err(exceeded) => return busy::reply(app, &request, Busy::Exceeded(exceeded)),
    };
    let caller = Caller { connection, remote_addr: RemoteAddr(client), shares };
    let plan = match plan(app, caller, &request, wish, &access, headers) {
        Ok(plan) => plan,
        // Not an error: the client is to stop coming back (WHATWG HTML, 9.2.3).
        Err(SubscribeError::Ended) => return Ok(no_content()),
        Err(error) => return Err(error.into()),
    };
    if app.writers.is_some() {
        connection.hand_over(plan);
        // The connection is taken apart at the end of the poll that this stays pending in.
        return std::future::pending().await;
    }
    Ok(body::respond(app, connection, plan))
}

/// Whether one stream may follow so many topics and templates.
fn check_topics(selectors: usize, selectors_max: usize) -> Result<(), Problem> {
    if selectors > selectors_max {
        return Err(SubscribeError::TooManyTopics { selectors, selectors_max }.into());
    }
    Ok(())
}

/// Whose stream it will be.
struct Caller<'a> {
    connection: &'a ConnectionState,
    remote_addr: RemoteAddr,
    shares: Option<Box<Shares>>,
}

fn plan(
    app: &App,
    caller: Caller<'_>,
    request: &Request<Incoming>,
    wish: Wish,
    access: &Access,
    headers: HeaderMap,
) -> Result<StreamPlan, SubscribeError> {
    let Wish { selectors, start, shape } = wish;
    let topics = match &selectors[..] {
        [only] if only.as_exact().is_some() => FollowedTopics::One(only.text().clone()),
        _ => FollowedTopics::Several(selectors.iter().map(|s| s.text().as_str()).collect::<Vec<_>>().join(" ").into()),
    };
    let grants = access.grants();
    let (source, gap) = match &topics {
        FollowedTopics::One(topic) if app.writers.is_some() => {
            let feed = app.hub.feed(topic)?;
            let (cursor, gap) = feed.resolve(&start)?;
            if let Some(gap) = &gap {
                app.signals.gaps(gap.reason.as_str(), 1);
            }
            let replay_to = feed.newest();
            (Source::Topic { feed, cursor, replay_to, grants: grants.within(topic) }, gap)
        }
        _ => {
            let options = SubscribeOptions::selectors(selectors).from(start).with_grants(grants);
            (Source::Several(Box::new(app.hub.subscribe(options)?)), None)
        }
    };
    let user_agent = request.headers().get(USER_AGENT).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let user_agent: String = user_agent.unwrap_or_default().chars().take(USER_AGENT_BYTES_MAX).collect();
    let info = StreamInfo {
        remote_addr: caller.remote_addr,
        user_agent: app.user_agents.intern(&user_agent),
        topics,
        connected_at: Instant::now(),
        _permit: caller.connection.take_permit(),
        _shares: caller.shares,
    };
    let retry = jittered(app.config.retry, app.config.retry_jitter.get());
    let framing = Framing::of(request.version(), request.headers());
    Ok(StreamPlan { source, gap, retry, shape, framing, headers, info })
}

impl Wish {
    fn parse(request: &Request<Incoming>, topic: Option<TopicName>) -> Result<Self, Problem> {
        let mut selectors: Vec<Selector> = topic.into_iter().map(Selector::exact).collect();
        let mut last_event_id = None;
        let mut shape = Shape::Plain;
        for (name, value) in query::pairs(request.uri().query().unwrap_or(""))? {
            match &*name {
                "topic" => selectors.push(Selector::exact(query::topic(&value)?)),
                "match" => {
                    let selector = Selector::parse(&value).map_err(|error| Problem::bad("match", error.to_string()))?;
                    selectors.push(selector);
                }
                "last_event_id" | "lastEventID" => last_event_id = Some(value.into_owned()),
                "envelope" if value == "json" => shape = Shape::Envelope,
                "envelope" => return Err(Problem::bad("envelope", "the one envelope there is is json")),
                // Helpers add parameters of their own, such as one against caches: they do no harm.
                _ => (),
            }
        }
        if selectors.is_empty() {
            return Err(Problem::bad("topic", "no topic is named; use /events/{topic} or /events?topic=a&topic=b"));
        }
        let start = start(request.headers(), last_event_id)?;
        Ok(Self { selectors, start, shape })
    }
}

/// Where to start: the header wins over the query, an empty one says nothing.
fn start(headers: &HeaderMap, query: Option<String>) -> Result<Start, Problem> {
    let header = match headers.get(LAST_EVENT_ID) {
        Some(value) => {
            let text = std::str::from_utf8(value.as_bytes());
            Some(text.map_err(|_| Problem::bad("Last-Event-ID", "Last-Event-ID is not UTF-8"))?.to_owned())
        }
        None => None,
    };
    let id = header.filter(|id| !id.is_empty()).or(query).unwrap_or_default();
    if id.len() > LAST_EVENT_ID_BYTES_MAX {
        let detail = format!("{} bytes are more than the {LAST_EVENT_ID_BYTES_MAX} an id may have", id.len());
        return Err(Problem::bad("Last-Event-ID", detail));
    }
    Ok(Start::parse(&id))
}

fn no_content() -> Response<ReplyBody> {
    let mut response = Response::new(full(""));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
