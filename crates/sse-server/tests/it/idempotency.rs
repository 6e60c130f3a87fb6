//! `Idempotency-Key`: a publisher whose answer was lost tries again.

use crate::harness::{Server, ids};

const KEY: &str = "Idempotency-Key";

#[test]
fn a_retry_gets_the_first_answer_and_publishes_nothing() {
    let server = Server::start(&[]);
    let mut stream = server.subscribe("news").open();
    let publish = || server.post("/events/news?type=score", "goal").field(KEY, "attempt 1").send();
    let first = publish();
    assert_eq!(first.status(), 200);
    assert_eq!(publish().text(), first.text());
    assert_eq!(stream.next_event().id, first.json()["id"]);
    server.publish("news", "next");
    assert_eq!(stream.next_data(), "next");
}

#[test]
fn another_body_or_place_with_the_same_key_is_a_conflict() {
    let server = Server::start(&[]);
    assert_eq!(server.post("/events/news", "goal").field(KEY, "k").send().status(), 200);
    for (target, body) in [("/events/news", "gaol"), ("/events/other", "goal"), ("/events/news?type=x", "goal")] {
        let problem = server.post(target, body).field(KEY, "k").send().problem(409);
        assert!(problem.detail.contains("idempotency key"), "{}", problem.detail);
    }
    server.expect_untouched("other");
}

#[test]
fn five_retries_at_once_are_one_event() {
    for durable in [false, true] {
        let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let flags = ["--data-dir", data.path().to_str().unwrap()];
        let server = Server::start(if durable { &flags } else { &[] });
        let publish = || server.post("/events/news", "goal").field(KEY, "k").send().json()["id"].clone();
        let answers: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..5).map(|_| scope.spawn(publish)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(answers.iter().all(|id| *id == answers[0]), "{answers:?}");
        server.publish("news", "last");
        let mut stream = server.subscribe("news").last_event_id("earliest").open();
        assert_eq!([stream.next_data(), stream.next_data()], ["goal", "last"]);
    }
}

#[test]
fn a_retry_after_a_crash_gets_the_first_id() {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let flags = ["--data-dir", data.path().to_str().unwrap()];
    let mut server = Server::start(&flags);
    let publish = |server: &Server| server.post("/events/news", "goal").field(KEY, "k").send().json()["id"].clone();
    let first = publish(&server);
    server.kill();
    let server = Server::start(&flags);
    assert_eq!(publish(&server), first);
    server.post("/events/news", "other").field(KEY, "k").send().problem(409);
}

#[test]
fn a_batch_that_was_cut_off_goes_on_where_it_stopped() {
    let server = Server::start(&[]);
    let line = |topic: &str, data: &str| format!("{{\"topic\":\"{topic}\",\"data\":\"{data}\"}}\n");
    let batch = line("a", "1") + &line("b", "2") + &line("a", "3");
    let publish = || server.post_ndjson(&batch).field(KEY, "batch").send();
    server.close("b");
    publish().problem(409);
    // A retry finds the first event done, and meets the same refusal.
    publish().problem(409);
    let mut stream = server.subscribe("a").last_event_id("earliest").open();
    server.publish("a", "end");
    assert_eq!([stream.next_data(), stream.next_data()], ["1", "end"]);

    let batch = line("c", "1") + &line("c", "2");
    let publish = || ids(&server.post_ndjson(&batch).field(KEY, "another").send());
    assert_eq!(publish(), publish());
}

#[test]
fn a_key_that_is_none_is_refused() {
    let server = Server::start(&[]);
    for key in ["", &"k".repeat(256), "t\u{e9}st"] {
        let problem = server.post("/events/news", "goal").field(KEY, key).send().problem(400);
        assert_eq!(problem.field.as_deref(), Some("Idempotency-Key"));
    }
    server.post("/events/news", "goal").field(KEY, "a").field(KEY, "b").send().problem(400);
    server.expect_untouched("news");
}
