//! The way to the collector: OTLP over HTTP, in JSON (OTLP 1.x, "JSON Protobuf Encoding").

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::CONTENT_TYPE;
use hyper::{Request, StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Outcome, Span};
use crate::access::connector;
use crate::config::{OtlpEndpoint, ServiceName};
use crate::signals::Signals;

/// Spans that leave in one request.
const BATCH_MAX: usize = 512;
/// How long the first of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// From the first packet to the last byte of the answer.
const SEND_MAX: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// A collector that is away is told of so often.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Sends what waits.
#[derive(Debug)]
pub(super) struct Exporter {
    uri: Uri,
    service: ServiceName,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    waiting: mpsc::Receiver<Span>,
    signals: Signals,
    told_at: Option<tokio::time::Instant>,
}

impl Exporter {
    /// # Errors
    /// When the address is none, or the system's certificates cannot be had.
    pub(super) fn new(
        endpoint: &OtlpEndpoint,
        service: ServiceName,
        waiting: mpsc::Receiver<Span>,
        signals: Signals,
    ) -> io::Result<Self> {
        let uri: Uri = endpoint.traces().parse().map_err(io::Error::other)?;
        let client = Client::builder(TokioExecutor::new()).build(connector(&uri)?);
        Ok(Self { uri, service, client, waiting, signals, told_at: None })
    }

    /// Sends until nobody begins spans any more.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        while self.gather(&mut batch).await {
            let count = batch.len() as u64;
            let body = serde_json::to_vec(&document(&self.service, &batch)).unwrap_or_default();
            batch.clear();
            match tokio::time::timeout(SEND_MAX, self.send(body.into())).await {
                Ok(Ok(())) => self.signals.spans_exported(count),
                Ok(Err(why)) => self.failed(count, &why),
                Err(_) => self.failed(count, &format!("no answer within {SEND_MAX:?}")),
            }
        }
    }

    /// Waits for a span, and a moment for others.
    async fn gather(&mut self, batch: &mut Vec<Span>) -> bool {
        if self.waiting.recv_many(batch, BATCH_MAX).await == 0 {
            return false;
        }
        let deadline = tokio::time::Instant::now() + GATHER;
        while batch.len() < BATCH_MAX {
            let more = self.waiting.recv_many(batch, BATCH_MAX - batch.len());
            match tokio::time::timeout_at(deadline, more).await {
                Ok(count) if count > 0 => (),
                // Time is up, or there will be none any more.
                _ => break,
            }
        }
        true
    }

    async fn send(&self, body: Bytes) -> Result<(), String> {
        let request = Request::post(self.uri.clone()).header(CONTENT_TYPE, "application/json").body(Full::new(body));
        let request = request.map_err(|error| error.to_string())?;
        let answer = self.client.request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        // Read, so that the connection can be used again.
        let _ = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        if status == StatusCode::OK { Ok(()) } else { Err(format!("the answer has status {status}")) }
    }

    fn failed(&mut self, count: u64, why: &str) {
        self.signals.spans_dropped("export", count);
        if self.told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            self.told_at = Some(tokio::time::Instant::now());
            tracing::warn!(why, "cannot send traces to the collector");
        }
    }
}

/// An `ExportTraceServiceRequest`.
fn document(service: &ServiceName, batch: &[Span]) -> Value {
    let attribute = |key: &str, value: Value| json!({ "key": key, "value": value });
    let text = |key: &str, value: &str| attribute(key, json!({ "stringValue": value }));
    let resource = json!({ "attributes": [
        text("service.name", service.as_str()),
        text("service.version", env!("CARGO_PKG_VERSION")),
    ]});
    json!({ "resourceSpans": [{
        "resource": resource,
        "scopeSpans": [{ "scope": { "name": "sse-server" }, "spans": batch.iter().map(span).collect::<Value>() }],
    }]})
}

fn span(span: &Span) -> Value {
    /// `SPAN_KIND_SERVER`.
    const SERVER: u8 = 2;
    /// `STATUS_CODE_ERROR`; unset is 0.
    const ERROR: u8 = 2;
    let mut attributes =
        vec![json!({ "key": "http.request.method", "value": { "stringValue": span.method.as_str() } })];
    let (code, message) = match span.outcome {
        Outcome::Abandoned => (ERROR, "the client went away"),
        Outcome::Status(status) => {
            // 64-bit numbers are texts in this encoding.
            let status_text = status.to_string();
            attributes.push(json!({ "key": "http.response.status_code", "value": { "intValue": status_text } }));
            (if status >= 500 { ERROR } else { 0 }, "")
        }
    };
    let mut document = json!({
        "traceId": format!("{:032x}", span.trace_id),
        "spanId": format!("{:016x}", span.id),
        "name": span.name,
        "kind": SERVER,
        "startTimeUnixNano": nanoseconds(span.began_at),
        "endTimeUnixNano": nanoseconds(span.ended_at),
        "attributes": attributes,
        "status": { "code": code, "message": message },
    });
    if let Some(parent) = span.parent_id {
        document["parentSpanId"] = format!("{parent:016x}").into();
    }
    document
}

fn nanoseconds(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}
