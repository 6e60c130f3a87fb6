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
use hyper::header::{CONNECTION, CONTENT_ENCODING, HeaderValue};
use hyper::{Response, Version};
use metrics::Histogram;
use parking_lot::Mutex;
use sse_hub::{Batch, Delivery, Subscription};
use sse_wire::Frame;
use tokio::time::Sleep;

use super::{
    EndReason, Framing, HEARTBEAT, Notices, Shape, Source, StreamInfo, StreamPlan, envelope_frame, reconnect_frame,
    secrecy,
};
use crate::access::Token;
use crate::app::App;
use crate::carrier::Carrier;
use crate::compression::Secrecy;
use crate::fan_out::FanOut;
use crate::http::ReplyBody;
use crate::roster::HyperPlace;
use crate::signals::Signals;

mod gzip;
mod lane;
mod lanes;

use gzip::{Gzip, Polled};
pub(crate) use lanes::BodyLanes;
use lanes::BodySeat;

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
    if body.gzip.is_some() {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
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
    /// How many those were.
    given_bytes: usize,
    /// When it gave bytes last.
    wrote_at: Instant,
    /// Since when the socket takes no more, where that is known.
    pub(crate) blocked_since: Option<Instant>,
    pub(crate) is_http2: bool,
    pub(crate) is_compressed: bool,
    /// When it is to end by plan, and why, as far as that is known.
    end_at: Option<(Instant, EndReason)>,
    waker: Arc<BodyWaker>,
}

impl BodyStream {
    pub(crate) fn new(app: &App, subscription: Subscription, token: Option<Arc<Token>>) -> Self {
        let mut stream = Self {
            subscription,
            token,
            ended: None,
            fan_out: None,
            given_at: None,
            given_bytes: 0,
            wrote_at: Instant::now(),
            blocked_since: None,
            is_http2: false,
            is_compressed: false,
            end_at: None,
            waker: BodyWaker::new(&app.signals),
        };
        if let Some(age) = app.times.connection_age_max {
            stream.end_within(super::jittered(age, 0.1), EndReason::Age);
        }
        if let Some(life) = stream.token.as_ref().and_then(|token| token.life_left(SystemTime::now())) {
            stream.end_within(life, EndReason::Expired);
        }
        stream.drain(app);
        stream
    }

    /// Has it end by plan so long from now, if it would not before.
    fn end_within(&mut self, time: Duration, reason: EndReason) {
        // What is too far ahead to be told never comes.
        let Some(at) = Instant::now().checked_add(time) else { return };
        if self.end_at.is_none_or(|(before, _)| at < before) {
            self.end_at = Some((at, reason));
            self.waker.wake_by_ref();
        }
    }

    /// Has it end at its turn in the drain, once that has begun.
    pub(crate) fn drain(&mut self, app: &App) {
        let window = *app.drain.borrow();
        if let Some(window) = window {
            self.end_within(window.mul_f64(fastrand::f64()), EndReason::Drain);
        }
    }

    /// Has it end now, as an operator wants it to; false if it is ending already.
    pub(crate) fn kick(&mut self) -> bool {
        let is_open = self.ended.is_none() && !self.is_kicked();
        if is_open {
            self.end_within(Duration::ZERO, EndReason::Kicked);
        }
        is_open
    }

    fn gave(&mut self, bytes: usize, now: Instant) {
        (self.given_at, self.given_bytes, self.wrote_at) = (Some(now), bytes, now);
    }

    pub(crate) fn is_kicked(&self) -> bool {
        matches!(self.end_at, Some((_, EndReason::Kicked)))
    }

    /// How long nothing of what it gave has been taken.
    pub(crate) fn blocked_for(&self) -> Option<Duration> {
        self.given_at.or(self.blocked_since).map(|at| at.elapsed())
    }

    pub(crate) fn given_bytes(&self) -> usize {
        self.given_bytes
    }

    /// How long it has not given anything.
    pub(crate) fn quiet_for(&self) -> Duration {
        self.wrote_at.elapsed()
    }

