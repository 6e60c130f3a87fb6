//! What is missing is told.

use crate::story::Story;

#[test]
fn what_the_ring_no_longer_has_is_told_before_what_it_has() {
    let frames = Story::with_rings_of(2);
    let bytes = Story::with(|config| config.topic_policy.ring.bytes_max = 110);
    for story in [frames, bytes] {
        story.publish_all("a", ["w", "x", "y", "z"]);
        for way in [&["a"][..], &["a", "b"], &["*"]] {
            assert_eq!(story.follow(way).after(1).read(), ["gap:trimmed>2", "3:y", "4:z"], "{way:?}");
            assert_eq!(story.follow(way).after(2).read(), ["3:y", "4:z"], "the last one lost was seen, {way:?}");
        }
    }
}

#[test]
fn what_has_grown_old_is_told() {
    let mut story = Story::new();
    story.publish("a", "old");
    story.wait(200);
    story.publish("a", "young");
    story.wait(100);
    assert_eq!(story.follow(&["a"]).after(0).read(), ["1:old", "2:young"], "exactly as old as may be");
    story.wait(10);
    assert_eq!(story.follow(&["a"]).after(0).read(), ["gap:trimmed>1", "2:young"]);
    story.wait(300);
    let mut stream = story.follow(&["a"]).after(0);
    assert_eq!(stream.read(), ["gap:trimmed>2"], "nothing is kept");
    story.publish("a", "new");
    assert_eq!(stream.read(), ["3:new"]);
}

#[test]
fn a_gap_says_what_was_asked_for() {
    let story = Story::with_rings_of(2);
    story.publish_as("a", "mine", "x");
    story.publish("a", "lost");
    story.publish_as("a", "mine", "y");
    story.publish("a", "z");
    for way in [&["a"][..], &["a", "b"], &["*"]] {
        let gap = story.follow(way).after_id("mine").next_gap();
        assert_eq!((gap.requested.as_str(), gap.reason.as_str()), ("mine", "trimmed"), "{way:?}");
        assert_eq!(story.follow(way).after(0).next_gap().requested, story.id(0), "{way:?}");
    }
}

#[test]
fn a_reader_that_the_ring_outruns_is_told() {
    let story = Story::with_rings_of(2);
    for way in [&["a"][..], &["a", "b"], &["*"]] {
        let mut stream = story.follow(way).live();
        let first = story.publish("a", "1").cursor.sequence;
        assert_eq!(stream.read().len(), 1);
        story.publish_all("a", ["2", "3", "4"]);
        let expected = [format!("gap:lagged>{}", first + 1), format!("{}:3", first + 2), format!("{}:4", first + 3)];
        assert_eq!(stream.read(), expected, "{way:?}");
        assert!(stream.read().is_empty(), "{way:?}");
    }
}

#[test]
fn the_gap_of_several_topics_comes_where_the_last_of_them_is_whole() {
    let story = Story::with_rings_of(2);
    story.publish("a", "1");
    story.publish_all("b", ["2", "3"]);
    story.publish("a", "4");
    story.publish_all("b", ["5", "6"]);
    // b has lost 2 and 3: everything kept up to there comes first, then the gap, and ids never go back.
    for way in [&["a", "b"][..], &["*"]] {
        assert_eq!(story.follow(way).after(0).read(), ["1:1", "gap:trimmed>3", "4:4", "5:5", "6:6"], "{way:?}");
        assert_eq!(story.follow(way).after(1).read(), ["gap:trimmed>3", "4:4", "5:5", "6:6"], "{way:?}");
        assert_eq!(story.follow(way).after(3).read(), ["4:4", "5:5", "6:6"], "{way:?}");
    }
    story.publish_all("a", ["7", "8"]);
    // Both have lost something: one gap tells of both.
    assert_eq!(story.follow(&["a", "b"]).after(1).read(), ["gap:trimmed>4", "5:5", "6:6", "7:7", "8:8"]);
}

/// The stream's history is another one: that is told before the first event of it. What is missing of this one comes where
/// it is missing.
#[test]
fn a_lost_position_in_several_topics_is_told_first() {
    let story = Story::with_rings_of(2);
    story.publish("a", "1");
    story.publish_all("b", ["2", "3", "4", "5"]);
    for way in [&["a", "b"][..], &["*"]] {
        let mut stream = story.follow(way).after_id("who knows");
        assert_eq!(stream.read(), ["gap:unknown>0", "1:1", "gap:trimmed>3", "4:4", "5:5"], "{way:?}");
    }
    story.publish_all("a", ["6", "7"]);
    let mut stream = story.follow(&["a", "b"]).after_id("who knows");
    assert_eq!(stream.read(), ["gap:unknown>3", "4:4", "5:5", "6:6", "7:7"], "all kept lies behind one gap");
}

