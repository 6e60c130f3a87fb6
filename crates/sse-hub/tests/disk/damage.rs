//! Flipped bits, cut files: what was appended comes back as it was, or is told to be lost.

use std::fs;
use std::path::Path;

use sse_hub::Log;

use crate::setting::{Setting, append, read, record, words};

/// Flips tried by default; `FLIPS` for more.
fn tries() -> usize {
    std::env::var("FLIPS").ok().and_then(|flips| flips.parse().ok()).unwrap_or(150)
}

const EVENTS: u64 = 200;
const TOPICS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// A log of several topics, left as by a crash or closed; its files are copied for each try.
fn sample(is_clean: bool) -> Setting {
    let setting = Setting::new();
    let (log, _) = setting.open();
    let records: Vec<_> = (1..=EVENTS).map(|n| record(n, &[TOPICS[n as usize % 5]])).collect();
    records.chunks(7).for_each(|batch| append(&log, batch));
    if is_clean {
        log.close(EVENTS).unwrap();
    }
    let copy = Setting::new();
    copy_files(setting.dir.path(), copy.dir.path());
    drop(log);
    copy
}

fn copy_files(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap().map(Result::unwrap) {
        // The index of the write-ahead log lives in memory; after a crash of the machine it is made again.
        if !file.file_name().to_string_lossy().ends_with("-shm") {
            fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

/// Nothing is wrong, or it is told. The first flips that were passed over in silence, in words.
fn judge(setting: &Setting) -> Result<&'static str, String> {
    let Ok((log, contents)) = setting.try_open() else { return Ok("refused") };
    let up_to = contents.newest.max(EVENTS);
    let mut outcome = "whole";
    let mut check = |followed: &str, expected: Vec<String>| {
        // `read` itself sees to it that an event has the bytes it should have.
        let found = read(&log, &[followed], 0, up_to);
        let is_told = found.iter().any(|word| word.starts_with("lost:"));
        let events: Vec<String> = found.iter().filter(|word| !word.starts_with("lost:")).cloned().collect();
        if is_told {
            outcome = "told";
        } else if events != expected {
            return Err(format!("{followed}: {} of {} events, and no loss told", events.len(), expected.len()));
        }
        let mut rest = expected.iter();
        let is_in_order = events.iter().all(|event| rest.any(|expected| expected == event));
        if is_in_order { Ok(()) } else { Err(format!("{followed}: {events:?}")) }
    };
    for (index, topic) in TOPICS.iter().enumerate() {
        check(topic, words((1..=EVENTS).filter(|n| *n as usize % 5 == index)))?;
    }
    check("*", words(1..=EVENTS))?;
    Ok(outcome)
}

fn flips_are_noticed(is_clean: bool) {
    let sample = sample(is_clean);
    let sizes: Vec<(String, usize)> = ["log.sqlite", "log.sqlite-wal"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), fs::metadata(sample.dir.path().join(name)).ok()?.len() as usize)))
        .collect();
    let total: usize = sizes.iter().map(|(_, size)| size).sum();
    let mut rng = fastrand::Rng::with_seed(if is_clean { 1 } else { 2 });
    let (mut refused, mut told) = (0, 0);
    for _ in 0..tries() {
        let (mut at, bit) = (rng.usize(0..total), rng.u8(0..8));
        let name = sizes
            .iter()
            .find(|(_, size)| {
                if at < *size {
                    true
                } else {
                    at -= size;
                    false
                }
            })
            .unwrap()
            .0
            .clone();
        let setting = Setting::new();
        copy_files(sample.dir.path(), setting.dir.path());
        let path = setting.dir.path().join(&name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 1 << bit;
        fs::write(&path, bytes).unwrap();
        match judge(&setting) {
            Ok("refused") => refused += 1,
            Ok("told") => told += 1,
            Ok(_) => (),
            Err(silent) => panic!("bit {bit} of byte {at} of {name}: {silent}"),
        }
    }
    println!("{} flips: {refused} refused at the start, {told} told, the rest harmless", tries());
}

#[test]
fn flipped_bits_of_a_closed_log_are_noticed() {
    flips_are_noticed(true);
}

#[test]
fn flipped_bits_after_a_crash_are_noticed() {
    flips_are_noticed(false);
}

/// The last event of a topic, in whose place the index names one of another topic, behind it.
#[test]
fn an_index_that_names_another_topics_event_is_noticed() {
    let setting = Setting::new();
    let (log, _) = setting.open();
    append(&log, &[record(1, &["a"]), record(2, &["a"]), record(3, &["b"])]);
    log.close(3).unwrap();
    drop(log);
    let database = rusqlite::Connection::open(setting.dir.path().join("log.sqlite")).unwrap();
    database.execute_batch("UPDATE topic_index SET seq = 3 WHERE seq = 2").unwrap();
    drop(database);
    let (log, _) = setting.open();
    assert_eq!(read(&log, &["a"], 0, 3), ["1", "lost:damaged>3"]);
    assert_eq!(read(&log, &["b"], 0, 3), words([3]));
    assert_eq!(read(&log, &["a", "b"], 0, 3), ["1", "3", "lost:damaged>3"]);
}

/// A cut is what a crash leaves: commits that were complete stay, the one that was not goes.
#[test]
fn a_cut_end_loses_only_what_was_not_complete() {
    let sample = sample(false);
    let whole = fs::read(sample.dir.path().join("log.sqlite-wal")).unwrap();
    let mut rng = fastrand::Rng::with_seed(3);
    for _ in 0..tries() / 3 {
        let cut = rng.usize(1..=4096);
        let setting = Setting::new();
        copy_files(sample.dir.path(), setting.dir.path());
        fs::write(setting.dir.path().join("log.sqlite-wal"), &whole[..whole.len() - cut]).unwrap();
        let (log, contents) = setting.open();
        assert!(contents.incomplete_bytes > 0, "it says that something was dropped");
        assert!(!contents.is_damaged);
        // The last commit had the last four records.
        assert_eq!(contents.newest, EVENTS - EVENTS % 7);
        assert_eq!(read(&log, &["*"], 0, contents.newest), words(1..=contents.newest));
        append(&log, &[record(contents.newest + 1, &["a"])]);
        assert_eq!(log.extent(&crate::setting::topic("a")).newest, contents.newest + 1);
    }
}
