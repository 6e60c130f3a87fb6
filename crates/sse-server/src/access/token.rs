//! A checked token: who it is for, and what it grants.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use sse_hub::{Grants, Selector, TopicName};

/// What a token says, once its signature and claims have been checked. Selectors are compiled.
#[derive(Debug, Default)]
pub(crate) struct Token {
    /// `jti`, the token's own name.
    pub(crate) id: Option<Box<str>>,
    /// `sub`, whom it was given to.
    pub(crate) subject: Option<Box<str>>,
    /// `exp`: streams end here.
    pub(crate) expires_at: Option<SystemTime>,
    /// `nbf`: it does not count before.
    pub(crate) not_before: Option<SystemTime>,
    /// `mercure.publish`; `None` if the claim is not there.
    pub(crate) publish: Option<Box<[Selector]>>,
    /// `mercure.subscribe`: whose private events it may see; `None` if the claim is not there.
    pub(crate) subscribe: Option<Arc<[Selector]>>,
    /// `mercure.payload`, for subscription documents.
    pub(crate) payload: Option<Value>,
}

impl Token {
    /// Whether a publish selector matches the topic.
    pub(crate) fn may_publish(&self, topic: &TopicName) -> bool {
        self.publish.iter().flatten().any(|selector| selector.matches(topic.as_str()))
    }

    /// Which private events it may see.
    pub(crate) fn grants(&self) -> Grants {
        self.subscribe.as_ref().map_or(Grants::None, |selectors| Grants::Selectors(selectors.clone()))
    }

    /// How long a stream that begins now may last. What was let in by the leeway ends at once.
    pub(crate) fn life_left(&self, now: SystemTime) -> Option<Duration> {
        self.expires_at.map(|end| end.duration_since(now).unwrap_or_default())
    }
}
