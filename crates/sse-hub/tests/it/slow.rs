//! Subscribers that do not keep up.

use std::time::Instant;

use sse_hub::{HubConfig, LagJudge, SlowPolicy};

use crate::story::{Story, Stream, name};

/// Every way to follow `a` that a policy applies to.
const WAYS: [&[&str]; 3] = [&["a"], &["a", "b"], &["*"]];

fn story(policy: SlowPolicy) -> Story {
    Story::with(|config| {
        config.topic_policy.lag.policy = policy;
        config.topic_policy.lag.frames_max = 3;
    })
}

fn publish(story: &Story, topic: &str, count: usize) {
    (0..count).for_each(|_| drop(story.publish(topic, "x")));
}

fn last_sequences(story: &Story, count: u64) -> Vec<String> {
    let newest = story.hub.newest().sequence;
    (newest + 1 - count..=newest).map(|sequence| format!("{sequence}:x")).collect()
}

#[test]
fn who_stays_behind_is_evicted_after_the_grace() {
    for way in WAYS {
        let mut story = story(SlowPolicy::Evict);
        let mut stream = story.follow(way).live();
        assert!(stream.read().is_empty());
        publish(&story, "a", 4);
        assert!(stream.was_woken());
        story.wait(0);
        story.wait(2);
        assert_eq!(stream.read().len(), 4, "still within the grace, {way:?}");

        publish(&story, "a", 4);
        story.wait(1);
        story.wait(3);
        assert_eq!(stream.read(), ["evicted:lagged", "over"], "{way:?}");
    }
}

#[test]
fn who_waits_to_be_woken_hears_of_the_eviction() {
    for way in WAYS {
        let mut story = story(SlowPolicy::Evict);
        // It starts with a backlog and is polled by nobody: judged all the same.
        publish(&story, "a", 4);
        let mut stream = story.follow(way).after(0);
        story.wait(0);
        story.wait(3);
        assert_eq!(stream.read(), ["evicted:lagged", "over"], "{way:?}");
    }
}

#[test]
fn a_lag_within_the_bounds_is_nobodys_business() {
    for way in WAYS {
        let mut story = story(SlowPolicy::Evict);
        let mut stream = story.follow(way).live();
        publish(&story, "a", 3);
        (0..5).for_each(|_| story.wait(10));
        assert_eq!(stream.read().len(), 3, "{way:?}");
    }
}

#[test]
fn lag_in_bytes_counts_too() {
    for way in WAYS {
        let mut story = Story::with(|config| config.topic_policy.lag.bytes_max = 1000);
        let mut stream = story.follow(way).live();
        story.publish("a", &"x".repeat(2000));
        story.wait(0);
        story.wait(3);
        assert_eq!(stream.read(), ["evicted:lagged", "over"], "{way:?}");
    }
}

#[test]
fn who_comes_back_with_its_id_goes_on_where_it_was() {
    let mut story = story(SlowPolicy::Evict);
    let mut stream = story.follow(&["a"]).live();
    publish(&story, "a", 1);
    assert_eq!(stream.read(), ["1:x"]);
    publish(&story, "a", 4);
    story.wait(0);
    story.wait(3);
    assert_eq!(stream.read(), ["evicted:lagged", "over"]);
    assert_eq!(story.follow(&["a"]).after(1).read(), last_sequences(&story, 4));
}

/// However the sweep falls: whoever has caught up in between was never too slow.
#[test]
fn catching_up_between_two_sweeps_counts() {
    for way in WAYS {
        let mut story = story(SlowPolicy::Evict);
        let mut stream = story.follow(way).live();
        for _ in 0..10 {
            publish(&story, "a", 10);
            story.wait(1);
            assert_eq!(stream.read().len(), 10, "{way:?}");
        }
    }
}

#[test]
fn who_keeps_reading_is_never_evicted_for_a_burst() {
    for way in [&["a"][..], &["a", "b"]] {
        let mut story = Story::with(|config| config.topic_policy.lag.bytes_max = 60 << 10);
        let mut streams: Vec<Stream> = (0..20).map(|_| story.follow(way).live()).collect();
        let data = "x".repeat(200);
        (0..5000).for_each(|_| drop(story.publish("a", &data)));
        // One batch of the burst each second: behind for many times the grace, but reading all the while.
        let mut read = 0;
        while read < 5000 {
            story.wait(1);
            read += streams.iter_mut().map(|stream| stream.next_batch().len()).max().unwrap();
        }
        assert!(streams.iter_mut().all(|stream| stream.read().is_empty()), "{way:?}");
    }
}

