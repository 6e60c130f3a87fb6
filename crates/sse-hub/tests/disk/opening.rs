//! What a log's directory has to be, and who may use it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use sse_hub::OpenLogError;

use crate::setting::{Setting, append, record};

/// What is in a directory, so that a test can tell whether it was changed.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(dir).unwrap().map(Result::unwrap).filter(|file| file.file_type().unwrap().is_file());
    files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

/// A setting whose log holds one event and was closed.
fn used() -> Setting {
    use sse_hub::Log;
    let setting = Setting::new();
    let (log, _) = setting.open();
    append(&log, &[record(1, &["a"])]);
    log.close(1).unwrap();
    setting
}

#[test]
fn one_process_at_a_time() {
    let setting = used();
    let (log, _) = setting.open();
    assert!(matches!(setting.try_open(), Err(OpenLogError::InUse { .. })));
    append(&log, &[record(2, &["a"])]);
    drop(log);
    assert_eq!(setting.open().1.newest, 2);
}

#[test]
fn what_is_no_log_is_refused_and_left_alone() {
    type Mutate = fn(&Path);
    let mutations: [(&str, Mutate); 10] = [
        ("no manifest", |dir| fs::remove_file(dir.join("sse-log.json")).unwrap()),
        ("no database", |dir| fs::remove_file(dir.join("log.sqlite")).unwrap()),
        ("an empty database", |dir| fs::write(dir.join("log.sqlite"), "").unwrap()),
        ("a newer format", |dir| fs::write(dir.join("sse-log.json"), r#"{"format":2,"state":"ready"}"#).unwrap()),
        ("an older format", |dir| fs::write(dir.join("sse-log.json"), r#"{"format":0,"state":"ready"}"#).unwrap()),
        ("a manifest of something else", |dir| fs::write(dir.join("sse-log.json"), "{}").unwrap()),
        ("a foreign file", |dir| fs::write(dir.join("notes.txt"), "mine").unwrap()),
        ("no database at all", |dir| fs::write(dir.join("log.sqlite"), vec![7; 9000]).unwrap()),
        ("a database of something else", |dir| {
            fs::remove_file(dir.join("log.sqlite")).unwrap();
            let other = rusqlite::Connection::open(dir.join("log.sqlite")).unwrap();
            other.execute_batch("CREATE TABLE records (seq INTEGER PRIMARY KEY, record BLOB NOT NULL)").unwrap();
        }),
        ("a database of another version", |dir| {
            let log = rusqlite::Connection::open(dir.join("log.sqlite")).unwrap();
            log.execute_batch("PRAGMA user_version = 2; PRAGMA wal_checkpoint").unwrap();
        }),
    ];
    for (what, mutate) in mutations {
        let setting = used();
        mutate(setting.dir.path());
        let before = contents(setting.dir.path());
        let Err(error) = setting.try_open() else { panic!("{what} should be refused") };
        assert!(!error.to_string().is_empty() && !error.to_string().contains('\n'), "{what}: {error}");
        assert_eq!(contents(setting.dir.path()), before, "{what}: {error}");
    }
}

#[test]
fn a_write_ahead_log_that_is_gone_is_missed() {
    let setting = Setting::new();
    let (log, _) = setting.open();
    append(&log, &[record(1, &["a"])]);
    let copy = Setting::new();
    for name in ["sse-log.json", "LOCK", "log.sqlite"] {
        fs::copy(setting.dir.path().join(name), copy.dir.path().join(name)).unwrap();
    }
    let before = contents(copy.dir.path());
    let Err(error) = copy.try_open() else { panic!("the newest events were in it") };
    assert!(error.to_string().contains("log.sqlite-wal: it is missing or empty"), "{error}");
    assert_eq!(contents(copy.dir.path()), before);
}

#[test]
fn a_directory_of_something_else_is_not_taken() {
    let setting = Setting::new();
    fs::write(setting.dir.path().join("photo.jpg"), "a photo").unwrap();
    assert!(matches!(setting.try_open(), Err(OpenLogError::NotALog { .. })));
    assert_eq!(contents(setting.dir.path()).len(), 1);
}

#[test]
fn a_first_start_that_was_cut_off_is_begun_again() {
    let setting = Setting::new();
    fs::write(setting.dir.path().join("sse-log.json"), r#"{"format":1,"state":"new"}"#).unwrap();
    fs::write(setting.dir.path().join("LOCK"), "").unwrap();
    assert_eq!(setting.open().1.newest, 0);
    assert!(fs::read_to_string(setting.dir.path().join("sse-log.json")).unwrap().contains("ready"));
}