    /// Ends the stream if it has to end although it cannot be told; nothing of it has been taken for so long. Has it end by
    /// plan if its token counts no longer.
    pub(crate) fn end_overdue(&mut self, app: &App, blocked_for: Option<Duration>) -> Option<EndReason> {
        let is_stalled = blocked_for.is_some_and(|time| time >= app.times.write_timeout);
        let ungranted = self.token.as_deref().and_then(|token| app.access.ended(token));
        let ungranted = ungranted.or_else(|| self.is_kicked().then_some(EndReason::Kicked));
        let reason = match (self.subscription.is_evicted(), is_stalled, ungranted) {
            (true, _, _) => EndReason::Lagged,
            (_, true, _) => EndReason::Stalled,
            (_, _, Some(reason)) if blocked_for.is_some() => reason,
            (_, _, Some(reason)) => {
                self.end_within(Duration::ZERO, reason);
                return None;
            }
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
    /// Of the last item given, what is left for the next piece.
    rest: Bytes,
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
    /// What it has beside, if it is compressed.
    gzip: Option<Box<Gzip>>,
    _seat: Option<BodySeat>,
    info: Arc<StreamInfo>,
    /// Among those that are listed.
    place: Option<HyperPlace>,
    /// When it last gave bytes: a heartbeat is due so long after.
    quiet_since: Instant,
    /// Completes no later than there is something to be done: events do not move it, as there are many.
    alarm: Pin<Box<Sleep>>,
}

impl StreamBody {
    fn new(app: &Arc<App>, plan: StreamPlan) -> Self {
        let seat = app.body_lanes.seat(&app.hub, &plan);
        let Source::Own { subscription, .. } = plan.source else {
            unreachable!("without writers every stream has a subscription of its own")
        };
        let opening = plan.opening.text();
        let (gzip, first) = match seat.as_ref().and_then(|seat| seat.lane.clone()) {
            Some(lane) => {
                let (gzip, begun) = Gzip::begin(&opening, lane, &app.signals);
                (Some(gzip), begun)
            }
            None => (None, opening),
        };
        plan.info.begin(&app.signals);
        let token = plan.info.token.clone();
        let mut stream = BodyStream::new(app, *subscription, token);
        stream.is_compressed = gzip.is_some();
        let now = Instant::now();
        let alarm = Box::pin(tokio::time::sleep_until(alarm_at(app, &stream, now).into()));
        let (stream, info) = (Arc::new(Mutex::new(stream)), Arc::new(plan.info));
        Self {
            alarm,
            place: Some(app.hyper_streams.enter(stream.clone(), info.clone())),
            stream,
            shape: plan.shape,
            notices: plan.notices,
            first: Some(first),
            unsent: None,
            gzip,
            _seat: seat,
            info,
            quiet_since: now,
            app: app.clone(),
        }
    }

    /// The bytes of a delivery, or the reason to end the stream.
    fn encode(&mut self, delivery: Option<Delivery>) -> Result<Bytes, EndReason> {
        let is_silent = self.notices == Notices::Off;
        match delivery {
            Some(Delivery::Frames(batch)) => Ok(self.begin_batch(batch)),
            Some(Delivery::Gap(_)) if is_silent => Err(EndReason::Lagged),
            Some(Delivery::Gap(gap)) => Ok(self.own(gap.frame().text(), Secrecy::Public)),
            Some(Delivery::Evicted(_)) => Err(EndReason::Lagged),
            None => Err(EndReason::Ended),
        }
    }

    /// The first bytes of a batch.
    fn begin_batch(&mut self, batch: Batch) -> Bytes {
        self.app.signals.delivered(batch.items().len());
        self.unsent = Some(Unsent { batch, given: 0, rest: Bytes::new() });
        self.next_piece()
    }

    /// A text for this stream alone, as it is sent.
    fn own(&mut self, text: Bytes, secrecy: Secrecy) -> Bytes {
        match &mut self.gzip {
            Some(gzip) => gzip.own(&text, secrecy),
            None => text,
        }
    }

    /// The next bytes of what was read; none if all of it has been given.
    fn next_piece(&mut self) -> Bytes {
        let Some(unsent) = &self.unsent else { return Bytes::new() };
        let secrecy = secrecy(&unsent.batch);
        let text = self.next_text();
        self.own(text, secrecy)
    }

    /// The same as they are.
    fn next_text(&mut self) -> Bytes {
        let Some(unsent) = &mut self.unsent else { return Bytes::new() };
        if !unsent.rest.is_empty() {
            return take_piece(&mut unsent.rest);
        }
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
                if self.gzip.is_none() {
                    return text;
                }
                // For this stream alone it is copied, and is not to be copied whole.
                unsent.rest = text;
                return take_piece(&mut unsent.rest);
            }
            piece.extend_from_slice(&text);
        }
        self.unsent = None;
        piece.freeze()
    }