#[test]
fn skip_goes_on_with_the_newest_frame() {
    for way in WAYS {
        let mut story = story(SlowPolicy::Skip);
        let mut stream = story.follow(way).live();
        publish(&story, "a", 5);
        story.wait(0);
        story.wait(3);
        assert_eq!(stream.read(), ["gap:lagged>4", "5:x"], "{way:?}");
        publish(&story, "a", 2);
        assert_eq!(stream.read(), ["6:x", "7:x"], "{way:?}");
    }
}

#[test]
fn skip_begins_its_grace_anew() {
    for way in WAYS {
        let mut story = story(SlowPolicy::Skip);
        let mut stream = story.follow(way).live();
        publish(&story, "a", 5);
        story.wait(0);
        story.wait(3);
        assert_eq!(stream.read(), ["gap:lagged>4", "5:x"], "{way:?}");
        publish(&story, "a", 5);
        story.wait(1);
        assert_eq!(stream.read(), last_sequences(&story, 5), "{way:?}");
    }
}

#[test]
fn skip_wakes_who_waits() {
    for way in WAYS {
        let mut story = story(SlowPolicy::Skip);
        publish(&story, "a", 5);
        let mut stream = story.follow(way).after(0);
        story.wait(0);
        story.wait(3);
        assert_eq!(stream.read(), ["gap:lagged>4", "5:x"], "{way:?}");
    }
}

#[test]
fn skip_never_skips_an_end() {
    let mut story = story(SlowPolicy::Skip);
    let mut alone = story.follow(&["a"]).live();
    let mut several = story.follow(&["a", "b"]).live();
    publish(&story, "a", 5);
    story.close("a");
    publish(&story, "b", 5);
    story.wait(0);
    story.wait(3);
    assert_eq!(alone.read(), ["gap:lagged>5", "6:end", "over"]);
    let mut expected = vec!["gap:lagged>5".to_owned(), "6:end".to_owned()];
    expected.extend(last_sequences(&story, 5));
    assert_eq!(several.read(), expected);
    story.close("b");
    assert_eq!(several.read(), ["12:end", "over"]);
}

#[test]
fn skip_in_several_topics_keeps_the_order() {
    let mut story = story(SlowPolicy::Skip);
    let mut stream = story.follow(&["a", "b"]).live();
    publish(&story, "a", 4);
    publish(&story, "b", 4);
    story.wait(0);
    story.wait(3);
    assert_eq!(stream.read(), ["gap:lagged>7", "8:x"]);
    publish(&story, "a", 1);
    assert_eq!(stream.read(), ["9:x"]);
}

#[test]
fn latest_gets_the_newest_frame_of_each_topic() {
    let story = story(SlowPolicy::Latest);
    let mut alone = story.follow(&["a"]).live();
    let mut several = story.follow(&["a", "b", "c"]).live();
    let mut all = story.follow(&["*"]).live();
    publish(&story, "a", 3);
    publish(&story, "b", 4);
    publish(&story, "a", 2);
    publish(&story, "c", 1);
    publish(&story, "b", 2);
    assert_eq!(alone.read(), ["9:x"]);
    assert_eq!(several.read(), ["9:x", "10:x", "12:x"], "in the order of their ids, no gap");
    assert_eq!(all.read(), ["9:x", "10:x", "12:x"]);
}

#[test]
fn latest_is_the_newest_frame_that_may_be_seen() {
    for way in WAYS {
        let story = story(SlowPolicy::Latest);
        let (mut anonymous, mut trusted) = (story.follow(way).live(), story.follow(way).granted_all().live());
        publish(&story, "a", 3);
        story.publish_private(&["a"], "secret");
        story.publish_private(&["a"], "secret");
        assert_eq!(anonymous.read(), ["3:x"], "{way:?}");
        assert_eq!(trusted.read(), ["5:secret"], "{way:?}");
        (0..5).for_each(|_| drop(story.publish_private(&["a"], "secret")));
        assert!(anonymous.read().is_empty(), "{way:?}");
        publish(&story, "a", 1);
        assert_eq!(anonymous.read(), ["11:x"], "{way:?}");
    }
}

