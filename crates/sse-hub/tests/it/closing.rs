//! Finite streams.

use sse_hub::{PublishError, SubscribeError};

use crate::story::{Story, name, publication};

#[test]
fn followers_get_the_rest_then_the_end() {
    let story = Story::new();
    let mut reading = story.follow(&["job"]).live();
    story.publish("job", "1");
    assert_eq!(reading.read(), ["1:1"]);
    story.publish("job", "2");
    story.close("job");
    assert!(reading.was_woken());
    assert_eq!(reading.read(), ["2:2", "3:end", "over"]);
    assert_eq!(reading.read(), ["over"], "it stays over");
}

#[test]
fn an_end_is_an_event_with_an_id() {
    let story = Story::new();
    let mut stream = story.follow(&["a\"b"]).live();
    let receipt = story.close("a\"b");
    let items = stream.next_batch();
    let expected = format!("event: sse.end\nid: {}\ndata: {{\"topic\":\"a\\\"b\"}}\n\n", story.id(1));
    assert_eq!(std::str::from_utf8(items[0].frame.text_bytes()).unwrap(), expected);
    assert_eq!((receipt.id(), items[0].is_end), (story.id(1), true));
}

#[test]
fn nothing_is_published_behind_the_end() {
    let story = Story::new();
    story.close("job");
    let closed = PublishError::Closed { topic: name("job") };
    assert_eq!(story.try_publish(publication(&["job"], "x")), Err(closed.clone()));
    assert_eq!(story.try_publish(publication(&["open", "job"], "x")), Err(closed.clone()));
    assert_eq!(story.hub.close(&name("job")), Err(closed));
    assert_eq!(story.frames("open"), Some(0), "one topic refuses the whole event");
    assert_eq!(story.hub.newest().sequence, 1, "and takes no sequence");
}

#[test]
fn a_late_follower_gets_what_is_left_and_the_end() {
    let story = Story::new();
    story.publish_all("job", ["1", "2"]);
    story.close("job");
    for way in [&["job"][..], &["job", "job"]] {
        assert_eq!(story.follow(way).after(1).read(), ["2:2", "3:end", "over"]);
        assert_eq!(story.follow(way).earliest().read(), ["1:1", "2:2", "3:end", "over"]);
        assert_eq!(story.follow(way).after(2).read(), ["3:end", "over"]);
        assert_eq!(story.follow(way).after_id("?").read(), ["gap:unknown>0", "1:1", "2:2", "3:end", "over"]);
    }
}

#[test]
fn nothing_is_left_behind_the_end() {
    let story = Story::new();
    story.publish("job", "1");
    story.close("job");
    story.publish("other", "3");
    for way in [&["job"][..], &["job", "job"]] {
        for id in ["", &story.id(2), &story.id(3)] {
            assert_eq!(story.follow(way).from(id).refused(), SubscribeError::Ended, "{way:?} {id}");
        }
    }
    let feed = story.hub.feed(&name("job")).unwrap();
    assert_eq!(feed.resolve(&sse_hub::Start::Live, &sse_hub::Grants::None).unwrap_err(), SubscribeError::Ended);
    let resolved = feed.resolve(&sse_hub::Start::Earliest, &sse_hub::Grants::None).unwrap();
    assert_eq!(resolved, sse_hub::FeedStart::InRing { cursor: 0, gap: None });
}

#[test]
fn several_topics_end_with_the_last() {
    let story = Story::new();
    let mut stream = story.follow(&["a", "b"]).live();
    story.close("a");
    assert_eq!(stream.read(), ["1:end"]);
    story.publish("b", "2");
    story.close("b");
    assert_eq!(stream.read(), ["2:2", "3:end", "over"]);
    assert_eq!(story.follow(&["a", "b"]).after(0).read(), ["1:end", "2:2", "3:end", "over"]);
    assert_eq!(story.follow(&["a", "b"]).after(1).read(), ["2:2", "3:end", "over"]);
    assert_eq!(story.follow(&["a", "b"]).from(&story.id(3)).refused(), SubscribeError::Ended);
}

#[test]
fn an_end_seen_before_does_not_keep_the_stream_open() {
    let story = Story::new();
    story.close("a");
    let mut stream = story.follow(&["a", "b"]).live();
    assert!(stream.read().is_empty());
    story.close("b");
    assert_eq!(stream.read(), ["2:end", "over"]);
}

/// The id came from another topic and lies behind the end: that counts as seen.
#[test]
fn an_end_below_a_position_of_another_topic_is_behind_it() {
    let story = Story::new();
    story.close("a");
    story.publish("b", "2");
    assert_eq!(story.follow(&["a"]).from(&story.id(2)).refused(), SubscribeError::Ended);
    let mut stream = story.follow(&["a", "b"]).after(2);
    story.close("b");
    assert_eq!(stream.read(), ["3:end", "over"]);
}

#[test]
fn patterns_go_on_after_an_end() {
    let story = Story::new();
    let mut stream = story.follow(&["{x}", "a"]).live();
    story.close("a");
    story.publish("b", "2");
    assert_eq!(stream.read(), ["1:end", "2:2"]);
}

#[test]
fn an_end_outlives_what_came_before_it() {
    let mut story = Story::new();
    story.publish("job", "1");
    story.close("job");
    story.wait(3600);
    assert_eq!(story.follow(&["job"]).after(0).read(), ["gap:trimmed>1", "2:end", "over"]);
    assert_eq!(story.follow(&["job", "x"]).after(0).read(), ["gap:trimmed>1", "2:end"]);
}

#[test]
fn a_closed_topic_is_forgotten_after_its_age() {
    let mut story = Story::with(|config| config.closed_topic_age = std::time::Duration::from_secs(60));
    story.publish("job", "1");
    story.close("job");
    story.wait(60);
    assert!(story.try_publish(publication(&["job"], "x")).is_err());
    story.wait(10);
    assert_eq!(story.publish("job", "again").cursor.sequence, 3);
    assert_eq!(story.follow(&["job"]).after(1).read(), ["gap:trimmed>2", "3:again"]);
}
