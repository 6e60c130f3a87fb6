//! `POST /.well-known/mercure`: an event.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use sse_hub::TopicName;

use super::super::idempotency::{self, Attempt};
use super::super::publish::{check_encoding, conclude};
use super::super::{MERCURE, Problem, ReplyBody, full, origin};
use super::form::{Form, check_content_type};
use super::{check_reserved, query_token, unauthorized};
use crate::access::Access;
use crate::app::App;

/// Bytes of a form beyond three for each of the data's: the other fields, among them up to 1,000 topics.
const FIELDS_BYTES_MAX: usize = 4 << 20;

/// Who may not publish is told so before the body is read.
pub(super) async fn publish(
    app: &Arc<App>,
    client: IpAddr,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Problem> {
    let started = Instant::now();
    let answer = async {
        let access = admit(app, client, &request).await?;
        check_content_type(request.headers())?;
        check_encoding(&request)?;
        let bytes_max = app.config().event_bytes_max.get().saturating_mul(3).saturating_add(FIELDS_BYTES_MAX);
        let key = idempotency::header(request.headers())?;
        let (body, share) = app.bodies.read(request.into_body(), bytes_max).await?;
        let attempt = Attempt::new(key, access.subject(), MERCURE, &body);
        let publication = Form::parse(&body)?.into_publication()?;
        check_topics(&access, publication.topics())?;
        drop(body);
        let submission = app.submit(attempt.mark(publication, 0)).await;
        drop(share);
        Ok(text(submission.await?.id()))
    };
    conclude(app, started, answer.await)
}

async fn admit(app: &App, client: IpAddr, request: &Request<Incoming>) -> Result<Access, Problem> {
    app.limits.publishes(client, 1)?;
    let token = query_token(request);
    let access = app.access.publisher(request, token.as_deref()).await.map_err(unauthorized)?;
    app.limits.publishes_of(access.subject(), 1)?;
    if access.token().is_none() {
        // Where anybody may publish, no foreign page may have a visitor's browser do it.
        origin::check_publisher_origin(request, &app.config())?;
    }
    Ok(access)
}

fn check_topics(access: &Access, topics: &[TopicName]) -> Result<(), Problem> {
    if !access.may_publish(topics) {
        let detail = "the token does not grant publishing to every one of these topics";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "not_granted", detail));
    }
    check_reserved(topics)
}

/// 200 with the event's id as text.
fn text(id: String) -> Response<ReplyBody> {
    let mut response = Response::new(full(id));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
