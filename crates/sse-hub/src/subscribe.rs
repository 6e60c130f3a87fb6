//! What a subscriber asks for, and why it may not get it.

use crate::{Grants, Selector, Start, TopicName};

/// What a subscription follows, from where, and what it may see.
#[derive(Debug, Clone)]
pub struct SubscribeOptions {
    pub(crate) selectors: Vec<Selector>,
    pub(crate) start: Start,
    pub(crate) grants: Grants,
}

impl SubscribeOptions {
    /// Follows one topic from now on, public events only.
    pub fn topic(topic: TopicName) -> Self {
        Self::selectors(vec![Selector::exact(topic)])
    }

    /// Follows several topics and templates on one stream.
    pub fn selectors(selectors: Vec<Selector>) -> Self {
        Self { selectors, start: Start::Live, grants: Grants::None }
    }

    /// Starts there.
    #[must_use]
    pub fn from(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// Sees private events of these topics as well.
    #[must_use]
    pub fn with_grants(mut self, grants: Grants) -> Self {
        self.grants = grants;
        self
    }
}

/// Why there is no subscription.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// Nothing to follow was named.
    #[error("no topic is named")]
    NoTopic,
    /// More is named than one subscription may follow.
    #[error("{selectors} topics are named, more than {selectors_max}")]
    TooManyTopics {
        /// How many.
        selectors: usize,
        /// `HubConfig::topics_per_subscription_max`.
        selectors_max: usize,
    },
    /// The hub has as many topics as it may have, and this would be a new one.
    #[error("there are {topics_max} topics already")]
    TopicsFull {
        /// `HubConfig::topics_max`.
        topics_max: usize,
    },
    /// Every topic named is closed and has nothing after the cursor: there is nothing left to follow.
    #[error("the topic has ended")]
    Ended,
}
