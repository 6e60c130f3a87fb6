//! A stream as a body of hyper's: for those that no writer takes.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame as BodyFrame};
use hyper::header::{CONNECTION, CONTENT_ENCODING, HeaderValue};
use hyper::{Response, Version};
use parking_lot::Mutex;
use sse_hub::{Batch, Delivery, Subscription};
use sse_wire::Frame;
use tokio::time::Sleep;

use super::{EndReason, Framing, HEARTBEAT, Notices, Shape, Source, StreamInfo, StreamPlan, reconnect_frame};
use crate::app::App;
use crate::carrier::Carrier;
use crate::compression::Secrecy;
use crate::http::ReplyBody;
use crate::roster::HyperPlace;

mod filler;
mod gzip;
mod lane;
mod lanes;
mod shared;
mod unsent;
mod waker;

use filler::{Matter, filled};
use gzip::{Gzip, Polled};
pub(crate) use lanes::BodyLanes;
use lanes::BodySeat;
pub(crate) use shared::{BodyStream, SharedStream};
use unsent::{Form, Large, Unsent};

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
        let large = if self.gzip.is_some() { Large::InPieces } else { Large::Shared };
        let form = Form { shape: self.shape, notices: self.notices, large };
        self.unsent = Some(Unsent::new(batch, form));
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
        let Some(unsent) = &mut self.unsent else { return Bytes::new() };
        let (text, secrecy) = (unsent.next_text(), unsent.secrecy());
        if text.is_empty() {
            self.unsent = None;
        }
        self.own(text, secrecy)
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

    /// The bytes as they leave.
    fn give(&mut self, bytes: Bytes) -> Bytes {
        let mut stream = self.stream.lock();
        let now = Instant::now();
        self.quiet_since = now;
        let len = stream.leaves(bytes.len(), now);
        // Behind the end nothing comes.
        let is_filled = bytes.len() < len && stream.ended.is_none();
        let given = if is_filled { self.filled(&bytes, len) } else { bytes };
        stream.gave(given.len(), now);
        given
    }

    fn filled(&self, bytes: &Bytes, len: usize) -> Bytes {
        let matter = if self.gzip.is_some() { Matter::Blocks } else { Matter::Text };
        let filled = filled(bytes, len, matter);
        self.app.signals.filled(filled.len() - bytes.len());
        filled
    }

    /// The next bytes of the stream.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let shared = self.stream.clone();
        let mut stream = shared.lock();
        stream.given_at = None;
        if stream.is_http2() {
            // What it gave last has left.
            stream.fan_out = None;
        }
        if stream.ended.is_some() {
            return Poll::Ready(None);
        }
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        if self.unsent.as_ref().is_some_and(Unsent::is_within_event) {
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
        let Some(bytes) = std::task::ready!(self.poll_bytes(cx)) else { return Poll::Ready(None) };
        let bytes = self.give(bytes);
        Poll::Ready(Some(Ok(BodyFrame::data(bytes))))
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
