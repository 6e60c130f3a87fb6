//! A hub whose events outlive it.

use std::sync::Arc;

use sse_hub::{IdempotencyKey, Publication, PublishError, SubscribeError};
use sse_wire::Event;

use crate::memory_log::{Fault, MemoryLog};
use crate::story::{Story, name, publication};

/// One topic by name, and the same topic through everything that can follow it.
const WAYS: [&[&str]; 4] = [&["a"], &["a", "b"], &["*"], &["{x}", "b"]];

/// Rings so small that most reads need the log.
fn story(log: &Arc<MemoryLog>) -> Story {
    Story::on(log, |config| config.topic_policy.ring.frames_max = 2)
}

fn words(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(|n| format!("{n}:{n}")).collect()
}

fn publish(story: &Story, topic: &str, numbers: impl IntoIterator<Item = u64>) {
    for n in numbers {
        assert_eq!(story.publish(topic, &n.to_string()).cursor.sequence, n);
    }
}

#[test]
fn what_the_ring_dropped_comes_from_the_log() {
    let log = Arc::default();
    let story = story(&log);
    publish(&story, "a", 1..=20);
    for way in WAYS {
        for after in [0, 1, 7, 17, 18, 19] {
            assert_eq!(story.follow(way).after(after).read(), words(after + 1..=20), "{way:?} {after}");
        }
        assert!(story.follow(way).after(20).read().is_empty());
        assert_eq!(story.follow(way).earliest().read(), words(1..=20));
    }
}

#[test]
fn a_restart_loses_nothing() {
    for clean in [true, false] {
        let log = Arc::default();
        publish(&story(&log), "a", 1..=9);
        let mut first = story(&log);
        publish(&first, "a", 10..=12);
        if clean {
            first = story(&log);
        } else {
            log.crash(0);
        }
        drop(first);
        let story = story(&log);
        for way in WAYS {
            let mut stream = story.follow(way).after(3);
            assert_eq!(stream.read(), words(4..=12), "{way:?}");
            assert!(story.follow(way).after(12).read().is_empty());
        }
        let mut streams = WAYS.map(|way| story.follow(way).after(11));
        publish(&story, "a", 13..=13);
        assert!(streams.each_mut().iter_mut().all(|stream| stream.read() == words(12..=13)));
    }
}

#[test]
fn a_slow_reader_goes_on_with_the_log() {
    let log = Arc::default();
    let story = story(&log);
    let mut streams = WAYS.map(|way| story.follow(way).live());
    publish(&story, "a", 1..=30);
    for (way, stream) in WAYS.iter().zip(&mut streams) {
        assert_eq!(stream.read(), words(1..=30), "{way:?}");
    }
    publish(&story, "a", 31..=31);
    assert!(streams.each_mut().iter_mut().all(|stream| stream.read() == words(31..=31)));
}

#[test]
fn several_topics_keep_the_order_of_their_ids() {
    let log = Arc::default();
    let story = story(&log);
    for n in 1..=30 {
        publish(&story, ["a", "b", "c"][n as usize % 3], [n]);
    }
    assert_eq!(story.follow(&["a", "b"]).after(4).read(), words((5..=30).filter(|n| n % 3 != 2)));
    assert_eq!(story.follow(&["*"]).after(4).read(), words(5..=30));
    let mut stream = story.follow(&["c", "a"]).after(20);
    story.publish_to(&["a", "c"], "both");
    let mut expected = words((21..=30).filter(|n| n % 3 != 1));
    expected.push("31:both".to_owned());
    assert_eq!(stream.read(), expected);
}

/// What one topic's ring dropped comes before what the other's still has.
#[test]
fn a_slow_reader_of_several_topics_gets_all_of_them_in_order() {
    let log = Arc::default();
    let story = story(&log);
    let ways: [&[&str]; 3] = [&["a", "b"], &["*"], &["{x}", "b"]];
    let mut streams = ways.map(|way| story.follow(way).live());
    for (n, topic) in (1..).zip(["a", "b", "a", "a", "a", "b", "a"]) {
        publish(&story, topic, [n]);
    }
    for (way, stream) in ways.iter().zip(&mut streams) {
        assert_eq!(stream.read(), words(1..=7), "{way:?}");
    }
}

#[test]
fn nobody_is_too_slow_while_the_log_is_read_for_him() {
    let log = Arc::default();
    let mut story = story(&log);
    publish(&story, "a", 1..=20);
    let mut streams = WAYS.map(|way| story.follow(way).after(0));
    publish(&story, "a", 21..=30);
    (0..3).for_each(|_| story.wait(4));
    for (way, stream) in WAYS.iter().zip(&mut streams) {
        assert_eq!(stream.read(), words(1..=30), "{way:?}");
    }
}

