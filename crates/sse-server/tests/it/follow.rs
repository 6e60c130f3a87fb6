//! What a follower gets: topics, templates, envelopes, and the bytes of every kind of event.

use serde_json::json;

use crate::harness::{Stream, StreamPath, on_all_paths_and_compressed_in_http2};

on_all_paths_and_compressed_in_http2![
    a_follower_gets_its_own_topic_only,
    several_topics_come_in_the_order_of_their_ids,
    a_template_follows_topics_there_are_and_will_be,
    a_star_follows_everything,
    a_topic_named_in_several_ways_comes_once,
    an_event_of_several_topics_comes_once,
    any_text_names_a_topic,
    an_envelope_tells_the_topic,
    an_envelope_tells_the_first_topic_that_is_followed,
    an_envelope_keeps_the_retry,
    every_line_of_data_is_a_line_of_its_own,
    fields_come_in_a_fixed_order,
    a_large_event_arrives_whole,
    a_hot_topic_reaches_all_its_followers,
    private_events_are_not_for_everybody,
    unknown_parameters_do_no_harm,
    what_cannot_be_followed_is_refused,
];

fn a_follower_gets_its_own_topic_only(path: StreamPath) {
    let server = path.start(&[]);
    let mut news = server.subscribe("news").open();
    let mut sport = server.subscribe("sport").open();
    server.publish("sport", "goal");
    server.publish("news", "hello");
    server.publish("sport", "again");
    assert_eq!(news.next_data(), "hello");
    assert_eq!(sport.next_data(), "goal");
    assert_eq!(sport.next_data(), "again");
}

fn several_topics_come_in_the_order_of_their_ids(path: StreamPath) {
    let server = path.start(&["--shards", "4"]);
    let topics: Vec<String> = (0..12).map(|n| format!("topic-{n}")).collect();
    let query = topics.iter().map(|topic| format!("topic={topic}")).collect::<Vec<_>>().join("&");
    let mut stream = server.follow(format!("/events?{query}")).open();
    let published: Vec<(String, String)> = (0..60)
        .map(|n| (server.publish(&topics[n * 7 % topics.len()], &format!("event {n}")), format!("event {n}")))
        .collect();
    for (id, data) in published {
        let event = stream.next_event();
        assert_eq!((event.id, event.data), (id, data));
    }
}

fn a_template_follows_topics_there_are_and_will_be(path: StreamPath) {
    let server = path.start(&[]);
    server.publish_to("/events//orders/1", "before");
    let mut stream = server.follow("/events?match=/orders/%7Bid%7D&topic=news").open();
    server.publish_to("/events//orders/1", "of a topic there was");
    server.publish_to("/events//orders/2", "of a new one");
    server.publish_to("/events//orders/2/lines", "of another depth");
    server.publish("news", "by name");
    assert_eq!(stream.next_data(), "of a topic there was");
    assert_eq!(stream.next_data(), "of a new one");
    assert_eq!(stream.next_data(), "by name");
}

fn a_star_follows_everything(path: StreamPath) {
    let server = path.start(&[]);
    let mut stream = server.follow("/events?match=*").open();
    let ids = [server.publish("a", "1"), server.publish_to("/events/https://example.com/b%20c", "2")];
    assert_eq!([stream.next_event().id, stream.next_event().id], ids);
    // As a topic's name it is one like any other.
    let mut stream = server.follow("/events?topic=*").open();
    server.publish("a", "not this");
    server.publish("*", "this");
    assert_eq!(stream.next_data(), "this");
}

fn a_topic_named_in_several_ways_comes_once(path: StreamPath) {
    let server = path.start(&[]);
    for target in ["/events/a?topic=a", "/events?topic=a&topic=a", "/events?topic=a&match=%7Bx%7D&match=*"] {
        let mut stream = server.follow(target).open();
        server.publish("a", "once");
        server.publish("a", "then the next");
        assert_eq!(stream.next_data(), "once");
        assert_eq!(stream.next_data(), "then the next", "{target}");
    }
}

