//! `sse-server log`: a data directory in an operator's hands.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::command::{Command, Outcome};
use crate::server::Server;

fn log(action: &str, dir: &Path) -> Outcome {
    Command::run(&["log", action, dir.to_str().expect("it is UTF-8")])
}

/// A log with three events, whose server is gone.
fn used() -> tempfile::TempDir {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let server = Server::start(&["--data-dir", dir.path().to_str().expect("it is UTF-8")]);
    for data in ["one", "two", "three"] {
        server.publish("/events/a", data);
    }
    let refused = log("inspect", dir.path());
    assert_eq!(refused.code, Some(1));
    assert!(refused.err[0].contains("another process uses the log"), "{refused:?}");
    dir
}

#[test]
fn it_is_told_what_it_holds_and_that_it_is_sound() {
    let dir = used();
    let told = log("inspect", dir.path());
    told.succeeded();
    let summary: Value = serde_json::from_str(&told.out.join("\n")).expect("it is JSON");
    assert_eq!((&summary["events"], &summary["topics"]), (&Value::from(3), &Value::from(1)));
    let verified = log("verify", dir.path());
    verified.succeeded();
    assert_eq!(verified.out, ["the log is sound: 3 events"]);
}

#[test]
fn damage_is_told_and_is_an_error() {
    let dir = used();
    for name in ["log.sqlite", "log.sqlite-wal"] {
        let path = dir.path().join(name);
        let mut bytes = fs::read(&path).expect("it is there");
        if let Some(at) = bytes.windows(4).rposition(|window| window == b"two\n") {
            bytes[at] ^= 1;
            fs::write(&path, bytes).expect("it is written");
        }
    }
    let verified = log("verify", dir.path());
    assert_eq!(verified.code, Some(1));
    assert!(verified.out.iter().any(|line| line.contains("damaged")), "{verified:?}");
}

#[test]
fn an_export_becomes_a_log_that_is_followed_on() {
    let dir = used();
    let exported = log("export", dir.path());
    exported.succeeded();
    assert_eq!(exported.out.len(), 4);
    let copy = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let copy = copy.path().to_str().expect("it is UTF-8");
    let mut import = Command::start(&["log", "import", copy]);
    import.say(&(exported.out.join("\n") + "\n"));
    import.end_input();
    import.finish().succeeded();

    let server = Server::start(&["--data-dir", copy]);
    let second: Value = serde_json::from_str(&exported.out[2]).expect("it is JSON");
    let id = second["text"].as_str().and_then(|text| text.lines().next()?.strip_prefix("id: ")).expect("it has one");
    let follower = server.subscribe("/events/a", &["--last-event-id", id]);
    assert_eq!(follower.event().data, "three");
    let again = Command::run(&["log", "import", copy]);
    assert_eq!(again.code, Some(1), "{again:?}");
}

#[test]
fn what_is_no_export_is_refused_by_line() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut import = Command::start(&["log", "import", dir.path().to_str().expect("it is UTF-8")]);
    import.say("{\"format\":1,\"epochs\":\"711i5j21\",\"newest\":4}\n{\"sequence\":1}\n");
    import.end_input();
    let outcome = import.finish();
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.err[0].contains("line 2"), "{outcome:?}");
}
