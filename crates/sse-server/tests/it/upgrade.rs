//! Another process goes on in the place of one that serves.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::token::{SECRET, token};
use crate::harness::{DataDir, Launch, Meeting, Request, Server, Stream, eventually, hello};

#[track_caller]
pub(crate) fn gone(server: &mut Server) {
    assert!(server.wait_exit().success());
}

#[track_caller]
fn sequence(id: &str) -> u64 {
    id.rsplit_once('-').unwrap().1.parse().unwrap()
}

/// The stream gets what is published now, and nothing else.
#[track_caller]
pub(crate) fn expect_live(server: &Server, topic: &str, stream: &mut Stream, data: &str) -> String {
    let id = server.publish(topic, data);
    let event = stream.next_event();
    assert_eq!((event.data.as_str(), &event.id), (data, &id));
    id
}

/// All of topic `a` get what is published now, whose id is the next one after `last`.
#[track_caller]
pub(crate) fn expect_on(server: &Server, streams: &mut [Stream], last: &str, data: &str) {
    let id = server.publish("a", data);
    assert_eq!((&id[..8], sequence(&id)), (&last[..8], sequence(last) + 1), "ids go on");
    for stream in streams {
        let event = stream.next_event();
        assert_eq!((event.data.as_str(), &event.id), (data, &id));
    }
}

#[test]
fn streams_and_history_go_on_in_another_process() {
    let meeting = Meeting::new();
    let mut server = meeting.start(&[]);
    let addr = server.addr();
    let first = server.publish("a", "before");
    let mut streams: Vec<Stream> = (0..3).map(|_| server.subscribe("a").open()).collect();
    let mut other = server.subscribe("b").open();
    let mut last = first.clone();
    for round in 0..10 {
        let next = meeting.start(&[]);
        assert_eq!(next.addr(), addr);
        gone(&mut server);
        server = next;
        let data = format!("round {round}");
        expect_on(&server, &mut streams, &last, &data);
        last = expect_live(&server, "b", &mut other, &data);
    }
    assert_eq!(server.metric("sse_connections_active"), Some(4.0));
    assert_eq!(server.metric("sse_connections_open"), Some(4.0));
    // Whoever comes back finds all that was there, without a gap.
    let mut late = server.subscribe("a").last_event_id(&first).open();
    let data: Vec<String> = (0..10).map(|_| late.next_data()).collect();
    assert_eq!(data, (0..10).map(|round| format!("round {round}")).collect::<Vec<_>>());
}

#[test]
fn a_stream_that_is_behind_gets_every_byte() {
    let meeting = Meeting::new();
    let mut server =
        meeting.start(&["--lag-bytes-max", "64MiB", "--ring-bytes-max", "64MiB", "--lag-frames-max", "10000"]);
    let mut slow = server.subscribe("a").open_with_tiny_buffer();
    let text = "x".repeat(100_000);
    for n in 0..20 {
        server.publish("a", &format!("{n} {text}"));
    }
    eventually("a stream that is stuck", || {
        let shown = server.admin("/api/subscribers").send().json();
        (shown["subscribers"][0]["pending_bytes"].as_u64()? > 0).then_some(())
    });
    let next = meeting.start(&["--lag-bytes-max", "64MiB", "--ring-bytes-max", "64MiB", "--lag-frames-max", "10000"]);
    gone(&mut server);
    next.publish("a", "the last");
    // The history is more than one message between the two.
    let mut late = next.subscribe("a").last_event_id("earliest").open();
    for n in 0..20 {
        assert!(slow.next_data() == format!("{n} {text}"), "event {n}");
        assert!(late.next_data() == format!("{n} {text}"), "event {n} of the history");
    }
    assert_eq!([slow.next_data(), late.next_data()], ["the last"; 2]);
}

