//! The same for all engines.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::engine::{ANSWER_BYTES_MAX, Appended, EngineError, Extent, PATIENCE, Range, Revision};
use super::process::{DEADLINE, until};
use super::rig::{Kind, Rig, follow, keyed, of_topic, outgoing, told};

/// Each test for each engine.
macro_rules! contract {
    ($kinds:tt $tests:tt) => { contract!(@each $kinds $tests); };
    (@each [$($module:ident: $kind:expr),*] $tests:tt) => { $(mod $module { contract!(@one $kind, $tests); })* };
    (@one $kind:expr, [$($test:ident),* $(,)?]) => {
        $(#[tokio::test]
        async fn $test() {
            super::$test($kind).await;
        })*
    };
}

contract!([redis: super::Kind::Redis, nats: super::Kind::Nats] [
    entries_are_numbered_from_one_in_their_order,
    a_range_is_read_within_its_bounds,
    large_entries_come_a_few_at_a_time,
    a_key_is_appended_once,
    a_key_is_forgotten_after_its_window,
    entries_are_followed_as_they_come,
    followers_go_on_after_a_crash,
    what_is_too_much_is_dropped,
    what_is_too_old_is_dropped,
    what_is_too_large_together_is_dropped,
    a_document_is_replaced_by_one_of_two,
    what_is_too_large_is_refused_alone,
    a_hung_engine_is_given_up,
    a_restarted_engine_is_found_again,
    an_engine_that_is_away_says_so,
]);

contract!([redis_6: super::Kind::Redis6] [
    entries_are_numbered_from_one_in_their_order,
    a_key_is_appended_once,
    followers_go_on_after_a_crash,
    what_is_too_much_is_dropped,
    what_is_too_old_is_dropped,
    what_is_too_large_is_refused_alone,
]);

async fn entries_are_numbered_from_one_in_their_order(kind: Kind) {
    let rig = Rig::start(kind).await;
    assert_eq!(rig.extent().await, Extent { first: 1, last: 0 });
    assert_eq!(rig.read(0, 10, 10).await.entries, []);
    assert_eq!(rig.append(&["a", "b"]).await, [Ok(Appended::New(1)), Ok(Appended::New(2))]);
    let texts: Vec<String> = (3..=200).map(|number| format!("text {number}")).collect();
    let answers = rig.append(&texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let numbers: Vec<_> = (3..=200).map(|number| Ok(Appended::New(number))).collect();
    assert_eq!(answers, numbers);
    assert_eq!(rig.extent().await, Extent { first: 1, last: 200 });
    let found = rig.read(0, 200, 1000).await;
    assert_eq!(found.covered_to, 200);
    assert_eq!(told(&found.entries)[1], (2, "b".to_owned()));
    assert_eq!(told(&found.entries)[199], (200, "text 200".to_owned()));
    assert!(rig.append(&[]).await.is_empty());
}

async fn a_range_is_read_within_its_bounds(kind: Kind) {
    let rig = Rig::start(kind).await;
    let entries = (1..=60).map(|number| of_topic(&format!("topic {}", number % 2), &number.to_string()));
    assert_eq!(rig.engine.append(entries.collect()).await.last(), Some(&Ok(Appended::New(60))));
    for (after, up_to, entries_max, first, last) in
        [(0, 60, 100, 1, 60), (0, 60, 7, 1, 7), (10, 20, 100, 11, 20), (10, 50, 33, 11, 43), (59, 60, 5, 60, 60)]
    {
        let found = rig.read(after, up_to, entries_max).await;
        let numbers: Vec<u64> = found.entries.iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, (first..=last).collect::<Vec<_>>(), "{after} {up_to} {entries_max}");
        assert!(found.covered_to == last, "{after} {up_to} {entries_max}: {}", found.covered_to);
    }
    assert_eq!(rig.read(60, 60, 5).await.entries, []);
    let topic = Some(sse_hub::TopicName::parse("topic 1").unwrap());
    let mut odd = Vec::new();
    let mut after = 0;
    while after < 60 {
        let range = Range { after, up_to: 60, entries_max: 7, topic: topic.clone() };
        let found = rig.engine.read(range).await.unwrap();
        assert!(found.entries.len() <= 7 && found.covered_to > after);
        odd.extend(found.entries.iter().map(|entry| entry.number).filter(|number| number % 2 == 1));
        after = found.covered_to;
    }
    assert_eq!(odd, (1..=60).step_by(2).collect::<Vec<u64>>());
}

