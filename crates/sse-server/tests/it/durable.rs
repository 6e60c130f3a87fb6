//! A server with a data directory: what was answered is there after it is gone.

use std::fs;

use crate::harness::{DataDir, Launch, Server, StreamPath, eventually, on_both_paths};

on_both_paths![
    a_crash_loses_nothing_that_was_answered,
    an_orderly_stop_loses_nothing,
    replay_and_live_meet_without_a_seam,
    several_topics_and_templates_resume_across_a_restart,
    the_end_of_a_topic_outlives_the_server,
    a_publishers_id_is_found_after_a_restart,
    what_is_no_longer_kept_is_a_gap,
    a_reader_too_slow_for_the_ring_gets_everything,
    mercure_says_where_it_begins,
    private_events_stay_private,
];

fn numbers(from: usize, to: usize) -> Vec<String> {
    (from..=to).map(|n| n.to_string()).collect()
}

fn publish_numbers(server: &Server, topic: &str, from: usize, to: usize) -> Vec<String> {
    numbers(from, to).iter().map(|data| server.publish(topic, data)).collect()
}

fn a_crash_loses_nothing_that_was_answered(path: StreamPath) {
    let data = DataDir::new();
    let mut server = data.start(path, &[]);
    let answer = server.post("/events/news", "1").send().json();
    assert_eq!(answer["durability"], "fsync");
    let ids = publish_numbers(&server, "news", 2, 20);
    server.kill();
    let server = data.start(path, &[]);
    let mut stream = server.subscribe("news").last_event_id(&ids[3]).open();
    assert_eq!(numbers(6, 20), (6..=20).map(|_| stream.next_data()).collect::<Vec<_>>());
    server.publish("news", "21");
    assert_eq!(stream.next_data(), "21");
    // Nothing is missing, so nothing is told, and who has everything waits for more.
    let mut stream = server.subscribe("news").last_event_id(ids.last().unwrap()).open();
    assert_eq!(stream.next_data(), "21");
}

fn an_orderly_stop_loses_nothing(path: StreamPath) {
    for durability in ["memory", "interval", "fsync"] {
        let data = DataDir::new();
        let mut server = data.start(path, &["--durability", durability]);
        assert_eq!(server.post("/events/news", "1").send().json()["durability"], durability);
        let ids = publish_numbers(&server, "news", 2, 50);
        server.signal(rustix::process::Signal::TERM);
        assert!(server.wait_exit().success());
        let server = data.start(path, &["--durability", durability]);
        let mut stream = server.subscribe("news").last_event_id(&ids[0]).open();
        assert_eq!(numbers(3, 50), (3..=50).map(|_| stream.next_data()).collect::<Vec<_>>(), "{durability}");
        let next = server.publish("news", "51");
        assert_eq!(next[..8], ids[0][..8], "the epoch goes on");
        assert!(next > ids[48], "and its numbers");
    }
}

fn replay_and_live_meet_without_a_seam(path: StreamPath) {
    let data = DataDir::new();
    let server = data.start(path, &["--ring-frames-max", "3"]);
    let ids = server.publish_burst("news", 300);
    let (publisher, first) = (&server, ids[0].clone());
    std::thread::scope(|scope| {
        let publishing = scope.spawn(|| publisher.publish_burst("news", 300));
        let mut stream = server.subscribe("news").last_event_id(&first).open();
        let seen: Vec<String> = (0..599).map(|_| stream.next_event().id).collect();
        let all: Vec<String> = ids.iter().skip(1).cloned().chain(publishing.join().unwrap()).collect();
        assert_eq!(seen, all);
    });
}

fn several_topics_and_templates_resume_across_a_restart(path: StreamPath) {
    let data = DataDir::new();
    let mut server = data.start(path, &[]);
    let ids: Vec<String> = (1..=30).map(|n| server.publish(["a", "orders/1", "c"][n % 3], &n.to_string())).collect();
    server.kill();
    let server = data.start(path, &[]);
    for (target, wanted) in [
        ("/events?topic=a&topic=c", [true, false, true]),
        ("/events?match=orders/%7Bid%7D&topic=a", [true, true, false]),
        ("/events?match=*", [true, true, true]),
    ] {
        let mut stream = server.follow(target).last_event_id(&ids[9]).open();
        for n in (11..=30).filter(|n| wanted[n % 3]) {
            assert_eq!(stream.next_data(), n.to_string(), "{target}");
        }
    }
}

fn the_end_of_a_topic_outlives_the_server(path: StreamPath) {
    let data = DataDir::new();
    let mut server = data.start(path, &[]);
    let ids = server.publish_all("run", ["a", "b"]);
    let end = server.close("run");
    server.kill();
    let server = data.start(path, &[]);
    server.post("/events/run", "late").send().problem(409);
    let mut stream = server.subscribe("run").last_event_id(&ids[0]).open();
    assert_eq!(stream.next_data(), "b");
    let told = stream.next_event();
    assert_eq!((told.event_type.as_str(), told.id), ("sse.end", end.clone()));
    stream.expect_end();
    for last in [end.as_str(), ""] {
        assert_eq!(server.subscribe("run").last_event_id(last).start().head().status, 204);
    }
}

