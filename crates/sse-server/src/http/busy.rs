//! The answer to a client that has to come back later.

use std::time::Duration;

use hyper::header::{ACCEPT, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::{Problem, ReplyBody, full};
use crate::app::{App, Busy};
use crate::config::BusyReply;
use crate::limits::Exceeded;
use crate::stream::{Notices, body, head_fields};

/// The shortest and longest wait that a busy server asks for.
const RETRY_MILLIS: (u64, u64) = (5_000, 15_000);

/// Turns a client away that wants a stream, before any work is done for it. A native `EventSource` gives up for good on any
/// status but 200, so it gets a stream that asks it to come back and ends.
pub(super) fn reply<B>(
    app: &App,
    request: &Request<B>,
    busy: Busy,
    notices: Notices,
) -> Result<Response<ReplyBody>, Problem> {
    app.signals.connection_rejected(busy.reason());
    let retry = Duration::from_millis(fastrand::u64(RETRY_MILLIS.0..=RETRY_MILLIS.1));
    if app.config().busy_reply == BusyReply::Unavailable || !is_event_source(request) {
        return Err(busy.into_problem(retry));
    }
    let mut response = Response::new(full(body::busy_text(retry, notices)));
    *response.headers_mut() = head_fields();
    Ok(response)
}

fn is_event_source<B>(request: &Request<B>) -> bool {
    let accepts = |value: &HeaderValue| value.as_bytes().windows(17).any(|part| part == b"text/event-stream");
    request.method() == Method::GET && request.headers().get_all(ACCEPT).iter().any(accepts)
}

impl Busy {
    /// The word that metrics carry.
    fn reason(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::Beginning => "beginning",
            Self::Behind => "behind",
            Self::Full => "full",
            Self::Exceeded(exceeded) => exceeded.as_str(),
        }
    }

    fn into_problem(self, retry: Duration) -> Problem {
        let detail = "the server takes no further streams at the moment";
        match self {
            Self::Draining | Self::Beginning | Self::Behind | Self::Full => {
                Problem::unavailable(self.reason(), detail, retry)
            }
            Self::Exceeded(exceeded @ Exceeded::Rate(_)) => exceeded.into(),
            Self::Exceeded(exceeded) => {
                Problem::new(StatusCode::TOO_MANY_REQUESTS, exceeded.as_str(), exceeded.detail())
                    .with_retry_after(retry)
            }
        }
    }
}
