//! Telling only those who follow just now.

use crate::story::{Story, name};

#[test]
fn who_follows_is_known_before_anything_is_published() {
    let story = Story::new();
    assert!(!story.hub.is_followed(&name("/a/1")));
    for follows in [&["/a/1"][..], &["/a/1", "b"], &["/a/{x}"], &["*"], &["{+x}", "/b/{x}"]] {
        let story = Story::new();
        let live = story.follow(follows).live();
        assert!(story.hub.is_followed(&name("/a/1")), "{follows:?}");
        assert_eq!(story.hub.is_followed(&name("/c")), matches!(follows[0], "*" | "{+x}"), "{follows:?}");
        drop(live);
        story.publish("c", "x");
        assert_eq!(
            story.hub.topics(),
            1 + usize::from(follows.contains(&"/a/1")) + usize::from(follows.contains(&"b"))
        );
    }
}

#[test]
fn a_skipped_place_is_no_hole() {
    for follows in [&["a"][..], &["a", "b"], &["*"]] {
        let story = Story::new();
        let mut live = story.follow(follows).live();
        story.publish("a", "x");
        story.hub.skip();
        assert_eq!(story.hub.newest().sequence, 2);
        story.publish("a", "y");
        assert_eq!(live.read(), ["1:x", "3:y"], "{follows:?}");
        assert_eq!(story.follow(follows).after(2).read(), ["3:y"], "{follows:?}");
    }
}