fn a_publishers_id_is_found_after_a_restart(path: StreamPath) {
    let data = DataDir::new();
    let mut server = data.start(path, &[]);
    server.publish_to("/events/news?id=order-1", "a");
    server.publish("news", "b");
    server.publish_to("/events/news?id=order-1", "c");
    server.kill();
    let server = data.start(path, &[]);
    let mut stream = server.subscribe("news").last_event_id("order-1").open();
    assert_eq!([stream.next_data(), stream.next_data()], ["b", "c"]);
    let mut stream = server.subscribe("news").last_event_id("order-2").open();
    let gap = stream.next_event();
    assert_eq!((gap.event_type.as_str(), gap.json()["reason"].as_str()), ("sse.gap", Some("unknown")));
    assert_eq!(stream.next_data(), "a");
}

fn what_is_no_longer_kept_is_a_gap(path: StreamPath) {
    let data = DataDir::new();
    let server = data.start(path, &["--retain-events", "10", "--ring-frames-max", "2"]);
    let ids = server.publish_burst("news", 100);
    let (requested, kept) = (ids[0].clone(), ids[89].clone());
    // Retention runs beside the traffic.
    let gap = eventually("the oldest to be dropped", || {
        let event = server.subscribe("news").last_event_id(&requested).open().next_event();
        (event.event_type == "sse.gap" && event.id == kept).then_some(event)
    });
    assert_eq!(gap.json()["requested"], requested);
    assert_eq!(gap.json()["reason"], "trimmed");
    let mut stream = server.subscribe("news").last_event_id(&kept).open();
    assert_eq!(stream.next_event().id, ids[90]);
}

fn a_reader_too_slow_for_the_ring_gets_everything(path: StreamPath) {
    let data = DataDir::new();
    // Nobody reads while the events are published, however long a busy machine takes for it.
    let patience = ["--lag-grace", "60s", "--write-timeout", "60s"];
    let server = data.start(path, &[&["--ring-frames-max", "4"], &patience[..]].concat());
    let mut streams: Vec<_> = (0..5).map(|_| server.subscribe("news").open()).collect();
    // More than the sockets hold, so that the ring goes past everybody.
    let large = "x".repeat(200_000);
    for n in 0..40 {
        server.publish("news", &format!("{n} {large}"));
    }
    for stream in &mut streams {
        for n in 0..40 {
            let data = stream.next_data();
            assert_eq!(
                (data.split(' ').next(), data.len()),
                (Some(&*n.to_string()), large.len() + 1 + n.to_string().len())
            );
        }
    }
    server.publish("news", "and on");
    assert!(streams.iter_mut().all(|stream| stream.next_data() == "and on"), "they are live again");
}

fn mercure_says_where_it_begins(path: StreamPath) {
    let data = DataDir::new();
    let mut server = data.start(path, &[]);
    let ids = server.publish_all("news", ["a", "b"]);
    server.kill();
    let server = data.start(path, &[]);
    let begin = |last: &str| {
        let mut connection = server.follow("/.well-known/mercure?topic=news").last_event_id(last).start();
        connection.head().field("last-event-id").map(ToOwned::to_owned)
    };
    assert_eq!(begin(&ids[0]).as_deref(), Some(&*ids[0]));
    assert_eq!(begin("unheard-of").as_deref(), Some("earliest"));
    assert_eq!(begin("earliest").as_deref(), Some("earliest"));
}

fn private_events_stay_private(path: StreamPath) {
    let data = DataDir::new();
    let mut server = data.start(path, &[]);
    server.publish_to("/events/news?private&id=secret", "hidden");
    server.publish("news", "shown");
    server.kill();
    let server = data.start(path, &[]);
    let mut stream = server.subscribe("news").last_event_id("earliest").open();
    assert_eq!(stream.next_data(), "shown");
    let mut stream = server.subscribe("news").last_event_id("secret").open();
    assert_eq!(
        stream.next_event().json()["reason"],
        "unknown",
        "an id that may not be seen is as unknown as any other"
    );
}

#[test]
fn a_directory_has_one_server_and_is_left_alone_otherwise() {
    let data = DataDir::new();
    let _server = data.start(StreamPath::Writers, &[]);
    let dir = data.path().to_str().unwrap();
    let second = Launch::new(&["--data-dir", dir, "--listen", "127.0.0.1:0", "--admin-listen", "off"]).finish();
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another process uses the log"));

    let foreign = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::write(foreign.path().join("photo.jpg"), "a photo").unwrap();
    let dir = foreign.path().to_str().unwrap();
    let refused = Launch::new(&["--data-dir", dir, "--listen", "127.0.0.1:0", "--admin-listen", "off"]).finish();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("photo.jpg: this is no file of a log"));
    assert_eq!(fs::read_dir(foreign.path()).unwrap().count(), 1);
}

#[test]
fn a_batch_is_one_answer_and_stops_at_what_is_refused() {
    let data = DataDir::new();
    let server = data.start(StreamPath::Writers, &[]);
    server.publish("open", "before");
    server.close("closed");
    let lines = ["open", "open", "closed", "open"].map(|topic| format!("{{\"topic\":\"{topic}\",\"data\":\"x\"}}"));
    let problem = server.post_ndjson(lines.join("\n")).send().problem(409);
    assert_eq!(problem.document["published"].as_array().map(Vec::len), Some(2), "{:?}", problem.document);
    let mut stream = server.subscribe("open").last_event_id("earliest").open();
    assert_eq!([stream.next_data(), stream.next_data(), stream.next_data()], ["before", "x", "x"]);
    server.publish("open", "after");
    assert_eq!(stream.next_data(), "after", "nothing of the batch came behind what was refused");
}