fn an_event_of_several_topics_comes_once(path: StreamPath) {
    let server = path.start(&["--shards", "4"]);
    let mut both = server.follow("/events?topic=a&topic=b").open();
    let mut one = server.subscribe("b").open();
    let mut all = server.follow("/events?match=*").open();
    let reply = server.post_json(r#"{"topics":["a","b","c","a"],"data":"for all three"}"#).send();
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    server.publish("b", "next");
    for stream in [&mut both, &mut one, &mut all] {
        let event = stream.next_event();
        assert_eq!((event.id.as_str(), event.data.as_str()), (id.as_str(), "for all three"));
        assert_eq!(stream.next_data(), "next");
    }
}

fn any_text_names_a_topic(path: StreamPath) {
    let server = path.start(&[]);
    let long = "x".repeat(1024);
    for (published, followed) in [
        ("/events/a/b//c", "/events?topic=a%2Fb%2F%2Fc"),
        ("/events/https%3A%2F%2Fexample.com%2Fbooks%2F1%3Fx%3Dy", "/events?topic=https://example.com/books/1?x=y"),
        ("/events/caf%C3%A9%20%F0%9F%8D%B5", "/events?topic=caf%c3%a9+%f0%9f%8d%b5"),
        ("/events/50%25", "/events?topic=50%25"),
        ("/events/a+b", "/events?topic=a%2Bb"),
        ("/events/%7Bid%7D", "/events?topic={id}"),
        (&format!("/events/{long}"), &format!("/events?topic={long}")),
    ] {
        let mut by_path = server.follow(published).open();
        let mut by_query = server.follow(followed).open();
        server.publish_to(published, published);
        assert_eq!(by_path.next_data(), published);
        assert_eq!(by_query.next_data(), published, "{followed}");
    }
}

fn an_envelope_tells_the_topic(path: StreamPath) {
    let server = path.start(&[]);
    let mut several = server.follow("/events?topic=a&topic=b&envelope=json").open();
    let mut one = server.follow("/events/b?envelope=json").open();
    let first = server.publish("a", "plain");
    let second = server.publish_to("/events/b?type=note&id=mine", "two\n\"lines\"");
    let event = several.next_event();
    assert_eq!((event.event_type.as_str(), &event.id), ("message", &first));
    assert_eq!(event.json(), json!({"topic": "a", "type": "message", "id": first, "data": "plain"}));
    for stream in [&mut several, &mut one] {
        let event = stream.next_event();
        assert_eq!((event.event_type.as_str(), event.id.as_str()), ("note", "mine"));
        assert_eq!(event.json(), json!({"topic": "b", "type": "note", "id": second, "data": "two\n\"lines\""}));
        assert!(event.data.starts_with(r#"{"topic":"b","type":"note","id":"mine","data":"#), "{}", event.data);
    }
}

/// In the publisher's order, whatever shards the topics are in.
fn an_envelope_tells_the_first_topic_that_is_followed(path: StreamPath) {
    let server = path.start(&["--shards", "4"]);
    let follow = |query: &str| server.follow(format!("/events?envelope=json&{query}")).last_event_id("earliest");
    let mut live =
        [follow("topic=b&topic=c").open(), follow("match=/x/%7Bid%7D&topic=c").open(), follow("match=*").open()];
    let published = [
        (["a", "b", "c"], ["b", "c", "a"]),
        (["c", "b", "/x/1"], ["c", "c", "c"]),
        (["/x/2", "c", "b"], ["c", "/x/2", "/x/2"]),
        (["b", "/x/1", "c"], ["b", "/x/1", "b"]),
        (["b", "c", "b"], ["b", "c", "b"]),
    ];
    for (topics, _) in &published {
        assert_eq!(server.post_json(format!(r#"{{"topics":{topics:?},"data":"x"}}"#)).send().status(), 200);
    }
    let mut replayed =
        [follow("topic=c&topic=b").open(), follow("topic=c&match=/x/%7Bid%7D").open(), follow("match=*").open()];
    for (topics, expected) in published {
        for streams in [&mut live, &mut replayed] {
            let told =
                streams.each_mut().map(|stream| stream.next_event().json()["topic"].as_str().unwrap().to_owned());
            assert_eq!(told, expected, "of {topics:?}");
        }
    }
}

fn an_envelope_keeps_the_retry(path: StreamPath) {
    let server = path.start(&["--retry-jitter", "0"]);
    let mut stream = server.follow("/events/a?envelope=json").open();
    stream.expect_opening(3000);
    let id = server.publish_to("/events/a?type=note&retry=1500", "x");
    stream.expect_text(&format!(
        "event: note\nretry: 1500\nid: {id}\ndata: {{\"topic\":\"a\",\"type\":\"note\",\"id\":\"{id}\",\"data\":\"x\"}}\n\n"
    ));
}

fn every_line_of_data_is_a_line_of_its_own(path: StreamPath) {
    let server = path.start(&["--retry-jitter", "0"]);
    let mut stream = server.subscribe("a").open();
    stream.expect_opening(3000);
    for (data, lines) in [
        ("", "data: \n"),
        ("one", "data: one\n"),
        ("one\ntwo", "data: one\ndata: two\n"),
        ("one\r\ntwo\rthree\n", "data: one\ndata: two\ndata: three\ndata: \n"),
        ("\n\n", "data: \ndata: \ndata: \n"),
        (" leading\n: colon\ndata: x\nid: 7", "data:  leading\ndata: : colon\ndata: data: x\ndata: id: 7\n"),
        ("\u{feff}mark \u{2028} \u{0}", "data: \u{feff}mark \u{2028} \u{0}\n"),
    ] {
        let id = server.publish("a", data);
        stream.expect_text(&format!("id: {id}\n{lines}\n"));
    }
}

fn fields_come_in_a_fixed_order(path: StreamPath) {
    let server = path.start(&["--retry-jitter", "0"]);
    let mut stream = server.subscribe("a").open();
    stream.expect_opening(3000);
    server.publish_to("/events/a?id=chosen&retry=1500&type=price", "1");
    stream.expect_text("event: price\nretry: 1500\nid: chosen\ndata: 1\n\n");
    // `message` is what an event is without a type.
    let id = server.publish_to("/events/a?type=message", "2");
    stream.expect_text(&format!("id: {id}\ndata: 2\n\n"));
}

fn a_large_event_arrives_whole(path: StreamPath) {
    let server = path.start(&[]);
    let mut slow = server.subscribe("a").open_with_tiny_buffer();
    let mut several = server.follow("/events?topic=a&topic=b&envelope=json").open_with_tiny_buffer();
    let data: String = (0..150_000).map(|n| format!("{n:06}{}", if n % 1000 == 0 { "\n" } else { "" })).collect();
    server.publish("a", &data);
    server.publish("a", "small");
    assert!(slow.next_data() == data, "it was changed on its way");
    assert_eq!(slow.next_data(), "small");
    assert!(several.next_event().json()["data"] == data.as_str(), "it was changed on its way");
    assert_eq!(several.next_event().json()["data"], "small");
}

/// More than share one writer.
fn a_hot_topic_reaches_all_its_followers(path: StreamPath) {
    let server = path.start(&["--retry-jitter", "0"]);
    let mut streams: Vec<Stream> = (0..600).map(|_| server.subscribe("hot").open()).collect();
    let ids = server.publish_burst("hot", 20);
    let events = ids.iter().enumerate().map(|(n, id)| format!("id: {id}\ndata: {n}\n\n"));
    let expected: String = events.collect();
    for stream in &mut streams {
        stream.expect_opening(3000);
        stream.expect_text(&expected);
    }
    assert_eq!(server.metric("sse_connections_active"), Some(600.0));
}

fn private_events_are_not_for_everybody(path: StreamPath) {
    let server = path.start(&[]);
    let mut live = server.subscribe("a").open();
    let mut several = server.follow("/events?match=*").open();
    let before = server.publish("a", "public");
    server.publish_to("/events/a?private", "secret");
    server.post_json(r#"{"topic":"a","data":"secret","private":true}"#).send();
    server.publish_to("/events/a?private=off", "public again");
    let mut later = server.subscribe("a").last_event_id(&before).open();
    for stream in [&mut live, &mut several] {
        assert_eq!(stream.next_data(), "public");
    }
    for stream in [&mut live, &mut several, &mut later] {
        assert_eq!(stream.next_data(), "public again");
    }
}

fn unknown_parameters_do_no_harm(path: StreamPath) {
    let server = path.start(&[]);
    let mut stream = server.follow("/events/a?_=1700000000&&cache").open();
    server.publish("a", "fine");
    assert_eq!(stream.next_data(), "fine");
}

fn what_cannot_be_followed_is_refused(path: StreamPath) {
    let server = path.start(&[]);
    let long = "x".repeat(1025);
    for (target, field) in [
        ("/events/", "topic"),
        ("/events", "topic"),
        ("/events?topic=", "topic"),
        ("/events?match=", "match"),
        (&format!("/events/{long}"), "topic"),
        (&format!("/events?topic={long}"), "topic"),
        (&format!("/events?match={long}"), "match"),
        ("/events/a%0Ab", "topic"),
        ("/events/a%00", "topic"),
        ("/events/a%C2%85", "topic"),
        ("/events/%ff", "topic"),
        ("/events?topic=%C3", "query"),
        ("/events/a?envelope=xml", "envelope"),
    ] {
        let problem = server.follow(target).send().problem(400);
        assert_eq!(problem.field.as_deref(), Some(field), "{target}");
    }
    assert_eq!(server.metric("sse_connections_active"), Some(0.0));
}
