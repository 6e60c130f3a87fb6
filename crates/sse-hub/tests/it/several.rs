//! Several topics on one stream.

use crate::story::Story;

#[test]
fn events_of_all_shards_come_in_the_order_of_their_ids() {
    let story = Story::new();
    let topics: Vec<String> = (0..20).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut live = story.follow(&names).live();
    for round in 0..5 {
        (0..20).for_each(|n| drop(story.publish(names[(n * 7 + round) % 20], "x")));
    }
    let expected: Vec<String> = (1..=100).map(|sequence| format!("{sequence}:x")).collect();
    assert_eq!(live.read(), expected);
    assert_eq!(story.follow(&names).after(0).read(), expected);
    assert_eq!(story.follow(&["*"]).earliest().read(), expected);
    assert_eq!(story.follow(&names).after(50).read(), expected[50..]);
}

#[test]
fn an_event_of_several_topics_comes_once() {
    let story = Story::new();
    let mut streams = [&["a", "b"][..], &["a"], &["b"], &["*"], &["{x}", "a"]].map(|way| story.follow(way).live());
    story.publish("a", "1");
    story.publish_to(&["b", "a", "b"], "2");
    story.publish("a", "3");
    let [both, a, b, all, template] = streams.each_mut().map(|stream| stream.read());
    assert_eq!(both, ["1:1", "2:2", "3:3"]);
    assert_eq!(a, ["1:1", "2:2", "3:3"]);
    assert_eq!(b, ["2:2"]);
    assert_eq!(all, ["1:1", "2:2", "3:3"]);
    assert_eq!(template, ["1:1", "2:2", "3:3"]);
    assert_eq!(story.follow(&["a", "b"]).after(0).read(), ["1:1", "2:2", "3:3"]);
    assert_eq!(story.frames("b"), Some(1), "a topic named twice keeps the event once");
}

#[test]
fn a_topic_named_twice_is_followed_once() {
    let story = Story::new();
    let mut stream = story.follow(&["a", "a", "{x}", "{x}", "*"]).live();
    story.publish("a", "1");
    assert_eq!(stream.read(), ["1:1"]);
}

#[test]
fn an_item_names_the_topic_it_came_through() {
    let story = Story::new();
    let mut stream = story.follow(&["a", "b"]).live();
    story.publish("b", "1");
    story.publish("a", "2");
    let topics: Vec<String> = stream.next_batch().iter().map(|item| item.topic.to_string()).collect();
    assert_eq!(topics, ["b", "a"]);
}

#[test]
fn reading_in_parts_leaves_nothing_out() {
    let story = Story::new();
    let mut stream = story.follow(&["a", "b"]).live();
    let mut words = Vec::new();
    for n in 0..1500 {
        story.publish(["a", "b"][n % 2], "x");
        if n % 700 == 0 {
            words.extend(stream.next_batch().iter().map(|item| item.sequence));
        }
    }
    while words.len() < 1500 {
        words.extend(stream.next_batch().iter().map(|item| item.sequence));
    }
    assert!(words.into_iter().eq(1..=1500));
    assert!(stream.read().is_empty());
}
