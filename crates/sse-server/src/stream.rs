//! What every stream has, however its bytes get to the socket: who it is, its head, its first and last bytes.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Version;
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING, VARY,
};
use sse_hub::{Cursor, Feed, Gap, Grants, Subscription, TopicName};
use sse_wire::{Event, EventType, Frame};

use crate::access::Token;
use crate::compression::Rider;
use crate::gauge::ConnectionPermit;
use crate::limits::Shares;
use crate::presence::Present;
use crate::signals::Signals;

pub(crate) mod body;
mod envelope;
mod text;

pub(crate) use envelope::envelope_frame;
pub(crate) use text::{encode, secrecy};

/// Bytes that a follower may send after its request, and that are read and dropped. Left unread they would make closing
/// reset the connection and lose the tail of the stream.
pub(crate) const RECEIVED_MAX: usize = 64 * 1024;

/// A request that was checked and is to become a stream.
#[derive(Debug)]
pub(crate) struct StreamPlan {
    pub(crate) source: Source,
    pub(crate) opening: Opening,
    /// What comes between the opening and the first event.
    pub(crate) gap: Option<Gap>,
    pub(crate) shape: Shape,
    pub(crate) notices: Notices,
    pub(crate) framing: Framing,
    /// What its client takes and its topic allows. Whether it pays, its writer knows.
    pub(crate) encoding: Encoding,
    /// The response's fields.
    pub(crate) headers: HeaderMap,
    pub(crate) info: StreamInfo,
}

/// Where a stream's frames come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// One topic, after `cursor`. What comes up to `replay_to` was there before the stream.
    Topic { feed: Feed, cursor: u64, replay_to: u64, grants: Grants },
    /// A subscription of its own: several topics or templates, or one topic whose log has to be read.
    Own {
        subscription: Box<Subscription>,
        /// The topic, and what is seen of it, if it is one: once the log is read a writer goes on with its ring.
        topic: Option<(TopicName, Grants)>,
    },
}

/// The first bytes of a stream, which tell a browser that it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opening {
    /// A `retry:` line, and for a stream that begins live the position it begins at: cut before its first event, its client
    /// comes back with that.
    Retry { retry: Duration, position: Option<Cursor> },
    /// A comment without text.
    Comment,
}

impl Opening {
    pub(crate) fn text(self) -> Bytes {
        match self {
            Self::Retry { retry, position: None } => Frame::retry(retry).text(),
            Self::Retry { retry, position: Some(position) } => {
                Bytes::from([Frame::retry(retry).text_bytes(), position.frame().text_bytes()].concat())
            }
            Self::Comment => Bytes::from_static(b":\n"),
        }
    }
}

/// Whether a stream speaks of itself, in events whose types begin with `sse.`.
///
/// Without them a gap cannot be told in the stream. So the stream ends there instead, and the client learns of the gap when
/// it comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Notices {
    On,
    Off,
}

/// What an event's data looks like on this stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Shape {
    /// As published.
    Plain,
    /// `{"topic","type","id","data"}`.
    Envelope,
}

/// How frames stand in the response's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Framing {
    /// HTTP/1.1 chunks (RFC 9112, 7.1).
    Chunked,
    /// The text as it is, up to the end of the connection: HTTP/1.0, and clients that ask for `Connection: close`. The
    /// answer is HTTP/1.0 then, as hyper frames it so for no other. And HTTP/2, which frames it itself.
    UntilClose,
}

/// What becomes of a stream's text before it is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Encoding {
    /// Nothing.
    Identity,
    /// It is compressed, for all of a lane at once.
    Gzip,
}

impl Framing {
    pub(crate) fn of(version: Version, request: &HeaderMap) -> Self {
        let asks_close = |value: &HeaderValue| {
            value.to_str().is_ok_and(|list| list.split(',').any(|token| token.trim().eq_ignore_ascii_case("close")))
        };
        if version == Version::HTTP_11 && !request.get_all(CONNECTION).iter().any(asks_close) {
            Self::Chunked
        } else {
            Self::UntilClose
        }
    }
}

impl StreamPlan {
    /// Everything up to the first event: the head, the opening, a gap to be told of.
    pub(crate) fn first_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(320);
        head_bytes(&self.headers, self.framing, &mut bytes);
        push_text(&mut bytes, &self.opening.text(), self.framing);
        if let (Some(gap), Notices::On) = (&self.gap, self.notices) {
            push_frame(&mut bytes, &gap.frame(), self.framing);
        }
        bytes
    }

    /// The same for a stream that is compressed.
    pub(crate) fn first_bytes_compressed(&mut self) -> (Rider, Vec<u8>) {
        self.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let mut text = self.opening.text().to_vec();
        if let (Some(gap), Notices::On) = (&self.gap, self.notices) {
            text.extend_from_slice(gap.frame().text_bytes());
        }
        let (rider, begun) = Rider::begin(&text);
        let mut bytes = Vec::with_capacity(320);
        head_bytes(&self.headers, self.framing, &mut bytes);
        push_text(&mut bytes, &begun, self.framing);
        (rider, bytes)
    }
}

