//! Publishing over HTTP: a request to events, an answer with their ids.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use sse_hub::{Publication, Receipt, TopicName};
use sse_wire::Event;

use super::body::BodyShare;
use super::envelope::{Publications, parse_json, parse_lines, with_fields};
use super::idempotency::{self, Attempt};
use super::mercure::check_reserved;
use super::{Problem, ReplyBody, json, origin, query};
use crate::access::Access;
use crate::app::App;

/// Bytes of a body of envelopes: JSON may need six bytes for one, and a batch holds many events.
const ENVELOPES_BYTES_MIN: usize = 16 << 20;

/// What a publisher gets.
#[derive(Debug, Serialize)]
struct Answer {
    id: String,
    durability: &'static str,
}

impl Answer {
    fn of(app: &App, receipt: &Receipt) -> Self {
        Self { id: receipt.id(), durability: app.hub.durability().as_str() }
    }
}

/// `POST /events/{topic}`: the body is the data.
pub(super) async fn publish_body(
    app: &Arc<App>,
    client: IpAddr,
    request: Request<Incoming>,
    topic: TopicName,
) -> Result<Response<ReplyBody>, Problem> {
    let started = Instant::now();
    let answer = async {
        let access = admit(app, client, &request).await?;
        check_grant(&access, std::slice::from_ref(&topic))?;
        let key = idempotency::header(request.headers())?;
        let target = request.uri().to_string();
        let query = request.uri().query().unwrap_or("").to_owned();
        let fields = Fields::parse(&query)?;
        let (data, share) = app.bodies.read(request.into_body(), app.config().event_bytes_max.get()).await?;
        let attempt = Attempt::new(key, access.subject(), &target, &data);
        let event = Event::from_utf8(data).map_err(|error| Problem::bad("data", error.to_string()))?;
        let event = with_fields(event, fields.event_type.as_deref(), fields.id.as_deref(), fields.retry)?;
        let mut publication = Publication::new(topic, event);
        if fields.private {
            publication = publication.private();
        }
        let submission = app.submit(attempt.mark(publication, 0)).await;
        drop(share);
        Ok(json(&Answer::of(app, &submission.await?)))
    };
    conclude(app, started, answer.await)
}

/// `POST /publish`: JSON or NDJSON envelopes.
pub(super) async fn publish_envelopes(
    app: &Arc<App>,
    client: IpAddr,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Problem> {
    let started = Instant::now();
    let answer = async {
        let access = admit(app, client, &request).await?;
        let by_line = is_ndjson(request.headers());
        let key = idempotency::header(request.headers())?;
        let bytes_max = ENVELOPES_BYTES_MIN.max(app.config().event_bytes_max.get() * 6);
        let (body, share) = app.bodies.read(request.into_body(), bytes_max).await?;
        let publications = if by_line { parse_lines(&body) } else { parse_json(&body) }?;
        let more = publications.len() - 1;
        app.limits.publishes(client, more)?;
        app.limits.publishes_of(access.subject(), more)?;
        let attempt = Attempt::new(key, access.subject(), "/publish", &body);
        drop(body);
        publish_all(app, &access, &attempt, publications, share).await
    };
    conclude(app, started, answer.await)
}

/// The same by an operator, who needs no grant and whose rate nobody bounds.
pub(crate) async fn publish_by_hand(
    app: &Arc<App>,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Problem> {
    let started = Instant::now();
    let answer = async {
        check_encoding(&request)?;
        let by_line = is_ndjson(request.headers());
        let (body, share) = app.bodies.read(request.into_body(), ENVELOPES_BYTES_MIN).await?;
        let publications = if by_line { parse_lines(&body) } else { parse_json(&body) }?;
        let attempt = Attempt::new(None, None, "/api/publish", &body);
        drop(body);
        publish_all(app, &Access::operator(), &attempt, publications, share).await
    };
    conclude(app, started, answer.await)
}

/// `DELETE /events/{topic}`: closes it.
pub(super) async fn close<B>(
    app: &App,
    client: IpAddr,
    request: &Request<B>,
    topic: &TopicName,
) -> Result<Response<ReplyBody>, Problem> {
    let closed = async {
        let access = admit(app, client, request).await?;
        check_grant(&access, std::slice::from_ref(topic))?;
        Ok(json(&Answer::of(app, &app.close(topic).await?)))
    };
    closed.await.inspect_err(|problem: &Problem| app.signals.publish_rejected(problem.reason()))
}

/// Whether this publisher may publish at all, known before its body is read.
async fn admit<B>(app: &App, client: IpAddr, request: &Request<B>) -> Result<Access, Problem> {
    app.limits.publishes(client, 1)?;
    let access = app.access.publisher(request, None).await?;
    app.limits.publishes_of(access.subject(), 1)?;
    if !access.is_deliberate() {
        origin::check_publisher_origin(request, &app.config())?;
    }
    check_encoding(request)?;
    Ok(access)
}

/// # Errors
/// 415 for a body that would have to be unpacked.
pub(super) fn check_encoding<B>(request: &Request<B>) -> Result<(), Problem> {
    let encoding = request.headers().get(CONTENT_ENCODING);
    if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let detail = "a content encoding is not accepted: send the body as it is";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_encoding", detail));
    }
    Ok(())
}

/// Whether the publisher may publish to all of these topics.
fn check_grant(access: &Access, topics: &[TopicName]) -> Result<(), Problem> {
    let detail = "the token does not grant publishing to this";
    if access.may_publish(topics) { check_reserved(topics) } else { Err(Problem::not_granted(detail)) }
}

pub(super) fn conclude(
    app: &App,
    started: Instant,
    answer: Result<Response<ReplyBody>, Problem>,
) -> Result<Response<ReplyBody>, Problem> {
    match &answer {
        Ok(_) => app.signals.published(started.elapsed()),
        Err(problem) => app.signals.publish_rejected(problem.reason()),
    }
    answer
}

/// The query's fields of a published event.
#[derive(Debug, Default)]
struct Fields<'a> {
    event_type: Option<Cow<'a, str>>,
    id: Option<Cow<'a, str>>,
    retry: Option<u64>,
    private: bool,
}

