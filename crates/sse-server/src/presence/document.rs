//! A subscription as Mercure's clients see it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::SUBSCRIPTIONS;

/// Everything but the unreserved characters (RFC 3986, 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One subscription as a document.
#[derive(Debug, Serialize)]
pub(crate) struct Subscription {
    #[serde(rename = "@context", skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<&'static str>,
    pub(super) id: String,
    #[serde(rename = "type")]
    document_type: &'static str,
    topic: String,
    subscriber: String,
    active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
    #[serde(rename = "lastEventID", skip_serializing_if = "Option::is_none")]
    pub(crate) last_event_id: Option<String>,
}

/// What a document's root says of its vocabulary.
pub(crate) const CONTEXT: &str = "https://mercure.rocks/";

impl Subscription {
    pub(super) fn new(selector: &str, subscriber: Uuid, payload: Option<Value>, active: bool) -> Self {
        Self {
            context: None,
            id: subscription_topic(selector, subscriber),
            document_type: "Subscription",
            topic: selector.to_owned(),
            subscriber: subscriber.urn().to_string(),
            active,
            payload,
            last_event_id: None,
        }
    }
}

/// The topic of a subscription, as a text: escaped, those of the longest selectors are too long for one.
pub(super) fn subscription_topic(selector: &str, subscriber: Uuid) -> String {
    let subscriber = subscriber.urn().to_string();
    let [selector, subscriber] = [selector, &subscriber].map(|text| utf8_percent_encode(text, ESCAPED));
    format!("{SUBSCRIPTIONS}/{selector}/{subscriber}")
}