const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The fields of every stream's head, but for those of the connection.
pub(crate) fn head_fields() -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(10);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers
}

/// The head as a writer sends it: the same that hyper would.
pub(crate) fn head_bytes(fields: &HeaderMap, framing: Framing, out: &mut Vec<u8>) {
    out.extend_from_slice(match framing {
        Framing::Chunked => b"HTTP/1.1 200 OK\r\n",
        Framing::UntilClose => b"HTTP/1.0 200 OK\r\n",
    });
    for (name, value) in fields {
        push_field(out, name, value.as_bytes());
    }
    match framing {
        Framing::Chunked => {
            push_field(out, &CONNECTION, b"keep-alive");
            push_field(out, &TRANSFER_ENCODING, b"chunked");
        }
        Framing::UntilClose => push_field(out, &CONNECTION, b"close"),
    }
    push_field(out, &DATE, httpdate::fmt_http_date(std::time::SystemTime::now()).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `Name: value`, each word of the name with a capital, as hyper writes it.
fn push_field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    let mut at_word = true;
    for &byte in name.as_str().as_bytes() {
        out.push(if at_word { byte.to_ascii_uppercase() } else { byte });
        at_word = byte == b'-';
    }
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a frame's bytes in the stream's framing.
pub(crate) fn push_frame(out: &mut Vec<u8>, frame: &Frame, framing: Framing) {
    match framing {
        Framing::Chunked => out.extend_from_slice(frame.chunk()),
        Framing::UntilClose => out.extend_from_slice(frame.text_bytes()),
    }
}

/// Appends text in the stream's framing.
pub(crate) fn push_text(out: &mut Vec<u8>, text: &[u8], framing: Framing) {
    match framing {
        Framing::Chunked => {
            out.extend_from_slice(format!("{:x}\r\n", text.len()).as_bytes());
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        }
        Framing::UntilClose => out.extend_from_slice(text),
    }
}

/// What ends the body in this framing.
pub(crate) fn last_bytes(framing: Framing) -> &'static [u8] {
    match framing {
        Framing::Chunked => b"0\r\n\r\n",
        Framing::UntilClose => b"",
    }
}

/// What a quiet stream is told.
pub(crate) static HEARTBEAT: LazyLock<Frame> = LazyLock::new(|| Frame::comment("ping").expect("it is one line"));

/// The `sse.reconnect` event, after which the stream ends and the client comes back.
pub(crate) fn reconnect_frame(reason: EndReason) -> Frame {
    let event_type = EventType::parse("sse.reconnect").expect("the type is one line");
    Event::new(format!(r#"{{"reason":"{}"}}"#, reason.as_str())).with_type(event_type).encode()
}

/// `retry` within `jitter` of its value, so that those who were cut together do not return together.
pub(crate) fn jittered(retry: Duration, jitter: f64) -> Duration {
    let share = 1.0 + jitter * (fastrand::f64() * 2.0 - 1.0);
    Duration::from_millis((retry.as_millis() as f64 * share).round() as u64)
}

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum EndReason {
    /// The client closed, or half-closed, the connection.
    Disconnected,
    /// The connection broke.
    Broken,
    /// The client sent more than a follower has to say.
    Flooded,
    /// It stayed behind for too long.
    Lagged,
    /// It took no byte for the write timeout.
    Stalled,
    /// Its topic was closed.
    Ended,
    /// It reached the greatest age of a connection.
    Age,
    /// Its token's time was over.
    Expired,
    /// Its token was revoked.
    Revoked,
    /// An operator ended it.
    Kicked,
    /// The server is full or going away, and takes no new streams.
    Busy,
    /// The server is draining.
    Drain,
    /// The server stopped before the stream could be ended.
    Stopped,
}

impl EndReason {
    /// The word that logs, metrics and `sse.reconnect` carry.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Broken => "broken",
            Self::Flooded => "flooded",
            Self::Lagged => "lagged",
            Self::Stalled => "stalled",
            Self::Ended => "ended",
            Self::Age => "age",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Kicked => "kicked",
            Self::Busy => "busy",
            Self::Drain => "drain",
            Self::Stopped => "stopped",
        }
    }

    /// Whether nobody waits for what the client has not taken yet.
    pub(crate) fn is_impatient(self) -> bool {
        matches!(self, Self::Expired | Self::Revoked | Self::Kicked)
    }

    /// Whether the server cut a subscriber that could not keep up.
    fn is_eviction(self) -> bool {
        matches!(self, Self::Stalled | Self::Flooded)
    }
}

/// Who a stream belongs to, for logs and the admin API. One per stream, so it is kept small: texts are shared.
#[derive(Debug)]
pub(crate) struct StreamInfo {
    pub(crate) remote_addr: RemoteAddr,
    pub(crate) user_agent: Arc<str>,
    pub(crate) topics: FollowedTopics,
    /// What it was let in with.
    pub(crate) token: Option<Arc<Token>>,
    pub(crate) connected_at: Instant,
    pub(crate) protocol: Protocol,
    pub(crate) interface: Interface,
    /// The connection's place, freed with the stream.
    pub(crate) _permit: Option<ConnectionPermit>,
    /// What ends with it.
    pub(crate) _holdings: Option<Box<Holdings>>,
}

/// What a stream's bytes go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http1Tls,
    Http2,
    Http2Tls,
}

