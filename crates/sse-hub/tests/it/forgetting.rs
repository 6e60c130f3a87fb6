//! Idle topics are forgotten, but for where they left off.

use std::time::Duration;

use crate::story::{Story, name};

const WAYS: [&[&str]; 4] = [&["a"], &["a", "b"], &["*"], &["{x}"]];

fn story() -> Story {
    Story::with(|config| config.topic_policy.ring.age_max = Duration::from_secs(5))
}

#[test]
fn an_idle_topic_is_forgotten() {
    let mut story = story();
    story.publish("a", "1");
    drop(story.follow(&["b"]).live());
    let _followed = story.follow(&["c"]).live();
    let _fed = story.hub.feed(&name("d")).unwrap();
    let _pattern = story.follow(&["*"]).live();
    assert_eq!(story.hub.topics(), 4);
    story.wait(4);
    assert_eq!(story.frames("a"), Some(1), "it has something to tell");
    story.wait(10);
    let mut left: Vec<String> = story.hub.topic_infos(9).iter().map(|info| info.name.to_string()).collect();
    left.sort();
    assert_eq!((left, story.hub.topics()), (vec!["c".to_owned(), "d".to_owned()], 2));
}

#[test]
fn what_a_forgotten_topic_had_is_a_gap() {
    let mut story = story();
    story.publish_all("a", ["1", "2"]);
    story.wait(10);
    assert_eq!(story.hub.topics(), 0);
    for way in WAYS {
        assert_eq!(story.follow(way).after(1).read(), ["gap:trimmed>2"], "{way:?}");
        assert!(story.follow(way).after(2).read().is_empty(), "the floor is exact, {way:?}");
        assert!(story.follow(way).earliest().read().is_empty(), "{way:?}");
        story.wait(10);
        assert_eq!(story.hub.topics(), 0, "and is left again");
    }
}

#[test]
fn a_topic_made_anew_goes_on_from_its_floor() {
    let mut story = story();
    story.publish_all("a", ["1", "2"]);
    story.wait(10);
    story.publish("a", "3");
    for way in WAYS {
        assert_eq!(story.follow(way).after(1).read(), ["gap:trimmed>2", "3:3"], "{way:?}");
        assert_eq!(story.follow(way).after(2).read(), ["3:3"], "{way:?}");
        assert_eq!(story.follow(way).earliest().read(), ["3:3"], "{way:?}");
    }
}

#[test]
fn a_pattern_knows_only_the_floors_it_matches() {
    let mut story = story();
    story.publish("/orders/1", "1");
    story.publish("/users/1", "2");
    story.wait(10);
    assert_eq!(story.follow(&["/orders/{id}"]).after(0).read(), ["gap:trimmed>1"]);
    assert!(story.follow(&["/orders/{id}"]).after(1).read().is_empty());
    assert_eq!(story.follow(&["*"]).after(1).read(), ["gap:trimmed>2"]);
}

#[test]
fn beyond_the_floors_that_are_kept_nothing_is_known() {
    let mut story = Story::with(|config| {
        config.topic_policy.ring.age_max = Duration::from_secs(5);
        config.floors_max = 0;
    });
    story.publish("a", "1");
    story.publish("z", "2");
    story.wait(10);
    for way in [&["a"][..], &["a", "a"], &["*"]] {
        let gap = story.follow(way).after(0).next_gap();
        assert_eq!(gap.reason.as_str(), "unknown", "{way:?}");
        let again = story.follow(way).after_id(&gap.resumed_after.to_string()).read();
        assert!(again.is_empty(), "told once, {way:?}");
        assert!(story.follow(way).live().read().is_empty(), "{way:?}");
    }
}

/// The rest's floor is nothing to somebody who was there all the time.
#[test]
fn a_running_stream_has_nothing_to_do_with_the_floor_of_a_new_topic() {
    let mut story = Story::with(|config| {
        config.topic_policy.ring.age_max = Duration::from_secs(5);
        config.floors_max = 0;
    });
    let mut waiting = ["*", "new{x}"].map(|way| story.follow(&[way]).live());
    let mut both = story.follow(&["new1", "new{x}"]).live();
    assert!(waiting.each_mut().iter_mut().all(|stream| stream.read().is_empty()) && both.read().is_empty());
    (0..200).for_each(|n| drop(story.publish(&format!("old{n}"), "x")));
    assert_eq!(waiting[0].read().len(), 200);
    story.wait(10);
    story.wait(10);
    (0..200).for_each(|n| drop(story.publish(&format!("new{n}"), "x")));
    let [all, new] = waiting.each_mut().map(|stream| stream.read());
    assert!([all, new, both.read()].iter().all(|words| words.len() == 200 && words[0] == "201:x"));
}

/// The reader has not read what the topic had; the topic is gone, and there again.
#[test]
fn a_running_stream_hears_of_what_was_forgotten_before_it_read() {
    let mut story = story();
    let mut streams = ["*", "{x}"].map(|way| story.follow(&[way]).live());
    story.publish("b", "1");
    story.publish("a", "2");
    story.wait(10);
    assert_eq!(story.hub.topics(), 0);
    story.publish("a", "3");
    for stream in &mut streams {
        assert_eq!(stream.read(), ["gap:lagged>1", "gap:lagged>2", "3:3"]);
    }
}

#[test]
fn who_follows_by_name_keeps_the_topic() {
    let mut story = story();
    let mut streams = [&["a"][..], &["a", "b"]].map(|way| story.follow(way).live());
    story.publish("a", "1");
    assert!(streams.each_mut().iter_mut().all(|stream| stream.read() == ["1:1"]));
    (0..5).for_each(|_| story.wait(10));
    story.publish("a", "2");
    assert!(streams.each_mut().iter_mut().all(|stream| stream.read() == ["2:2"]));
}

#[test]
fn nothing_ages_without_a_sweep() {
    let story = story();
    story.publish("a", "1");
    assert_eq!(story.follow(&["a"]).after(0).read(), ["1:1"]);
}

/// Sweeps of a fraction of a second take a share of the topics each, and all of them in ten seconds.
#[test]
fn many_small_sweeps_come_around() {
    let mut story = story();
    (0..500).for_each(|n| drop(story.publish(&format!("t{n}"), "x")));
    story.wait(6);
    let after_one = story.hub.topics();
    assert!(after_one > 0, "a share of them");
    (0..11).for_each(|_| story.wait(1));
    assert_eq!(story.hub.topics(), 0);
}
