//! Another hub goes on in the place of one.

use sse_hub::{Hub, IdempotencyKey, Publication, PublishError};
use sse_wire::Event;

use crate::story::{Story, name};

/// What topics have had after `after`.
fn copy(from: &Hub, to: &Hub, after: u64) {
    from.moved_topics(after, |topic| to.take_over_topic(topic));
}

/// All but the topics.
fn go_on(from: &Hub, to: &Hub) {
    from.moved_floors(|name, floor| to.take_over_floor(name, floor));
    for (key, receipt, at) in from.moved_keys(0) {
        to.take_over_key(key, receipt, at);
    }
    to.go_on_after(from.settled(), from.seconds());
}

#[test]
fn ids_and_history_go_on() {
    let (old, new) = (Story::new(), Story::new());
    old.publish_all("a", ["x", "y"]);
    let copied_to = old.hub.settled();
    copy(&old.hub, &new.hub, 0);
    old.publish("a", "z");
    old.publish("b", "meanwhile");
    old.publish_to(&["a", "c"], "both");
    copy(&old.hub, &new.hub, copied_to);
    go_on(&old.hub, &new.hub);
    assert_eq!(new.publish("a", "here").cursor, old.publish("a", "there").cursor);
    let all = ["1:x", "2:y", "3:z", "5:both", "6:here"];
    assert_eq!(new.follow(&["a"]).earliest().read(), all);
    assert_eq!(new.follow(&["a"]).after(3).read(), all[3..]);
    assert_eq!(new.follow(&["a", "c", "b"]).after(3).read(), ["4:meanwhile", "5:both", "6:here"]);
    assert_eq!(old.hub.ring_bytes() > 0, new.hub.ring_bytes() > 0);
}

#[test]
fn what_a_ring_drops_between_two_copies_is_no_silent_hole() {
    let (old, new) = (Story::with_rings_of(2), Story::with_rings_of(9));
    old.publish_all("a", ["1", "2"]);
    copy(&old.hub, &new.hub, 0);
    old.publish_all("a", ["3", "4", "5", "6"]);
    copy(&old.hub, &new.hub, 2);
    go_on(&old.hub, &new.hub);
    assert_eq!(new.follow(&["a"]).after(2).read(), ["gap:trimmed>4", "5:5", "6:6"]);
    assert_eq!(new.follow(&["a"]).after(4).read(), ["5:5", "6:6"]);
}

#[test]
fn an_id_means_its_first_use_although_that_is_gone() {
    let (old, new) = (Story::with_rings_of(2), Story::with_rings_of(2));
    old.publish_as("a", "mine", "x");
    old.publish("a", "lost");
    old.publish_as("a", "mine", "y");
    old.publish("a", "z");
    copy(&old.hub, &new.hub, 0);
    go_on(&old.hub, &new.hub);
    for story in [&old, &new] {
        assert_eq!(story.follow(&["a"]).after_id("mine").read(), ["gap:trimmed>2", "3:y", "4:z"]);
    }
}

#[test]
fn closed_and_forgotten_topics_are_known() {
    let (mut old, new) = (Story::new(), Story::new());
    old.publish_all("forgotten", ["1", "2"]);
    old.wait(400);
    old.wait(20);
    assert_eq!(old.hub.topics(), 0);
    old.publish("closed", "3");
    old.close("closed");
    copy(&old.hub, &new.hub, 0);
    go_on(&old.hub, &new.hub);
    assert_eq!(new.follow(&["forgotten"]).after(1).read(), ["gap:trimmed>2"]);
    assert!(new.follow(&["forgotten"]).after(2).read().is_empty());
    assert_eq!(new.follow(&["closed"]).after(2).read(), ["3:3", "4:end", "over"]);
    let refused = new.hub.publish(Publication::new(name("closed"), Event::new("more")));
    assert_eq!(refused, Err(PublishError::Closed { topic: name("closed") }));
}

#[test]
fn a_key_is_remembered_and_ages() {
    let (mut old, mut new) = (Story::new(), Story::new());
    let key = IdempotencyKey { key: [1; 16], fingerprint: [2; 16] };
    let publish = |hub: &Hub| hub.publish(Publication::new(name("a"), Event::new("x")).with_key(key)).unwrap();
    old.wait(50);
    let first = publish(&old.hub);
    old.wait(50);
    copy(&old.hub, &new.hub, 0);
    go_on(&old.hub, &new.hub);
    new.wait(60);
    assert_eq!(publish(&new.hub), first);
    // It is as old as it was: the window of two minutes is over.
    new.wait(30);
    assert_ne!(publish(&new.hub), first);
}

#[test]
fn private_events_stay_private() {
    let (old, new) = (Story::new(), Story::new());
    old.publish_private(&["a"], "secret");
    old.publish("a", "public");
    copy(&old.hub, &new.hub, 0);
    go_on(&old.hub, &new.hub);
    assert_eq!(new.follow(&["a"]).earliest().read(), ["2:public"]);
}
