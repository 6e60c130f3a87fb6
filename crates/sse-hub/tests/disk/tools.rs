//! What operators do with a log that no server uses.

use std::fs;

use sse_hub::{ClosedLog, ExportedEvent, Log, OpenLogError, Record, RecordKind};
use sse_wire::EventId;
use tempfile::TempDir;

use crate::setting::{Setting, append, read, record, topic, words};

fn sample() -> Setting {
    let setting = Setting::new();
    let (log, _) = setting.open();
    append(&log, &(1..=20).map(|n| record(n, &[["a", "b"][n as usize % 2]])).collect::<Vec<_>>());
    let given_id = Some(EventId::parse("order/1").unwrap());
    append(&log, &[Record { given_id, private: true, ..record(21, &["a", "c"]) }]);
    append(&log, &[Record { kind: RecordKind::End, ..record(22, &["b"]) }]);
    log.close(25).unwrap();
    setting
}

fn problems(setting: &Setting) -> Vec<String> {
    let mut problems = Vec::new();
    let log = ClosedLog::open(setting.dir.path()).unwrap();
    let is_sound = log.verify(|problem| problems.push(problem.to_owned())).unwrap();
    assert_eq!(is_sound, problems.is_empty());
    problems
}

#[test]
fn a_log_at_a_glance() {
    let setting = sample();
    let summary = ClosedLog::open(setting.dir.path()).unwrap().summary().unwrap();
    assert_eq!((summary.events, summary.topics, &*summary.state), (22, 3, "clean"));
    assert_eq!((summary.oldest.unwrap().0, summary.newest.unwrap().0), (1, 22));
    let _open = setting.open();
    assert!(matches!(ClosedLog::open(setting.dir.path()), Err(OpenLogError::InUse { .. })));
    assert!(matches!(ClosedLog::open(&setting.dir.path().join("nowhere")), Err(OpenLogError::NotALog { .. })));
    assert!(matches!(ClosedLog::open(TempDir::new().unwrap().path()), Err(OpenLogError::NotALog { .. })));
}

#[test]
fn a_sound_log_has_no_problems_and_a_damaged_one_has() {
    let setting = sample();
    assert_eq!(problems(&setting), Vec::<String>::new());
    let path = setting.dir.path().join("log.sqlite");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(8).position(|window| window == b"event 7\n").unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(problems(&setting), ["the event 7 is damaged", r#"an event of "b" is missing before 9: 7"#]);
}

#[test]
fn what_is_exported_is_imported_as_it_was() {
    let setting = sample();
    let (mut events, mut head) = (Vec::new(), None);
    {
        let log = ClosedLog::open(setting.dir.path()).unwrap();
        head.replace(log.head().unwrap());
        let exported = log.export(|event| {
            // As text and back: what an export's file holds.
            events.push(serde_json::from_str::<ExportedEvent>(&serde_json::to_string(&event).unwrap()).unwrap());
            Ok::<(), String>(())
        });
        assert_eq!(exported.unwrap(), Ok(0));
    }
    let copy = Setting::new();
    let imported = ClosedLog::import::<String>(copy.dir.path(), &head.unwrap(), events.into_iter().map(Ok));
    assert_eq!(imported.unwrap(), Ok(22));
    let ((first, before), (second, after)) = (setting.open(), copy.open());
    assert_eq!((before.epochs, before.newest, &before.closed), (after.epochs, 25, &after.closed));
    assert_eq!(after.closed, [topic("b")]);
    for followed in [&["a"][..], &["b", "c"], &["*"]] {
        assert_eq!(read(&first, followed, 0, 25), read(&second, followed, 0, 25), "{followed:?}");
    }
    assert_eq!(read(&second, &["c"], 0, 25), words([21]));
    drop((first, second));
    assert!(problems(&copy).is_empty());
}

#[test]
fn an_import_takes_nothing_else() {
    let setting = sample();
    let (head, event) = {
        let log = ClosedLog::open(setting.dir.path()).unwrap();
        let mut event = None;
        log.export(|next| {
            event.get_or_insert(next);
            Ok::<(), String>(())
        })
        .unwrap()
        .unwrap();
        (log.head().unwrap(), event.unwrap())
    };
    let import = |events: Vec<ExportedEvent>| {
        let dir = TempDir::new().unwrap();
        ClosedLog::import::<String>(dir.path(), &head, events.into_iter().map(Ok)).unwrap().unwrap_err()
    };
    assert!(import(vec![event.clone(), event.clone()]).contains("does not rise"));
    assert!(import(vec![ExportedEvent { topics: Vec::new(), ..event.clone() }]).contains("no valid topics"));
    assert!(import(vec![ExportedEvent { text: "data: cut".to_owned(), ..event.clone() }]).contains("cut"));
    let into_a_log = ClosedLog::import::<String>(setting.dir.path(), &head, std::iter::once(Ok(event)));
    assert!(matches!(into_a_log, Err(OpenLogError::NotALog { .. })));
}
