//! Who may see what is private.

use std::sync::Arc;

use crate::ring::Entry;
use crate::{Selector, TopicName};

/// Which private events a subscriber may see. Equal grants show the same events of the same topic, so a host may serve
/// those who have them together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum Grants {
    /// None: an anonymous subscriber.
    #[default]
    None,
    /// Those with a topic that one of these matches.
    Selectors(Arc<[Selector]>),
    /// All.
    All,
}

impl Grants {
    /// These grants as far as they matter to a follower of `topic` alone. Whoever is granted the topic sees every private
    /// event there, so all of them are alike.
    #[must_use]
    pub fn within(&self, topic: &TopicName) -> Self {
        match self {
            Self::Selectors(selectors) if selectors.is_empty() => Self::None,
            Self::Selectors(selectors) if selectors.iter().any(|selector| selector.matches(topic.as_str())) => {
                Self::All
            }
            _ => self.clone(),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn within_a_topic_all_who_are_granted_it_are_alike() {
        let within = |selectors: &[&str], topic: &str| {
            let selectors = selectors.iter().map(|text| Selector::parse(text).unwrap()).collect();
            Grants::Selectors(selectors).within(&TopicName::parse(topic).unwrap())
        };
        assert_eq!(within(&["a", "b"], "a"), Grants::All);
        assert_eq!(within(&["/users/{id}"], "/users/1"), Grants::All);
        assert_eq!(within(&[], "a"), Grants::None);
        assert_eq!(within(&["b", "c"], "a"), within(&["b", "c"], "d"));
        assert_ne!(within(&["b"], "a"), within(&["c"], "a"));
        assert_eq!(Grants::None.within(&TopicName::parse("a").unwrap()), Grants::None);
    }
}
