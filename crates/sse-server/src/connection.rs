//! One connection while hyper has it: its deadlines, and the hand-over of its socket.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;

use crate::app::App;
use crate::carrier::Carrier;
use crate::gauge::{ConnectionPermit, Surplus};
use crate::http;
use crate::io::WatchedIo;
use crate::request_scan::HEAD_BYTES_MAX;
use crate::stream::body::SharedStream;
use crate::stream::{EndReason, StreamPlan};
use crate::transport::Transport;

/// A new connection has this long to send its first byte, besides the time that the listener leaves it with the kernel.
pub(crate) const FIRST_BYTE_MAX: Duration = Duration::from_millis(3_500);
/// From the first byte of a request to the end of its head.
pub(crate) const HEAD_MAX: Duration = Duration::from_secs(8);
/// Between two requests on one connection.
pub(crate) const IDLE_MAX: Duration = Duration::from_secs(60);
/// hyper's own timer stands behind ours, should ours fail.
const HYPER_HEAD_MAX: Duration = Duration::from_secs(70);
/// How often the deadlines are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Fields of a head; with one more the answer is 431.
const FIELDS_MAX: usize = 100;
/// Bytes that hyper buffers for one connection: a head at its bound, and whatever else comes with it.
const BUFFER_BYTES_MAX: usize = HEAD_BYTES_MAX + 4 * 1024;

/// What the parts of one connection tell each other.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    remote_addr: SocketAddr,
    surplus: Option<Surplus>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    permit: Option<ConnectionPermit>,
    /// The request that became a stream, to be taken to a writer.
    plan: Option<Box<StreamPlan>>,
    phase: Phase,
    since: Instant,
    /// The first look at the connection is over, and it is still here.
    stays: bool,
    /// Since when the socket takes no more.
    blocked_since: Option<Instant>,
    /// The stream that hyper writes on this connection.
    stream: Option<SharedStream>,
    /// Who reads on once the request under way is answered.
    reader: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing has come yet.
    New,
    /// Between requests.
    Idle,
    /// Part of a head has come.
    Head,
    /// A request is being answered.
    Handling,
}

impl ConnectionState {
    fn new(remote_addr: SocketAddr, permit: ConnectionPermit) -> Self {
        let surplus = permit.surplus();
        let inner = Inner {
            permit: Some(permit),
            plan: None,
            phase: Phase::New,
            since: Instant::now(),
            stays: false,
            blocked_since: None,
            stream: None,
            reader: None,
        };
        Self { remote_addr, surplus, inner: Mutex::new(inner) }
    }

    pub(crate) fn remote_addr(&self) -> SocketAddr {
        self.remote_addr
    }

    /// The bound that was reached when it came, if one was.
    pub(crate) fn surplus(&self) -> Option<Surplus> {
        self.surplus
    }

    /// The connection's permit moves to its stream, which outlives hyper.
    pub(crate) fn take_permit(&self) -> Option<ConnectionPermit> {
        self.inner.lock().permit.take()
    }

    /// Records that the request became a stream for a writer.
    pub(crate) fn hand_over(&self, plan: StreamPlan) {
        self.inner.lock().plan = Some(Box::new(plan));
    }

    /// hyper asks a stream for more only while the socket takes it, so its end is watched for from here.
    pub(crate) fn watch(&self, stream: SharedStream) {
        self.inner.lock().stream = Some(stream);
    }

    /// The plan, once nothing of an earlier answer is left to be written.
    fn take_plan(&self) -> Option<Box<StreamPlan>> {
        let mut inner = self.inner.lock();
        if inner.blocked_since.is_some() { None } else { inner.plan.take() }
    }

    /// Whether its socket has to be watched: it did not become a stream in the first poll, in which most do.
    pub(crate) fn stays(&self) -> bool {
        self.inner.lock().stays
    }

    /// Bytes have come in.
    pub(crate) fn received(&self) {
        let mut inner = self.inner.lock();
        if matches!(inner.phase, Phase::New | Phase::Idle) {
            inner.enter(Phase::Head);
        }
    }

    /// The socket took bytes, or took none. True if they belong to a stream.
    pub(crate) fn wrote(&self, blocked: bool) -> bool {
        let mut inner = self.inner.lock();
        inner.blocked_since = blocked.then(|| inner.blocked_since.unwrap_or_else(Instant::now));
        let Some(stream) = &inner.stream else { return false };
        let mut stream = stream.lock();
        stream.blocked_since = inner.blocked_since;
        if !blocked {
            stream.fan_out = None;
        }
        true
    }