async fn large_entries_come_a_few_at_a_time(kind: Kind) {
    let rig = Rig::start(kind).await;
    let large = "x".repeat(900 << 10);
    for _ in 0..4 {
        assert!(rig.append(&[&large, &large, &large]).await.iter().all(Result::is_ok));
    }
    let (mut after, mut answers) = (0, 0);
    while after < 12 {
        let found = rig.read(after, 12, 100).await;
        assert!(found.entries.iter().map(|entry| entry.bytes.len()).sum::<usize>() <= ANSWER_BYTES_MAX);
        assert_eq!(found.covered_to, after + found.entries.len() as u64);
        assert!(found.covered_to > after);
        (after, answers) = (found.covered_to, answers + 1);
    }
    assert!(answers >= 3, "{answers} answers");
    assert_eq!(follow(&*rig.engine, &mut None, 0, 12).await.len(), 12);
}

async fn a_key_is_appended_once(kind: Kind) {
    let rig = Rig::start(kind).await;
    let batch = vec![outgoing("a"), keyed(1, 1, "b"), keyed(1, 1, "b again"), keyed(1, 2, "c"), keyed(2, 2, "d")];
    let answers = rig.engine.append(batch).await;
    let [known, reused] = [Ok(Appended::Known(2)), Ok(Appended::KeyReused)];
    assert_eq!(
        answers,
        [Ok(Appended::New(1)), Ok(Appended::New(2)), known.clone(), reused.clone(), Ok(Appended::New(3))]
    );
    let other = rig.another();
    assert_eq!(other.append(vec![keyed(1, 1, "b"), keyed(1, 3, "b")]).await, [known, reused]);
    assert_eq!(rig.extent().await.last, 3);
}

async fn a_key_is_forgotten_after_its_window(kind: Kind) {
    let rig = Rig::start_with(kind, |settings| settings.idempotency_window = Duration::from_millis(300)).await;
    assert_eq!(rig.engine.append(vec![keyed(1, 1, "a")]).await, [Ok(Appended::New(1))]);
    assert_eq!(rig.engine.append(vec![keyed(1, 1, "a")]).await, [Ok(Appended::Known(1))]);
    until("the key is forgotten", async || {
        (rig.engine.append(vec![keyed(1, 2, "b")]).await == [Ok(Appended::New(2))]).then_some(())
    })
    .await;
}

async fn entries_are_followed_as_they_come(kind: Kind) {
    let rig = Rig::start(kind).await;
    rig.append(&["a", "b", "c"]).await;
    let mut all = Some(rig.engine.tail(0).await.unwrap());
    let mut late = Some(rig.another().tail(2).await.unwrap());
    assert_eq!(follow(&*rig.engine, &mut all, 0, 3).await.len(), 3);
    assert_eq!(told(&follow(&*rig.engine, &mut late, 2, 1).await), [(3, "c".to_owned())]);
    let begun = Instant::now();
    assert_eq!(all.as_mut().unwrap().next().await.unwrap(), [], "nothing for a while is said");
    assert!(begun.elapsed() < Duration::from_secs(3));
    for round in 0..20 {
        let first = 4 + round * 50;
        let texts: Vec<String> = (first..first + 50).map(|number| number.to_string()).collect();
        rig.append(&texts.iter().map(String::as_str).collect::<Vec<_>>()).await;
        for tail in [&mut all, &mut late] {
            let entries = follow(&*rig.engine, tail, first - 1, 50).await;
            let expected: Vec<_> = (first..first + 50).map(|number| (number, number.to_string())).collect();
            assert_eq!(told(&entries), expected);
        }
    }
    assert!(all.is_some() && late.is_some(), "neither had to begin anew");
}

