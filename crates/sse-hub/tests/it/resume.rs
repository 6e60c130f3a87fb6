//! Coming back with an id.

use sse_hub::Hub;

use crate::story::{Story, name};

/// One topic by name, and the same topic through everything that can follow it.
const WAYS: [&[&str]; 4] = [&["a"], &["a", "b"], &["*"], &["{x}", "b"]];

#[test]
fn goes_on_after_the_event_with_that_id() {
    let story = Story::new();
    story.publish_all("a", ["x", "y", "z"]);
    for way in WAYS {
        assert_eq!(story.follow(way).after(1).read(), ["2:y", "3:z"], "{way:?}");
        assert!(story.follow(way).after(3).read().is_empty(), "{way:?}");
        assert_eq!(story.follow(way).after(0).read(), ["1:x", "2:y", "3:z"], "{way:?}");
    }
}

#[test]
fn goes_on_live_after_what_it_missed() {
    let story = Story::new();
    story.publish_all("a", ["x", "y"]);
    for way in WAYS {
        let mut stream = story.follow(way).after(1);
        let live = story.publish("a", "live").cursor.sequence;
        let words = stream.read();
        assert_eq!((&*words[0], words.last()), ("2:y", Some(&format!("{live}:live"))), "{way:?}");
    }
}

#[test]
fn an_id_of_another_topic_positions_it_as_well() {
    let story = Story::new();
    story.publish("a", "x");
    story.publish("elsewhere", "y");
    story.publish("a", "z");
    for way in [&["a"][..], &["a", "b"]] {
        assert_eq!(story.follow(way).after(2).read(), ["3:z"], "{way:?}");
    }
}

#[test]
fn a_publishers_id_names_its_earliest_use() {
    let story = Story::new();
    story.publish_as("a", "p", "x");
    story.publish_as("a", "q", "y");
    story.publish_as("a", "p", "z");
    for way in WAYS {
        assert_eq!(story.follow(way).after_id("p").read(), ["2:y", "3:z"], "{way:?}");
        assert_eq!(story.follow(way).after_id("q").read(), ["3:z"], "{way:?}");
    }
}

#[test]
fn a_publishers_id_names_its_earliest_use_in_any_topic_followed() {
    let story = Story::new();
    story.publish_as("b", "p", "x");
    story.publish_as("a", "p", "y");
    assert_eq!(story.follow(&["a", "b"]).after_id("p").read(), ["2:y"]);
    assert!(story.follow(&["a", "c"]).after_id("p").read().is_empty());
}

/// Whoever saw the first event with a reused id must not be sent past what lies between the uses.
#[test]
fn a_reused_id_whose_first_use_is_gone_is_a_gap() {
    let story = Story::with_rings_of(2);
    story.publish_as("a", "p", "x");
    story.publish("a", "lost");
    story.publish_as("a", "p", "y");
    story.publish_as("a", "p", "z");
    for way in WAYS {
        assert_eq!(story.follow(way).after_id("p").read(), ["gap:trimmed>2", "3:y", "4:z"], "{way:?}");
    }
}

#[test]
fn earliest_is_all_that_is_kept() {
    let story = Story::with_rings_of(2);
    story.publish_all("a", ["x", "y", "z"]);
    for way in WAYS {
        assert_eq!(story.follow(way).from("earliest").open().unwrap().read(), ["2:y", "3:z"], "{way:?}");
    }
}

#[test]
fn an_empty_id_asks_for_nothing_special() {
    let story = Story::new();
    story.publish("a", "x");
    for way in WAYS {
        assert!(story.follow(way).after_id("").read().is_empty(), "{way:?}");
    }
}

#[test]
fn an_id_that_is_not_of_this_history_is_a_gap() {
    let story = Story::new();
    story.publish_all("a", ["x", "y"]);
    let foreign = Hub::builder().build().unwrap();
    let cases = [
        (foreign.newest().to_string(), "epoch"),
        (story.id(3), "unknown"),
        (story.id(9_999_999_999_999_999), "unknown"),
        ("nobody gave this id".to_owned(), "unknown"),
        ("nul\0".to_owned(), "unknown"),
        ("line\nbreak".to_owned(), "unknown"),
        ("-1".to_owned(), "unknown"),
        ("18446744073709551616".to_owned(), "unknown"),
        ("é".repeat(8192), "unknown"),
    ];
    for (id, reason) in cases {
        for way in WAYS {
            let mut stream = story.follow(way).after_id(&id);
            assert_eq!(stream.read(), [&format!("gap:{reason}>0"), "1:x", "2:y"], "{id:?} {way:?}");
            let requested = story.follow(way).after_id(&id).next_gap().requested;
            assert!(id.starts_with(&requested) && requested.len() >= id.len().min(256), "{requested:?}");
        }
    }
}

#[test]
fn a_gap_is_told_once() {
    let story = Story::with_rings_of(2);
    story.publish_all("a", ["x", "y", "z"]);
    for way in WAYS {
        let gap = story.follow(way).after_id("who knows").next_gap();
        let mut again = story.follow(way).after_id(&gap.resumed_after.to_string());
        assert_eq!(again.read(), ["2:y", "3:z"], "{way:?}");
    }
}

#[test]
fn the_gap_of_an_empty_history_leaves_nothing_out() {
    let story = Story::new();
    for way in WAYS {
        let mut stream = story.follow(way).after_id("who knows");
        assert_eq!(stream.read(), ["gap:unknown>0"], "{way:?}");
    }
    let mut stream = story.follow(&["a"]).after_id("who knows");
    story.publish("a", "x");
    assert_eq!(stream.read(), ["gap:unknown>0", "1:x"]);
}

#[test]
fn a_feed_resolves_as_a_subscription_does() {
    let story = Story::with_rings_of(2);
    story.publish_all("a", ["x", "y", "z"]);
    let feed = story.hub.feed(&name("a")).unwrap();
    let resolved = |id: &str| {
        let resolved = feed.resolve(&sse_hub::Start::parse(id), &sse_hub::Grants::None).unwrap();
        let sse_hub::FeedStart::InRing { cursor, gap } = resolved else { panic!("there is no log") };
        (cursor, gap.map(|gap| (gap.reason.as_str(), gap.resumed_after.sequence)))
    };
    assert_eq!(resolved(""), (3, None));
    assert_eq!(resolved("earliest"), (1, None));
    assert_eq!(resolved(&story.id(2)), (2, None));
    assert_eq!(resolved(&story.id(0)), (1, Some(("trimmed", 1))));
    assert_eq!(resolved("who knows"), (1, Some(("unknown", 1))));
}