impl Protocol {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http1Tls => "http/1.1+tls",
            Self::Http2 => "http/2",
            Self::Http2Tls => "http/2+tls",
        }
    }
}

/// Which of the two ways to follow it was asked for in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interface {
    Native,
    Mercure,
}

impl Interface {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Mercure => "mercure",
        }
    }
}

/// What a stream holds for as long as it lasts.
#[derive(Debug)]
pub(crate) struct Holdings {
    /// Of its client's bounds.
    pub(crate) shares: Option<Shares>,
    /// Of the subscriptions that are listed.
    pub(crate) present: Option<Present>,
}

impl Holdings {
    /// Most streams hold nothing.
    pub(crate) fn boxed(self) -> Option<Box<Self>> {
        (self.shares.is_some() || self.present.is_some()).then(|| Box::new(self))
    }
}

/// Where a client is. Its port is 0 when a proxy did not tell it. Smaller than a [`SocketAddr`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct RemoteAddr {
    pub(crate) ip: IpAddr,
    port: u16,
}

impl From<SocketAddr> for RemoteAddr {
    fn from(addr: SocketAddr) -> Self {
        Self { ip: addr.ip(), port: addr.port() }
    }
}

impl From<RemoteAddr> for SocketAddr {
    fn from(addr: RemoteAddr) -> Self {
        Self::new(addr.ip, addr.port)
    }
}

impl fmt::Display for RemoteAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            0 => self.ip.fmt(f),
            port => SocketAddr::new(self.ip, port).fmt(f),
        }
    }
}

/// What a stream follows, as logs write it. A single topic's name is the hub's own.
#[derive(Debug, Clone)]
pub(crate) enum FollowedTopics {
    One(TopicName),
    /// Names and templates, parted by spaces.
    Several(Box<str>),
}

impl fmt::Display for FollowedTopics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(topic) => f.write_str(topic.as_str()),
            Self::Several(text) => f.write_str(text),
        }
    }
}

impl StreamInfo {
    /// Logs that the stream has begun.
    pub(crate) fn begin(&self, signals: &Signals) {
        signals.stream_opened();
        tracing::info!(
            remote_addr = %self.remote_addr,
            user_agent = &*self.user_agent,
            topics = %self.topics,
            "connected"
        );
    }

    /// Logs and counts that it has ended.
    pub(crate) fn end(&self, reason: EndReason, signals: &Signals) {
        let duration = self.connected_at.elapsed();
        signals.stream_closed(duration);
        if reason.is_eviction() {
            signals.eviction(reason.as_str());
        }
        if reason == EndReason::Kicked {
            signals.kicked();
        }
        tracing::info!(
            remote_addr = %self.remote_addr,
            user_agent = &*self.user_agent,
            topics = %self.topics,
            duration_ms = duration.as_millis() as u64,
            reason = reason.as_str(),
            "disconnected"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_what_the_interface_says() {
        let mut head = Vec::new();
        head_bytes(&head_fields(), Framing::Chunked, &mut head);
        let head = String::from_utf8(head).unwrap();
        let (fields, date) = head.split_once("Date: ").unwrap();
        assert_eq!(
            fields,
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\n\
             Vary: Accept-Encoding\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n"
        );
        assert!(date.ends_with(" GMT\r\n\r\n"), "{date}");
    }

    #[test]
    fn jitter_stays_within_its_share() {
        let retry = Duration::from_secs(3);
        let jittered: Vec<u128> = (0..1000).map(|_| super::jittered(retry, 0.25).as_millis()).collect();
        assert!(jittered.iter().all(|millis| (2250..=3750).contains(millis)));
        assert!(jittered.iter().any(|millis| *millis < 2500) && jittered.iter().any(|millis| *millis > 3500));
        assert_eq!(super::jittered(retry, 0.0), retry);
    }

    #[test]
    fn close_and_old_clients_get_no_chunks() {
        let mut close = HeaderMap::new();
        close.insert(CONNECTION, HeaderValue::from_static("x, Close"));
        assert_eq!(Framing::of(Version::HTTP_11, &HeaderMap::new()), Framing::Chunked);
        assert_eq!(Framing::of(Version::HTTP_11, &close), Framing::UntilClose);
        assert_eq!(Framing::of(Version::HTTP_10, &HeaderMap::new()), Framing::UntilClose);
    }
}
