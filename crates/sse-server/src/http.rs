//! From a request to its answer: routing, and what every answer has.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue, ORIGIN};
use hyper::{Method, Request, Response, StatusCode};

use crate::app::App;
use crate::carrier::Carrier;
use crate::health;

mod body;
mod busy;
mod envelope;
mod follow;
#[cfg(test)]
mod fuzz_tests;
mod idempotency;
mod mercure;
mod origin;
#[cfg(test)]
mod panic_tests;
mod problem;
mod publish;
mod query;
mod tickets;

pub(crate) use body::{Bodies, read_body};
pub(crate) use follow::start as start_of;
pub(crate) use origin::{check_admin_host, check_own_origin};
pub(crate) use problem::Problem;
pub(crate) use publish::publish_by_hand;
pub(crate) use query::{HealthRoute, pairs as query_pairs};
use query::{MERCURE, Route};

/// Every answer's body.
pub(crate) type ReplyBody = UnsyncBoxBody<Bytes, Infallible>;

/// A body that is there whole.
pub(crate) fn full(bytes: impl Into<Bytes>) -> ReplyBody {
    Full::new(bytes.into()).boxed_unsync()
}

/// 204.
pub(crate) fn no_content() -> Response<ReplyBody> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Longer targets are refused: no topic of 1,024 bytes needs more, even percent-encoded three times over.
const TARGET_BYTES_MAX: usize = 12 * 1024;
/// Clients of the Mercure protocol name up to 1,000 topics in a target.
const MERCURE_TARGET_BYTES_MAX: usize = 48 * 1024;

/// Answers one request on the public listener. A stream that a writer takes over is never answered here: the connection
/// is taken apart while this waits.
pub(crate) async fn handle(
    app: Arc<App>,
    carrier: Carrier,
    mut request: Request<Incoming>,
) -> Result<Response<ReplyBody>, Infallible> {
    let origin = request.headers().get(ORIGIN).cloned();
    let is_head = request.method() == Method::HEAD;
    let span = app.tracer.as_ref().and_then(|tracer| tracer.begin(&mut request));
    let mut response = match route(&app, &carrier, request).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    };
    span.iter().for_each(|span| span.answered(response.status()));
    origin::add_cors(response.headers_mut(), origin.as_ref(), &app.config());
    let is_of_old = app.succession.is_over() && matches!(carrier, Carrier::Connection(_));
    if is_of_old || carrier.is_surplus_connection() {
        // Its place is for the next one to be told the same.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if is_head {
        *response.body_mut() = full(Bytes::new());
    }
    Ok(response)
}

async fn route(app: &Arc<App>, carrier: &Carrier, request: Request<Incoming>) -> Result<Response<ReplyBody>, Problem> {
    let target_len = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    let bytes_max = if request.uri().path() == MERCURE { MERCURE_TARGET_BYTES_MAX } else { TARGET_BYTES_MAX };
    if target_len > bytes_max {
        let detail = format!("the target has {target_len} bytes, more than {bytes_max}");
        return Err(Problem::new(StatusCode::URI_TOO_LONG, "uri_too_long", detail));
    }
    #[cfg(test)]
    assert_ne!(request.uri().path(), panic_tests::PATH, "on purpose");
    origin::check_host(&request, &app.config())?;
    let client = app.limits.client(carrier.remote_addr(), request.headers()).ip();
    match Route::parse(request.uri().path())? {
        Route::Topic(topic) => match *request.method() {
            Method::GET | Method::HEAD => follow::follow(app, carrier, request, Some(topic)).await,
            Method::POST => publish::publish_body(app, client, request, topic).await,
            Method::DELETE => publish::close(app, client, &request, &topic).await,
            Method::OPTIONS => Ok(preflight(app, &request, "GET, HEAD, POST, DELETE, OPTIONS")),
            _ => Err(Problem::method_not_allowed("GET, HEAD, POST, DELETE, OPTIONS")),
        },
        Route::Events => match *request.method() {
            Method::GET | Method::HEAD => follow::follow(app, carrier, request, None).await,
            Method::OPTIONS => Ok(preflight(app, &request, "GET, HEAD, OPTIONS")),
            _ => Err(Problem::method_not_allowed("GET, HEAD, OPTIONS")),
        },
        Route::Publish => match *request.method() {
            Method::POST => publish::publish_envelopes(app, client, request).await,
            Method::OPTIONS => Ok(preflight(app, &request, "POST, OPTIONS")),
            _ => Err(Problem::method_not_allowed("POST, OPTIONS")),
        },
        Route::Tickets => match *request.method() {
            Method::POST => tickets::issue(app, request).await,
            Method::OPTIONS => Ok(preflight(app, &request, "POST, OPTIONS")),
            _ => Err(Problem::method_not_allowed("POST, OPTIONS")),
        },
        Route::Mercure => mercure::answer(app, carrier, client, request).await,
        Route::Subscriptions => mercure::subscriptions::answer(app, request).await,
        Route::Health(_) if !app.config().health_on_public => Err(Problem::not_found()),
        Route::Health(route) => health::answer(app, route, request.method()),
    }
}

fn preflight<B>(app: &App, request: &Request<B>, methods: &'static str) -> Response<ReplyBody> {
    let mut response = no_content();
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    origin::add_preflight(response.headers_mut(), request.headers(), methods, &app.config());
    response
}

/// 200 with a JSON document, and the end of a line for terminals.
pub(crate) fn json(document: &impl serde::Serialize) -> Response<ReplyBody> {
    let mut body = serde_json::to_vec(document).expect("the answers' types have a JSON form");
    body.push(b'\n');
    let mut response = Response::new(full(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The length a body declares, or what is known of it.
pub(crate) fn declared_len(body: &impl Body) -> u64 {
    body.size_hint().lower()
}
