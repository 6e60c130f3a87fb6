//! Topics in paths and values in queries.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use sse_hub::TopicName;

use super::Problem;
use crate::presence::SUBSCRIPTIONS;

/// Where clients of the Mercure protocol look for a hub.
pub(crate) const MERCURE: &str = "/.well-known/mercure";

/// What the path names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/events/{topic}`.
    Topic(TopicName),
    /// `/events`, with topics in the query.
    Events,
    /// `/publish`.
    Publish,
    /// `/tickets`.
    Tickets,
    /// The Mercure hub.
    Mercure,
    /// Its active subscriptions.
    Subscriptions,
    /// `/livez`, `/readyz` or `/metrics`.
    Health(HealthRoute),
}

/// What the health paths ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HealthRoute {
    Live,
    Ready,
    Metrics,
}

impl Route {
    /// # Errors
    /// 404 for a path that is nothing, 400 for a topic that is none.
    pub(crate) fn parse(path: &str) -> Result<Self, Problem> {
        match path {
            "/events" => Ok(Self::Events),
            "/publish" => Ok(Self::Publish),
            "/tickets" => Ok(Self::Tickets),
            MERCURE => Ok(Self::Mercure),
            _ if is_subscriptions(path) => Ok(Self::Subscriptions),
            _ => match path.strip_prefix("/events/") {
                Some(topic) => decode_topic(topic).map(Self::Topic),
                None => HealthRoute::parse(path).map(Self::Health).ok_or_else(Problem::not_found),
            },
        }
    }
}

impl HealthRoute {
    pub(crate) fn parse(path: &str) -> Option<Self> {
        match path {
            "/livez" => Some(Self::Live),
            "/readyz" => Some(Self::Ready),
            "/metrics" => Some(Self::Metrics),
            _ => None,
        }
    }
}

fn is_subscriptions(path: &str) -> bool {
    path.strip_prefix(SUBSCRIPTIONS).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Everything behind `/events/`, percent-decoded, is the topic.
fn decode_topic(encoded: &str) -> Result<TopicName, Problem> {
    let text =
        percent_decode_str(encoded).decode_utf8().map_err(|_| Problem::bad("topic", "the topic is not UTF-8"))?;
    topic(&text)
}

pub(crate) fn topic(text: &str) -> Result<TopicName, Problem> {
    TopicName::parse(text).map_err(|error| Problem::bad("topic", error.to_string()))
}

/// A name and its value.
type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The pairs of a query, decoded. `+` is a space.
///
/// # Errors
/// 400 for a name or value that is not UTF-8: replacement characters would make another topic of it.
pub(crate) fn pairs(query: &str) -> Result<Vec<Pair<'_>>, Problem> {
    query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect()
}

fn pair(pair: &str) -> Result<Pair<'_>, Problem> {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    Ok((decode(name)?, decode(value)?))
}

/// One name or value, decoded.
///
/// # Errors
/// As [`pairs`].
pub(crate) fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    let spaced = if text.contains('+') { Cow::Owned(text.replace('+', " ")) } else { Cow::Borrowed(text) };
    let not_utf8 = |_| Problem::bad("query", "the query is not UTF-8");
    match spaced {
        Cow::Borrowed(text) => percent_decode_str(text).decode_utf8().map_err(not_utf8),
        Cow::Owned(text) => {
            percent_decode_str(&text).decode_utf8().map(|text| Cow::Owned(text.into_owned())).map_err(not_utf8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic_of(path: &str) -> Option<String> {
        match Route::parse(path) {
            Ok(Route::Topic(topic)) => Some(topic.as_str().to_owned()),
            _ => None,
        }
    }

    #[test]
    fn everything_behind_events_is_the_topic() {
        for (path, expected) in [
            ("/events/news", Some("news")),
            ("/events/a/b//c", Some("a/b//c")),
            ("/events/https%3A%2F%2Fexample.com%2F%C3%A9", Some("https://example.com/é")),
            ("/events/a+b", Some("a+b")),
            ("/events/", None),
            ("/events/%ff", None),
            ("/events/a%0Ab", None),
            ("/event/news", None),
        ] {
            assert_eq!(topic_of(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn queries_are_decoded() {
        let pairs = pairs("topic=a+b&topic=%C3%A9&x&&y=1=2").expect("valid");
        let expected = [("topic", "a b"), ("topic", "é"), ("x", ""), ("y", "1=2")];
        assert!(pairs.iter().map(|(name, value)| (&**name, &**value)).eq(expected));
        assert!(super::pairs("topic=%ff").is_err());
    }
}
