//! Who follows what just now: the active subscriptions of the Mercure protocol.
//!
//! Each selector of each stream is one. It is announced by a private event when it begins and when it ends, and listed for as
//! long as it lasts. Nothing of it is kept beyond that.

mod document;
mod others;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;
use sse_hub::{Hub, IdForm, Publication, Selector, TopicName};
use sse_wire::Event;
use uuid::Uuid;

use self::document::subscription_topic;
pub(crate) use self::document::{CONTEXT, Subscription};
use self::others::Others;
use crate::access::Token;
use crate::backplane::{self, Said};
use crate::peers::Peers;
use crate::signals::Signals;

/// Below it every subscription has a topic of its own.
pub(crate) const SUBSCRIPTIONS: &str = "/.well-known/mercure/subscriptions";
/// The selector of all those topics.
pub(crate) const SUBSCRIPTION_TOPICS: &str = "/.well-known/mercure/subscriptions{/topic}{/subscriber}";

/// All active subscriptions.
#[derive(Debug)]
pub(crate) struct Presence {
    hub: Hub,
    signals: Signals,
    active: Mutex<Active>,
    /// With several nodes: through which the others hear of it, and what they have.
    peers: OnceLock<Arc<Peers>>,
    pub(crate) others: Others,
    /// Another process goes on with the history, and tells of what is there.
    is_silent: Mutex<bool>,
}

/// By selector, then by subscriber. There is one for each selector of an open stream, so connections bound it.
type Active = BTreeMap<TopicName, BTreeMap<Uuid, Option<Arc<Token>>>>;

/// A stream's subscriptions; dropping it ends them.
#[derive(Debug)]
pub(crate) struct Present {
    presence: Arc<Presence>,
    subscriber: Uuid,
    selectors: Box<[TopicName]>,
    token: Option<Arc<Token>>,
}

impl Presence {
    pub(crate) fn new(hub: Hub, signals: Signals) -> Arc<Self> {
        Arc::new(Self {
            hub,
            signals,
            active: Mutex::default(),
            peers: OnceLock::new(),
            others: Others::default(),
            is_silent: Mutex::default(),
        })
    }

    /// Has other nodes told from now on.
    pub(crate) fn tell(&self, peers: Arc<Peers>) {
        // Once, when the server is set up.
        let _ = self.peers.set(peers);
    }

    /// The event that tells of a subscription, if somebody follows it here: of what nobody follows nothing is kept.
    pub(crate) fn announcement(&self, present: &backplane::Presence, active: bool) -> Option<Publication> {
        let topic = TopicName::parse(&subscription_topic(&present.selector, present.subscriber)).ok()?;
        if !self.hub.is_followed(&topic) {
            return None;
        }
        let mut document = Subscription::new(&present.selector, present.subscriber, present.payload.clone(), active);
        document.context = Some(CONTEXT);
        let event = Event::new(serde_json::to_string(&document).expect("strings and JSON values have a JSON form"));
        Some(Publication::new(topic, event).private().with_id_form(IdForm::Urn).unlogged())
    }

    /// Has it announce nothing, or go on: once this returns, no announcement takes an id any more.
    pub(crate) fn be_silent(&self, is_silent: bool) {
        *self.is_silent.lock() = is_silent;
    }

