//! Refusals, as `application/problem+json` (RFC 9457).

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use sse_hub::{PublishError, SubscribeError};

use super::{ReplyBody, full};
use crate::access::AccessError;
use crate::limits::Exceeded;

/// One refusal. Boxed, so that what can be refused stays small where nothing is.
#[derive(Debug, Clone)]
pub(crate) struct Problem(Box<Refusal>);

/// The status, what was wrong, and where.
#[derive(Debug, Clone)]
struct Refusal {
    status: StatusCode,
    /// The word that programs go by, in the document and in metrics.
    reason: &'static str,
    detail: String,
    field: Option<&'static str>,
    header: Option<(HeaderName, HeaderValue)>,
    /// Ids that were published before the one refused.
    published: Vec<String>,
}

/// How long a refused publisher should wait, when the reason is one that passes.
const RETRY_AFTER_BUSY: Duration = Duration::from_secs(1);

impl Problem {
    pub(crate) fn new(status: StatusCode, reason: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self(Box::new(Refusal { status, reason, detail, field: None, header: None, published: Vec::new() }))
    }

    /// 400: `field` is not as it should be.
    pub(crate) fn bad(field: &'static str, detail: impl Into<String>) -> Self {
        let mut problem = Self::new(StatusCode::BAD_REQUEST, "malformed", detail);
        problem.0.field = Some(field);
        problem
    }

    /// 403: the credential counts, and does not grant this.
    pub(crate) fn not_granted(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "not_granted", detail)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
    }

    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", format!("this path takes {allow}"));
        problem.with_header(ALLOW, HeaderValue::from_static(allow))
    }

    pub(crate) fn too_large(bytes_max: usize) -> Self {
        let detail = format!("the body is larger than {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    /// 429 with `Retry-After`.
    pub(crate) fn too_many(reason: &'static str, detail: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, reason, detail).with_retry_after(retry_after)
    }

    /// 503 with `Retry-After`.
    pub(crate) fn unavailable(reason: &'static str, detail: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason, detail).with_retry_after(retry_after)
    }

    pub(crate) fn with_retry_after(self, retry_after: Duration) -> Self {
        self.with_header(RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)))
    }

    fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.header = Some((name, value));
        self
    }

    /// Says which events of a batch were published all the same.
    pub(crate) fn after(mut self, published: Vec<String>) -> Self {
        self.0.published = published;
        self
    }

    /// Says where in the body the fault is.
    pub(crate) fn at(mut self, place: impl std::fmt::Display) -> Self {
        self.0.detail = format!("{place}: {}", self.0.detail);
        self
    }

    /// The word that programs go by.
    pub(crate) fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// The whole answer as bytes, for a connection that closes behind it.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let status = self.0.status;
        let body = self.document();
        let title = status.canonical_reason().unwrap_or("Error");
        let head = format!(
            "HTTP/1.1 {} {title}\r\nContent-Type: application/problem+json\r\nCache-Control: no-store\r\n\
             X-Content-Type-Options: nosniff\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            status.as_u16(),
            body.len()
        );
        [head.into_bytes(), body].concat()
    }

    pub(crate) fn into_response(self) -> Response<ReplyBody> {
        let body = self.document();
        let Refusal { status, header, .. } = *self.0;
        let mut response = Response::new(full(Bytes::from(body)));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some((name, value)) = header {
            headers.insert(name, value);
        }
        response
    }

    /// The body: the document as JSON, and the end of a line for terminals.
    fn document(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Document<'a> {
            title: &'a str,
            status: u16,
            reason: &'static str,
            detail: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            field: Option<&'static str>,
            #[serde(skip_serializing_if = "<[String]>::is_empty")]
            published: &'a [String],
        }
        let Refusal { status, reason, detail, field, published, .. } = &*self.0;
        let title = status.canonical_reason().unwrap_or("Error");
        let document = Document { title, status: status.as_u16(), reason, detail, field: *field, published };
        let mut text = serde_json::to_vec(&document).expect("a document of strings and numbers has a JSON form");
        text.push(b'\n');
        text
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        let (reason, detail) = (error.as_str(), error.to_string());
        let unauthorized = |challenge: &'static str| {
            let problem = Self::new(StatusCode::UNAUTHORIZED, reason, detail.clone());
            problem.with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
        };
        match error {
            // RFC 6750, 3: the bare scheme when there was no token, else that it does not count.
            AccessError::Missing => unauthorized("Bearer"),
            AccessError::Invalid => unauthorized(r#"Bearer error="invalid_token""#),
            AccessError::Origin => Self::new(StatusCode::FORBIDDEN, reason, detail),
            AccessError::NoKeys => Self::unavailable(reason, detail, RETRY_AFTER_BUSY),
        }
    }
}

impl From<Exceeded> for Problem {
    fn from(exceeded: Exceeded) -> Self {
        let retry_after = match exceeded {
            // The header has whole seconds: too early would be refused again.
            Exceeded::Rate(wait) => Duration::from_secs(wait.as_secs_f64().ceil() as u64),
            Exceeded::Address | Exceeded::Subject => RETRY_AFTER_BUSY,
        };
        Self::new(StatusCode::TOO_MANY_REQUESTS, exceeded.as_str(), exceeded.detail()).with_retry_after(retry_after)
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let (reason, detail) = (error.as_str(), error.to_string());
        match error {
            PublishError::Closed { .. } | PublishError::KeyReused => Self::new(StatusCode::CONFLICT, reason, detail),
            PublishError::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, reason, detail),
            PublishError::TooManyTopics { .. } => Self::bad("topics", detail),
            PublishError::ReservedId { .. } => Self::bad("id", detail),
            PublishError::ReservedType { .. } => Self::bad("type", detail),
            PublishError::TopicsFull { .. } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, reason, detail).with_retry_after(RETRY_AFTER_BUSY)
            }
            _ => Self::unavailable(reason, detail, RETRY_AFTER_BUSY),
        }
    }
}

impl From<SubscribeError> for Problem {
    fn from(error: SubscribeError) -> Self {
        let detail = error.to_string();
        match error {
            SubscribeError::NoTopic | SubscribeError::TooManyTopics { .. } => Self::bad("topic", detail),
            SubscribeError::TopicsFull { .. } => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "topics_full", detail).with_retry_after(RETRY_AFTER_BUSY)
            }
            _ => Self::unavailable("subscribe", detail, RETRY_AFTER_BUSY),
        }
    }
}