#[test]
fn the_streams_of_closed_topics_end_even_if_the_end_is_damaged() {
    for way in [&["a"] as &[&str], &["a", "b"]] {
        let log = Arc::default();
        let story = story(&log);
        let mut stream = story.follow(way).live();
        let replaying = story.follow(way).after(0);
        publish(&story, "a", 1..=9);
        way.iter().for_each(|topic| drop(story.close(topic)));
        (10..12).for_each(|sequence| log.damage(sequence));
        for mut stream in [std::mem::replace(&mut stream, replaying), stream] {
            assert_eq!(stream.read().last().map(String::as_str), Some("over"), "{way:?}");
        }
    }
}

#[test]
fn however_small_the_room_for_replays_pages_are_read() {
    let log = Arc::default();
    let story = Story::on(&log, |config| {
        config.topic_policy.ring.frames_max = 2;
        config.replay_bytes_max = 1;
    });
    publish(&story, "a", 1..=20);
    assert_eq!(story.follow(&["a"]).after(0).read(), words(1..=20));
}

#[test]
fn a_batch_is_published_up_to_the_first_that_is_refused() {
    let too_large = Publication::new(name("a"), Event::new("x".repeat(2 << 20)));
    for refused in [too_large, Publication::end_of(name("closed"))] {
        let log = Arc::default();
        let story = story(&log);
        story.close("closed");
        let batch = vec![publication(&["a"], "2"), publication(&["a"], "3"), refused, publication(&["a"], "no")];
        let submitted = story.hub.submit_all(batch);
        story.commit();
        let outcomes: Vec<_> = submitted.into_iter().map(sse_hub::Submission::wait).collect();
        assert!(outcomes[..2].iter().all(Result::is_ok), "{outcomes:?}");
        assert!(outcomes[2].is_err() && outcomes[3] == Err(PublishError::Skipped), "{outcomes:?}");
        assert_eq!(story.follow(&["a"]).after(0).read(), words(2..=3));
    }
}

#[test]
fn what_the_log_trimmed_is_told_once() {
    let log = Arc::default();
    let story = story(&log);
    publish(&story, "a", 1..=9);
    log.trim(4);
    for way in WAYS {
        let mut expected = vec!["gap:trimmed>4".to_owned()];
        expected.extend(words(5..=9));
        assert_eq!(story.follow(way).after(2).read(), expected, "{way:?}");
        assert_eq!(story.follow(way).earliest().read(), words(5..=9), "{way:?}");
        assert_eq!(story.follow(way).after(4).read(), words(5..=9), "{way:?}");
    }
}

#[test]
fn what_is_damaged_is_told_in_its_place() {
    let log = Arc::default();
    let story = story(&log);
    publish(&story, "a", 1..=9);
    log.damage(4);
    for way in WAYS {
        let mut expected = words(2..=3);
        expected.push("gap:damaged>4".to_owned());
        expected.extend(words(5..=9));
        assert_eq!(story.follow(way).after(1).read(), expected, "{way:?}");
    }
}

#[test]
fn a_publishers_id_is_found_at_any_depth() {
    let log = Arc::default();
    let story = story(&log);
    story.publish_as("a", "p", "1");
    story.publish_as("a", "q", "2");
    publish(&story, "a", 3..=9);
    story.publish_as("a", "p", "10");
    for way in WAYS {
        assert_eq!(story.follow(way).after_id("q").read(), words(3..=10), "{way:?}");
        assert_eq!(story.follow(way).after_id("p").read(), words(2..=10), "its earliest use, {way:?}");
        let mut expected = vec!["gap:unknown>0".to_owned()];
        expected.extend(words(1..=10));
        assert_eq!(story.follow(way).after_id("nobody").read(), expected, "{way:?}");
    }
}

#[test]
fn an_id_of_an_event_one_may_not_see_is_unknown() {
    let log = Arc::default();
    let story = story(&log);
    let secret = Event::new("1").with_id(sse_wire::EventId::parse("s").unwrap());
    story.try_publish(Publication::new(name("a"), secret).private()).unwrap();
    publish(&story, "a", 2..=9);
    for way in WAYS {
        assert_eq!(story.follow(way).after_id("s").read()[0], "gap:unknown>0", "{way:?}");
        assert_eq!(story.follow(way).granted_all().from("s").open().unwrap().read(), words(2..=9), "{way:?}");
    }
}

