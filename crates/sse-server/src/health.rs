//! Whether the server lives, whether it can serve, and what it counts.

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;

use crate::app::App;
use crate::backplane::SharedLog;
use crate::event_log::EventLog;
use crate::http::{HealthRoute, Problem, ReplyBody, full, json};
use crate::logging;

/// Answers `/livez`, `/readyz` and `/metrics`.
///
/// # Errors
/// 405 for anything but GET and HEAD.
pub(crate) fn answer(app: &App, route: HealthRoute, method: &Method) -> Result<Response<ReplyBody>, Problem> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Problem::method_not_allowed("GET, HEAD"));
    }
    Ok(match route {
        HealthRoute::Live => text("live\n"),
        HealthRoute::Ready => ready(app),
        HealthRoute::Metrics => metrics(app),
    })
}

/// Green means that publishing works.
fn ready(app: &App) -> Response<ReplyBody> {
    #[derive(Serialize)]
    struct Document {
        ready: bool,
        reasons: Vec<&'static str>,
    }
    let reasons = lacking(app);
    let is_ready = reasons.is_empty();
    let mut response = json(&Document { ready: is_ready, reasons });
    if !is_ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// Why publishing does not work, if it does not.
fn lacking(app: &App) -> Vec<&'static str> {
    let draining = app.is_draining().then_some("draining");
    let log = app.log.as_ref().and_then(EventLog::trouble);
    let threads = app.vitals.have_failed().then_some("threads");
    let backplane = app.backplane.as_ref().and_then(SharedLog::trouble);
    let parts = [draining, log, backplane, threads].into_iter().flatten();
    parts.chain(app.access.lacking()).collect()
}

/// What is as it is when somebody looks.
fn look(app: &App) {
    metrics_process::Collector::default().collect();
    app.signals.log_lines_dropped(logging::dropped_lines());
    app.signals.ready(lacking(app).is_empty());
    app.signals.connections(app.connections.open(), app.connections.max());
    if let Some(backplane) = &app.backplane {
        app.signals.backplane(backplane.trouble().is_none(), backplane.node.lag());
    }
    if let Some(log) = &app.log {
        app.signals.log_stalled(log.stalled());
    }
}

fn metrics(app: &App) -> Response<ReplyBody> {
    let Some(handle) = &app.metrics else { return text("") };
    look(app);
    let mut response = text(handle.render());
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn text(text: impl Into<bytes::Bytes>) -> Response<ReplyBody> {
    let mut response = Response::new(full(text.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
