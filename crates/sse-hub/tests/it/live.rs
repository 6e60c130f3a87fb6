//! Following from now on.

use sse_hub::{Feed, Hub, Subscription};

use crate::story::Story;

#[test]
fn an_event_reaches_those_who_follow_its_topic() {
    let story = Story::new();
    story.publish("news", "before");
    let (mut one, mut other) = (story.follow(&["news"]).live(), story.follow(&["sport"]).live());
    story.publish("news", "a");
    story.publish("sport", "b");
    story.publish("news", "c");
    assert_eq!(one.read(), ["2:a", "4:c"]);
    assert_eq!(other.read(), ["3:b"]);
    assert!(one.read().is_empty(), "nothing comes twice");
}

#[test]
fn a_waiting_subscriber_is_woken_once_per_wait() {
    let story = Story::new();
    for selectors in [&["a"][..], &["a", "b"], &["*"], &["{x}"]] {
        let mut stream = story.follow(selectors).live();
        story.publish("a", "not waiting yet");
        assert!(!stream.was_woken(), "{selectors:?} has not been read");
        assert_eq!(stream.read().len(), 1);
        stream.was_woken();
        story.publish("a", "x");
        assert!(stream.was_woken(), "{selectors:?} waits");
        story.publish("a", "y");
        assert!(!stream.was_woken(), "{selectors:?} has been woken already");
        assert_eq!(stream.read().len(), 2);
        story.publish("other", "z");
        assert_eq!(stream.was_woken(), ["*", "{x}"].contains(&selectors[0]), "{selectors:?}");
    }
}

#[test]
fn a_crowd_is_woken_to_the_last() {
    let story = Story::new();
    // More than are woken in one hold of the lock, with holes where some have left.
    let mut crowd: Vec<_> = (0..1000).map(|_| story.follow(&["a"]).live()).collect();
    crowd.retain_mut(|stream| stream.read().is_empty());
    let mut index = 0;
    crowd.retain(|_| {
        index += 1;
        index % 3 > 0
    });
    story.publish("a", "x");
    assert_eq!(crowd.iter().filter(|stream| stream.was_woken()).count(), crowd.len());
    assert!(crowd.iter_mut().all(|stream| stream.read() == ["1:x"]));
}

#[test]
fn a_long_backlog_comes_in_bounded_batches() {
    let story = Story::new();
    (0..1200).for_each(|n| drop(story.publish("a", &n.to_string())));
    for selectors in [&["a"][..], &["a", "b"]] {
        let mut stream = story.follow(selectors).earliest();
        let lens = [stream.next_batch().len(), stream.next_batch().len(), stream.next_batch().len()];
        assert_eq!(lens, [512, 512, 176]);
    }
    let big = "x".repeat(40 << 10);
    (0..3).for_each(|_| drop(story.publish("b", &big)));
    for selectors in [&["b"][..], &["b", "c"]] {
        let mut stream = story.follow(selectors).earliest();
        assert_eq!([stream.next_batch().len(), stream.next_batch().len()], [2, 1]);
    }
}

#[test]
fn every_event_has_the_id_that_its_receipt_names() {
    let story = Story::new();
    let mut stream = story.follow(&["a"]).live();
    let own = story.publish("a", "x");
    let given = story.publish_as("a", "mine", "y");
    let texts: Vec<String> =
        stream.next_batch().iter().map(|item| String::from_utf8(item.frame.text().to_vec()).unwrap()).collect();
    assert_eq!(texts, [format!("id: {}\ndata: x\n\n", story.id(1)), "id: mine\ndata: y\n\n".to_owned()]);
    assert_eq!((own.id(), given.id()), (story.id(1), "mine".to_owned()));
    assert_eq!(story.hub.newest(), given.cursor);
}

#[test]
fn the_epoch_is_random_unless_it_is_named() {
    let hubs = [Hub::builder().build().unwrap(), Hub::builder().build().unwrap()];
    assert_ne!(hubs[0].epoch(), hubs[1].epoch());
    assert_eq!(Story::new().hub.epoch(), Story::new().hub.epoch());
}

#[test]
fn handles_can_be_sent_and_shared() {
    fn check<T: Send + Sync>() {}
    check::<Hub>();
    check::<Subscription>();
    check::<Feed>();
}
