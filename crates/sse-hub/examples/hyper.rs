//! The hub inside a plain hyper service: `GET /events/{topic}` follows, `POST /events/{topic}` publishes.
//!
//! ```text
//! cargo run -p sse-hub --example hyper
//! curl -N localhost:3000/events/news                                 # in a second terminal
//! curl -d 'hello' localhost:3000/events/news                         # in a third; answers the event's id
//! curl -N -H 'Last-Event-ID: earliest' localhost:3000/events/news    # or the id of an event seen before
//! ```

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::{Body, Frame as BodyFrame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use socket2::SockRef;
use sse_hub::{
    Batch, Cursor, Delivery, Hub, Publication, PublishError, Start, SubscribeError, SubscribeOptions, Subscription,
    TopicName,
};
use sse_wire::{Event, Frame};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Interval, interval, sleep};

/// Proxies cut streams that are silent for 30 to 60 seconds.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(25);
const RETRY: Duration = Duration::from_secs(3);
/// A client that reads nothing keeps its body from being polled too, so neither a heartbeat nor an eviction reaches it:
/// only the kernel can end that connection.
const STALL_MAX: Duration = Duration::from_secs(20);
const CONNECTIONS_MAX: usize = 10_000;
const EVENT_BYTES_MAX: usize = 1 << 20;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let hub = Hub::builder().build()?;
    tokio::spawn(sweep(hub.clone()));
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on {}", listener.local_addr()?);
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let permit = connections.clone().acquire_owned().await?;
        let Ok((socket, _)) = listener.accept().await else {
            // Out of descriptors, most likely: trying at once would spin until somebody leaves.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let hub = hub.clone();
        tokio::spawn(async move {
            // To hyper a client that leaves its stream is an error; here it is how streams end.
            let _ = serve(socket, hub).await;
            drop(permit);
        });
    }
}

/// The hub has no clock: without this nothing ages and nobody is ever too slow.
async fn sweep(hub: Hub) {
    let mut ticks = interval(Duration::from_millis(250));
    loop {
        ticks.tick().await;
        hub.sweep(Instant::now());
    }
}

async fn serve(socket: TcpStream, hub: Hub) -> anyhow::Result<()> {
    socket.set_nodelay(true)?;
    SockRef::from(&socket).set_tcp_user_timeout(Some(STALL_MAX))?;
    let service = service_fn(|request| async { Ok::<_, Infallible>(answer(&hub, request).await) });
    // Without a timer hyper has no deadline for a request's head.
    http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(socket), service).await?;
    Ok(())
}

type Answer = Response<Either<EventBody, Full<Bytes>>>;

async fn answer(hub: &Hub, request: Request<Incoming>) -> Answer {
    let path = percent_decode_str(request.uri().path()).decode_utf8_lossy();
    let Some(topic) = path.strip_prefix("/events/").map(TopicName::parse) else {
        return plain(StatusCode::NOT_FOUND, "topics are at /events/{topic}");
    };
    match (topic, request.method()) {
        (Err(error), _) => plain(StatusCode::BAD_REQUEST, error),
        (Ok(topic), &Method::GET) => follow(hub, topic, start(&request)),
        (Ok(topic), &Method::POST) => match read_event(request).await {
            Ok(event) => publish(hub, Publication::new(topic, event)),
            Err(error) => plain(StatusCode::BAD_REQUEST, error),
        },
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, "GET or POST"),
    }
}

/// An id that is no text names no event either: the hub then says in the stream that something is missing.
fn start(request: &Request<Incoming>) -> Start {
    let id = request.headers().get("last-event-id").map_or(&[][..], HeaderValue::as_bytes);
    Start::parse(&String::from_utf8_lossy(id))
}

fn follow(hub: &Hub, topic: TopicName, start: Start) -> Answer {
    // Taken first: a client that is cut before its first event comes back with it.
    let position = (start == Start::Live).then(|| hub.position());
    let subscription = match hub.subscribe(SubscribeOptions::topic(topic).from(start)) {
        Ok(subscription) => subscription,
        // Tells an `EventSource` to stop reconnecting.
        Err(error @ SubscribeError::Ended) => return plain(StatusCode::NO_CONTENT, error),
        Err(error) => return plain(StatusCode::SERVICE_UNAVAILABLE, error),
    };
    let mut answer = Response::new(Either::Left(EventBody::new(position, subscription)));
    let head = answer.headers_mut();
    head.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    head.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Or nginx collects the stream until it has a buffer full.
    head.insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer
}

async fn read_event(request: Request<Incoming>) -> anyhow::Result<Event> {
    let body = Limited::new(request.into_body(), EVENT_BYTES_MAX).collect().await.map_err(anyhow::Error::from_boxed)?;
    Ok(Event::from_utf8(body.to_bytes())?)
}

fn publish(hub: &Hub, publication: Publication) -> Answer {
    match hub.publish(publication) {
        Ok(receipt) => plain(StatusCode::OK, receipt.id()),
        Err(error @ PublishError::Closed { .. }) => plain(StatusCode::CONFLICT, error),
        Err(error) => plain(StatusCode::SERVICE_UNAVAILABLE, error),
    }
}

fn plain(status: StatusCode, text: impl ToString) -> Answer {
    let mut answer = Response::new(Either::Right(Full::from(text.to_string() + "\n")));
    *answer.status_mut() = status;
    answer
}

/// One client's stream. hyper drops it when the client is gone, and with it the subscription.
struct EventBody {
    /// Bytes at once, so that an `EventSource` is open before the first event.
    opening: Option<Bytes>,
    subscription: Subscription,
    heartbeat: Interval,
}

impl EventBody {
    fn new(position: Option<Cursor>, subscription: Subscription) -> Self {
        let mut heartbeat = interval(HEARTBEAT_INTERVAL);
        heartbeat.reset();
        let mut opening = Frame::retry(RETRY).text_bytes().to_vec();
        if let Some(position) = position {
            opening.extend_from_slice(position.frame().text_bytes());
        }
        Self { opening: Some(opening.into()), subscription, heartbeat }
    }

    /// The next bytes; `None` when the stream is over.
    fn poll_text(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(opening) = self.opening.take() {
            return Poll::Ready(Some(opening));
        }
        let Poll::Ready(delivery) = self.subscription.poll_delivery(cx) else {
            // Nothing to read; the wait for it goes on with the wait for the heartbeat.
            ready!(self.heartbeat.poll_tick(cx));
            return Poll::Ready(Some(Bytes::from_static(b": ping\n\n")));
        };
        self.heartbeat.reset();
        Poll::Ready(match delivery {
            Some(Delivery::Frames(batch)) => Some(join(&batch)),
            Some(Delivery::Gap(gap)) => Some(gap.frame().text()),
            // An evicted client comes back by itself and resumes.
            Some(Delivery::Evicted(_)) | None => None,
        })
    }
}

impl Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        self.poll_text(cx).map(|text| text.map(|text| Ok(BodyFrame::data(text))))
    }
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