#[test]
fn private_events_are_replayed_to_those_granted() {
    let log = Arc::default();
    let story = story(&log);
    for n in 1..=9 {
        let publication = publication(&["a"], &n.to_string());
        let publication = if n % 2 == 0 { publication.private() } else { publication };
        story.try_publish(publication).unwrap();
    }
    for way in WAYS {
        assert_eq!(story.follow(way).after(0).read(), words([1, 3, 5, 7, 9]), "{way:?}");
        assert_eq!(story.follow(way).granted(&["a"]).from(&story.id(0)).open().unwrap().read(), words(1..=9));
    }
}

#[test]
fn a_closed_topic_stays_closed_and_gives_the_rest() {
    let log = Arc::default();
    let first = story(&log);
    publish(&first, "a", 1..=4);
    first.close("a");
    drop(first);
    let story = story(&log);
    let refused = story.try_publish(publication(&["a"], "late")).unwrap_err();
    assert_eq!(refused, PublishError::Closed { topic: name("a") });
    let mut expected = words(3..=4);
    expected.push("5:end".to_owned());
    expected.push("over".to_owned());
    assert_eq!(story.follow(&["a"]).after(2).read(), expected);
    for id in [story.id(5), String::new()] {
        assert_eq!(story.follow(&["a"]).from(&id).refused(), SubscribeError::Ended);
    }
    assert_eq!(story.follow(&["a", "b"]).after(2).read(), expected[..3]);
}

#[test]
fn nothing_goes_behind_an_end_of_the_same_commit() {
    let log = Arc::default();
    let story = story(&log);
    let end = story.hub.submit(Publication::end_of(name("a")));
    let late = story.hub.submit(publication(&["a"], "late"));
    story.commit();
    assert!(end.wait().is_ok());
    assert_eq!(late.wait(), Err(PublishError::Closed { topic: name("a") }));
}