    /// Until it is dropped nobody else tells the other nodes of subscriptions: they hear of changes in the order in which they
    /// were made.
    fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        self.peers.get().map(|peers| peers.turn())
    }

    /// What this node has.
    pub(crate) fn own(&self) -> Vec<backplane::Presence> {
        let active = self.active.lock();
        let of = |(selector, subscribers): (&TopicName, &BTreeMap<Uuid, Option<Arc<Token>>>)| {
            let one =
                |(subscriber, token): (&Uuid, &Option<Arc<Token>>)| present(selector, *subscriber, token.as_deref());
            subscribers.iter().map(one).collect::<Vec<_>>()
        };
        active.iter().flat_map(of).collect()
    }

    /// Lists and announces a stream's subscriptions. `None` when the system has no random number for its name.
    pub(crate) fn enter(self: &Arc<Self>, selectors: &[Selector], token: Option<Arc<Token>>) -> Option<Present> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).ok()?;
        let subscriber = uuid::Builder::from_random_bytes(bytes).into_uuid();
        let mut selectors: Vec<TopicName> = selectors.iter().map(|selector| selector.text().clone()).collect();
        selectors.sort_unstable();
        selectors.dedup();
        let _turn = self.turn();
        {
            let mut active = self.active.lock();
            for selector in &selectors {
                active.entry(selector.clone()).or_default().insert(subscriber, token.clone());
            }
        }
        let present = Present { presence: self.clone(), subscriber, selectors: selectors.into(), token };
        present.announce(true);
        Some(present)
    }

    /// The subscriptions, of one selector or all; `None` if there are more than `subscriptions_max`.
    pub(crate) fn list(&self, selector: Option<&str>, subscriptions_max: usize) -> Option<Vec<Subscription>> {
        // Only what is shared is taken under the lock; the documents are written after it.
        let mut found: Vec<(TopicName, Uuid, Payload)> = {
            let active = self.active.lock();
            selected(&active, selector, subscriptions_max + 1, |token| Payload::Of(token.clone()))
        };
        found.extend(self.others.list(selector, subscriptions_max + 1 - found.len()));
        let document = |(selector, subscriber, payload): (TopicName, Uuid, Payload)| {
            Subscription::new(selector.as_str(), subscriber, payload.value(), true)
        };
        (found.len() <= subscriptions_max).then(|| found.into_iter().map(document).collect())
    }

    /// One subscription.
    pub(crate) fn find(&self, selector: &str, subscriber: &str) -> Option<Subscription> {
        let uuid = Uuid::try_parse(subscriber.strip_prefix("urn:uuid:")?).ok()?;
        let here = self.active.lock().get(selector).and_then(|subscribers| subscribers.get(&uuid).cloned());
        let payload = match here {
            Some(token) => Payload::Of(token),
            None => self.others.find(selector, uuid)?,
        };
        Some(Subscription::new(selector, uuid, payload.value(), true))
    }
}

/// What a subscription's token says of it.
enum Payload {
    Of(Option<Arc<Token>>),
    Told(Option<Value>),
}

impl Payload {
    fn value(self) -> Option<Value> {
        match self {
            Self::Of(token) => token.and_then(|token| token.payload.clone()),
            Self::Told(payload) => payload,
        }
    }
}

/// At most so many of a selector, or of all.
fn selected<T>(
    active: &BTreeMap<TopicName, BTreeMap<Uuid, T>>,
    selector: Option<&str>,
    subscriptions_max: usize,
    payload: impl Fn(&T) -> Payload,
) -> Vec<(TopicName, Uuid, Payload)> {
    let wanted: Box<dyn Iterator<Item = (&TopicName, &BTreeMap<Uuid, T>)>> = match selector {
        Some(selector) => Box::new(active.get_key_value(selector).into_iter()),
        None => Box::new(active.iter()),
    };
    let mut found = Vec::new();
    for (selector, subscribers) in wanted {
        let room = subscriptions_max - found.len();
        found
            .extend(subscribers.iter().take(room).map(|(subscriber, of)| (selector.clone(), *subscriber, payload(of))));
    }
    found
}

fn present(selector: &TopicName, subscriber: Uuid, token: Option<&Token>) -> backplane::Presence {
    let payload = token.and_then(|token| token.payload.clone());
    backplane::Presence { selector: selector.as_str().to_owned(), subscriber, payload }
}

impl Present {
    fn announce(&self, active: bool) {
        for selector in &self.selectors {
            let present = present(selector, self.subscriber, self.token.as_deref());
            match self.presence.peers.get() {
                Some(peers) if active => peers.say(Said::Entered { present }),
                Some(peers) => peers.say(Said::Left { present }),
                None => self.announce_here(&present, active),
            }
        }
    }

