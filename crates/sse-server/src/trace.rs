//! Traces of requests that publish or ask for a stream, sent to a collector of OpenTelemetry.
//!
//! A span begins with its request and ends with the answer, or with the hand-over of the stream: what streams are sent is not
//! traced. Finished spans wait in a bounded queue; nobody waits for the collector.

use std::io;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::SystemTime;

use hyper::header::{HeaderMap, HeaderName};
use hyper::{Method, Request, StatusCode};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::signals::Signals;

mod export;
mod parent;

use export::Exporter;
use parent::Parent;

/// Spans that may wait for the collector; beyond it they are dropped.
const WAITING_MAX: usize = 4096;

/// What names the trace that a request is part of (W3C Trace Context, 3.2).
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Begins spans.
#[derive(Debug)]
pub(crate) struct Tracer {
    /// The share of requests that are traced although nobody asks for it.
    ratio: f64,
    spans: mpsc::Sender<Span>,
    signals: Signals,
    /// Until it runs.
    exporter: Mutex<Option<Exporter>>,
}

/// A request on its way, sent to the collector once it is dropped.
#[derive(Debug)]
pub(crate) struct Open {
    spans: mpsc::Sender<Span>,
    signals: Signals,
    span: Option<Span>,
    /// The answer's, and 0 until there is one.
    status: AtomicU16,
}

/// What is told of a request.
#[derive(Debug)]
struct Span {
    name: &'static str,
    trace_id: u128,
    parent_id: Option<u64>,
    id: u64,
    began_at: SystemTime,
    ended_at: SystemTime,
    method: Method,
    outcome: Outcome,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The client went away first.
    Abandoned,
    /// With an answer of this status.
    Status(u16),
}

impl Tracer {
    /// `None` unless there is a collector.
    ///
    /// # Errors
    /// When the system's certificates cannot be had, which https needs.
    pub(crate) fn new(config: &Config, signals: &Signals) -> io::Result<Option<Self>> {
        let Some(endpoint) = &config.otlp_endpoint else { return Ok(None) };
        let (spans, waiting) = mpsc::channel(WAITING_MAX);
        let exporter =
            Mutex::new(Some(Exporter::new(endpoint, config.otlp_service_name.clone(), waiting, signals.clone())?));
        Ok(Some(Self { ratio: config.trace_ratio.get(), spans, signals: signals.clone(), exporter }))
    }

    /// Sends spans for as long as it is polled.
    pub(crate) async fn run(&self) {
        let exporter = self.exporter.lock().take();
        match exporter {
            Some(exporter) => exporter.run().await,
            None => std::future::pending().await,
        }
    }

    /// Begins a span, if the request is to be traced. It goes with the request, too.
    pub(crate) fn begin<B>(&self, request: &mut Request<B>) -> Option<Arc<Open>> {
        let name = name_of(request.method(), request.uri().path())?;
        let parent = parent(request.headers());
        let is_wanted = parent.as_ref().map_or_else(|| fastrand::f64() < self.ratio, |parent| parent.is_sampled);
        if !is_wanted {
            return None;
        }
        let now = SystemTime::now();
        let span = Span {
            name,
            trace_id: parent.as_ref().map_or_else(|| fastrand::u128(1..), |parent| parent.trace_id),
            parent_id: parent.map(|parent| parent.id),
            id: fastrand::u64(1..),
            began_at: now,
            ended_at: now,
            method: request.method().clone(),
            outcome: Outcome::Abandoned,
        };
        let (spans, signals) = (self.spans.clone(), self.signals.clone());
        let open = Arc::new(Open { spans, signals, span: Some(span), status: AtomicU16::new(0) });
        request.extensions_mut().insert(open.clone());
        Some(open)
    }
}

impl Open {
    /// The request was answered.
    pub(crate) fn answered(&self, status: StatusCode) {
        self.status.store(status.as_u16(), Ordering::Relaxed);
    }
}

/// The request's stream has begun elsewhere, and what served the request is dropped.
pub(crate) fn handed_over<B>(request: &Request<B>) {
    if let Some(open) = request.extensions().get::<Arc<Open>>() {
        open.answered(StatusCode::OK);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(mut span) = self.span.take() else { return };
        span.ended_at = SystemTime::now();
        let status = NonZeroU16::new(self.status.load(Ordering::Relaxed));
        span.outcome = status.map_or(Outcome::Abandoned, |status| Outcome::Status(status.get()));
        if self.spans.try_send(span).is_err() {
            self.signals.spans_dropped("queue", 1);
        }
    }
}

/// What a request does, if that is traced.
fn name_of(method: &Method, path: &str) -> Option<&'static str> {
    let is_stream = path.starts_with("/events") || path == "/.well-known/mercure";
    match *method {
        Method::GET if is_stream => Some("connect"),
        Method::POST if is_stream || path == "/publish" => Some("publish"),
        Method::DELETE if is_stream => Some("close"),
        _ => None,
    }
}

/// The one that a request names; two are none.
fn parent(headers: &HeaderMap) -> Option<Parent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let parent = Parent::parse(values.next()?.to_str().ok()?)?;
    values.next().is_none().then_some(parent)
}