async fn followers_go_on_after_a_crash(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    let mut tail = Some(rig.engine.tail(0).await.unwrap());
    let mut expected = 0;
    for _ in 0..3 {
        expected += 2;
        assert!(rig.append(&["a", "b"]).await.iter().all(Result::is_ok));
        rig.process.restart().await;
        rig.opened().await;
        assert!(rig.append(&["c"]).await[0].is_ok());
        let entries = follow(&*rig.engine, &mut tail, expected - 2, 3).await;
        expected += 1;
        let numbers: Vec<u64> = entries.iter().map(|entry| entry.number).collect();
        assert_eq!(numbers, (expected - 2..=expected).collect::<Vec<_>>());
    }
}

async fn what_is_too_much_is_dropped(kind: Kind) {
    let rig = Rig::start_with(kind, |settings| settings.retain_events = 200).await;
    let mut tail = Some(rig.engine.tail(0).await.unwrap());
    for _ in 0..10 {
        assert!(rig.append(&["x"; 100]).await.iter().all(Result::is_ok));
    }
    let extent = rig.extent().await;
    assert_eq!(extent.last, 1000);
    assert!((600..=801).contains(&extent.first), "{extent:?}");
    let found = rig.read(0, 1000, 10).await;
    assert_eq!(found.entries[0].number, extent.first);
    // Whoever follows from further back begins with what is left.
    let entries = follow(&*rig.engine, &mut tail, 0, 200).await;
    assert_eq!(entries.last().unwrap().number, 1000);
}

async fn what_is_too_old_is_dropped(kind: Kind) {
    let rig = Rig::start_with(kind, |settings| {
        settings.retain_age = Duration::from_millis(1500);
        settings.idempotency_window = Duration::from_millis(500);
    })
    .await;
    let mut tail = rig.engine.tail(0).await.unwrap();
    assert!(rig.append(&["a", "b"]).await.iter().all(Result::is_ok));
    until("they are dropped", async || {
        tail.next().await.unwrap();
        (rig.extent().await == Extent { first: 3, last: 2 }).then_some(())
    })
    .await;
    assert_eq!(rig.append_one("c").await, 3);
    assert_eq!(rig.extent().await, Extent { first: 3, last: 3 });
}

async fn what_is_too_large_together_is_dropped(kind: Kind) {
    let rig = Rig::start_with(kind, |settings| settings.retain_bytes = 2 << 20).await;
    let mut tail = rig.engine.tail(0).await.unwrap();
    let text = "x".repeat(10 << 10);
    for _ in 0..10 {
        assert!(rig.append(&[&*text; 100]).await.iter().all(Result::is_ok));
    }
    until("they are dropped", async || {
        tail.next().await.unwrap();
        let Extent { first, last } = rig.extent().await;
        (last == 1000 && (700..=950).contains(&first)).then_some(())
    })
    .await;
}

async fn a_document_is_replaced_by_one_of_two(kind: Kind) {
    let rig = Rig::start(kind).await;
    let other = rig.another();
    let named = |text: &'static str| Bytes::from_static(text.as_bytes());
    assert_eq!(rig.engine.document().await.unwrap(), None);
    let (mine, yours) = tokio::join!(rig.engine.put_document(named("a"), None), other.put_document(named("b"), None));
    assert_ne!(mine.unwrap(), yours.unwrap(), "one of the two");
    let (document, revision) = other.document().await.unwrap().unwrap();
    assert!(["a", "b"].contains(&&*String::from_utf8_lossy(&document)));
    let (mine, yours) = tokio::join!(
        rig.engine.put_document(named("c"), Some(revision.clone())),
        other.put_document(named("d"), Some(revision.clone())),
    );
    let (mine, yours) = (mine.unwrap(), yours.unwrap());
    assert_ne!(mine, yours, "one of the two");
    let (document, _) = rig.engine.document().await.unwrap().unwrap();
    assert_eq!(document, if mine { "c" } else { "d" });
    assert!(!rig.engine.put_document(named("e"), Some(revision)).await.unwrap());
    assert!(!rig.engine.put_document(named("e"), None).await.unwrap());
    assert!(!rig.engine.put_document(named("e"), Some(Revision(named("nonsense")))).await.unwrap());
}

