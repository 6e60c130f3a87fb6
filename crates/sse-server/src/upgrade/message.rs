//! What the two processes say to each other, and its version.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access::Revocation;

/// Of everything in this file. A process of another version takes nothing over.
pub(super) const VERSION: u32 = 2;

/// One message. Raw bytes (events, what a stream still has to get) and descriptors come beside it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Message {
    /// The successor: what it is.
    Hello {
        version: u32,
        keeps: Keeps,
        #[serde(default)]
        directory: Option<PathBuf>,
    },
    /// Somebody who wants a successor started. The answer is [`Done`](Self::Done), or a refusal.
    Start,
    /// What was asked for is done.
    Done,
    /// Either: it is not done, and why.
    Refused { reason: String },
    /// The incumbent: what there is. With it come its listeners, the public ones first.
    Welcome(Welcome),
    /// The successor: it begins to copy.
    Copy,
    /// Topics; with them come their events.
    Topics(Vec<TopicForm>),
    /// Floors of forgotten topics.
    Floors(Vec<(Option<String>, u64)>),
    /// Everything is copied but what happens meanwhile.
    Copied,
    /// The successor: it is set up, as far as it can be, and the switch may come.
    Ready,
    /// Streams; with them come their sockets, and what each still has to get.
    Streams { lanes: Vec<LaneForm>, streams: Vec<StreamForm> },
    /// The incumbent writes nothing to its log, unless all this comes to nothing. With it comes the lock of the directory.
    Directory,
    /// Publishers' keys.
    Keys(Vec<KeptKeyForm>),
    /// Tickets that nobody has used.
    Tickets(Vec<TicketForm>),
    /// Revocations.
    Revocations(Vec<Revocation>),
    /// Where the hub stands, with nobody publishing.
    State(StateForm),
    /// All is sent: so many streams.
    Complete { streams: usize },
    /// The successor: it has all of it.
    Prepared { streams: usize },
    /// The incumbent: it is the successor's, once that has said so.
    Commit,
    /// The successor: it is. Whoever reads this owns nothing any more.
    Taken,
    /// The successor: it listens; the incumbent is to go.
    Release,
    /// Events that publishers gave to the incumbent, as JSON, with their keys.
    Publish(Vec<(String, Option<KeyForm>)>),
    /// What became of them.
    Published(Vec<Outcome>),
}

/// Where a server keeps its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Keeps {
    Memory,
    Log,
    Engine,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Welcome {
    pub(super) public: Vec<SocketAddr>,
    pub(super) admin: Option<SocketAddr>,
    /// The service manager opened the listeners, and no setting names them.
    pub(super) is_activated: bool,
    pub(super) terms: Terms,
}

/// What passes beside the listeners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Terms {
    /// The history in memory, which is of this epoch, and streams.
    History { epoch: String },
    /// The data directory, which has the history, and streams.
    Directory,
    /// Nothing, and the successor has to wait until this process is gone: it holds a data directory that cannot pass.
    Exit,
    /// Nothing.
    Nothing,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TopicForm {
    pub(super) name: String,
    pub(super) floor: u64,
    pub(super) is_floor_exact: bool,
    pub(super) closed_at: Option<u32>,
    pub(super) events: Vec<EventForm>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct EventForm {
    pub(super) sequence: u64,
    pub(super) at: u32,
    /// Bytes of its text.
    pub(super) len: usize,
    #[serde(default, skip_serializing_if = "is_not")]
    pub(super) is_end: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) meta: Option<MetaForm>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct MetaForm {
    pub(super) topics: Vec<String>,
    pub(super) private: bool,
    pub(super) given_id: Option<String>,
    pub(super) first_use: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StateForm {
    pub(super) newest: u64,
    pub(super) seconds: u32,
}

/// A key, what it stands for, and the hub's second that it came at.
pub(super) type KeptKeyForm = (KeyForm, ReceiptForm, u32);

/// A key and its fingerprint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct KeyForm(pub(super) [u8; 16], pub(super) [u8; 16]);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ReceiptForm {
    pub(super) cursor: String,
    pub(super) given_id: Option<String>,
    pub(super) is_urn: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TicketForm {
    pub(super) name: String,
    pub(super) topics: Vec<String>,
    pub(super) token: TokenForm,
    pub(super) left_ms: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct TokenForm {
    pub(super) id: Option<String>,
    pub(super) subject: Option<String>,
    pub(super) expires_ms: Option<u64>,
    pub(super) not_before_ms: Option<u64>,
    pub(super) publish: Option<Vec<String>>,
    pub(super) subscribe: Option<Vec<String>>,
    pub(super) payload: Option<Value>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LaneForm {
    pub(super) topic: String,
    pub(super) is_enveloped: bool,
    pub(super) is_chunked: bool,
    pub(super) has_notices: bool,
    pub(super) grants: GrantsForm,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum GrantsForm {
    None,
    All,
    Selectors(Vec<String>),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StreamForm {
    /// Which of the message's lanes it is on.
    pub(super) lane: usize,
    pub(super) cursor: u64,
    pub(super) replay_to: u64,
    /// Bytes that it gets before anything else, which bring it to its cursor.
    pub(super) pending: usize,
    pub(super) quiet_ms: u64,
    pub(super) blocked_ms: u64,
    pub(super) ends_in_ms: Option<u64>,
    pub(super) received: u32,
    pub(super) addr: SocketAddr,
    pub(super) agent: String,
    pub(super) age_ms: u64,
    pub(super) is_mercure: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<TokenForm>,
}

/// What became of an event that was passed on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    Published(ReceiptForm),
    Closed(String),
    TopicsFull(usize),
    RingsFull(usize),
    KeyReused,
    Skipped,
    Unavailable,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_not(flag: &bool) -> bool {
    !flag
}