#[test]
fn latest_leaves_out_nothing_within_the_bound() {
    for way in WAYS {
        let story = story(SlowPolicy::Latest);
        let mut stream = story.follow(way).live();
        publish(&story, "a", 3);
        assert_eq!(stream.read(), ["1:x", "2:x", "3:x"], "{way:?}");
    }
}

#[test]
fn latest_is_never_evicted_and_never_woken_for_nothing() {
    for way in WAYS {
        let mut story = story(SlowPolicy::Latest);
        let mut stream = story.follow(way).live();
        assert!(stream.read().is_empty());
        publish(&story, "a", 10);
        assert!(stream.was_woken());
        (0..5).for_each(|_| story.wait(10));
        assert!(!stream.was_woken());
        assert_eq!(stream.read(), ["10:x"], "{way:?}");
    }
}

#[test]
fn latest_brings_ends() {
    let story = story(SlowPolicy::Latest);
    let mut alone = story.follow(&["a"]).live();
    let mut several = story.follow(&["a", "b"]).live();
    publish(&story, "a", 5);
    story.close("a");
    publish(&story, "b", 5);
    assert_eq!(alone.read(), ["6:end", "over"]);
    assert_eq!(several.read(), ["6:end", "11:x"]);
}

#[test]
fn latest_with_more_topics_than_a_batch_holds_brings_each_once() {
    let story = story(SlowPolicy::Latest);
    let mut stream = story.follow(&["*"]).live();
    for _ in 0..2 {
        (0..1300).for_each(|n| drop(story.publish(&format!("t{n}"), "x")));
    }
    assert_eq!(stream.next_batch().len(), 512);
    story.publish("t1299", "y");
    let rest = stream.read();
    assert_eq!(rest.len(), 1300 - 512, "one of each");
    assert_eq!(rest.last().map(String::as_str), Some("2601:y"));
}

/// A stalled subscriber of everything, while topics come and go: what it has to remember is bounded.
#[test]
fn marks_are_bounded_while_topics_come_and_go() {
    for policy in [SlowPolicy::Latest, SlowPolicy::Evict] {
        let mut story = Story::with(|config: &mut HubConfig| {
            config.topics_max = 4;
            config.topic_policy.lag.policy = policy;
            // What was lost meanwhile would have it evicted.
            config.topic_policy.lag.grace = std::time::Duration::from_secs(1000);
            config.topic_policy.ring.age_max = std::time::Duration::from_secs(5);
        });
        let mut stream = story.follow(&["*"]).live();
        for n in 0..5 {
            story.publish(&format!("t{n}"), "x");
            story.wait(10);
        }
        story.publish("t5", "x");
        assert_eq!(stream.read(), ["gap:lagged>6"], "what was forgotten is told, {policy:?}");
        story.publish("t6", "x");
        assert_eq!(stream.read(), ["7:x"], "{policy:?}");
    }
}

/// Who has something marked that is all gone is behind as well.
#[test]
fn lag_counts_topics_that_were_forgotten() {
    let mut story = Story::with(|config| {
        config.topic_policy.lag.frames_max = 3;
        config.topic_policy.ring.age_max = std::time::Duration::from_secs(1);
    });
    let mut stream = story.follow(&["*"]).live();
    (0..4).for_each(|n| drop(story.publish(&format!("t{n}"), "x")));
    story.wait(10);
    assert_eq!(story.hub.topics(), 0);
    story.wait(3);
    assert_eq!(stream.read(), ["evicted:lagged", "over"]);
}

#[test]
fn a_feeds_host_judges_with_the_same_bounds() {
    let story = story(SlowPolicy::Evict);
    let feed = story.hub.feed(&name("a")).unwrap();
    publish(&story, "a", 4);
    assert_eq!((feed.newest(), feed.lag(0).frames, feed.lag(3).frames, feed.lag(4).frames), (4, 4, 1, 0));
    let (mut judge, now, bounds) = (LagJudge::default(), Instant::now(), feed.lag_bounds());
    assert!(!judge.is_too_slow(now, feed.lag(0), 0, bounds));
    assert!(judge.is_too_slow(now + bounds.grace, feed.lag(0), 0, bounds));
    assert!(!LagJudge::default().is_too_slow(now, feed.lag(1), 0, bounds));
}
