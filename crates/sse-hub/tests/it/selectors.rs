//! Following by pattern.

use crate::story::Story;

#[test]
fn patterns_reach_topics_that_are_there_and_topics_to_come() {
    let story = Story::new();
    story.publish("/orders/1", "there");
    let mut streams = ["*", "/orders/{id}", "/users/{id}"].map(|pattern| story.follow(&[pattern]).live());
    story.publish("/orders/1", "a");
    story.publish("/orders/2", "b");
    story.publish("/orders/2/lines", "c");
    let [all, orders, users] = streams.each_mut().map(|stream| stream.read());
    assert_eq!(all, ["2:a", "3:b", "4:c"]);
    assert_eq!(orders, ["2:a", "3:b"]);
    assert!(users.is_empty());
}

#[test]
fn a_second_follower_of_a_pattern_gets_the_same() {
    let story = Story::new();
    story.publish("/orders/1", "a");
    let mut first = story.follow(&["/orders/{id}"]).live();
    let mut second = story.follow(&["/orders/{id}"]).live();
    story.publish("/orders/1", "b");
    story.publish("/orders/2", "c");
    assert_eq!(first.read(), ["2:b", "3:c"]);
    assert_eq!(second.read(), ["2:b", "3:c"]);
    drop(first);
    story.publish("/orders/1", "d");
    assert_eq!(second.read(), ["4:d"]);
}

#[test]
fn a_pattern_that_everybody_left_can_be_followed_again() {
    let mut story = Story::new();
    let gone = story.follow(&["{x}"]).live();
    story.publish("a", "1");
    drop(gone);
    for sweeps in [false, true] {
        if sweeps {
            story.wait(10);
        }
        let mut stream = story.follow(&["{x}"]).live();
        let old = story.publish("a", "old topic").cursor.sequence;
        let new = story.publish(&format!("new{sweeps}"), "new topic").cursor.sequence;
        assert_eq!(stream.read(), [format!("{old}:old topic"), format!("{new}:new topic")]);
    }
}

#[test]
fn names_and_patterns_go_together() {
    let story = Story::new();
    let mut stream = story.follow(&["/users/1", "/orders/{id}"]).live();
    story.publish("/users/2", "a");
    story.publish("/users/1", "b");
    story.publish("/orders/7", "c");
    assert_eq!(stream.read(), ["2:b", "3:c"]);
    assert_eq!(story.follow(&["/users/1", "/orders/{id}"]).after(0).read(), ["2:b", "3:c"]);
}

#[test]
fn a_pattern_replays_every_topic_it_matches() {
    let story = Story::new();
    for n in 0..50 {
        story.publish(&format!("/orders/{n}"), "x");
        story.publish(&format!("/users/{n}"), "y");
    }
    let expected: Vec<String> = (0..50).map(|n| format!("{}:x", 2 * n + 1)).collect();
    assert_eq!(story.follow(&["/orders/{id}"]).earliest().read(), expected);
    assert_eq!(story.follow(&["/orders/{id}"]).after(20).read(), expected[10..]);
}
