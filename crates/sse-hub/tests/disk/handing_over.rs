//! A log that passes from one process to another, both of which have it open.

use sse_hub::{DiskLog, Durability, Log, LogContents, OpenLogError};

use crate::setting::{Setting, append, read, record, words};

fn taken_over(setting: &Setting, log: &DiskLog) -> (DiskLog, LogContents) {
    DiskLog::take_over(&setting.options(), log.lock().unwrap()).unwrap()
}

#[test]
fn another_process_goes_on_where_the_first_let_go() {
    let setting = Setting::new();
    let (first, begun) = setting.open();
    append(&first, &[record(1, &["a"]), record(2, &["a"])]);
    first.close(2).unwrap();
    let (second, taken) = taken_over(&setting, &first);
    assert_eq!((taken.epochs, taken.newest), (begun.epochs.clone(), 2));
    second.begin().unwrap();
    append(&second, &[record(3, &["a"])]);
    assert_eq!(read(&second, &["a"], 0, 3), words(1..=3));
    // Who let go can still read what it knew of.
    assert_eq!(read(&first, &["a"], 0, 2), words(1..=2));
    drop(first);
    assert!(matches!(setting.try_open(), Err(OpenLogError::InUse { .. })), "the lock is the second's");
    drop(second);
    let (_log, opened) = setting.open();
    assert_eq!((opened.epochs, opened.newest), (begun.epochs, 3));
}

#[test]
fn the_first_goes_on_if_the_other_has_not_begun() {
    let setting = Setting { durability: Durability::Interval, ..Setting::new() };
    let (first, begun) = setting.open();
    append(&first, &[record(1, &["a"])]);
    first.close(2).unwrap();
    let (second, taken) = taken_over(&setting, &first);
    assert_eq!(taken.newest, 2, "a sequence without an event is not given again");
    drop(second);
    first.go_on(2).unwrap();
    append(&first, &[record(3, &["a"])]);
    assert_eq!(read(&first, &["a"], 0, 3), words([1, 3]));
    drop(first);
    // Nobody has closed it, and what an interval promises may be lost.
    let (_log, opened) = setting.open();
    assert_ne!(opened.epochs.current(), begun.epochs.current());
    assert_eq!(opened.newest, 3);
}

#[test]
fn the_lock_of_another_log_opens_nothing() {
    let (setting, other) = (Setting::new(), Setting::new());
    let ((log, _), (_other_log, _)) = (setting.open(), other.open());
    assert!(log.is_in(setting.dir.path()) && !log.is_in(other.dir.path()));
    let opened = DiskLog::take_over(&other.options(), log.lock().unwrap());
    assert!(matches!(opened, Err(OpenLogError::NotALog { .. })), "{opened:?}");
}
