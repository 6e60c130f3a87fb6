//! A stream as a body of hyper's: for those that no writer takes.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame as BodyFrame};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Response, Version};
use metrics::Histogram;
use parking_lot::Mutex;
use sse_hub::{Batch, Delivery, Subscription};
use sse_wire::Frame;
use tokio::time::Sleep;

use super::{EndReason, Framing, Notices, Shape, Source, StreamInfo, StreamPlan, envelope_frame, reconnect_frame};
use crate::access::Token;
use crate::app::App;
use crate::carrier::Carrier;
use crate::fan_out::FanOut;
use crate::http::ReplyBody;
use crate::signals::Signals;

/// The whole body for a client that is to come back later.
pub(crate) fn busy_text(retry: Duration, notices: Notices) -> Bytes {
    let retry = Frame::retry(retry).text();
    match notices {
        Notices::On => Bytes::from([retry, reconnect_frame(EndReason::Busy).text()].concat()),
        Notices::Off => retry,
    }
}

/// The answer whose body is the stream.
pub(crate) fn respond(app: &Arc<App>, carrier: &Carrier, plan: StreamPlan) -> Response<ReplyBody> {
    let mut headers = plan.headers.clone();
    let (version, persistence) = match (carrier, plan.framing) {
        // It has no fields of the connection (RFC 9113, 8.2.2).
        (Carrier::Stream(_), _) => (Version::HTTP_2, None),
        (Carrier::Connection(_), Framing::Chunked) => (Version::HTTP_11, Some("keep-alive")),
        (Carrier::Connection(_), Framing::UntilClose) => (Version::HTTP_10, Some("close")),
    };
    headers.extend(persistence.map(|persistence| (CONNECTION, HeaderValue::from_static(persistence))));
    let body = StreamBody::new(app, plan);
    carrier.watch(body.stream.clone());
    let mut response = Response::new(body.boxed_unsync());
    *response.version_mut() = version;
    *response.headers_mut() = headers;
    response
}

/// What the body shares with the watch over its connection.
pub(crate) type SharedStream = Arc<Mutex<BodyStream>>;

/// The part of a body that may have to end without being asked.
#[derive(Debug)]
pub(crate) struct BodyStream {
    pub(crate) subscription: Subscription,
    pub(crate) token: Option<Arc<Token>>,
    pub(crate) ended: Option<EndReason>,
    /// Held until the socket has taken what the fan-out brought.
    pub(crate) fan_out: Option<FanOut>,
    /// When it gave bytes after which nobody has asked for more.
    given_at: Option<Instant>,
    pub(crate) is_http2: bool,
}

impl BodyStream {
    pub(crate) fn new(subscription: Subscription, token: Option<Arc<Token>>) -> Self {
        Self { subscription, token, ended: None, fan_out: None, given_at: None, is_http2: false }
    }

    /// Ends the stream if it has to end although it cannot be told; nothing of it has been taken for so long.
    pub(crate) fn end_overdue(&mut self, app: &App, blocked_for: Option<Duration>) -> Option<EndReason> {
        let is_stalled = blocked_for.is_some_and(|time| time >= app.config.write_timeout);
        // One whose bytes are taken ends by itself.
        let ungranted = blocked_for.and(self.token.as_deref()).and_then(|token| app.access.ended(token));
        let reason = match (self.subscription.is_evicted(), is_stalled, ungranted) {
            (true, _, _) => EndReason::Lagged,
            (_, true, _) => EndReason::Stalled,
            (_, _, Some(reason)) => reason,
            (_, _, None) => return None,
        };
        self.ended = Some(reason);
        Some(reason)
    }

    /// The same on HTTP/2, where nothing is asked for while the stream's window is shut. True if it has been ended.
    pub(crate) fn end_overdue_alone(&mut self, app: &App) -> bool {
        let reason = self.end_overdue(app, self.given_at.map(|at| at.elapsed()));
        if reason == Some(EndReason::Lagged) {
            // The hub counts an eviction when the subscriber is told, which this one never is.
            app.signals.eviction(EndReason::Lagged.as_str());
        }
        reason.is_some()
    }
}

