//! Refusals, as `application/problem+json` (RFC 9457).

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use serde::Serialize;
use sse_hub::{PublishError, SubscribeError};

use super::{ReplyBody, full};

/// One refusal: the status, what was wrong, and where.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    /// The word that metrics carry.
    pub(crate) reason: &'static str,
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
        Self { status, reason, detail: detail.into(), field: None, header: None, published: Vec::new() }
    }

    /// 400: `field` is not as it should be.
    pub(crate) fn bad(field: &'static str, detail: impl Into<String>) -> Self {
        Self { field: Some(field), ..Self::new(StatusCode::BAD_REQUEST, "malformed", detail) }
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path")
    }

    pub(crate) fn method_not_allowed(allow: &'static str) -> Self {
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", format!("this path takes {allow}"));
        Self { header: Some((ALLOW, HeaderValue::from_static(allow))), ..problem }
    }

    pub(crate) fn too_large(bytes_max: usize) -> Self {
        let detail = format!("the body is larger than {bytes_max} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    /// 503 with `Retry-After`.
    pub(crate) fn unavailable(reason: &'static str, detail: impl Into<String>, retry_after: Duration) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, reason, detail).with_retry_after(retry_after)
    }

    fn with_retry_after(self, retry_after: Duration) -> Self {
        Self { header: Some((RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)))), ..self }
    }

    /// Says which events of a batch were published all the same.
    pub(crate) fn after(self, published: Vec<String>) -> Self {
        Self { published, ..self }
    }

    /// Says where in the body the fault is.
    pub(crate) fn at(mut self, place: impl std::fmt::Display) -> Self {
        self.detail = format!("{place}: {}", self.detail);
        self
    }

    pub(crate) fn into_response(self) -> Response<ReplyBody> {
        #[derive(Serialize)]
        struct Document<'a> {
            title: &'a str,
            status: u16,
            detail: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            field: Option<&'static str>,
            #[serde(skip_serializing_if = "<[String]>::is_empty")]
            published: &'a [String],
        }
        let document = Document {
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            field: self.field,
            published: &self.published,
        };
        let body = serde_json::to_vec(&document).expect("a document of strings and numbers has a JSON form");
        let mut response = Response::new(full(Bytes::from(body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
        response
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let (reason, detail) = (error.as_str(), error.to_string());
        match error {
            PublishError::Closed { .. } => Self::new(StatusCode::CONFLICT, reason, detail),
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
