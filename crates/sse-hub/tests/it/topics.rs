//! Finding topics, and how far behind a subscriber is.

use sse_hub::{Hub, Lag, SlowPolicy, TopicInfo};

use crate::story::{Story, name};

fn found(hub: &Hub, topics_max: usize, rank: impl Fn(&TopicInfo) -> u64) -> (Vec<String>, usize) {
    let found = hub.find_topics(topics_max, |name| name.as_str() != "hidden", rank);
    (found.topics.iter().map(|info| info.name.to_string()).collect(), found.total)
}

#[test]
fn the_highest_come_first() {
    let story = Story::new();
    for (topic, events) in [("b", 1), ("hidden", 9), ("c", 3), ("d", 2), ("a", 1)] {
        (0..events).for_each(|_| drop(story.publish(topic, "x")));
    }
    let by_frames = |info: &TopicInfo| info.frames as u64;
    assert_eq!(found(&story.hub, 3, by_frames), (["c", "d", "a"].map(String::from).to_vec(), 4));
    assert_eq!(found(&story.hub, 9, by_frames).0, ["c", "d", "a", "b"]);
    assert_eq!(found(&story.hub, 9, |_| 0).0, ["a", "b", "c", "d"]);
    assert_eq!(found(&story.hub, 0, by_frames), (vec![], 4));
}

#[test]
fn a_topic_tells_of_its_followers_and_its_pace() {
    let mut story = Story::with_rings_of(50);
    story.wait(100);
    let _alone = story.follow(&["a"]).live();
    let _several = story.follow(&["a", "b"]).live();
    let _pattern = story.follow(&["*"]).live();
    let _feed = story.hub.feed(&name("a")).unwrap();
    let info = |story: &Story| story.hub.find_topics(1, |topic| topic.as_str() == "a", |_| 0).topics.remove(0);
    (0..20).for_each(|_| drop(story.publish("a", "x")));
    let TopicInfo { followers, alone, feeds, frames_per_second, .. } = info(&story);
    assert_eq!((followers, alone, feeds, frames_per_second), (3, 1, 1, 2.0));
    assert!(info(&story).bytes > 20 && !info(&story).is_closed);
    // A second later the ring holds less than a second's events, and tells of that.
    story.wait(1);
    (0..200).for_each(|_| drop(story.publish("a", "x")));
    assert_eq!(info(&story).frames_per_second, 50.0);
    story.wait(30);
    assert_eq!(info(&story).frames_per_second, 0.0);
    story.close("a");
    assert!(info(&story).is_closed);
}

#[test]
fn a_subscription_knows_its_lag() {
    let story = Story::with(|config| {
        config.topic_policy.lag.frames_max = 3;
        config.topic_policy.lag.policy = SlowPolicy::Skip;
    });
    let mut stream = story.follow(&["a"]).live();
    let several = story.follow(&["a", "b"]).live().subscription;
    assert_eq!([stream.subscription.lag(), several.lag()], [Lag::default(); 2]);
    story.publish_all("a", ["x", "x"]);
    story.publish_all("b", ["x", "x", "x"]);
    let alone = &stream.subscription;
    assert_eq!([alone.lag().frames, several.lag().frames], [2, 5]);
    assert!(alone.lag().bytes > 0 && !alone.lag().lost);
    assert_eq!(several.lag_bounds().policy, SlowPolicy::Skip);
    assert_eq!(alone.lag_bounds().frames_max, 3);
    stream.read();
    assert_eq!(stream.subscription.lag(), Lag::default());
}