/// Wakes the task that polls the body, and takes a share of the fan-out that it is woken for.
#[derive(Debug)]
struct BodyWaker {
    fan_out_duration: Histogram,
    woken: Mutex<Woken>,
}

#[derive(Debug, Default)]
struct Woken {
    task: Option<Waker>,
    fan_out: Option<FanOut>,
}

impl BodyWaker {
    fn new(signals: &Signals) -> Arc<Self> {
        Arc::new(Self { fan_out_duration: signals.fan_out().clone(), woken: Mutex::default() })
    }

    /// Has `task` woken from now on, and gives up what the last wake brought.
    fn arm(&self, task: &Waker) -> Option<FanOut> {
        let mut woken = self.woken.lock();
        if !woken.task.as_ref().is_some_and(|known| known.will_wake(task)) {
            woken.task = Some(task.clone());
        }
        woken.fan_out.take()
    }
}

impl Wake for BodyWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let fan_out = FanOut::join(&self.fan_out_duration);
        let mut woken = self.woken.lock();
        woken.fan_out = fan_out.or(woken.fan_out.take());
        let task = woken.task.clone();
        drop(woken);
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// What is pending leaves together, in pieces of this size: each is one DATA frame of HTTP/2. A larger event is a piece by
/// itself, and shared by all who get it, so that a stream whose window is shut pins little (FAILURES C10).
const PIECE_BYTES: usize = 16 * 1024;

/// A batch of which so many items were given.
struct Unsent {
    batch: Batch,
    given: usize,
}

/// A [`Subscription`] as a body.
struct StreamBody {
    app: Arc<App>,
    stream: SharedStream,
    shape: Shape,
    notices: Notices,
    first: Option<Bytes>,
    /// What was read and not given yet.
    unsent: Option<Unsent>,
    info: StreamInfo,
    waker: Arc<BodyWaker>,
    heartbeat: Pin<Box<Sleep>>,
    /// Completes when the stream is to end, with the reason.
    end: Pin<Box<dyn Future<Output = EndReason> + Send>>,
}

impl StreamBody {
    fn new(app: &Arc<App>, plan: StreamPlan) -> Self {
        let Source::Own { subscription, .. } = plan.source else {
            unreachable!("without writers every stream has a subscription of its own")
        };
        plan.info.begin(&app.signals);
        let token = plan.info.token.clone();
        let end = Box::pin(planned_end(app.clone(), token.clone()));
        Self {
            stream: Arc::new(Mutex::new(BodyStream::new(*subscription, token))),
            shape: plan.shape,
            notices: plan.notices,
            first: Some(plan.opening.text()),
            unsent: None,
            info: plan.info,
            waker: BodyWaker::new(&app.signals),
            heartbeat: Box::pin(tokio::time::sleep(app.config.heartbeat_interval)),
            end,
            app: app.clone(),
        }
    }

    /// The bytes of a delivery, or the reason to end the stream.
    fn encode(&mut self, delivery: Option<Delivery>) -> Result<Bytes, EndReason> {
        let is_silent = self.notices == Notices::Off;
        match delivery {
            Some(Delivery::Frames(batch)) => {
                self.app.signals.delivered(batch.items().len());
                self.unsent = Some(Unsent { batch, given: 0 });
                Ok(self.next_piece())
            }
            Some(Delivery::Gap(_)) if is_silent => Err(EndReason::Lagged),
            Some(Delivery::Gap(gap)) => Ok(gap.frame().text()),
            Some(Delivery::Evicted(_)) => Err(EndReason::Lagged),
            None => Err(EndReason::Ended),
        }
    }