#[test]
fn keys_are_copied_before_the_switch_and_those_that_came_since_in_it() {
    let meeting = Meeting::new();
    let server = meeting.start(&[]);
    let publish = |key: &str| {
        let reply = server.post("/events/a", key).field("Idempotency-Key", key).send();
        reply.json()["id"].as_str().unwrap().to_owned()
    };
    let early = [publish("one"), publish("two")];
    let mut talk = meeting.connect();
    talk.send(&hello());
    talk.receive_through("welcome");
    talk.send(&json!("copy"));
    let ids = |message: Value| -> Vec<String> {
        let keys = message["keys"].as_array().unwrap().clone();
        keys.iter().map(|key| key[1]["cursor"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(talk.receive_through("keys")), early);
    talk.receive_through("copied");
    let late = publish("three");
    talk.send(&json!("ready"));
    assert_eq!(ids(talk.receive_through("keys")), [late]);
}

#[test]
fn what_a_publisher_sends_to_the_old_process_is_published_by_the_new_one() {
    let meeting = Meeting::new();
    let mut server = meeting.start(&[]);
    let mut stream = server.subscribe("a").open();
    let publish =
        |data: &str| server.post("/events/a", data).field("Idempotency-Key", format!("key of {data}")).bytes();
    let (mut kept, mut silent) = (server.connect(), server.connect());
    kept.send(publish("one"));
    let first = kept.reply().json()["id"].as_str().unwrap().to_owned();
    silent.send(publish("two"));
    silent.reply();
    let next = meeting.start(&[]);
    // The same connection, whose request may have been on its way.
    kept.send(publish("one"));
    let reply = kept.reply();
    assert_eq!((reply.status(), reply.json()["id"].as_str()), (200, Some(first.as_str())), "the key was handed over");
    assert_eq!(reply.field("connection"), Some("close"));
    silent.send(publish("three"));
    let third = silent.reply().json()["id"].as_str().unwrap().to_owned();
    assert_eq!(sequence(&third), sequence(&first) + 2);
    gone(&mut server);
    let data: Vec<String> = (0..3).map(|_| stream.next_data()).collect();
    assert_eq!(data, ["one", "two", "three"]);
    expect_live(&next, "a", &mut stream, "four");
}

#[test]
fn private_streams_keep_their_tokens() {
    let meeting = Meeting::new();
    let keys = ["--publisher-jwt-key", SECRET, "--subscriber-jwt-key", SECRET];
    let mut server = meeting.start(&keys);
    let ends_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 8;
    let follower = token(&json!({"mercure": {"subscribe": ["a"]}, "exp": ends_at}));
    let publisher = token(&json!({"mercure": {"publish": ["*"]}}));
    let mut stream = server.subscribe("a").bearer(&follower).open();
    let next = meeting.start(&keys);
    gone(&mut server);
    let reply = next.post("/events/a?private", "for you").bearer(&publisher).send();
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_eq!(stream.next_data(), "for you");
    let end = stream.next_event();
    assert_eq!((end.event_type.as_str(), end.json()["reason"].as_str()), ("sse.reconnect", Some("expired")));
    stream.expect_end();
}

/// The old process lives on with what cannot be passed, and listens at the same sockets.
#[test]
fn who_comes_after_the_switch_finds_the_new_process() {
    let meeting = Meeting::new();
    let server = Launch::new(&["--upgrade-socket", &meeting.path(), "--drain-window", "30s"]).start();
    let left_behind = server.follow("/events?topic=a&topic=b").open();
    let next = meeting.start(&[]);
    let mut streams: Vec<Stream> = (0..50).map(|_| next.subscribe("a").open()).collect();
    expect_live(&next, "a", &mut streams[0], "for all");
    for stream in &mut streams[1..] {
        assert_eq!(stream.next_data(), "for all");
    }
    assert_eq!(next.metric("sse_connections_active"), Some(50.0));
    drop((left_behind, server));
}

#[test]
fn tickets_and_revocations_pass_and_count_once() {
    let meeting = Meeting::new();
    let keys = ["--publisher-jwt-key", SECRET, "--subscriber-jwt-key", SECRET];
    let mut server = meeting.start(&keys);
    let of = |id: &str| token(&json!({"jti": id, "mercure": {"subscribe": ["*"]}}));
    let ticket = |server: &Server| {
        let request = server.request("POST", "/tickets?topic=a").bearer(of("good"));
        request.send().json()["ticket"].as_str().unwrap().to_owned()
    };
    let follow = |server: &Server, ticket: &str| server.follow(format!("/events/a?ticket={ticket}")).send().status();
    let (used, unused) = (ticket(&server), ticket(&server));
    assert_eq!(follow(&server, &used), 200);
    let body = json!({"jti": "bad"}).to_string();
    let revoke = Request::new(server.admin_addr(), "POST", "/api/revocations").body(body).send();
    assert_eq!(revoke.status(), 200);
    let next = meeting.start(&keys);
    gone(&mut server);
    assert_eq!(next.subscribe("a").bearer(of("bad")).send().status(), 401);
    assert_eq!((follow(&next, &used), follow(&next, &unused), follow(&next, &unused)), (401, 200, 401));
}

#[test]
fn what_cannot_be_passed_is_asked_to_come_back() {
    let meeting = Meeting::new();
    let mut server = meeting.start(&[]);
    let mut several = server.follow("/events?topic=a&topic=b").open();
    let id = server.publish("a", "one");
    assert_eq!(several.next_event().id, id);
    let next = meeting.start(&[]);
    next.publish("b", "two");
    assert_eq!(several.next_event().event_type, "sse.reconnect");
    several.expect_end();
    gone(&mut server);
    let mut again = next.follow("/events?topic=a&topic=b").last_event_id(&id).open();
    assert_eq!(again.next_data(), "two");
}

#[test]
fn the_old_process_goes_on_if_the_new_one_stops_at_any_step() {
    let meeting = Meeting::new();
    let server = meeting.start(&[]);
    let mut stream = server.subscribe("a").open();
    for step in 0..4 {
        let mut talk = meeting.connect();
        if step > 0 {
            talk.send(&hello());
            talk.receive_through("welcome");
        }
        if step > 1 {
            talk.send(&json!("copy"));
            talk.receive_through("copied");
        }
        if step > 2 {
            talk.send(&json!("ready"));
            talk.receive_through("complete");
        }
        drop(talk);
        expect_live(&server, "a", &mut stream, &format!("after step {step}"));
        expect_live(&server, "a", &mut server.subscribe("a").open(), "new streams too");
        assert_eq!(stream.next_data(), "new streams too");
    }
    assert_eq!(server.log.wait_for("nothing was handed over, and nothing has changed", |_| true)["level"], "WARN");
}

#[test]
fn a_successor_that_is_too_slow_takes_nothing() {
    let meeting = Meeting::new();
    let server = meeting.start(&[]);
    let mut stream = server.subscribe("a").open();
    let mut talk = meeting.connect();
    talk.send(&hello());
    talk.receive_through("welcome");
    talk.send(&json!("copy"));
    talk.receive_through("copied");
    talk.send(&json!("ready"));
    let complete = talk.receive_through("complete");
    talk.send(&json!({"prepared": complete["complete"]}));
    talk.receive_through("commit");
    // It says nothing. What was published meanwhile waits, and is published here.
    expect_live(&server, "a", &mut stream, "here");
    talk.receive_through("refused");
    assert!(talk.0.write_all(&[0; 12]).is_err(), "it can no longer say that it has taken all");
}

#[test]
fn another_version_is_refused() {
    let meeting = Meeting::new();
    let server = meeting.start(&[]);
    let mut talk = meeting.connect();
    talk.send(&json!({"hello": {"version": 3, "keeps": "memory"}}));
    let refused = talk.receive_through("refused");
    assert_eq!(refused["refused"]["reason"], "it speaks version 2 of the hand-over, not 3");
    for nonsense in [b"\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00".as_slice(), b"GET / HTTP/1.1\r\n\r\n"] {
        let mut talk = meeting.connect();
        talk.0.write_all(nonsense).unwrap();
        assert_eq!(talk.receive(), None);
    }
    server.publish("a", "it serves");
}

#[test]
fn a_successor_with_bad_settings_changes_nothing() {
    let meeting = Meeting::new();
    let server = meeting.start(&[]);
    let mut stream = server.subscribe("a").open();
    let output = meeting.launch(&["--ring-frames-max", "none"]).finish();
    assert_eq!(output.status.code(), Some(64));
    expect_live(&server, "a", &mut stream, "one");
}

#[test]
fn a_signal_starts_the_successor() {
    let meeting = Meeting::new();
    let mut server = meeting.start(&[]);
    let mut stream = server.subscribe("a").open();
    server.signal(Signal::USR2);
    gone(&mut server);
    let id = server.publish("a", "published by a process that no test has started");
    assert_eq!(stream.next_event().id, id);
    end_successor(&server);
    stream.expect_cut();
}

#[test]
fn the_command_waits_until_the_successor_serves() {
    let meeting = Meeting::new();
    let mut server = meeting.start(&[]);
    let mut stream = server.subscribe("a").open();
    let command = Launch::new(&["upgrade", "--upgrade-socket", &meeting.path()]);
    let output = command.finish();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let id = server.publish("a", "published by its successor");
    assert_eq!(stream.next_event().id, id);
    gone(&mut server);
    end_successor(&server);
    stream.expect_cut();
    // Nobody is there any more.
    assert_eq!(command.finish().status.code(), Some(1));
}

#[test]
fn one_successor_is_started_at_a_time() {
    let meeting = Meeting::new();
    let mut server = meeting.start(&[]);
    let mut askers = [meeting.connect(), meeting.connect()];
    askers.iter_mut().for_each(|asker| asker.send(&json!("start")));
    let [first, second] = &mut askers;
    let refused = second.receive_through("refused");
    assert_eq!(refused["refused"]["reason"], "a successor is being started already");
    first.receive_through("done");
    gone(&mut server);
    end_successor(&server);
}

#[test]
fn the_command_tells_that_the_successor_does_not_come_to_serve() {
    let (meeting, dir) = (Meeting::new(), DataDir::new());
    let file = dir.path().join("settings.toml");
    std::fs::write(&file, "ring_frames_max = 10\n").unwrap();
    let server = meeting.start(&["--config", file.to_str().unwrap()]);
    let mut stream = server.subscribe("a").open();
    std::fs::write(&file, "ring_frames_max = \"none\"\n").unwrap();
    let output = Launch::new(&["upgrade", "--upgrade-socket", &meeting.path()]).finish();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("the successor has ended: exit status: 64"), "{said}");
    expect_live(&server, "a", &mut stream, "one");
}

/// Kills the process that the server itself has started.
fn end_successor(server: &Server) {
    let pid = server.log.wait_for("started a successor", |_| true)["pid"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

#[test]
fn only_its_own_user_may_ask() {
    let meeting = Meeting::new();
    let _server = meeting.start(&[]);
    let mode = std::fs::metadata(meeting.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