    /// Whether nothing has come yet.
    fn is_new(&self) -> bool {
        self.inner.lock().phase == Phase::New
    }

    /// Whether a head is under way that has not become a request: what is written now is hyper's own refusal of it.
    pub(crate) fn is_reading_head(&self) -> bool {
        self.inner.lock().phase == Phase::Head
    }

    fn request_begins(&self) {
        let mut inner = self.inner.lock();
        inner.enter(Phase::Handling);
        inner.stream = None;
    }

    fn request_ends(&self) {
        let reader = {
            let mut inner = self.inner.lock();
            inner.enter(Phase::Idle);
            inner.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Whether a request has come and has no answer yet.
    pub(crate) fn is_answering(&self) -> bool {
        self.inner.lock().phase == Phase::Handling
    }

    /// Has `reader` woken once the request is answered.
    pub(crate) fn wake_when_answered(&self, reader: &Waker) {
        self.inner.lock().reader = Some(reader.clone());
    }

    /// Whether hyper writes a stream that has not ended.
    pub(crate) fn has_stream(&self) -> bool {
        self.inner.lock().stream.as_ref().is_some_and(|stream| stream.lock().ended.is_none())
    }

    /// Has the stream that hyper writes end at its turn in the drain.
    fn drain_stream(&self, app: &App) {
        if let Some(stream) = &self.inner.lock().stream {
            stream.lock().drain(app);
        }
    }

    /// Says why the stream ends that hyper writes.
    pub(crate) fn end_stream(&self, reason: EndReason) {
        if let Some(stream) = &self.inner.lock().stream {
            stream.lock().ended.get_or_insert(reason);
        }
    }

    /// The reason to end the stream that hyper writes although it cannot be told.
    fn stream_overdue(&self, app: &App) -> Option<EndReason> {
        let inner = self.inner.lock();
        let blocked_for = inner.blocked_since.map(|since| since.elapsed());
        inner.stream.as_ref()?.lock().end_overdue(app, blocked_for)
    }

    /// The reason to give up on the connection.
    fn overdue(&self, write_timeout: Duration) -> Option<&'static str> {
        let inner = self.inner.lock();
        if inner.blocked_since.is_some_and(|since| since.elapsed() >= write_timeout) {
            return Some("stalled");
        }
        if inner.stream.as_ref().is_some_and(|stream| stream.lock().ended.is_none()) {
            // An answer under way, however long it lasts.
            return None;
        }
        let (max, reason) = match inner.phase {
            Phase::New => (FIRST_BYTE_MAX, "silent"),
            Phase::Idle => (IDLE_MAX, "idle"),
            Phase::Head => (HEAD_MAX, "slow_head"),
            Phase::Handling => return None,
        };
        // Looked at once per second: a deadline is kept by being up to a second early, never late.
        (inner.since.elapsed() + WATCH_EVERY > max).then_some(reason)
    }
}

impl Inner {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = Instant::now();
    }
}

type BoxedHandler =
    Pin<Box<dyn Future<Output = Result<hyper::Response<http::ReplyBody>, std::convert::Infallible>> + Send>>;