    /// The next bytes of what was read; none if all of it has been given.
    fn next_piece(&mut self) -> Bytes {
        let Some(unsent) = &mut self.unsent else { return Bytes::new() };
        let mut piece = BytesMut::new();
        while let Some(item) = unsent.batch.items().get(unsent.given) {
            let text = match self.shape {
                _ if item.is_end && self.notices == Notices::Off => Bytes::new(),
                Shape::Plain => item.frame.text(),
                Shape::Envelope => envelope_frame(item).text(),
            };
            if !piece.is_empty() && piece.len() + text.len() > PIECE_BYTES {
                return piece.freeze();
            }
            unsent.given += 1;
            let is_last = unsent.given == unsent.batch.items().len();
            if piece.is_empty() && (is_last || text.len() >= PIECE_BYTES) {
                return text;
            }
            piece.extend_from_slice(&text);
        }
        self.unsent = None;
        piece.freeze()
    }

    /// The next bytes of the stream.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let shared = self.stream.clone();
        let mut stream = shared.lock();
        stream.given_at = None;
        if stream.is_http2 {
            // What it gave last has left.
            stream.fan_out = None;
        }
        if stream.ended.is_some() {
            return Poll::Ready(None);
        }
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        if let Poll::Ready(reason) = self.end.as_mut().poll(cx) {
            stream.ended = Some(reason);
            return Poll::Ready((self.notices == Notices::On).then(|| reconnect_frame(reason).text()));
        }
        let piece = self.next_piece();
        if !piece.is_empty() {
            return Poll::Ready(Some(piece));
        }
        let fan_out = self.waker.arm(cx.waker());
        let waker = Waker::from(self.waker.clone());
        while let Poll::Ready(delivery) = stream.subscription.poll_delivery(&mut Context::from_waker(&waker)) {
            match self.encode(delivery) {
                // It held nothing but ends that are not told.
                Ok(bytes) if bytes.is_empty() => (),
                Ok(bytes) => {
                    stream.fan_out = fan_out.or(stream.fan_out.take());
                    return Poll::Ready(Some(bytes));
                }
                Err(reason) => {
                    stream.ended = Some(reason);
                    return Poll::Ready(None);
                }
            }
        }
        if self.heartbeat.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Bytes::from_static(b": ping\n\n")));
        }
        Poll::Pending
    }
}

/// When a stream of hyper's ends by plan: at its age, with its token, or at its turn in the drain.
async fn planned_end(app: Arc<App>, token: Option<Arc<Token>>) -> EndReason {
    let mut drain = app.drain.subscribe();
    let drained = async {
        let window = drain.wait_for(Option::is_some).await.ok().and_then(|window| *window);
        tokio::time::sleep(window.unwrap_or_default().mul_f64(fastrand::f64())).await;
        EndReason::Drain
    };
    let aged = async {
        match app.config.connection_age_max {
            Some(age) => tokio::time::sleep(super::jittered(age, 0.1)).await,
            None => std::future::pending().await,
        }
        EndReason::Age
    };
    tokio::select! {
        reason = drained => reason,
        reason = aged => reason,
        reason = token_ended(&app, token) => reason,
    }
}

/// When the token counts no longer.
async fn token_ended(app: &App, token: Option<Arc<Token>>) -> EndReason {
    let Some(token) = token else { return std::future::pending().await };
    let now = SystemTime::now;
    let expired = async {
        match token.life_left(now()) {
            Some(life) => tokio::time::sleep(life).await,
            None => std::future::pending().await,
        }
    };
    let revocations = &app.access.revocations;
    let mut changes = revocations.changes();
    let revoked = async {
        while !revocations.holds_for(&token, now()) {
            // They live as long as the app.
            let _ = changes.changed().await;
        }
    };
    tokio::select! {
        () = expired => EndReason::Expired,
        () = revoked => EndReason::Revoked,
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        let bytes = std::task::ready!(self.poll_bytes(cx));
        if bytes.is_some() {
            let now = tokio::time::Instant::now();
            self.stream.lock().given_at = Some(now.into_std());
            let next = now + self.app.config.heartbeat_interval;
            self.heartbeat.as_mut().reset(next);
        }
        Poll::Ready(bytes.map(|bytes| Ok(BodyFrame::data(bytes))))
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        let ended = self.stream.lock().ended;
        self.info.end(ended.unwrap_or(EndReason::Disconnected), &self.app.signals);
    }
}
