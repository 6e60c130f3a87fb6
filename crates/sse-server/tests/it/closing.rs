//! Finite streams: a run, an export, a job. Closing a topic ends its followers, each after its last event.

use crate::harness::{End, Server, Stream, StreamPath, on_all_paths_and_compressed_in_http2};

on_all_paths_and_compressed_in_http2![
    followers_get_the_rest_and_the_end,
    a_late_follower_gets_what_is_left_and_the_end,
    a_follower_with_nothing_left_is_told_not_to_come_back,
    several_topics_end_with_the_last,
    a_burst_before_the_end_arrives_whole,
];

fn followers_get_the_rest_and_the_end(path: StreamPath) {
    let server = path.start(&["--retry-jitter", "0"]);
    let mut stream = server.subscribe("run/1").open();
    let step = server.publish("run/1", "step");
    let end = server.close("run/1");
    stream.expect_opening(3000);
    stream.expect_text(&format!(
        "id: {step}\ndata: step\n\nevent: sse.end\nid: {end}\ndata: {{\"topic\":\"run/1\"}}\n\n"
    ));
    let mut connection = stream.expect_end();
    if path == StreamPath::Writers {
        assert_eq!(connection.expect_closed(), End::Fin);
    }
    drop(connection);
    server.log.wait_for("disconnected", |line| line["reason"] == "ended" && line["topics"] == "run/1");
    server.wait_for_metric("sse_connections_active", 0.0);
}

fn a_late_follower_gets_what_is_left_and_the_end(path: StreamPath) {
    let server = path.start(&[]);
    let ids = server.publish_all("run", ["a", "b"]);
    let end = server.close("run");
    for (after, rest) in [("earliest", &["a", "b"][..]), (&ids[0], &["b"]), (&ids[1], &[])] {
        let mut stream = server.subscribe("run").last_event_id(after).open();
        for data in rest {
            assert_eq!(stream.next_data(), *data);
        }
        expect_end(stream, &end, "run");
    }
    // Even one that has to be told of a gap first.
    let mut stream = server.subscribe("run").last_event_id("unheard-of").open();
    assert_eq!(stream.next_event().event_type, "sse.gap");
    assert_eq!([stream.next_data(), stream.next_data()], ["a", "b"]);
    expect_end(stream, &end, "run");
}

/// 204 stops an `EventSource` from reconnecting (WHATWG HTML, 9.2.3).
fn a_follower_with_nothing_left_is_told_not_to_come_back(path: StreamPath) {
    let server = path.start(&[]);
    let step = server.publish("run", "step");
    let end = server.close("run");
    for request in [server.subscribe("run"), server.subscribe("run").last_event_id(&end)] {
        let mut connection = request.start();
        let head = connection.head();
        assert_eq!(head.status, 204, "{}", head.text);
        // No body, and the connection is good for another request.
        connection.send(server.subscribe("run").last_event_id(&step).bytes());
        assert_eq!(Stream::begin(connection).next_event().event_type, "sse.end");
    }
    let several = server.follow("/events?topic=run&topic=other");
    server.close("other");
    assert_eq!(several.send().status(), 204);
}

fn several_topics_end_with_the_last(path: StreamPath) {
    let server = path.start(&[]);
    let mut stream = server.follow("/events?topic=a&topic=b&envelope=json").open();
    let first = server.close("a");
    let event = stream.next_event();
    assert_eq!((event.event_type.as_str(), &event.id), ("sse.end", &first));
    assert_eq!(event.data, r#"{"topic":"a"}"#);
    server.publish("b", "goes on");
    assert_eq!(stream.next_event().json()["data"], "goes on");
    let second = server.close("b");
    expect_end(stream, &second, "b");
}

fn a_burst_before_the_end_arrives_whole(path: StreamPath) {
    let server = path.start(&[]);
    let mut streams: Vec<Stream> = (0..10).map(|_| server.subscribe("run").open()).collect();
    let ids = server.publish_burst("run", 3000);
    let end = server.close("run");
    streams.push(server.subscribe("run").last_event_id("earliest").open());
    for mut stream in streams {
        for id in &ids {
            assert_eq!(&stream.next_event().id, id);
        }
        expect_end(stream, &end, "run");
    }
}

#[test]
fn nothing_follows_an_end() {
    let server = Server::start(&[]);
    server.close("run");
    server.post("/events/run", "late").send().problem(409);
    server.post_json(r#"{"topics":["canary","run"],"data":"late"}"#).send().problem(409);
    server.request("DELETE", "/events/run").send().problem(409);
    server.expect_untouched("canary");
    // A template's stream outlives the topics it matches.
    let mut stream = server.follow("/events?match=*").open();
    server.close("second");
    assert_eq!(stream.next_event().event_type, "sse.end");
    server.publish("third", "goes on");
    assert_eq!(stream.next_data(), "goes on");
}

#[test]
fn a_closed_topic_is_forgotten_in_time() {
    let server = Server::start(&["--closed-topic-age", "1s", "--ring-age-max", "1s"]);
    server.publish("run", "old");
    server.close("run");
    crate::harness::eventually("the topic is open again", || {
        (server.post("/events/run", "new").send().status() == 200).then_some(())
    });
}

#[track_caller]
fn expect_end(mut stream: Stream, id: &str, topic: &str) {
    let event = stream.next_event();
    assert_eq!((event.event_type.as_str(), event.id.as_str()), ("sse.end", id));
    assert_eq!(event.data, format!(r#"{{"topic":"{topic}"}}"#));
    stream.expect_end();
}