    /// What is read next, or the reason to end the stream; none if there is nothing yet.
    fn poll_next(&mut self, subscription: &mut Subscription, cx: &mut Context<'_>) -> Option<Result<Bytes, EndReason>> {
        let polled = match &mut self.gzip {
            Some(gzip) => gzip.poll(subscription, cx),
            None => Polled::Delivery,
        };
        match polled {
            Polled::Bytes(bytes) => Some(Ok(bytes)),
            Polled::Batch(batch) => Some(Ok(self.begin_batch(batch))),
            Polled::Over => Some(Err(EndReason::Ended)),
            Polled::Pending => None,
            Polled::Delivery => match subscription.poll_delivery(cx) {
                Poll::Ready(delivery) => Some(self.encode(delivery)),
                Poll::Pending => None,
            },
        }
    }

    /// The last bytes of the stream, with what it is told.
    fn last_bytes(&mut self, told: Option<Bytes>) -> Option<Bytes> {
        match &mut self.gzip {
            Some(gzip) => Some(gzip.end(&told.unwrap_or_default())),
            None => told,
        }
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
        if self.unsent.as_ref().is_some_and(|unsent| !unsent.rest.is_empty()) {
            return Poll::Ready(Some(self.next_piece()));
        }
        let now = Instant::now();
        if let Some((_, reason)) = stream.end_at.filter(|(at, _)| *at <= now) {
            stream.ended = Some(reason);
            let told = (self.notices == Notices::On).then(|| reconnect_frame(reason).text());
            return Poll::Ready(self.last_bytes(told));
        }
        let piece = self.next_piece();
        if !piece.is_empty() {
            return Poll::Ready(Some(piece));
        }
        let fan_out = stream.waker.arm(cx.waker());
        let waker = Waker::from(stream.waker.clone());
        while let Some(next) = self.poll_next(&mut stream.subscription, &mut Context::from_waker(&waker)) {
            match next {
                // It held nothing but ends that are not told.
                Ok(bytes) if bytes.is_empty() => (),
                Ok(bytes) => {
                    stream.fan_out = fan_out.or(stream.fan_out.take());
                    return Poll::Ready(Some(bytes));
                }
                Err(reason) => {
                    stream.ended = Some(reason);
                    return Poll::Ready(self.last_bytes(None));
                }
            }
        }
        if now.saturating_duration_since(self.quiet_since) >= self.app.times.heartbeat_interval {
            let heartbeat = match &mut self.gzip {
                Some(gzip) => gzip.heartbeat(&mut stream.subscription),
                None => HEARTBEAT.text(),
            };
            return Poll::Ready(Some(heartbeat));
        }
        let alarm_at = alarm_at(&self.app, &stream, self.quiet_since).into();
        if self.alarm.is_elapsed() || alarm_at < self.alarm.deadline() {
            self.alarm.as_mut().reset(alarm_at);
        }
        if self.alarm.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// The next piece of a text, and what is left of it.
fn take_piece(rest: &mut Bytes) -> Bytes {
    let len = rest.len().min(PIECE_BYTES);
    rest.split_to(len)
}

/// A heartbeat that cannot be told when is looked for so often.
const FAR_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// When there is something to be done on a stream that last gave bytes at `quiet_since`.
fn alarm_at(app: &App, stream: &BodyStream, quiet_since: Instant) -> Instant {
    let heartbeat_at = quiet_since.checked_add(app.times.heartbeat_interval).unwrap_or(quiet_since + FAR_AHEAD);
    stream.end_at.map_or(heartbeat_at, |(at, _)| at.min(heartbeat_at))
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Infallible>>> {
        let bytes = std::task::ready!(self.poll_bytes(cx));
        if let Some(bytes) = &bytes {
            self.quiet_since = Instant::now();
            self.stream.lock().gave(bytes.len(), self.quiet_since);
        }
        Poll::Ready(bytes.map(|bytes| Ok(BodyFrame::data(bytes))))
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        let ended = self.stream.lock().ended;
        // Who hears that it has ended finds it listed no more.
        self.place = None;
        self.info.end(ended.unwrap_or(EndReason::Disconnected), &self.app.signals);
    }
}
