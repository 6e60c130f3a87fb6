//! `/api/follow`: a look at what a topic carries.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use hyper::{Request, Response};
use sse_hub::{Delivery, Selector, SubscribeOptions, Subscription};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

use super::rights::Rights;
use crate::app::App;
use crate::http::{Problem, ReplyBody, query_pairs, start_of};
use crate::stream::{EndReason, envelope_frame, head_fields, reconnect_frame};

/// A look lasts less than its connection may, so that it is seen to end. Whoever follows comes back with its last id.
const LOOK_MAX: Duration = Duration::from_secs(50);

/// Events come in envelopes, as `{"topic","type","id","data"}`.
///
/// # Errors
/// A [`Problem`].
pub(super) async fn answer<B>(app: &App, request: &Request<B>) -> Result<Response<ReplyBody>, Problem> {
    let rights = Rights::of(app);
    rights.check_follow()?;
    let (mut selectors, mut last_event_id) = (Vec::new(), None);
    for (name, value) in query_pairs(request.uri().query().unwrap_or(""))? {
        let wrong = |error: sse_hub::TopicNameError| Problem::bad("topic", error.to_string());
        match &*name {
            "topic" => selectors.push(Selector::exact(sse_hub::TopicName::parse(&value).map_err(wrong)?)),
            "match" => selectors.push(app.access.selector(&value).map_err(wrong)?),
            "last_event_id" => last_event_id = Some(value.into_owned()),
            _ => return Err(Problem::bad("query", "the query takes topic, match and last_event_id")),
        }
    }
    let start = start_of(request.headers(), last_event_id)?;
    let place = app.admin.follower()?;
    let position = app.hub.position();
    let options = SubscribeOptions::selectors(selectors).from(start).with_grants(rights.grants());
    let mut subscription = app.hub.subscribe(options)?;
    subscription.started().await?;
    let body = LookBody {
        first: Some(Bytes::from(format!("retry: 1000\nid: {position}\n\n"))),
        subscription: Some(subscription),
        until: Box::pin(tokio::time::sleep(LOOK_MAX)),
        _place: place,
    };
    let mut response = Response::new(body.boxed_unsync());
    *response.headers_mut() = head_fields();
    Ok(response)
}

/// A [`Subscription`] for a while.
struct LookBody {
    first: Option<Bytes>,
    /// Nothing once it is over.
    subscription: Option<Subscription>,
    until: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl LookBody {
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        let Some(subscription) = &mut self.subscription else { return Poll::Ready(None) };
        if self.until.as_mut().poll(cx).is_ready() {
            return self.end_with(EndReason::Age);
        }
        match std::task::ready!(subscription.poll_delivery(cx)) {
            Some(Delivery::Frames(batch)) => {
                let mut bytes = BytesMut::new();
                batch.items().iter().for_each(|item| bytes.extend_from_slice(&envelope_frame(item).text()));
                Poll::Ready(Some(bytes.freeze()))
            }
            Some(Delivery::Gap(gap)) => Poll::Ready(Some(gap.frame().text())),
            Some(Delivery::Evicted(_)) => self.end_with(EndReason::Lagged),
            None => Poll::Ready(None),
        }
    }

    fn end_with(&mut self, reason: EndReason) -> Poll<Option<Bytes>> {
        self.subscription = None;
        Poll::Ready(Some(reconnect_frame(reason).text()))
    }
}

impl Body for LookBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.poll_bytes(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
