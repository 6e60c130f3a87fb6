//! A hub for Server-Sent Events: topics, rings of encoded frames, and subscribers that are cursors into them.
//!
//! An event is encoded once, outside every lock, numbered, appended to its topic's ring and announced to those who follow.
//! Nothing is copied per subscriber: live delivery, catching up and replay are the same read of "frames after this
//! cursor". A subscriber that has missed something is told so by a [`Gap`], never in silence.
//!
//! The hub knows no HTTP and no sockets, starts no threads and reads no clock: its host calls [`Hub::sweep`].
//!
//! ```
//! use sse_hub::{Delivery, Hub, Publication, SubscribeOptions, TopicName};
//! use sse_wire::Event;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let hub = Hub::builder().build()?;
//! let news = TopicName::parse("news")?;
//! let mut subscription = hub.subscribe(SubscribeOptions::topic(news.clone()))?;
//! let receipt = hub.publish(Publication::new(news, Event::new("hello")))?;
//!
//! # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
//! # let std::task::Poll::Ready(delivery) = subscription.poll_delivery(&mut cx) else { panic!("nothing came") };
//! # /*
//! let delivery = subscription.next().await;
//! # */
//! let Some(Delivery::Frames(batch)) = delivery else { panic!("no frames") };
//! let text = format!("id: {}\ndata: hello\n\n", receipt.id());
//! assert_eq!(batch.items()[0].frame.text(), text);
//! # Ok(())
//! # }
//! ```

mod append;
mod archive;
mod backplane;
mod batch;
mod budget;
mod builder;
mod config;
mod cursor;
mod durable;
mod epochs;
mod extent;
mod feed;
mod floors;
mod followers;
mod gap;
mod given_ids;
mod grants;
mod hub;
mod keys;
mod lag;
mod log;
mod merge;
mod moving;
mod order;
mod place;
mod publish;
mod read;
mod reader;
mod registry;
mod replay;
mod ring;
mod selector;
mod several;
mod shared_event;
mod signals;
mod start;
mod subscribe;
mod subscription;
mod sweep;
mod sync;
mod table;
mod topic;
mod topic_info;
mod topic_name;
mod topics;
mod unread;

#[cfg(all(test, loom))]
mod loom_tests;

pub use backplane::{Backplane, Intake, Outgoing, Promise};
pub use batch::{Batch, BatchIter, Delivery, EvictReason, Item};
pub use builder::HubBuilder;
pub use config::{HubConfig, LagBounds, RingBounds, SlowPolicy, TopicPolicy};
pub use cursor::{Cursor, Epoch, IdForm};
pub use durable::{Commit, Committer, Submission};
pub use epochs::{Epochs, PastEpoch};
pub use feed::{Feed, FeedRead, FeedStart};
pub use gap::{Gap, GapReason};
pub use grants::Grants;
pub use hub::Hub;
pub use keys::IdempotencyKey;
pub use lag::LagJudge;
#[cfg(feature = "disk")]
pub use log::{
    ClosedLog, DiskLog, DiskLogOptions, ExportHead, ExportedEvent, LogSummary, OpenLogError, Retained, Retention,
};
pub use log::{
    Durability, Extent, History, KeptKey, Log, LogContents, LogError, LogRead, Page, Record, RecordKind, Step, SyncWhen,
};
pub use moving::{MovedEvent, MovedMeta, MovedTopic};
pub use publish::{Publication, PublishError, Receipt};
pub use read::Ahead;
pub use ring::Lag;
pub use selector::Selector;
pub use shared_event::{EntryError, SharedContent, SharedEntry, SharedEvent, encode_note};
pub use start::Start;
pub use subscribe::{SubscribeError, SubscribeOptions};
pub use subscription::Subscription;
pub use topic_info::{TopicInfo, TopicsFound};
pub use topic_name::{TopicName, TopicNameError};
