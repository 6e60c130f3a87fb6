//! Publishing, and checking what did not arrive.

use super::{Reply, Request, Server};

impl Server {
    /// Publishes one event and returns its id. The topic's name needs no escaping.
    #[track_caller]
    pub(crate) fn publish(&self, topic: &str, data: &str) -> String {
        self.publish_to(&format!("/events/{topic}"), data)
    }

    /// Publishes a body to a target and returns the event's id.
    #[track_caller]
    pub(crate) fn publish_to(&self, target: &str, body: &str) -> String {
        let reply = self.post(target, body).send();
        assert_eq!(reply.status(), 200, "{}", reply.text());
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    /// Publishes each, one after the other, and returns their ids.
    #[track_caller]
    pub(crate) fn publish_all<'a>(&self, topic: &str, data: impl IntoIterator<Item = &'a str>) -> Vec<String> {
        data.into_iter().map(|data| self.publish(topic, data)).collect()
    }

    /// Publishes `count` events in one request, the data of each being its number, and returns their ids.
    #[track_caller]
    pub(crate) fn publish_burst(&self, topic: &str, count: usize) -> Vec<String> {
        let lines: String = (0..count).map(|n| format!("{{\"topic\":\"{topic}\",\"data\":\"{n}\"}}\n")).collect();
        let reply = self.post_ndjson(&lines).send();
        assert_eq!(reply.status(), 200, "{}", reply.text());
        ids(&reply)
    }

    pub(crate) fn post(&self, target: &str, body: impl AsRef<[u8]>) -> Request {
        self.request("POST", target).body(body)
    }

    pub(crate) fn post_json(&self, body: impl AsRef<[u8]>) -> Request {
        self.post("/publish", body).field("Content-Type", "application/json")
    }

    pub(crate) fn post_ndjson(&self, body: impl AsRef<[u8]>) -> Request {
        self.post("/publish", body).field("Content-Type", "application/x-ndjson")
    }

    /// Closes a topic.
    #[track_caller]
    pub(crate) fn close(&self, topic: &str) -> String {
        let reply = self.request("DELETE", format!("/events/{topic}")).send();
        assert_eq!(reply.status(), 200, "{}", reply.text());
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    /// Nothing was ever published to the topic: what is published now is the first there.
    #[track_caller]
    pub(crate) fn expect_untouched(&self, topic: &str) {
        let mut stream = self.subscribe(topic).last_event_id("earliest").open();
        self.publish(topic, "the first");
        assert_eq!(stream.next_data(), "the first", "something was published to {topic}");
    }
}

/// The ids of a batch's answer.
#[track_caller]
pub(crate) fn ids(reply: &Reply) -> Vec<String> {
    let answers = reply.json();
    answers.as_array().unwrap().iter().map(|answer| answer["id"].as_str().unwrap().to_owned()).collect()
}
