//! A process that was killed while it wrote a commit: nobody was told of that, and nobody is to be told of a loss.

use std::fs;
use std::path::Path;

use sse_hub::{Log, LogContents, SyncWhen};

use crate::setting::{Setting, append, read, record, words};

/// Commits before the write-ahead log begins anew, and behind that.
const EVENTS: u64 = 400;
const LATER: u64 = 3;

/// What a killed process leaves behind: a write-ahead log that is written for the second time, with frames of the first time
/// behind the last commit.
fn killed() -> Setting {
    let setting = Setting::new();
    let (log, _) = setting.open();
    (1..=EVENTS).for_each(|n| log.append(&[record(n, &["a", "b", "c"])], SyncWhen::Later).unwrap());
    log.sync().unwrap();
    while log.tend().unwrap().has_more {}
    (EVENTS + 1..=EVENTS + LATER).for_each(|n| append(&log, &[record(n, &["a"])]));
    let copy = Setting::new();
    for file in fs::read_dir(setting.dir.path()).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), copy.dir.path().join(file.file_name())).unwrap();
    }
    drop(log);
    copy
}

const FRAME: usize = 24 + 4096;

/// The write-ahead log, and where the frames of its present run end.
fn wal(dir: &Path) -> (Vec<u8>, usize) {
    let wal = fs::read(dir.join("log.sqlite-wal")).unwrap();
    let of_run = wal[32..].chunks(FRAME).take_while(|frame| frame[8..16] == wal[16..24]).count();
    let end = 32 + of_run * FRAME;
    assert!(wal.len() > end + FRAME, "there are frames of the first time behind it");
    (wal, end)
}

/// Writes the head of a commit's last frame, as the process did before it was killed: what follows is of the first time.
fn tear(dir: &Path, frames_between: usize) {
    let (mut wal, end) = wal(dir);
    let at = end + frames_between * FRAME;
    let salts = wal[16..24].to_vec();
    wal[at..at + 8].copy_from_slice(&[0, 0, 0, 2, 0, 0, 0, 9]);
    wal[at + 8..at + 16].copy_from_slice(&salts);
    wal[at + 16..at + 24].fill(7);
    fs::write(dir.join("log.sqlite-wal"), wal).unwrap();
}

fn opened(setting: &Setting) -> (LogContents, Vec<String>) {
    let (log, contents) = setting.open();
    append(&log, &[record(contents.newest + 1, &["a"])]);
    let found = read(&log, &["a"], 0, contents.newest + 1);
    (contents, found)
}

#[test]
fn a_commit_that_was_never_told_of_is_no_loss() {
    for frames_between in [0, 2] {
        let setting = killed();
        tear(setting.dir.path(), frames_between);
        let (contents, found) = opened(&setting);
        assert!(!contents.is_damaged, "{frames_between}");
        assert!(contents.incomplete_bytes > 0);
        assert_eq!(found, words(1..=EVENTS + LATER + 1));
    }
}

/// The index of the write-ahead log says how far commits went, as long as the machine ran on.
#[test]
fn after_a_crash_of_the_machine_it_may_be_one() {
    let setting = killed();
    tear(setting.dir.path(), 0);
    fs::write(setting.dir.path().join("LOCK"), "another time that the machine ran").unwrap();
    assert!(opened(&setting).0.is_damaged);

    let setting = killed();
    tear(setting.dir.path(), 0);
    fs::remove_file(setting.dir.path().join("log.sqlite-shm")).unwrap();
    assert!(opened(&setting).0.is_damaged);
}

#[test]
fn a_commit_that_was_told_of_is_missed() {
    for frames_back in 1..=3 {
        let setting = killed();
        let (mut wal, end) = wal(setting.dir.path());
        wal[end - frames_back * FRAME + 1000] ^= 1;
        fs::write(setting.dir.path().join("log.sqlite-wal"), wal).unwrap();
        let (contents, found) = opened(&setting);
        assert!(contents.is_damaged, "{frames_back}");
        assert!(found.iter().any(|word| word.starts_with("lost:")), "{found:?}");
    }
}
