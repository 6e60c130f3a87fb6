//! What is appended is read again, by topic, by several and by template, before and after a restart.

use sse_hub::{History, IdempotencyKey, Log, LogError, Record, RecordKind, Selector, SyncWhen};
use sse_wire::EventId;

use crate::setting::{Setting, append, read, record, topic, words};

#[test]
fn every_way_of_following_gets_its_events_in_order() {
    let setting = Setting::new();
    let (log, contents) = setting.open();
    assert_eq!((contents.newest, contents.is_damaged), (0, false));
    let records: Vec<Record> = (1..=2000).map(|n| record(n, &[["a", "b", "c/1"][n as usize % 3]])).collect();
    records.chunks(300).for_each(|batch| append(&log, batch));
    append(&log, &[record(2001, &["a", "c/1"])]);
    let of = |rest: u64| words((1..=2000).filter(|n| n % 3 == rest));
    let check = |log: &dyn Fn(&[&str], u64) -> Vec<String>| {
        assert_eq!(log(&["b"], 0), of(1));
        let mut both = words((101..=2000).filter(|n| n % 3 != 1));
        both.push("2001".to_owned());
        assert_eq!(log(&["a", "c/1"], 100), both);
        assert_eq!(log(&["c/{x}", "a"], 100), both);
        assert_eq!(log(&["*"], 0), words(1..=2001));
        assert!(log(&["nobody"], 0).is_empty());
    };
    check(&|followed, after| read(&log, followed, after, 2001));
    drop(log);
    let (log, contents) = setting.open();
    assert_eq!((contents.newest, contents.is_damaged, contents.incomplete_bytes), (2001, false, 0));
    check(&|followed, after| read(&log, followed, after, 2001));
    assert_eq!(log.extent(&topic("b")).newest, 1999);
    assert_eq!(log.events(), 2001);
}

#[test]
fn an_epoch_goes_on_when_no_promise_can_have_been_broken() {
    for (durability, unlogged, close, goes_on) in [
        (sse_hub::Durability::Fsync, false, false, true),
        (sse_hub::Durability::Fsync, true, false, false),
        (sse_hub::Durability::Fsync, true, true, true),
        (sse_hub::Durability::Interval, false, false, false),
        (sse_hub::Durability::Interval, false, true, true),
        (sse_hub::Durability::Memory, false, false, false),
    ] {
        let setting = Setting { durability, ..Setting::new() };
        let (log, first) = setting.open();
        log.append(&[record(1, &["a"])], SyncWhen::Later).unwrap();
        if unlogged {
            log.note_unlogged().unwrap();
        }
        if close {
            log.close(7).unwrap();
        }
        drop(log);
        let (_log, second) = setting.open();
        assert_eq!(second.epochs.current() == first.epochs.current(), goes_on, "{durability:?} {unlogged} {close}");
        assert_eq!(second.newest, if close { 7 } else { 1 }, "numbers that were given are not given again");
        if !goes_on {
            assert_eq!(second.epochs.past()[0].last, 1);
        }
    }
}

#[test]
fn publishers_ids_are_found_by_topic_and_by_template() {
    let setting = Setting::new();
    let (log, _) = setting.open();
    let with_id = |sequence, topics: &[&str], id: &str| Record {
        given_id: Some(EventId::parse(id).unwrap()),
        ..record(sequence, topics)
    };
    append(&log, &[with_id(1, &["b"], "x"), with_id(2, &["a"], "x"), record(3, &["a"]), with_id(4, &["a", "b"], "x")]);
    let find = |followed: &[&str], id: &str| {
        let followed: Vec<Selector> = followed.iter().map(|text| Selector::parse(text).unwrap()).collect();
        let found = log.find_given(&followed, &EventId::parse(id).unwrap()).unwrap();
        found.iter().map(|record| record.sequence).collect::<Vec<_>>()
    };
    assert_eq!(find(&["a"], "x"), [2, 4]);
    assert_eq!(find(&["a", "b"], "x"), [1, 2, 4]);
    assert_eq!(find(&["{any}"], "x"), [1, 2, 4]);
    assert!(find(&["a"], "y").is_empty());
    assert!(find(&["c"], "x").is_empty());
}

#[test]
fn closed_topics_are_known_at_the_next_start() {
    let setting = Setting::new();
    let (log, _) = setting.open();
    let end = |sequence, name| Record { kind: RecordKind::End, ..record(sequence, &[name]) };
    append(&log, &[record(1, &["a"]), end(2, "a"), end(3, "b"), record(4, &["b"])]);
    drop(log);
    let (log, contents) = setting.open();
    assert_eq!(contents.closed, [topic("a")], "b went on after its end");
    assert_eq!(read(&log, &["a"], 0, 4), words([1, 2]));
}

#[test]
fn keys_come_back_with_the_ids_of_their_events() {
    let setting = Setting::new();
    let (log, contents) = setting.open();
    assert!(contents.keys.is_empty());
    let key = |n: u8| IdempotencyKey { key: [n; 16], fingerprint: [n + 1; 16] };
    append(&log, &[Record { key: Some(key(1)), ..record(1, &["a"]) }, record(2, &["a"])]);
    append(&log, &[Record { key: Some(key(2)), ..record(3, &["a"]) }]);
    log.tend().unwrap();
    drop(log);
    let (_log, contents) = setting.open();
    let kept: Vec<_> = contents.keys.iter().map(|kept| (kept.key, kept.id.as_str(), kept.sequence)).collect();
    assert_eq!(kept, [(key(1), "id-1", 1), (key(2), "id-3", 3)]);
}

/// Open files take writes when nobody will ever find them again.
#[test]
fn a_log_whose_files_are_gone_promises_nothing() {
    let setting = Setting::new();
    let (log, _) = setting.open();
    append(&log, &[record(1, &["a"])]);
    log.try_room().unwrap();
    let wal = setting.dir.path().join("log.sqlite-wal");
    let elsewhere = setting.dir.path().with_extension("elsewhere");
    std::fs::rename(&wal, &elsewhere).unwrap();
    assert!(matches!(log.append(&[record(2, &["a"])], SyncWhen::Now), Err(LogError::Failed(_))), "it is gone");
    std::fs::copy(&elsewhere, &wal).unwrap();
    assert!(matches!(log.append(&[record(3, &["a"])], SyncWhen::Now), Err(LogError::Failed(_))), "it is another one");
    assert!(matches!(log.try_room(), Err(LogError::Failed(_))));
    std::fs::remove_file(elsewhere).unwrap();
}