/// How a connection left hyper.
enum Outcome {
    Closed,
    Overdue(&'static str),
    StreamOverdue(EndReason),
    HandedOver(Box<StreamPlan>),
}

/// Serves one HTTP/1.1 connection until it closes or becomes a stream. `first` has been read from the socket already.
pub(crate) async fn serve(
    app: Arc<App>,
    transport: Transport,
    first: Vec<u8>,
    remote_addr: SocketAddr,
    permit: ConnectionPermit,
) {
    let state = Arc::new(ConnectionState::new(remote_addr, permit));
    let io = WatchedIo::new(TokioIo::new(transport), first, state.clone(), app.signals.clone());
    let service = {
        let (app, state) = (app.clone(), state.clone());
        service_fn(move |request: Request<Incoming>| -> BoxedHandler {
            let (app, state) = (app.clone(), state.clone());
            state.request_begins();
            Box::pin(async move {
                let answer = http::handle(app, Carrier::Connection(state.clone()), request).await;
                state.request_ends();
                answer
            })
        })
    };
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HYPER_HEAD_MAX)
        .max_headers(FIELDS_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .title_case_headers(true)
        .serve_connection(io, service);
    let outcome = match first_look(&mut connection, &state).await {
        Some(outcome) => outcome,
        None => {
            let mut watch = tokio::time::interval(WATCH_EVERY);
            let mut draining = std::pin::pin!(draining(&app));
            let (mut is_draining, mut is_last, mut is_stream) = (false, false, false);
            let write_timeout = app.times.write_timeout;
            std::future::poll_fn(|cx: &mut Context<'_>| {
                if !is_draining && draining.as_mut().poll(cx).is_ready() {
                    is_draining = true;
                    state.drain_stream(&app);
                }
                // hyper closes a connection that has sent nothing yet; its first request is to be answered all the same.
                // Where another process serves, one that is idle stays: a request may be on its way, and is answered as the last.
                let may_close = !app.succession.is_over() || state.has_stream();
                if is_draining && may_close && !is_last && !state.is_new() {
                    is_last = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
                if Pin::new(&mut connection).poll(cx).is_ready() {
                    return Poll::Ready(Outcome::Closed);
                }
                // Its head is written by now. Its end is the connection's, as on a writer.
                if !is_stream && state.has_stream() {
                    is_stream = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
                if is_draining && may_close && !is_last && !state.is_new() {
                    cx.waker().wake_by_ref();
                }
                if let Some(plan) = state.take_plan() {
                    return Poll::Ready(Outcome::HandedOver(plan));
                }
                while watch.poll_tick(cx).is_ready() {
                    if let Some(reason) = state.stream_overdue(&app) {
                        return Poll::Ready(Outcome::StreamOverdue(reason));
                    }
                    if let Some(reason) = state.overdue(write_timeout) {
                        return Poll::Ready(Outcome::Overdue(reason));
                    }
                }
                Poll::Pending
            })
            .await
        }
    };
    match outcome {
        Outcome::Closed => connection.into_parts().io.linger().await,
        // The hub counts an eviction when the subscriber is told, which this one never is.
        Outcome::StreamOverdue(EndReason::Lagged) => app.signals.eviction(EndReason::Lagged.as_str()),
        Outcome::StreamOverdue(_) => (),
        Outcome::Overdue(reason) => {
            app.signals.connection_rejected(reason);
            tracing::debug!(%remote_addr, reason, "connection closed");
        }
        Outcome::HandedOver(plan) => hand_over(&app, connection.into_parts().io.into_transport(), *plan).await,
    }
}

/// Polls the connection once. Mostly its request is there and becomes a stream: then nothing has to be set up that watches
/// a connection.
async fn first_look(connection: &mut (impl Future + Unpin), state: &ConnectionState) -> Option<Outcome> {
    std::future::poll_fn(|cx| {
        let is_over = Pin::new(&mut *connection).poll(cx).is_ready();
        Poll::Ready(if is_over { Some(Outcome::Closed) } else { state.take_plan().map(Outcome::HandedOver) })
    })
    .await
    .or_else(|| {
        state.inner.lock().stays = true;
        None
    })
}

pub(crate) async fn draining(app: &App) {
    let mut drain = app.drain.subscribe();
    // The sender lives as long as the app.
    let _ = drain.wait_for(Option::is_some).await;
}

/// Takes the socket out of tokio and gives it to a writer. What the client sent behind its request is dropped with
/// hyper's buffer.
async fn hand_over(app: &App, transport: Transport, plan: StreamPlan) {
    match (transport.into_raw(), &app.writers) {
        (Ok(transport), Some(writers)) => writers.join(transport, plan).await,
        (Err(error), _) => tracing::warn!(%error, "cannot take a socket out of the runtime"),
        (Ok(_), None) => unreachable!("streams are handed over only where there are writers"),
    }
}

#[cfg(test)]
mod tests {
    use sse_hub::{Start, SubscribeOptions, TopicName};

    use super::*;
    use crate::config::Config;
    use crate::gauge::ConnectionGauge;
    use crate::limits::Limits;
    use crate::stream::body::BodyStream;

    #[test]
    fn a_stream_is_no_idle_connection() {
        let limits = Limits::new(&Config::for_memory(1 << 30));
        let permit = ConnectionGauge::new(1).enter(&limits, [127, 0, 0, 1].into()).unwrap();
        let state = ConnectionState::new(([127, 0, 0, 1], 1).into(), permit);
        let app = App::new(Config::for_memory(1 << 30), None, None, None).unwrap();
        let options = SubscribeOptions::topic(TopicName::parse("a").unwrap()).from(Start::Live);
        let stream = Arc::new(Mutex::new(BodyStream::new(&app, app.hub.subscribe(options).unwrap(), None)));
        state.request_begins();
        state.watch(stream.clone());
        state.request_ends();
        state.inner.lock().since = Instant::now().checked_sub(IDLE_MAX * 2).unwrap();
        assert_eq!(state.overdue(Duration::MAX), None);
        stream.lock().ended = Some(EndReason::Ended);
        assert_eq!(state.overdue(Duration::MAX), Some("idle"));
    }
}
