//! Another process goes on with the data directory of one that serves, and with its streams.

use serde_json::json;

use crate::harness::{DataDir, Meeting, Server, Stream, Talk, eventually};
use crate::upgrade::{expect_live, expect_on, gone};

/// A meeting of servers whose events are in the same directory.
struct Place {
    meeting: Meeting,
    dir: DataDir,
}

impl Place {
    fn new() -> Self {
        Self { meeting: Meeting::new(), dir: DataDir::new() }
    }

    fn start(&self, flags: &[&str]) -> Server {
        self.meeting.start(&[&["--data-dir", self.dir.path().to_str().unwrap()], flags].concat())
    }

    /// A successor that says what a test wants, and has got as far as this.
    fn talk(&self, step: usize) -> Talk {
        let mut talk = self.meeting.connect();
        if step > 0 {
            talk.send(&json!({"hello": {"version": 2, "keeps": "log", "directory": self.dir.path()}}));
            assert_eq!(talk.receive_through("welcome")["welcome"]["terms"], "directory");
        }
        if step > 1 {
            talk.send(&json!("copy"));
            talk.receive_through("copied");
        }
        if step > 2 {
            talk.send(&json!("ready"));
            talk.receive_through("complete");
        }
        talk
    }
}

fn goes_on_in_another_process(durability: &str) {
    let place = Place::new();
    let flags = ["--durability", durability];
    let mut server = place.start(&flags);
    let first = server.publish("a", "before");
    let mut streams: Vec<Stream> = (0..3).map(|_| server.subscribe("a").open()).collect();
    let mut other = server.subscribe("b").open();
    let mut quiet = server.subscribe("c").open();
    let mut last = first.clone();
    for round in 0..5 {
        let next = place.start(&flags);
        gone(&mut server);
        server = next;
        let data = format!("round {round}");
        expect_on(&server, &mut streams, &last, &data);
        last = expect_live(&server, "b", &mut other, &data);
    }
    expect_live(&server, "c", &mut quiet, "the first for it");
    assert_eq!(server.metric("sse_connections_active"), Some(5.0));
    let mut late = server.subscribe("a").last_event_id(&first).open();
    let data: Vec<String> = (0..5).map(|_| late.next_data()).collect();
    assert_eq!(data, (0..5).map(|round| format!("round {round}")).collect::<Vec<_>>());
}

#[test]
fn a_synced_log_goes_on_in_another_process() {
    goes_on_in_another_process("fsync");
}

#[test]
fn a_log_that_is_synced_now_and_then_goes_on_in_another_process() {
    goes_on_in_another_process("interval");
}

#[test]
fn a_log_behind_memory_goes_on_in_another_process() {
    goes_on_in_another_process("memory");
}

#[test]
fn what_was_published_before_is_on_the_disk_of_the_new_process() {
    let place = Place::new();
    let mut server = place.start(&[]);
    let publish = |server: &Server, data: &str| {
        let reply = server.post("/events/a", data).field("Idempotency-Key", "one key").send();
        reply.json()["id"].as_str().unwrap().to_owned()
    };
    let id = publish(&server, "once");
    let mut slow = server.subscribe("b").open_with_tiny_buffer();
    let text = "x".repeat(100_000);
    for n in 0..40 {
        server.publish("b", &format!("{n} {text}"));
    }
    eventually("a stream that is stuck", || {
        let shown = server.admin("/api/subscribers").send().json();
        (shown["subscribers"][0]["pending_bytes"].as_u64()? > 0).then_some(())
    });
    let mut next = place.start(&[]);
    gone(&mut server);
    assert_eq!(publish(&next, "once"), id, "the key is known");
    for n in 0..40 {
        assert!(slow.next_data() == format!("{n} {text}"), "event {n}");
    }
    let last = next.publish("b", "the last");
    assert_eq!(slow.next_event().id, last);
    // Killed, it has everything as well.
    next.kill();
    let again = place.start(&[]);
    let mut late = again.follow("/events?match=*").last_event_id(&id).open();
    assert_eq!((0..41).map(|_| late.next_event().id).last(), Some(last));
}

#[test]
fn the_old_process_goes_on_with_its_log_if_the_new_one_stops_at_any_step() {
    let place = Place::new();
    let mut server = place.start(&[]);
    let mut stream = server.subscribe("a").open();
    let mut ids = Vec::new();
    for step in 0..4 {
        drop(place.talk(step));
        ids.push(expect_live(&server, "a", &mut stream, &format!("after step {step}")));
    }
    server.kill();
    let again = place.start(&[]);
    let mut late = again.subscribe("a").last_event_id("earliest").open();
    assert_eq!(ids.iter().map(|_| late.next_event().id).collect::<Vec<_>>(), ids);
    assert_eq!(again.publish("a", "one more")[..8], ids[0][..8], "every promise was kept by a sync");
}

/// What an interval promises a crash may break: then another epoch begins, after a switch that was called off as well.
#[test]
fn an_upgrade_that_failed_leaves_the_log_in_use() {
    let place = Place::new();
    let mut server = place.start(&["--durability", "interval"]);
    let mut stream = server.subscribe("a").open();
    drop(place.talk(3));
    let id = expect_live(&server, "a", &mut stream, "after the switch");
    server.kill();
    let again = place.start(&["--durability", "interval"]);
    assert_ne!(again.publish("a", "after the crash")[..8], id[..8]);
}

#[test]
fn a_successor_that_is_too_slow_does_not_get_the_log() {
    let place = Place::new();
    let server = place.start(&[]);
    let mut stream = server.subscribe("a").open();
    let mut talk = place.talk(3);
    talk.send(&json!({"prepared": {"streams": 1}}));
    talk.receive_through("commit");
    // What was published meanwhile waits, and is published here.
    expect_live(&server, "a", &mut stream, "here");
    talk.receive_through("refused");
}

#[test]
fn another_directory_is_another_log() {
    let (place, other) = (Place::new(), DataDir::new());
    let mut server = place.start(&[]);
    let mut stream = server.subscribe("a").open();
    let next = place.meeting.start(&["--data-dir", other.path().to_str().unwrap()]);
    assert_eq!(stream.next_event().event_type, "sse.reconnect");
    gone(&mut server);
    expect_live(&next, "a", &mut next.subscribe("a").open(), "in the other one");
}
