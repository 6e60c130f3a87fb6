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

#[cfg(test)]
mod tests {
    use super::*;

    fn selectors<C: FromIterator<Selector>>(texts: &[&str]) -> C {
        texts.iter().map(|text| Selector::parse(text).unwrap()).collect()
    }

    #[test]
    fn it_publishes_to_what_a_selector_matches() {
        let may = |publish: Option<&[&str]>, topic: &str| {
            let token = Token { publish: publish.map(selectors), ..Token::default() };
            token.may_publish(&TopicName::parse(topic).unwrap())
        };
        assert!(may(Some(&["*"]), "a") && may(Some(&["a", "b"]), "b") && may(Some(&["/x/{y}"]), "/x/1"));
        assert!(!may(Some(&["a", "b"]), "c") && !may(Some(&[]), "a") && !may(None, "a"));
    }

    #[test]
    fn it_grants_what_its_claim_says() {
        let grants =
            |subscribe: Option<&[&str]>| Token { subscribe: subscribe.map(selectors), ..Token::default() }.grants();
        assert!(matches!(grants(None), Grants::None));
        assert!(matches!(grants(Some(&["a"])), Grants::Selectors(all) if all.len() == 1));
    }

    #[test]
    fn a_stream_lasts_to_its_end() {
        let now = SystemTime::now();
        let left = |expires_at| Token { expires_at, ..Token::default() }.life_left(now);
        assert_eq!(left(None), None);
        assert_eq!(left(Some(now + Duration::from_secs(5))), Some(Duration::from_secs(5)));
        assert_eq!(left(Some(now - Duration::from_secs(5))), Some(Duration::ZERO));
    }
}