#[test]
fn nobody_sees_an_event_before_it_is_on_the_disk() {
    let log: Arc<MemoryLog> = Arc::default();
    let story = story(&log);
    let mut streams = WAYS.map(|way| story.follow(way).live());
    let submission = story.hub.submit(publication(&["a"], "1"));
    assert!(streams.each_mut().iter_mut().all(|stream| stream.read().is_empty()));
    assert!(log.sequences().is_empty());
    story.commit();
    assert_eq!(log.syncs.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert_eq!(submission.wait().unwrap().cursor.sequence, 1);
    assert!(streams.each_mut().iter_mut().all(|stream| stream.read() == words(1..=1)));
}

#[test]
fn many_events_are_one_sync() {
    let log: Arc<MemoryLog> = Arc::default();
    let story = story(&log);
    let submissions: Vec<_> = (0..100).map(|_| story.hub.submit(publication(&["a"], "x"))).collect();
    story.commit();
    assert!(submissions.into_iter().enumerate().all(|(n, one)| one.wait().unwrap().cursor.sequence == n as u64 + 1));
    assert_eq!(log.syncs.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[test]
fn a_full_disk_refuses_and_heals() {
    let log = Arc::default();
    let story = story(&log);
    let mut stream = story.follow(&["a"]).live();
    publish(&story, "a", 1..=1);
    log.fail_next(Fault::Full);
    assert_eq!(story.try_publish(publication(&["a"], "2")), Err(PublishError::LogFull));
    assert_eq!(story.follow(&["a"]).after(0).read(), words(1..=1), "nobody waits for what was refused");
    assert_eq!(story.publish("a", "2").cursor.sequence, 2, "nobody has seen the number of what was refused");
    assert_eq!(stream.read(), words(1..=2));
}

#[test]
fn a_failed_write_ends_publishing_and_nothing_else() {
    for fault in [Fault::Write, Fault::Sync] {
        let log = Arc::default();
        let story = story(&log);
        publish(&story, "a", 1..=9);
        log.fail_next(fault);
        let refused = [story.hub.submit(publication(&["a"], "x")), story.hub.submit(publication(&["b"], "x"))];
        story.commit();
        assert!(refused.into_iter().all(|one| one.wait() == Err(PublishError::LogFailed)));
        assert_eq!(
            story.try_publish(publication(&["a"], "x")),
            Err(PublishError::LogFailed),
            "it is never tried again"
        );
        assert!(story.hub.log_has_failed());
        assert_eq!(story.follow(&["a"]).after(0).read(), words(1..=9));
    }
}

#[test]
fn the_id_of_an_event_whose_commit_failed_is_unknown() {
    let log = Arc::default();
    let story = story(&log);
    publish(&story, "a", 1..=3);
    log.fail_next(Fault::Sync);
    let event = Event::new("4").with_id(sse_wire::EventId::parse("p").unwrap());
    assert_eq!(story.try_publish(Publication::new(name("a"), event)), Err(PublishError::LogFailed));
    assert_eq!(log.sequences(), [1, 2, 3, 4], "it is there, and was not published");
    for way in WAYS {
        assert_eq!(story.follow(way).after_id("p").read()[0], "gap:unknown>0", "{way:?}");
    }
}

#[test]
fn what_was_delivered_and_never_written_is_told_even_of_a_forgotten_topic() {
    let log = Arc::default();
    let mut story = Story::promising(sse_hub::Durability::Memory, &log, |config| config.floors_max = 0);
    publish(&story, "a", 1..=3);
    log.fail_next(Fault::Write);
    publish(&story, "a", 4..=4);
    story.wait(400);
    story.wait(10);
    assert_eq!(story.frames("a"), None, "it is forgotten");
    for way in WAYS {
        assert_eq!(story.follow(way).after(3).read(), ["gap:damaged>4"], "{way:?}");
    }
}

#[test]
fn what_is_not_logged_is_live_and_begins_a_new_epoch_after_a_crash() {
    let log = Arc::default();
    let first = story(&log);
    publish(&first, "a", 1..=3);
    let mut stream = first.follow(&["a"]).live();
    first.try_publish(publication(&["a"], "4").unlogged()).unwrap();
    assert_eq!(stream.read(), words(4..=4));
    let (before, unlogged) = (first.id(3), first.id(4));
    drop((first, stream));
    log.crash(0);
    let story = story(&log);
    publish(&story, "a", 4..=5);
    for way in WAYS {
        assert_eq!(story.follow(way).after_id(&before).read(), words(4..=5), "{way:?}");
        let mut expected = vec!["gap:epoch>3".to_owned()];
        expected.extend(words(4..=5));
        assert_eq!(story.follow(way).after_id(&unlogged).read(), expected, "{way:?}");
    }
}

#[test]
fn what_waits_for_the_log_is_bounded() {
    let log = Arc::default();
    let story = Story::on(&log, |config| config.log_queue_bytes_max = 4000);
    let submissions: Vec<_> = (0..20).map(|_| story.hub.submit(publication(&["a"], "x"))).collect();
    story.commit();
    let taken = submissions.into_iter().filter_map(|one| one.wait().ok()).count();
    assert!((5..20).contains(&taken), "{taken}");
    assert_eq!(story.publish("a", "later").cursor.sequence, taken as u64 + 1);
}

#[test]
fn a_key_names_one_event_even_after_a_crash() {
    let key = |key: u8, body: u8| IdempotencyKey { key: [key; 16], fingerprint: [body; 16] };
    let log = Arc::default();
    let first = story(&log);
    let try_with = |story: &Story, k| story.try_publish(publication(&["a"], "x").with_key(k));
    let receipt = try_with(&first, key(1, 1)).unwrap();
    assert_eq!(try_with(&first, key(1, 1)).unwrap(), receipt);
    assert_eq!(try_with(&first, key(1, 2)), Err(PublishError::KeyReused));
    // In one batch as well.
    let both = [0, 1].map(|_| first.hub.submit(publication(&["a"], "y").with_key(key(2, 2))));
    let other = first.hub.submit(publication(&["a"], "z").with_key(key(2, 3)));
    first.commit();
    let [one, two] = both.map(|one| one.wait().unwrap());
    assert_eq!((&one, other.wait()), (&two, Err(PublishError::KeyReused)));
    assert_eq!(log.sequences(), [1, 2]);
    drop(first);
    log.crash(0);
    let story = story(&log);
    assert_eq!(try_with(&story, key(1, 1)).unwrap().id(), receipt.id());
    assert_eq!(try_with(&story, key(2, 3)), Err(PublishError::KeyReused));
    assert_eq!(log.sequences(), [1, 2]);
}

#[test]
fn a_key_is_forgotten_in_time_and_number() {
    let key = |n: u8| IdempotencyKey { key: [n; 16], fingerprint: [0; 16] };
    let mut story = Story::with(|config| config.idempotency_keys_max = 3);
    let publish =
        |story: &Story, n| story.try_publish(publication(&["a"], "x").with_key(key(n))).unwrap().cursor.sequence;
    assert_eq!([1, 2, 3, 1].map(|n| publish(&story, n)), [1, 2, 3, 1]);
    assert_eq!(publish(&story, 4), 4);
    assert_eq!([2, 1].map(|n| publish(&story, n)), [2, 5], "the oldest of four was forgotten");
    story.wait(121);
    assert_eq!([4, 1].map(|n| publish(&story, n)), [6, 7]);
}
