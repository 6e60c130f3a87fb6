//! What an HTTP/2 connection's parts tell each other, and the deadlines of the connection and of each of its streams.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use slab::Slab;

use super::scan::Flood;
use super::{REQUESTS_MAX, SmallFrames, WATCH_EVERY};
use crate::app::App;
use crate::connection::{HEAD_MAX, IDLE_MAX};
use crate::gauge::{ConnectionPermit, Surplus};
use crate::stream::EndReason;
use crate::stream::body::SharedStream;

/// A frame that has begun has this long to come whole, if it is not a head.
const FRAME_MAX: Duration = Duration::from_secs(20);

/// One connection.
#[derive(Debug)]
pub(super) struct ConnectionWatch {
    remote_addr: SocketAddr,
    permit: ConnectionPermit,
    small_frames: Arc<SmallFrames>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// Requests that are under way, and streams.
    open: Slab<Open>,
    /// The connection's own place is one of its streams' too.
    is_lent: bool,
    requests: u64,
    idle_since: Instant,
    /// Since when the socket takes no more.
    blocked_since: Option<Instant>,
    /// Since when a frame, or a head of several, has not come whole.
    partial_since: Option<Partial>,
    flood: Option<Flood>,
}

/// What has come in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Partial {
    Head(Instant),
    Frame(Instant),
}

#[derive(Debug, Default)]
struct Open {
    /// The key of the task in which it is handled and answered.
    task: Option<usize>,
    /// The stream that it became.
    stream: Option<SharedStream>,
    /// When it was answered otherwise.
    answered_at: Option<Instant>,
    place: Option<Place>,
}

/// What a stream counts as among all connections.
#[derive(Debug)]
enum Place {
    /// As the connection that it is on.
    Lent,
    /// As one more.
    Further { _permit: ConnectionPermit },
}

/// The connection is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    Now(&'static str),
    /// With GOAWAY, and after the streams that there are.
    Politely(&'static str),
}

impl ConnectionWatch {
    pub(super) fn new(remote_addr: SocketAddr, permit: ConnectionPermit) -> Arc<Self> {
        let inner = Inner {
            open: Slab::new(),
            is_lent: false,
            requests: 0,
            idle_since: Instant::now(),
            blocked_since: None,
            partial_since: None,
            flood: None,
        };
        let small_frames = Arc::new(SmallFrames::new(Instant::now()));
        Arc::new(Self { remote_addr, permit, small_frames, inner: Mutex::new(inner) })
    }

    /// A request has come.
    pub(super) fn begin(self: &Arc<Self>) -> (Exchange, OpenStream) {
        let mut inner = self.inner.lock();
        inner.requests += 1;
        let key = inner.open.insert(Open::default());
        (Exchange { connection: self.clone(), key }, OpenStream { connection: self.clone(), key })
    }

    /// The task in which it is handled and answered.
    pub(super) fn runs(&self, key: usize, task: usize) {
        if let Some(open) = self.inner.lock().open.get_mut(key) {
            open.task = Some(task);
        }
    }

    /// Bytes have come in; what of them has not come whole.
    pub(super) fn received(&self, partial: Option<Partial>) {
        self.inner.lock().partial_since = partial;
    }

    /// The client lets in so much more on its connection.
    pub(super) fn opened(&self, bytes: u64, now: Instant) {
        self.small_frames.opened(bytes, now);
    }

    /// The client sends too much of something.
    pub(super) fn flooded(&self, flood: Flood) {
        self.inner.lock().flood = Some(flood);
    }

    pub(super) fn is_flooded(&self) -> bool {
        self.inner.lock().flood.is_some()
    }

    /// The socket took bytes, or took none. True if there are streams, which they may belong to.
    pub(super) fn wrote(&self, blocked: bool) -> bool {
        let mut inner = self.inner.lock();
        inner.blocked_since = blocked.then(|| inner.blocked_since.unwrap_or_else(Instant::now));
        !inner.open.is_empty()
    }

    /// Whether a request has come, ever.
    pub(super) fn has_begun(&self) -> bool {
        self.inner.lock().requests > 0
    }

    /// Whether there is no request under way, and no stream.
    pub(super) fn is_idle(&self) -> bool {
        self.inner.lock().open.is_empty()
    }

