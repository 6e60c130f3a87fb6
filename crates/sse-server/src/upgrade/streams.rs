//! Established streams on their way to a successor.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sse_hub::{Feed, Grants, TopicName};

use super::forms::{grants_form, grants_of, token_form, token_of, topic_name, wrong};
use super::link::{DESCRIPTORS_MAX, Link, LinkError};
use super::message::{LaneForm, Message, StreamForm};
use crate::access::Token;
use crate::app::App;
use crate::stream::{FollowedTopics, Framing, Holdings, Interface, Notices, Protocol, RemoteAddr, Shape, StreamInfo};
use crate::writer::{Adopted, Passed};

/// Bytes of what streams still have to get, in one message, unless one alone has more.
const PENDING_BYTES_MAX: usize = 1 << 20;

/// Streams of one writer, until they fill a message.
#[derive(Debug, Default)]
pub(crate) struct StreamBatch<'a> {
    lanes: Vec<LaneForm>,
    /// The lanes' keys on their writer, in the order of `lanes`.
    keys: Vec<u32>,
    streams: Vec<StreamForm>,
    sockets: Vec<BorrowedFd<'a>>,
    pending: Vec<u8>,
}

impl<'a> StreamBatch<'a> {
    /// Adds a stream, and sends the batch if that fills it.
    pub(crate) fn add(&mut self, passed: &Passed<'a>, link: &mut Link) -> Result<(), LinkError> {
        let lane = self.lane(passed);
        let info = passed.info;
        self.pending.extend_from_slice(&passed.pending);
        self.sockets.push(passed.socket);
        let ms = |duration: Duration| duration.as_millis() as u64;
        self.streams.push(StreamForm {
            lane,
            cursor: passed.cursor,
            replay_to: passed.replay_to,
            pending: passed.pending.len(),
            quiet_ms: ms(passed.quiet),
            blocked_ms: ms(passed.blocked_for),
            ends_in_ms: passed.ends_in.map(ms),
            received: passed.received,
            addr: info.remote_addr.into(),
            agent: info.user_agent.to_string(),
            age_ms: ms(info.connected_at.elapsed()),
            is_mercure: info.interface == Interface::Mercure,
            token: info.token.as_deref().map(token_form),
        });
        if self.sockets.len() >= DESCRIPTORS_MAX || self.pending.len() >= PENDING_BYTES_MAX {
            self.send(link)?;
        }
        Ok(())
    }

    /// Sends what there is.
    pub(crate) fn send(&mut self, link: &mut Link) -> Result<(), LinkError> {
        let Self { lanes, streams, sockets, pending, .. } = std::mem::take(self);
        if streams.is_empty() {
            return Ok(());
        }
        link.send_with(&Message::Streams { lanes, streams }, &pending, &sockets)
    }

    fn lane(&mut self, passed: &Passed<'_>) -> usize {
        // Streams come by lane, so that it is mostly the last.
        if let Some(at) = self.keys.iter().rposition(|key| *key == passed.lane) {
            return at;
        }
        self.keys.push(passed.lane);
        self.lanes.push(LaneForm {
            topic: passed.topic.as_str().to_owned(),
            is_enveloped: passed.shape == Shape::Envelope,
            is_chunked: passed.framing == Framing::Chunked,
            has_notices: passed.notices == Notices::On,
            grants: grants_form(passed.grants),
        });
        self.lanes.len() - 1
    }
}

/// A stream that has come, and that nobody may touch before it is this process's.
#[derive(Debug)]
pub(super) struct Arrived {
    socket: TcpStream,
    lane: Arc<ArrivedLane>,
    form: StreamForm,
    pending: Bytes,
    token: Option<Arc<Token>>,
    feed: Feed,
}

#[derive(Debug)]
struct ArrivedLane {
    topic: TopicName,
    shape: Shape,
    framing: Framing,
    notices: Notices,
    grants: Grants,
}

/// The streams of one message.
pub(super) fn arrived(
    app: &App,
    lanes: &[LaneForm],
    streams: Vec<StreamForm>,
    payload: Vec<u8>,
    sockets: Vec<OwnedFd>,
) -> Result<Vec<Arrived>, LinkError> {
    if streams.len() != sockets.len() {
        return Err(wrong("a batch of streams"));
    }
    let lanes = lanes.iter().map(|lane| lane_of(app, lane).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    let mut payload = Bytes::from(payload);
    // Whatever may fail does so here, while the predecessor still has them.
    let mut arrive = |(mut form, socket): (StreamForm, OwnedFd)| {
        let lane = lanes.get(form.lane).cloned().ok_or_else(|| wrong("a stream"))?;
        if form.pending > payload.len() {
            return Err(wrong("a stream"));
        }
        let pending = payload.split_to(form.pending);
        let token = form.token.take().map(|token| token_of(token, &app.access)).transpose()?.map(Arc::new);
        let feed = app.hub.feed(&lane.topic).map_err(|error| LinkError::Unexpected(error.to_string()))?;
        Ok(Arrived { socket: TcpStream::from(socket), lane, form, pending, token, feed })
    };
    streams.into_iter().zip(sockets).map(&mut arrive).collect()
}

fn lane_of(app: &App, form: &LaneForm) -> Result<ArrivedLane, LinkError> {
    Ok(ArrivedLane {
        topic: topic_name(&form.topic)?,
        shape: if form.is_enveloped { Shape::Envelope } else { Shape::Plain },
        framing: if form.is_chunked { Framing::Chunked } else { Framing::UntilClose },
        notices: if form.has_notices { Notices::On } else { Notices::Off },
        grants: grants_of(&form.grants, &app.access)?,
    })
}

impl Arrived {
    /// Whose it is, for logs.
    pub(super) fn client(&self) -> SocketAddr {
        self.form.addr
    }

    /// As a writer takes it. What bounds streams turns away none that is there already.
    pub(super) fn adopt(self, app: &App) -> Adopted {
        let Self { socket, lane, form, pending, token, feed } = self;
        let client: SocketAddr = form.addr;
        let peer = socket.peer_addr().map_or(client.ip(), |peer| peer.ip());
        let subject = token.as_ref().and_then(|token| token.subject.as_deref());
        let (place, shares) = app.limits.adopt(peer, client.ip(), subject);
        let now = Instant::now();
        let ago = |ms: u64| now.checked_sub(Duration::from_millis(ms)).unwrap_or(now);
        let info = StreamInfo {
            remote_addr: RemoteAddr::from(client),
            user_agent: app.user_agents.intern(&form.agent),
            topics: FollowedTopics::One(lane.topic.clone()),
            connected_at: ago(form.age_ms),
            protocol: Protocol::Http1,
            interface: if form.is_mercure { Interface::Mercure } else { Interface::Native },
            _permit: Some(app.connections.adopt(place)),
            _holdings: Holdings { shares, present: None }.boxed(),
            token,
        };
        Adopted {
            socket,
            feed,
            cursor: form.cursor,
            replay_to: form.replay_to,
            shape: lane.shape,
            framing: lane.framing,
            notices: lane.notices,
            grants: lane.grants.clone(),
            pending,
            quiet: Duration::from_millis(form.quiet_ms),
            blocked_since: ago(form.blocked_ms),
            ends_in: form.ends_in_ms.map(Duration::from_millis),
            received: form.received,
            info,
        }
    }
}