    fn announce_here(&self, present: &backplane::Presence, active: bool) {
        let Presence { hub, signals, is_silent, .. } = &*self.presence;
        let is_silent = is_silent.lock();
        if *is_silent {
            return;
        }
        let Some(publication) = self.presence.announcement(present, active) else { return hub.skip() };
        // Nobody waits for it: with a log it is answered later, and only what is refused at once is counted.
        if let Some(Err(error)) = hub.submit(publication).now_or_never() {
            signals.publish_rejected(error.as_str());
        }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let _turn = self.presence.turn();
        {
            let mut active = self.presence.active.lock();
            for selector in &self.selectors {
                let Some(subscribers) = active.get_mut(selector) else { continue };
                subscribers.remove(&self.subscriber);
                if subscribers.is_empty() {
                    active.remove(selector);
                }
            }
        }
        self.announce(false);
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use sse_hub::{Delivery, Grants, SubscribeOptions, Subscription as Follower};

    use super::*;

    fn selector(text: &str) -> Selector {
        Selector::parse(text).unwrap()
    }

    fn follower(hub: &Hub, text: &str, grants: Grants) -> Follower {
        hub.subscribe(SubscribeOptions::selectors(vec![selector(text)]).with_grants(grants)).unwrap()
    }

    /// The documents that came since.
    fn announced(follower: &mut Follower) -> Vec<Value> {
        let mut documents = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(Delivery::Frames(batch))) = follower.poll_delivery(&mut cx) {
            for item in batch.items() {
                let text = String::from_utf8(item.frame.text_bytes().to_vec()).unwrap();
                let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
                documents.push(serde_json::from_str(data).unwrap());
            }
        }
        documents
    }

    #[test]
    fn subscriptions_are_announced_and_listed() {
        let hub = Hub::builder().build().unwrap();
        let presence = Presence::new(hub.clone(), Signals::new());
        let mut watcher = follower(&hub, SUBSCRIPTION_TOPICS, Grants::All);
        let mut stranger = follower(&hub, "*", Grants::None);
        let present = presence.enter(&[selector("a b"), selector("/books/{id}"), selector("a b")], None).unwrap();
        let documents = announced(&mut watcher);
        assert_eq!(documents.len(), 2, "one for each selector: {documents:?}");
        let first = &documents[1];
        assert_eq!(first["topic"], "a b");
        assert_eq!(
            (&first["active"], &first["type"], &first["@context"]),
            (&true.into(), &"Subscription".into(), &CONTEXT.into())
        );
        let subscriber = first["subscriber"].as_str().unwrap();
        assert_eq!(first["id"], format!("{SUBSCRIPTIONS}/a%20b/{}", subscriber.replace(':', "%3A")));
        assert!(
            documents[0]["id"]
                .as_str()
                .unwrap()
                .starts_with(&format!("{SUBSCRIPTIONS}/%2Fbooks%2F%7Bid%7D/urn%3Auuid%3A"))
        );

        let ids = |selector: Option<&str>| {
            presence.list(selector, 10).unwrap().into_iter().map(|one| one.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(None).len(), 2);
        assert_eq!(ids(Some("a b")), [first["id"].as_str().unwrap()]);
        assert!(ids(Some("a")).is_empty());
        assert!(presence.find("a b", subscriber).is_some() && presence.find("a", subscriber).is_none());
        assert!(presence.find("a b", &subscriber.replace("urn:", "")).is_none());
        assert!(presence.list(None, 1).is_none(), "more than may be listed");

        drop(present);
        let documents = announced(&mut watcher);
        assert!(documents.len() == 2 && documents.iter().all(|document| document["active"] == false), "{documents:?}");
        assert!(presence.active.lock().is_empty());
        assert!(announced(&mut stranger).is_empty(), "announcements are private");
    }

    /// Otherwise a list that has changed would look as if it had not.
    #[test]
    fn what_nobody_hears_still_moves_the_newest_id() {
        let hub = Hub::builder().build().unwrap();
        let presence = Presence::new(hub.clone(), Signals::new());
        let present = presence.enter(&[selector("a")], None).unwrap();
        assert_eq!((hub.newest().sequence, hub.topics()), (1, 0));
        drop(present);
        assert_eq!((hub.newest().sequence, hub.topics()), (2, 0));
    }
}
