//! `/api/publish`: an event by hand.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response, StatusCode};

use super::rights::Rights;
use crate::app::App;
use crate::http::{Problem, ReplyBody, check_own_origin, publish_by_hand};

/// Takes what `POST /publish` takes.
///
/// # Errors
/// A [`Problem`].
pub(super) async fn answer(app: &Arc<App>, request: Request<Incoming>) -> Result<Response<ReplyBody>, Problem> {
    if request.method() != Method::POST {
        return Err(Problem::method_not_allowed("POST"));
    }
    check_own_origin(&request)?;
    check_json(&request)?;
    Rights::of(app).check_publish()?;
    publish_by_hand(app, request).await
}

/// A form of another page's cannot send this type, nor can a script without asking first (Fetch, 2.2.2).
fn check_json<B>(request: &Request<B>) -> Result<(), Problem> {
    let given = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    let media_type = given.split(';').next().unwrap_or("").trim();
    if ["application/json", "application/x-ndjson"].iter().any(|known| media_type.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    let detail = "send application/json or application/x-ndjson";
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content_type", detail))
}
