//! What is no longer kept.

use std::time::{Duration, Instant};

use sse_hub::{DiskLog, History, Log, Record, Retention, Selector};
use sse_wire::EventId;

use crate::setting::{KEEP_ALL, Setting, append, read, record, topic, words};

fn tend(log: &DiskLog) -> u64 {
    let mut dropped = 0;
    for _ in 0..10_000 {
        let retained = log.tend().unwrap();
        dropped += retained.dropped;
        if !retained.has_more {
            return dropped;
        }
    }
    panic!("tending does not end");
}

#[test]
fn the_oldest_go_first_and_their_followers_are_told() {
    let setting = Setting { retention: Retention { events_max: 100, ..KEEP_ALL }, ..Setting::new() };
    let (log, _) = setting.open();
    for n in 1..=1000 {
        append(&log, &[record(n, &[if n % 2 == 0 { "even" } else { "odd" }])]);
    }
    assert_eq!(tend(&log), 900);
    assert_eq!((log.events(), tend(&log)), (100, 0));
    let check = |log: &DiskLog| {
        let with_gap = |to: u64, kept: Vec<String>| [vec![format!("lost:trimmed>{to}")], kept].concat();
        assert_eq!(read(log, &["even"], 0, 1000), with_gap(900, words((902..=1000).step_by(2))));
        assert_eq!(read(log, &["odd"], 899, 1000), words((901..=1000).step_by(2)));
        assert_eq!(read(log, &["*"], 10, 1000), with_gap(900, words(901..=1000)));
        assert_eq!(read(log, &["e{x}"], 901, 1000), words((902..=1000).step_by(2)));
        assert_eq!(log.extent(&topic("odd")).trimmed_to, 899);
    };
    check(&log);
    drop(log);
    check(&setting.open().0);
}

#[test]
fn bytes_and_age_bound_it_too() {
    let setting = Setting { retention: Retention { bytes_max: 20_000, ..KEEP_ALL }, ..Setting::new() };
    let (log, _) = setting.open();
    append(&log, &(1..=1000).map(|n| record(n, &["a"])).collect::<Vec<_>>());
    tend(&log);
    assert!((200..=400).contains(&log.events()), "{}", log.events());
    drop(log);

    let setting = Setting { retention: Retention { age_max: Duration::ZERO, ..KEEP_ALL }, ..setting };
    let (log, contents) = setting.open();
    assert!(!contents.is_damaged);
    while log.events() > 0 {
        tend(&log);
    }
    assert_eq!(read(&log, &["a"], 0, 1000), ["lost:trimmed>1000"]);
    drop(log);
    let (_, contents) = setting.open();
    assert_eq!((contents.newest, contents.is_damaged), (1000, false), "an empty log goes on with its numbers");
}

#[test]
fn topics_may_have_less_than_the_rest() {
    let few = Retention { events_max: 3, ..KEEP_ALL };
    let by_topic = vec![(Selector::parse("few/{x}").unwrap(), few)];
    let setting = Setting { by_topic, ..Setting::new() };
    let (log, _) = setting.open();
    for n in 1..=20 {
        append(&log, &[record(n, &[if n % 2 == 0 { "few/1" } else { "all" }])]);
    }
    append(&log, &[record(21, &["few/1", "all"])]);
    assert_eq!(tend(&log), 8);
    let kept_of_few = [vec!["lost:trimmed>16".to_owned()], words([18, 20, 21])].concat();
    assert_eq!(read(&log, &["few/1"], 0, 21), kept_of_few);
    assert_eq!(read(&log, &["all"], 0, 21), words((1..=21).step_by(2)));
    // Of both the kept ones below the gap come first.
    let both = read(&log, &["few/1", "all"], 0, 21);
    assert_eq!(both[..9], [words((1..=15).step_by(2)), vec!["lost:trimmed>16".to_owned()]].concat());
    assert_eq!(both[9..], words([17, 18, 19, 20, 21]));
    assert_eq!(read(&log, &["*"], 0, 21), both);
    for n in 22..=30 {
        append(&log, &[record(n, &["few/1"])]);
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    while log.extent(&topic("few/1")).trimmed_to < 27 {
        tend(&log);
        assert!(Instant::now() < deadline, "topics of their own retention are looked at every second");
    }
    assert_eq!(read(&log, &["all"], 19, 30), words([21]), "one topic keeps what the other dropped");
    assert_eq!(read(&log, &["few/1"], 21, 30), ["lost:trimmed>27", "28", "29", "30"]);
}

#[test]
fn what_could_not_be_dropped_is_there_as_before() {
    let setting = Setting { retention: Retention { events_max: 3, ..KEEP_ALL }, ..Setting::new() };
    let (log, _) = setting.open();
    append(&log, &(1..=6).map(|n| record(n, &["a", "b"])).collect::<Vec<_>>());
    let other = rusqlite::Connection::open(setting.dir.path().join("log.sqlite")).unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE DELETE ON records WHEN old.seq = 2 BEGIN SELECT RAISE(ABORT, 'no'); END";
    other.execute_batch(refuse).unwrap();
    log.tend().unwrap_err();
    assert_eq!((log.events(), log.extent(&topic("a")).trimmed_to), (6, 0));
    for followed in [&["a"][..], &["b"], &["a", "b"], &["*"]] {
        assert_eq!(read(&log, followed, 0, 6), words(1..=6), "{followed:?}");
    }
    other.execute_batch("DROP TRIGGER refuse").unwrap();
    assert_eq!((tend(&log), log.events()), (3, 3));
    assert_eq!(read(&log, &["b"], 0, 6), [vec!["lost:trimmed>3".to_owned()], words(4..=6)].concat());
}

#[test]
fn the_ids_of_dropped_events_are_forgotten() {
    let setting = Setting { retention: Retention { events_max: 1, ..KEEP_ALL }, ..Setting::new() };
    let (log, _) = setting.open();
    let id = EventId::parse("x").unwrap();
    let with_id = |sequence| Record { given_id: Some(id.clone()), ..record(sequence, &["a"]) };
    append(&log, &[with_id(1), with_id(2)]);
    tend(&log);
    let found = log.find_given(&[Selector::parse("a").unwrap()], &id).unwrap();
    assert_eq!(found.iter().map(|record| record.sequence).collect::<Vec<_>>(), [2]);
}
