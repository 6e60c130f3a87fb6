//! The subscriptions that other nodes have.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use serde_json::Value;
use sse_hub::TopicName;
use uuid::Uuid;

use super::{Payload, selected};
use crate::backplane;

/// By node. They are told, and as many as the nodes have streams.
#[derive(Debug, Default)]
pub(crate) struct Others(Mutex<BTreeMap<Uuid, OfNode>>);

/// By selector, then by subscriber, with the payload of its token.
type OfNode = BTreeMap<TopicName, BTreeMap<Uuid, Option<Value>>>;

impl Others {
    /// Another node has this subscription.
    pub(crate) fn entered(&self, node: Uuid, present: backplane::Presence) {
        let Ok(selector) = TopicName::parse(&present.selector) else { return };
        let mut nodes = self.0.lock();
        nodes.entry(node).or_default().entry(selector).or_default().insert(present.subscriber, present.payload);
    }

    /// It has it no longer.
    pub(crate) fn left(&self, node: Uuid, present: &backplane::Presence) {
        let mut nodes = self.0.lock();
        let Some(active) = nodes.get_mut(&node) else { return };
        if let Some(subscribers) = active.get_mut(present.selector.as_str()) {
            subscribers.remove(&present.subscriber);
            active.retain(|_, subscribers| !subscribers.is_empty());
        }
        if active.is_empty() {
            nodes.remove(&node);
        }
    }

    /// What was known of a node counts no longer.
    pub(crate) fn forget(&self, node: Uuid) {
        self.0.lock().remove(&node);
    }

    /// Nor what was known of any other.
    pub(crate) fn forget_all(&self) {
        self.0.lock().clear();
    }

    /// What was known of a node that is gone.
    pub(crate) fn take(&self, node: Uuid) -> Vec<backplane::Presence> {
        let taken = self.0.lock().remove(&node);
        let of = |(selector, subscribers): (&TopicName, &BTreeMap<Uuid, Option<Value>>)| {
            let one = |(subscriber, payload): (&Uuid, &Option<Value>)| backplane::Presence {
                selector: selector.as_str().to_owned(),
                subscriber: *subscriber,
                payload: payload.clone(),
            };
            subscribers.iter().map(one).collect::<Vec<_>>()
        };
        taken.iter().flatten().flat_map(of).collect()
    }

    /// At most so many of a selector, or of all.
    pub(super) fn list(&self, selector: Option<&str>, count_max: usize) -> Vec<(TopicName, Uuid, Payload)> {
        let mut found = Vec::new();
        for of_node in self.0.lock().values() {
            let room = count_max - found.len();
            found.extend(selected(of_node, selector, room, |payload| Payload::Told(payload.clone())));
        }
        found
    }

    /// One of them.
    pub(super) fn find(&self, selector: &str, subscriber: Uuid) -> Option<Payload> {
        let nodes = self.0.lock();
        let payload = nodes.values().find_map(|of_node| of_node.get(selector)?.get(&subscriber).cloned());
        payload.map(Payload::Told)
    }
}