#[test]
fn earliest_of_several_topics_has_no_gap() {
    let story = Story::with_rings_of(2);
    story.publish("a", "1");
    story.publish_all("b", ["2", "3", "4", "5"]);
    for way in [&["a", "b"][..], &["*"]] {
        assert_eq!(story.follow(way).earliest().read(), ["1:1", "4:4", "5:5"], "{way:?}");
    }
}

/// b was trimmed before the stream began, which is nothing to tell of. What a loses after that is.
#[test]
fn what_is_lost_after_the_start_of_earliest_is_told() {
    let story = Story::with_rings_of(2);
    story.publish_all("a", ["1", "2"]);
    story.publish_all("b", ["3", "4", "5", "6"]);
    let mut stream = story.follow(&["a", "b"]).earliest();
    story.publish("a", "7");
    assert_eq!(stream.read(), ["gap:lagged>1", "2:2", "5:5", "6:6", "7:7"]);
}

/// The same when what a has lost is below what was known of b, and what comes next in a has come from c.
#[test]
fn what_is_lost_behind_a_shared_event_after_the_start_of_earliest_is_told() {
    let story = Story::with_rings_of(2);
    story.publish_to(&["a", "c"], "1");
    story.publish("a", "2");
    story.publish_all("b", ["3", "4", "5", "6"]);
    let mut stream = story.follow(&["a", "b", "c"]).earliest();
    story.publish_all("a", ["7", "8"]);
    assert_eq!(stream.read(), ["1:1", "gap:lagged>2", "5:5", "6:6", "7:7", "8:8"]);
}

/// The event that ends one topic's gap is kept in the other. The gap comes first: whoever saw that event and comes back
/// with its id would not be told any more.
#[test]
fn an_event_lost_in_one_topic_and_kept_in_another_hides_no_gap() {
    for topics in [["a", "b"], ["b", "a"]] {
        let story = Story::with(|config| {
            let mut small = config.topic_policy.clone();
            small.ring.frames_max = 1;
            config.topic_policies.push((sse_hub::Selector::parse(topics[0]).unwrap(), small));
        });
        let mut running = story.follow(&["a", "b"]).live();
        story.publish(topics[0], "1");
        story.publish_to(&topics, "2");
        story.publish(topics[0], "3");
        assert_eq!(story.follow(&["a", "b"]).after(0).read(), ["gap:trimmed>2", "3:3"], "{topics:?}");
        assert_eq!(running.read(), ["gap:lagged>2", "3:3"], "{topics:?}");
        assert_eq!(story.follow(&["a", "b"]).earliest().read(), ["2:2", "3:3"], "{topics:?}");
    }
}

/// What a has in one run goes only up to b's gap.
#[test]
fn a_run_of_one_topic_stops_at_the_gap_of_another() {
    let story = Story::with(|config| {
        let mut small = config.topic_policy.clone();
        small.ring.frames_max = 1;
        config.topic_policies.push((sse_hub::Selector::parse("b").unwrap(), small));
    });
    let mut running = story.follow(&["a", "b"]).live();
    story.publish_all("a", ["1", "2"]);
    story.publish_to(&["a", "b"], "3");
    story.publish_to(&["a", "b"], "4");
    story.publish_all("a", ["5"]);
    assert_eq!(running.read(), ["1:1", "2:2", "gap:lagged>3", "4:4", "5:5"]);
    assert_eq!(story.follow(&["a", "b"]).after(1).read(), ["2:2", "gap:trimmed>3", "4:4", "5:5"]);
}

#[test]
fn a_gap_of_several_topics_waits_for_what_is_kept_before_it() {
    let story = Story::with_rings_of(2);
    let mut stream = story.follow(&["a", "b", "c"]).live();
    story.publish("c", "1");
    story.publish_all("a", ["2", "3", "4"]);
    story.publish_all("b", ["5", "6", "7"]);
    assert_eq!(stream.read(), ["1:1", "gap:lagged>2", "3:3", "4:4", "gap:lagged>5", "6:6", "7:7"]);
}

#[test]
fn topics_trimmed_by_one_event_have_one_gap() {
    let story = Story::with_rings_of(1);
    let mut stream = story.follow(&["a", "b"]).live();
    story.publish_to(&["a", "b"], "1");
    story.publish_to(&["a", "b"], "2");
    assert_eq!(stream.read(), ["gap:lagged>1", "2:2"]);
}