async fn what_is_too_large_is_refused_alone(kind: Kind) {
    let rig = Rig::start(kind).await;
    let bytes_max = rig.engine.open().await.unwrap().entry_bytes_max;
    let (fits, large) = ("x".repeat(bytes_max), "x".repeat(bytes_max + 1));
    let answers = rig.append(&["a", &large, &fits]).await;
    let refused = Err(EngineError::TooLarge { bytes_max });
    assert_eq!(answers, [Ok(Appended::New(1)), refused.clone(), Ok(Appended::New(2))]);
    let keyed = keyed(1, 1, &fits);
    assert_eq!(rig.engine.append(vec![keyed]).await, [Ok(Appended::New(3))], "with a key it may be as large");
    assert_eq!(rig.append(&[&large]).await, [refused]);
}

async fn a_hung_engine_is_given_up(kind: Kind) {
    let rig = Rig::start(kind).await;
    let mut tail = rig.engine.tail(0).await.unwrap();
    rig.append_one("a").await;
    tail.next().await.unwrap();
    rig.process.hang();
    let begun = Instant::now();
    let large = "x".repeat(500 << 10);
    let appends = futures_util::future::join_all((0..8).map(|_| rig.engine.append(vec![outgoing(&large)])));
    let followed = async {
        // What had been sent before may still come.
        while tail.next().await.is_ok() {}
    };
    let (appended, extent, document, opened, ()) =
        tokio::join!(appends, rig.engine.extent(), rig.engine.document(), rig.engine.open(), followed,);
    assert!(begun.elapsed() < PATIENCE * 2 + Duration::from_secs(2), "{:?}", begun.elapsed());
    for answer in appended.into_iter().flatten() {
        assert!(matches!(answer, Err(EngineError::Unavailable(_))), "{answer:?}");
    }
    assert!(matches!(extent, Err(EngineError::Unavailable(_))), "{extent:?}");
    assert!(matches!(document, Err(EngineError::Unavailable(_))), "{document:?}");
    assert!(matches!(opened, Err(EngineError::Unavailable(_))), "{opened:?}");
    rig.process.go_on();
    rig.opened().await;
    let number = rig.append_one("b").await;
    assert_eq!(rig.extent().await.last, number);
}

async fn a_restarted_engine_is_found_again(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    assert_eq!(rig.append_one("a").await, 1);
    assert_eq!(rig.read(0, 1, 1).await.entries.len(), 1);
    rig.process.restart().await;
    // Without being opened: whoever asks may be early, but needs no help.
    until("it answers", async || rig.engine.extent().await.ok().filter(|extent| extent.last == 1)).await;
    until("it answers", async || rig.engine.read(Range { after: 0, up_to: 1, entries_max: 1, topic: None }).await.ok())
        .await;
    until("it takes entries", async || rig.append(&["b"]).await[0].as_ref().is_ok().then_some(())).await;
}

async fn an_engine_that_is_away_says_so(kind: Kind) {
    let mut rig = Rig::start(kind).await;
    let mut tail = rig.engine.tail(0).await.unwrap();
    rig.process.kill();
    let begun = Instant::now();
    assert!(matches!(rig.engine.open().await, Err(EngineError::Unavailable(_))));
    assert!(matches!(
        rig.append(&["a", "b"]).await[..],
        [Err(EngineError::Unavailable(_)), Err(EngineError::Unavailable(_))]
    ));
    assert!(matches!(rig.engine.tail(0).await, Err(EngineError::Unavailable(_))));
    until("the tail tells", async || tail.next().await.err()).await;
    assert!(begun.elapsed() < DEADLINE);
    rig.process.revive().await;
    rig.opened().await;
    assert_eq!(rig.append_one("a").await, 1);
}
