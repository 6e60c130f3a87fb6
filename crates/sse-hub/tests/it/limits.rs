//! Bounds, and what happens at them.

use sse_hub::{Publication, PublishError, SubscribeError};
use sse_wire::{Event, EventId, EventType};

use crate::story::{Story, name, publication};

#[test]
fn there_are_no_more_topics_than_may_be() {
    let story = Story::with(|config| config.topics_max = 2);
    story.publish("a", "x");
    let _stream = story.follow(&["b"]).live();
    let full = PublishError::TopicsFull { topics_max: 2 };
    assert_eq!(story.try_publish(publication(&["c"], "x")), Err(full.clone()));
    assert_eq!(story.try_publish(publication(&["a", "c"], "x")), Err(full.clone()));
    assert_eq!(story.hub.close(&name("c")), Err(full));
    for way in [&["c"][..], &["a", "c"]] {
        assert_eq!(story.follow(way).refused(), SubscribeError::TopicsFull { topics_max: 2 });
    }
    assert!(story.hub.feed(&name("c")).is_err());
    assert_eq!(story.hub.topics(), 2);
    story.publish_to(&["a", "b"], "there is room in those that are there");
    assert_eq!(story.follow(&["*"]).after(0).read().len(), 2);
}

#[test]
fn a_refused_subscription_leaves_nobody_behind() {
    let story = Story::with(|config| config.topics_max = 2);
    story.publish_to(&["a", "b"], "x");
    assert!(story.follow(&["a", "b", "c"]).open().is_err());
    assert!(story.hub.topic_infos(9).iter().all(|info| info.followers == 0));
}

#[test]
fn topics_that_are_gone_make_room() {
    let mut story = Story::with(|config| config.topics_max = 2);
    drop(story.follow(&["a", "b"]).live());
    assert!(story.try_publish(publication(&["c"], "x")).is_err());
    story.wait(10);
    assert_eq!(story.hub.topics(), 0);
    story.publish("c", "x");
}

#[test]
fn a_subscription_names_so_many_topics() {
    let story = Story::with(|config| config.topics_per_subscription_max = 2);
    assert!(story.follow(&["a", "*"]).open().is_ok());
    let expected = SubscribeError::TooManyTopics { selectors: 3, selectors_max: 2 };
    assert_eq!(story.follow(&["a", "b", "{c}"]).refused(), expected);
    assert_eq!(story.follow(&[]).refused(), SubscribeError::NoTopic);
}

#[test]
fn an_event_has_so_many_topics_and_bytes() {
    let story = Story::with(|config| {
        config.topics_per_event_max = 2;
        config.event_bytes_max = 10;
    });
    assert!(story.try_publish(publication(&["a", "b"], "0123456789")).is_ok());
    let too_many = PublishError::TooManyTopics { topics: 3, topics_max: 2 };
    assert_eq!(story.try_publish(publication(&["a", "b", "c"], "x")), Err(too_many));
    let too_large = PublishError::TooLarge { bytes: 11, bytes_max: 10 };
    assert_eq!(story.try_publish(publication(&["a"], "0123456789a")), Err(too_large.clone()));
    let event = Event::new("01234567").with_id(EventId::parse("89a").unwrap());
    assert_eq!(story.hub.check(&Publication::new(name("a"), event)), Err(too_large));
}

#[test]
fn ids_and_types_of_the_servers_own_are_refused() {
    let story = Story::new();
    for id in ["#1", "#", "earliest", &story.id(1), "0abcdefg-0000000000000000"] {
        let event = Event::new("x").with_id(EventId::parse(id).unwrap());
        let refused = Err(PublishError::ReservedId { id: id.to_owned() });
        assert_eq!(story.try_publish(Publication::new(name("a"), event)), refused);
    }
    for event_type in ["sse.", "sse.gap", "sse.end"] {
        let event = Event::new("x").with_type(EventType::parse(event_type).unwrap());
        let refused = Err(PublishError::ReservedType { event_type: event_type.to_owned() });
        assert_eq!(story.try_publish(Publication::new(name("a"), event)), refused);
    }
    for id in ["1", "Earliest", "abcdefgh-0000000000000001", "0abcdefg-1"] {
        story.publish_as("a", id, "x");
    }
    let event = Event::new("x").with_type(EventType::parse("ssex").unwrap());
    assert!(story.try_publish(Publication::new(name("a"), event)).is_ok());
}

