//! The part of a body that others reach as well: the watch over its connection, and operators.

use std::sync::Arc;
use std::task::Wake;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use sse_hub::Subscription;

use super::waker::BodyWaker;
use crate::access::Token;
use crate::app::App;
use crate::fan_out::FanOut;
use crate::http2::SmallFrames;
use crate::stream::{EndReason, jittered};

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
    pub(super) given_at: Option<Instant>,
    /// How many those were.
    given_bytes: usize,
    /// When it gave bytes last.
    wrote_at: Instant,
    /// Since when the socket takes no more, where that is known.
    pub(crate) blocked_since: Option<Instant>,
    /// Of its connection, if that is HTTP/2's.
    small_frames: Option<Arc<SmallFrames>>,
    pub(crate) is_compressed: bool,
    /// When it is to end by plan, and why, as far as that is known.
    pub(super) end_at: Option<(Instant, EndReason)>,
    pub(super) waker: Arc<BodyWaker>,
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
            small_frames: None,
            is_compressed: false,
            end_at: None,
            waker: BodyWaker::new(&app.signals),
        };
        if let Some(age) = app.times.connection_age_max {
            stream.end_within(jittered(age, 0.1), EndReason::Age);
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

    pub(super) fn gave(&mut self, bytes: usize, now: Instant) {
        (self.given_at, self.given_bytes, self.wrote_at) = (Some(now), bytes, now);
    }

    /// It is one of several on a connection.
    pub(crate) fn is_on_http2(&mut self, small_frames: Arc<SmallFrames>) {
        self.small_frames = Some(small_frames);
    }

    pub(super) fn is_http2(&self) -> bool {
        self.small_frames.is_some()
    }

    /// How large a piece of so many bytes has to be made, which leaves then.
    pub(super) fn leaves(&self, bytes: usize, now: Instant) -> usize {
        self.small_frames.as_ref().map_or(bytes, |frames| frames.leaves(bytes, now))
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
