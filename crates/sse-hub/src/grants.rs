//! Who may see what is private.

use std::sync::Arc;

use crate::ring::Entry;
use crate::{Selector, TopicName};

/// Which private events a subscriber may see.
#[derive(Debug, Clone, Default)]
pub enum Grants {
    /// None: an anonymous subscriber.
    #[default]
    None,
    /// Those with a topic that one of these matches.
    Selectors(Arc<[Selector]>),
    /// All.
    All,
}

/// What somebody with these grants sees of one topic. It lives for one read and remembers whether the topic itself is
/// granted: nearly every private event has no other topic, and matching templates under a lock is dear.
#[derive(Debug)]
pub(crate) struct Sight<'a> {
    grants: &'a Grants,
    topic: &'a TopicName,
    topic_granted: Option<bool>,
}

impl<'a> Sight<'a> {
    pub(crate) fn new(grants: &'a Grants, topic: &'a TopicName) -> Self {
        Self { grants, topic, topic_granted: None }
    }

    /// Public events, and private ones with a granted topic, be it another than the one that is read.
    pub(crate) fn sees(&mut self, entry: &Entry) -> bool {
        let Some(meta) = entry.meta.as_deref().filter(|meta| meta.private) else { return true };
        match self.grants {
            Grants::All => true,
            Grants::None => false,
            Grants::Selectors(selectors) => {
                let is_granted = |topic: &TopicName| selectors.iter().any(|selector| selector.matches(topic.as_str()));
                *self.topic_granted.get_or_insert_with(|| is_granted(self.topic))
                    || meta.topics.iter().any(|topic| topic != self.topic && is_granted(topic))
            }
        }
    }
}
