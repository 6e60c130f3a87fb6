//! The hub inside an axum service: `GET /events/{topic}` follows, `POST /events/{topic}` publishes.
//!
//! ```text
//! cargo run -p sse-hub --example axum
//! curl -N localhost:3000/events/news                                 # in a second terminal
//! curl -d 'hello' localhost:3000/events/news                         # in a third; answers the event's id
//! curl -N -H 'Last-Event-ID: earliest' localhost:3000/events/news    # or the id of an event seen before
//! curl localhost:3000/topics                                         # who follows what
//! ```
//!
//! `axum::serve` has no deadline for a request's head and no bound on connections: leave those to a proxy, or serve with
//! hyper as the other example does.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::ListenerExt;
use axum::{Router, serve};
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream, StreamExt};
use socket2::SockRef;
use sse_hub::{Batch, Delivery, Hub, Publication, PublishError, Start, SubscribeError, SubscribeOptions, Subscription};
use sse_hub::{TopicName, TopicNameError};
use sse_wire::{Event, Frame};
use tokio::net::TcpListener;
use tokio::time::{interval, timeout};
use tower_http::compression::CompressionLayer;

/// Proxies cut streams that are silent for 30 to 60 seconds.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(25);
const RETRY: Duration = Duration::from_secs(3);
/// A client that reads nothing also keeps its body from being polled, so neither a heartbeat nor an eviction reaches it:
/// only the kernel can end that connection.
const STALL_MAX: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let hub = Hub::builder().build()?;
    tokio::spawn(sweep(hub.clone()));
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on {}", listener.local_addr()?);
    let listener = listener.tap_io(|socket| {
        let _ = socket.set_nodelay(true);
        let _ = SockRef::from(&*socket).set_tcp_user_timeout(Some(STALL_MAX));
    });
    // It leaves event streams as they are, by their media type, and compresses the rest.
    Ok(serve(listener, routes(hub).layer(CompressionLayer::new())).await?)
}

pub(crate) fn routes(hub: Hub) -> Router {
    Router::new().route("/events/{*topic}", get(follow).post(publish)).route("/topics", get(topics)).with_state(hub)
}

/// The hub has no clock: without this nothing ages and nobody is ever too slow.
async fn sweep(hub: Hub) {
    let mut ticks = interval(Duration::from_millis(250));
    loop {
        ticks.tick().await;
        hub.sweep(Instant::now());
    }
}

async fn follow(State(hub): State<Hub>, Path(topic): Path<String>, headers: HeaderMap) -> Result<Response, Refusal> {
    let last_event_id = headers.get("last-event-id").map_or(&[][..], |id| id.as_bytes());
    // An id that is no text names no event either: the hub then says in the stream that something is missing.
    let start = Start::parse(&String::from_utf8_lossy(last_event_id));
    // Taken first: a client that is cut before its first event comes back with it.
    let position = (start == Start::Live).then(|| hub.position().frame().text());
    let subscription = hub.subscribe(SubscribeOptions::topic(TopicName::parse(&topic)?).from(start))?;
    let head = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache"),
        // Or nginx collects the stream until it has a buffer full.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    // Bytes at once, so that an `EventSource` is open before the first event.
    let opening = stream::iter([Frame::retry(RETRY).text()].into_iter().chain(position));
    let body = Body::from_stream(opening.chain(texts(subscription)).map(Ok::<_, Infallible>));
    Ok((head, body).into_response())
}

/// What one client gets. axum drops this when the client is gone, and with it the subscription.
fn texts(subscription: Subscription) -> impl Stream<Item = Bytes> {
    stream::unfold(subscription, |mut subscription| async move {
        let text = match timeout(HEARTBEAT_INTERVAL, subscription.next()).await {
            Err(_quiet) => Bytes::from_static(b": ping\n\n"),
            Ok(Some(Delivery::Frames(batch))) => join(&batch),
            Ok(Some(Delivery::Gap(gap))) => gap.frame().text(),
            // It comes back by itself and resumes.
            Ok(Some(Delivery::Evicted(_)) | None) => return None,
        };
        Some((text, subscription))
    })
}

/// All that is pending goes out in one piece: one chunk and one write, however many events came at once.
fn join(batch: &Batch) -> Bytes {
    match batch.items() {
        [only] => only.frame.text(),
        items => {
            let mut text = BytesMut::new();
            items.iter().for_each(|item| text.extend_from_slice(item.frame.text_bytes()));
            text.freeze()
        }
    }
}

async fn publish(State(hub): State<Hub>, Path(topic): Path<String>, data: String) -> Result<String, Refusal> {
    let receipt = hub.publish(Publication::new(TopicName::parse(&topic)?, Event::new(data)))?;
    Ok(receipt.id() + "\n")
}

async fn topics(State(hub): State<Hub>) -> String {
    let line =
        |info: &sse_hub::TopicInfo| format!("{}: {} followers, {} frames\n", info.name, info.followers, info.frames);
    hub.topic_infos(100).iter().map(line).collect()
}

/// Why a request was turned down.
struct Refusal(StatusCode, String);

impl From<TopicNameError> for Refusal {
    fn from(error: TopicNameError) -> Self {
        Self(StatusCode::BAD_REQUEST, error.to_string())
    }
}

impl From<SubscribeError> for Refusal {
    fn from(error: SubscribeError) -> Self {
        let status = match error {
            // Tells an `EventSource` to stop reconnecting.
            SubscribeError::Ended => StatusCode::NO_CONTENT,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, error.to_string())
    }
}

impl From<PublishError> for Refusal {
    fn from(error: PublishError) -> Self {
        let status = match error {
            PublishError::Closed { .. } => StatusCode::CONFLICT,
            PublishError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, self.1 + "\n").into_response()
    }
}