impl<'a> Fields<'a> {
    fn parse(query: &'a str) -> Result<Self, Problem> {
        let mut fields = Self::default();
        for (name, value) in query::pairs(query)? {
            match &*name {
                "type" => fields.event_type = Some(value),
                "id" => fields.id = Some(value),
                "retry" => fields.retry = Some(parse_retry(&value)?),
                // Present is on; `private=off` says otherwise in as many words.
                "private" => fields.private = !matches!(&*value, "off" | "false" | "0"),
                _ => return Err(Problem::bad("query", "the query takes type, id, retry and private")),
            }
        }
        Ok(fields)
    }
}

pub(super) fn parse_retry(text: &str) -> Result<u64, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| text.parse().ok())
        .flatten()
        .ok_or_else(|| Problem::bad("retry", "retry is a number of milliseconds"))
}

fn is_ndjson(headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    media_type.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("application/x-ndjson")
}

async fn publish_all(
    app: &App,
    access: &Access,
    attempt: &Attempt,
    publications: Publications,
    share: BodyShare,
) -> Result<Response<ReplyBody>, Problem> {
    let (publications, by_line): (Vec<(usize, Publication)>, bool) = match publications {
        Publications::One(publication) => {
            check_grant(access, publication.topics())?;
            let submission = app.submit(attempt.mark(publication, 0)).await;
            drop(share);
            return Ok(json(&Answer::of(app, &submission.await?)));
        }
        Publications::Many(publications) => (publications.into_iter().enumerate().collect(), false),
        Publications::Lines(publications) => (publications, true),
    };
    let unit = if by_line { "line" } else { "item" };
    let place = |problem: Problem, at: usize| problem.at(format_args!("{unit} {at}"));
    // The whole batch is checked before its first event is published.
    for (at, publication) in &publications {
        check_grant(access, publication.topics()).map_err(|problem| place(problem, *at))?;
        app.hub.check(publication).map_err(|error| place(error.into(), *at))?;
    }
    let (places, publications): (Vec<usize>, Vec<Publication>) = publications.into_iter().unzip();
    let marked = publications.into_iter().enumerate().map(|(place, publication)| attempt.mark(publication, place));
    let submitted = app.submit_all(marked.collect()).await;
    drop(share);
    let mut answers: Vec<Answer> = Vec::with_capacity(submitted.len());
    for (at, submission) in places.into_iter().zip(submitted) {
        match submission.await {
            Ok(receipt) => answers.push(Answer::of(app, &receipt)),
            Err(error) => {
                let published = answers.into_iter().map(|answer| answer.id).collect();
                return Err(place(error.into(), at).after(published));
            }
        }
    }
    Ok(json(&answers))
}
