//! Events for those who follow just now.

use sse_hub::{Publication, PublishError};
use sse_wire::{Event, EventType};

use crate::story::{Story, name};

fn announce(story: &Story, topic: &str, data: &str) -> u64 {
    story.hub.announce(Publication::new(name(topic), Event::new(data))).unwrap().cursor.sequence
}

#[test]
fn nobody_follows_and_nothing_is_kept() {
    let story = Story::new();
    assert_eq!(announce(&story, "/a/1", "x"), 1);
    assert_eq!(story.hub.topics(), 0);
    assert_eq!(story.hub.newest().sequence, 1, "it has taken its place all the same");
    let mut late = story.follow(&["/a/1", "/a/2"]).after(0);
    assert_eq!(late.read(), Vec::<String>::new());
    let reserved = Event::new("").with_type(EventType::parse("sse.gap").unwrap());
    let refused = story.hub.announce(Publication::new(name("b"), reserved));
    assert!(matches!(refused, Err(PublishError::ReservedType { .. })));
}

#[test]
fn whoever_follows_has_it() {
    for follows in [&["/a/1"][..], &["/a/1", "b"], &["/a/{x}"], &["*"], &["{+x}", "/b/{x}"]] {
        let story = Story::new();
        let mut live = story.follow(follows).live();
        announce(&story, "/c/1", "not followed by most");
        announce(&story, "/a/1", "x");
        assert_eq!(live.read().last().map(String::as_str), Some("2:x"), "{follows:?}");
    }
}
