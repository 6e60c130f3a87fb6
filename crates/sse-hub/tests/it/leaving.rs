//! Dropping a subscription unsubscribes.

use crate::story::{Story, name};

#[test]
fn who_leaves_is_counted_no_more() {
    let story = Story::new();
    let followers = |topic: &str| {
        let infos = story.hub.topic_infos(9);
        infos.iter().find(|info| info.name.as_str() == topic).map(|info| info.followers)
    };
    let (one, two) = (story.follow(&["a"]).live(), story.follow(&["a", "b"]).live());
    let feed = story.hub.feed(&name("a")).unwrap();
    assert_eq!((followers("a"), followers("b")), (Some(3), Some(1)));
    drop(one);
    assert_eq!(followers("a"), Some(2));
    drop(two);
    assert_eq!((followers("a"), followers("b")), (Some(1), Some(0)));
    drop(feed);
    assert_eq!(followers("a"), Some(0));
}

#[test]
fn who_left_is_not_woken() {
    let story = Story::new();
    for way in [&["a"][..], &["a", "b"], &["*"], &["{x}"]] {
        let (mut gone, mut stays) = (story.follow(way).live(), story.follow(way).live());
        assert!(gone.read().is_empty() && stays.read().is_empty());
        let flag = gone.flag();
        drop(gone);
        assert_eq!(std::sync::Arc::strong_count(&flag), 1, "its waker is gone, {way:?}");
        story.publish("a", "x");
        assert!(stays.was_woken(), "{way:?}");
    }
}

#[test]
fn a_place_left_is_taken_again() {
    let story = Story::new();
    let mut streams: Vec<_> = (0..10).map(|_| story.follow(&["a"]).live()).collect();
    for round in 0..30 {
        streams.remove(round % 10);
        streams.push(story.follow(&["a"]).live());
        let sequence = story.publish("a", "x").cursor.sequence;
        assert!(streams.iter_mut().all(|stream| stream.read() == [format!("{sequence}:x")]));
    }
}
