//! The Mercure protocol, in the version that deployed clients speak (0.x), on the same hub as the native interface.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, EXPIRES, HeaderMap, HeaderValue, PRAGMA, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use hyper::{Method, Request, Response, StatusCode};

use sse_hub::TopicName;

use super::query::MERCURE;
use super::{Problem, ReplyBody, preflight};
use crate::access::AccessError;
use crate::app::App;
use crate::carrier::Carrier;
use crate::stream::head_fields;

mod follow;
mod form;
#[cfg(test)]
mod fuzz_tests;
mod publish;
pub(super) mod subscriptions;

/// Answers a request to the hub's own address.
pub(super) async fn answer(
    app: &Arc<App>,
    carrier: &Carrier,
    client: IpAddr,
    request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Problem> {
    const METHODS: &str = "GET, HEAD, POST, OPTIONS";
    let answer = match *request.method() {
        Method::GET | Method::HEAD => follow::follow(app, carrier, request).await,
        Method::POST => publish::publish(app, client, request).await,
        Method::OPTIONS => Ok(preflight(app, &request, METHODS)),
        _ => Err(Problem::method_not_allowed(METHODS)),
    };
    Ok(secured(answer))
}

/// With the fields that every answer of the hub has.
fn secured(answer: Result<Response<ReplyBody>, Problem>) -> Response<ReplyBody> {
    let mut response = answer.unwrap_or_else(Problem::into_response);
    add_security_fields(response.headers_mut());
    response
}

fn add_security_fields(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(X_XSS_PROTECTION, HeaderValue::from_static("1; mode=block"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'self'"));
}

/// The fields of a stream's head, but for those of the connection.
fn stream_fields() -> HeaderMap {
    let mut headers = head_fields();
    let no_cache = "private, no-cache, no-store, must-revalidate, max-age=0";
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(no_cache));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(EXPIRES, HeaderValue::from_static("0"));
    add_security_fields(&mut headers);
    headers
}

/// In this version of the protocol whoever may not do something is unauthorised, whatever the reason.
fn unauthorized(error: AccessError) -> Problem {
    match error {
        AccessError::Origin => Problem::new(StatusCode::UNAUTHORIZED, error.as_str(), error.to_string()),
        error => error.into(),
    }
}

/// The query's `authorization`, decoded. One that is there twice is worth as much as one that is wrong.
fn query_token<B>(request: &Request<B>) -> Option<String> {
    let query = request.uri().query().unwrap_or("");
    let mut tokens = query.split('&').filter_map(|pair| pair.strip_prefix("authorization="));
    let token = tokens.next()?;
    let decoded = super::query::decode(token).ok().filter(|_| tokens.next().is_none());
    Some(decoded.map_or_else(String::new, Cow::into_owned))
}

/// The topics below the hub's own address say who follows what: nobody but the hub publishes there.
///
/// # Errors
/// 403.
pub(super) fn check_reserved(topics: &[TopicName]) -> Result<(), Problem> {
    if topics.iter().any(|topic| topic.as_str().contains(MERCURE)) {
        let detail = "topics below the hub's own address are published to by the hub alone";
        return Err(Problem::new(StatusCode::FORBIDDEN, "reserved_topic", detail));
    }
    Ok(())
}