/// The data of the largest event that a fresh hub with these rings takes.
fn largest(rings_bytes_max: usize) -> usize {
    let fits = |len: &usize| {
        let story = Story::with(|config| config.rings_bytes_max = rings_bytes_max);
        story.try_publish(publication(&["a"], &"x".repeat(*len))).is_ok()
    };
    (0..rings_bytes_max).rev().find(fits).unwrap()
}

#[test]
fn a_topic_makes_room_for_itself() {
    let story = Story::with(|config| config.rings_bytes_max = 4000);
    story.publish_all("a", ["1"]);
    (0..100).for_each(|n| drop(story.publish("b", &n.to_string())));
    assert_eq!(story.frames("a"), Some(1), "nobody else's history pays");
    let kept = story.frames("b").unwrap() as u64;
    assert!((2..50).contains(&kept), "{kept} are kept");
    let words = story.follow(&["b"]).after(0).read();
    assert_eq!((words.len() as u64, &words[0]), (kept + 1, &format!("gap:trimmed>{}", 101 - kept)));
}

#[test]
fn a_topic_with_nothing_to_give_up_is_refused() {
    let story = Story::with(|config| config.rings_bytes_max = 4000);
    let full = Err(PublishError::RingsFull { bytes_max: 4000 });
    assert_eq!(story.try_publish(publication(&["a"], &"x".repeat(4000))), full);
    (0..100).for_each(|_| drop(story.publish("a", "x")));
    story.publish("a", "kept");
    let before = story.frames("a");
    assert_eq!(story.try_publish(publication(&["a"], &"x".repeat(4000))), full, "more than all rings may hold");
    assert_eq!(story.frames("a"), before, "its history is not given up for nothing");
    assert_eq!(story.try_publish(publication(&["b"], &"x".repeat(400))), full);
    assert_eq!(story.hub.close(&name("b")), full);
}

#[test]
fn of_several_topics_the_oldest_frame_makes_room() {
    let story = Story::with(|config| config.rings_bytes_max = 2000);
    story.publish_all("b", ["1", "2", "3"]);
    story.publish_all("a", ["4", "5", "6"]);
    while story.frames("b") == Some(3) {
        story.publish("filler", "x");
        if story.frames("filler") > Some(20) || story.follow(&["filler"]).after(0).read()[0].starts_with("gap") {
            break;
        }
    }
    story.publish_to(&["a", "b"], "x");
    assert_eq!(story.follow(&["a"]).after(3).read()[0], "4:4");
    assert!(story.follow(&["b"]).after(0).read()[0].starts_with("gap"));
}

#[test]
fn every_byte_comes_back() {
    const BYTES_MAX: usize = 6000;
    let largest = "x".repeat(largest(BYTES_MAX));
    let mut story = Story::with(|config| {
        config.rings_bytes_max = BYTES_MAX;
        config.topic_policy.ring.frames_max = 3;
        config.closed_topic_age = std::time::Duration::from_secs(400);
    });
    let stream = story.follow(&["*"]).live();
    for n in 0..20 {
        story.publish("a", "1");
        story.publish_as("a", &format!("an id of some length {n}"), "2");
        story.publish_to(&["a", "b", "c"], "3");
        story.publish_private(&["b", "d"], "4");
        let event = Event::new("5").with_id(EventId::parse("p").unwrap());
        let publication = Publication::new(name("c"), event).also_to(name("d")).also_to(name("c"));
        story.try_publish(publication.private()).unwrap();
    }
    story.close("c");
    assert!(story.try_publish(publication(&["e"], &largest)).is_err());
    story.wait(301);
    assert!(story.try_publish(publication(&["e"], &largest)).is_err(), "the end is still kept");
    story.wait(100);
    assert_eq!(story.hub.topics(), 0);
    assert!(story.try_publish(publication(&["e"], &format!("{largest}x"))).is_err());
    story.publish("e", &largest);
    drop(stream);
}
