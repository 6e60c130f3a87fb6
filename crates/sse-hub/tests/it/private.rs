//! Events for those with a grant.

use crate::story::{Story, name};
use sse_hub::{FeedRead, GapReason, Grants, Publication, Selector, Start, SubscribeOptions};
use sse_wire::{Event, EventId};

/// Who sees an event of these topics.
fn check(topics: &[&str], follows: &[&str], grants: &[&str], sees: bool) {
    let story = Story::new();
    let mut live = story.follow(follows).granted(grants).live();
    story.publish_private(topics, "secret");
    story.publish_to(topics, "public");
    let expected: &[&str] = if sees { &["1:secret", "2:public"] } else { &["2:public"] };
    assert_eq!(live.read(), expected, "live: {topics:?} {follows:?} {grants:?}");
    let mut replayed = story.follow(follows).granted(grants).after(0);
    assert_eq!(replayed.read(), expected, "replayed: {topics:?} {follows:?} {grants:?}");
}

#[test]
fn a_private_event_needs_a_grant_for_one_of_its_topics() {
    for follows in [&["/books/1"][..], &["/books/1", "x"], &["/books/{id}"], &["*"]] {
        check(&["/books/1"], follows, &[], false);
        check(&["/books/1"], follows, &["/books/1"], true);
        check(&["/books/1"], follows, &["/books/{id}"], true);
        check(&["/books/1"], follows, &["*"], true);
        check(&["/books/1"], follows, &["/books/2", "/users/{id}"], false);
        check(&["/books/1", "/users/7"], follows, &["/users/7"], true);
        check(&["/books/1", "/users/7"], follows, &["/users/8"], false);
        check(&["/users/7", "/books/1"], follows, &["/users/7"], true);
    }
}

#[test]
fn anonymous_sees_public_events_and_a_full_grant_sees_all() {
    let story = Story::new();
    let mut anonymous = story.follow(&["a"]).live();
    let mut trusted = story.follow(&["a"]).granted_all().live();
    story.publish_private(&["a"], "secret");
    story.publish("a", "public");
    assert_eq!(anonymous.read(), ["2:public"]);
    assert_eq!(trusted.read(), ["1:secret", "2:public"]);
}

#[test]
fn many_private_events_do_not_hold_up_the_public_ones() {
    let story = Story::new();
    let mut streams = [&["a"][..], &["a", "b"]].map(|way| story.follow(way).live());
    (0..2000).for_each(|_| drop(story.publish_private(&["a"], "secret")));
    story.publish("a", "public");
    assert!(streams.each_mut().iter_mut().all(|stream| stream.read() == ["2001:public"]));
}

#[test]
fn a_feed_moves_over_what_the_grants_do_not_show() {
    let story = Story::new();
    let feed = story.hub.feed(&name("a")).unwrap();
    story.publish_private(&["a"], "secret");
    story.publish("a", "public");
    story.publish_private(&["a"], "secret");
    let read = |cursor, grants: &Grants| match feed.read_after(cursor, grants) {
        FeedRead::Frames { batch, cursor } => (batch.items().iter().map(|item| item.sequence).collect(), cursor),
        FeedRead::CaughtUp => (Vec::new(), cursor),
        FeedRead::Gap { .. } | FeedRead::InLog => panic!("nothing is lost"),
    };
    assert_eq!(read(0, &Grants::None), (vec![2], 3));
    assert_eq!(read(2, &Grants::None), (vec![], 3));
    assert_eq!(read(0, &Grants::All), (vec![1, 2, 3], 3));
    assert_eq!(read(3, &Grants::All), (vec![], 3));
}

/// Its own id would tell that there was such an event.
#[test]
fn an_id_of_an_event_one_may_not_see_is_unknown() {
    for follows in [&["a"][..], &["a", "b"], &["{x}"]] {
        let story = Story::new();
        let secret = Event::new("secret").with_id(EventId::parse("mine").unwrap());
        story.hub.publish(Publication::new(name("a"), secret).private()).unwrap();
        story.publish("a", "public");
        let start_gap = |grants: &[&str]| {
            let selectors = follows.iter().map(|text| Selector::parse(text).unwrap()).collect();
            let grants = Grants::Selectors(grants.iter().map(|text| Selector::parse(text).unwrap()).collect());
            let options = SubscribeOptions::selectors(selectors).from(Start::parse("mine")).with_grants(grants);
            story.hub.subscribe(options).unwrap().take_start_gap().map(|gap| gap.reason)
        };
        assert_eq!(start_gap(&["a"]), None, "{follows:?}");
        assert_eq!(start_gap(&["b"]), Some(GapReason::Unknown), "{follows:?}");
    }
}