    /// The reason to give up on the connection. Looked at once per second: a deadline is kept by being up to a second
    /// early, never late.
    pub(super) fn overdue(&self, write_timeout: Duration) -> Option<Overdue> {
        let inner = self.inner.lock();
        if inner.blocked_since.is_some_and(|since| since.elapsed() >= write_timeout) {
            return Some(Overdue::Now("stalled"));
        }
        let is_over = |since: Instant, max: Duration| since.elapsed() + WATCH_EVERY > max;
        match inner.partial_since {
            Some(Partial::Head(since)) if is_over(since, HEAD_MAX) => return Some(Overdue::Now("slow_head")),
            Some(Partial::Frame(since)) if is_over(since, FRAME_MAX) => return Some(Overdue::Now("slow_frame")),
            _ => (),
        }
        if inner.requests >= REQUESTS_MAX {
            return Some(Overdue::Politely("requests"));
        }
        (inner.open.is_empty() && is_over(inner.idle_since, IDLE_MAX)).then_some(Overdue::Politely("idle"))
    }

    /// Tells streams to end whose time is over. Gives the tasks of those that cannot be told, and of answers that nobody
    /// takes.
    pub(super) fn overdue_streams(&self, app: &App) -> Vec<usize> {
        let overdue = |open: &Open| match &open.stream {
            Some(stream) => stream.lock().end_overdue_alone(app),
            None => open.answered_at.is_some_and(|at| at.elapsed() >= app.times.write_timeout),
        };
        let inner = self.inner.lock();
        inner.open.iter().filter(|(_, open)| overdue(open)).filter_map(|(_, open)| open.task).collect()
    }

    /// Has each stream end at its turn in the drain.
    pub(super) fn drain_streams(&self, app: &App) {
        for (_, open) in &self.inner.lock().open {
            if let Some(stream) = &open.stream {
                stream.lock().drain(app);
            }
        }
    }

    /// Says why the streams end that end with the connection.
    pub(super) fn end_streams(&self, reason: EndReason) {
        for (_, open) in &self.inner.lock().open {
            if let Some(stream) = &open.stream {
                stream.lock().ended.get_or_insert(reason);
            }
        }
    }
}

/// One request, as its handler sees it.
#[derive(Debug)]
pub(crate) struct Exchange {
    connection: Arc<ConnectionWatch>,
    key: usize,
}

impl Exchange {
    pub(crate) fn remote_addr(&self) -> SocketAddr {
        self.connection.remote_addr
    }

    /// Takes a place for a stream. A connection counts as one, and so does each stream beyond its first.
    pub(crate) fn claim(&self, app: &App) -> Result<(), Surplus> {
        let is_first = !std::mem::replace(&mut self.connection.inner.lock().is_lent, true);
        let (place, surplus) = if is_first {
            (Place::Lent, self.connection.permit.surplus())
        } else {
            let permit = app.connections.enter(&app.limits, self.remote_addr().ip());
            let permit = permit.map_err(|reason| if reason == "full" { Surplus::OfAll } else { Surplus::OfAddress })?;
            let surplus = permit.surplus();
            (Place::Further { _permit: permit }, surplus)
        };
        if let Some(open) = self.connection.inner.lock().open.get_mut(self.key) {
            open.place = Some(place);
        }
        surplus.map_or(Ok(()), Err)
    }

    /// The request became a stream.
    pub(crate) fn watch(&self, stream: SharedStream) {
        stream.lock().is_on_http2(self.connection.small_frames.clone());
        if let Some(open) = self.connection.inner.lock().open.get_mut(self.key) {
            open.stream = Some(stream);
        }
    }
}

impl Drop for Exchange {
    /// It is answered.
    fn drop(&mut self) {
        if let Some(open) = self.connection.inner.lock().open.get_mut(self.key) {
            open.answered_at = Some(Instant::now());
        }
    }
}

/// The room that a request takes on its connection, until its answer is written.
#[derive(Debug)]
pub(super) struct OpenStream {
    connection: Arc<ConnectionWatch>,
    key: usize,
}

impl OpenStream {
    pub(super) fn key(&self) -> usize {
        self.key
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut inner = self.connection.inner.lock();
        let open = inner.open.try_remove(self.key);
        if open.as_ref().is_some_and(|open| matches!(open.place, Some(Place::Lent))) {
            inner.is_lent = false;
        }
        if inner.open.is_empty() {
            inner.idle_since = Instant::now();
        }
        drop(inner);
        // Its subscription and its permit have locks of their own.
        drop(open);
    }
}
