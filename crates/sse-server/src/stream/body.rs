//! A stream as a body of hyper's: for those that no writer takes.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::{Body, Frame as BodyFrame};
use hyper::header::{CONNECTION, HeaderValue};
use parking_lot::Mutex;
use sse_hub::{Delivery, Subscription};
use sse_wire::Frame;
use tokio::time::Sleep;

use super::{EndReason, Framing, Shape, Source, StreamInfo, StreamPlan, envelope_frame, reconnect_frame};
use crate::app::App;
use crate::connection::ConnectionState;
use crate::http::ReplyBody;

/// The whole body for a client that is to come back later.
pub(crate) fn busy_text(retry: Duration) -> Bytes {
    let text = [Frame::retry(retry).text(), busy_frame().text()].concat();
    Bytes::from(text)
}

fn busy_frame() -> Frame {
    reconnect_frame(EndReason::Busy)
}

/// The answer whose body is the stream.
pub(crate) fn respond(app: &Arc<App>, connection: &ConnectionState, plan: StreamPlan) -> Response<ReplyBody> {
    let mut headers = plan.headers.clone();
    let persistence = match plan.framing {
        Framing::Chunked => "keep-alive",
        Framing::UntilClose => "close",
    };
    headers.insert(CONNECTION, HeaderValue::from_static(persistence));
    let body = StreamBody::new(app, plan);
    connection.watch(body.stream.clone());
    let mut response = Response::new(body.boxed_unsync());
    *response.headers_mut() = headers;
    response
}

/// What the body shares with the watch over its connection.
pub(crate) type SharedStream = Arc<Mutex<BodyStream>>;

/// The part of a body that may have to end without being asked.
#[derive(Debug)]
pub(crate) struct BodyStream {
    pub(crate) subscription: Subscription,
    pub(crate) ended: Option<EndReason>,
}

/// A [`Subscription`] as a body. What is pending leaves in one piece.
struct StreamBody {
    app: Arc<App>,
    stream: SharedStream,
    shape: Shape,
    first: Option<Bytes>,
    info: StreamInfo,
    heartbeat: Pin<Box<Sleep>>,
    /// Completes when the stream is to end, with the reason.
    end: Pin<Box<dyn Future<Output = EndReason> + Send>>,
}

impl StreamBody {
    fn new(app: &Arc<App>, plan: StreamPlan) -> Self {
        let Source::Several(subscription) = plan.source else {
            unreachable!("without writers every stream has a subscription of its own")
        };
        plan.info.begin(&app.signals);
        Self {
            stream: Arc::new(Mutex::new(BodyStream { subscription: *subscription, ended: None })),
            shape: plan.shape,
            first: Some(Frame::retry(plan.retry).text()),
            info: plan.info,
            heartbeat: Box::pin(tokio::time::sleep(app.config.heartbeat_interval)),
            end: Box::pin(planned_end(app.clone())),
            app: app.clone(),
        }
    }

    /// The bytes of a delivery; an empty piece ends the stream.
    fn encode(&self, stream: &mut BodyStream, delivery: Option<Delivery>) -> Bytes {
        match delivery {
            Some(Delivery::Frames(batch)) => {
                self.app.signals.delivered(batch.items().len() as u64, 0);
                let mut bytes = Vec::new();
                for item in batch.items() {
                    match self.shape {
                        Shape::Plain => bytes.extend_from_slice(item.frame.text_bytes()),
                        Shape::Envelope => bytes.extend_from_slice(envelope_frame(item).text_bytes()),
                    }
                }
                bytes.into()
            }
            Some(Delivery::Gap(gap)) => gap.frame().text(),
            Some(Delivery::Evicted(_)) => {
                stream.ended = Some(EndReason::Lagged);
                Bytes::new()
            }
            None => {
                stream.ended = Some(EndReason::Ended);
                Bytes::new()
            }
        }
    }

    /// The next bytes of the stream.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let shared = self.stream.clone();
        let mut stream = shared.lock();
        if stream.ended.is_some() {
            return Poll::Ready(None);
        }
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        if let Poll::Ready(reason) = self.end.as_mut().poll(cx) {
            stream.ended = Some(reason);
            return Poll::Ready(Some(reconnect_frame(reason).text()));
        }
        if let Poll::Ready(delivery) = stream.subscription.poll_delivery(cx) {
            let bytes = self.encode(&mut stream, delivery);
            return Poll::Ready((!bytes.is_empty()).then_some(bytes));
        }
        if self.heartbeat.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Bytes::from_static(b": ping\n\n")));
        }
        Poll::Pending
    }
}

/// When a stream of hyper's ends by plan: at its age, or at its turn in the drain.
async fn planned_end(app: Arc<App>) -> EndReason {
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
        if let Some(bytes) = &bytes {
            self.app.signals.delivered(0, bytes.len() as u64);
            let next = tokio::time::Instant::now() + self.app.config.heartbeat_interval;
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
