//! The subscriptions API and its events.

use serde_json::json;

use super::{HUB, escape, expect_security_fields, follow};
use crate::harness::token::{SECRET, subscribe_token, token};
use crate::harness::{Reply, Server, StreamPath, eventually, on_all_paths};

on_all_paths![streams_are_announced, streams_are_listed];

const FLAGS: [&str; 6] = ["--subscriptions", "on", "--subscriber-jwt-key", SECRET, "--anonymous", "on"];
const ALL: &str = "/.well-known/mercure/subscriptions{/topic}{/subscriber}";

fn get(server: &Server, path: &str, grants: &[&str]) -> Reply {
    server.request("GET", format!("{HUB}/subscriptions{path}")).bearer(subscribe_token(grants)).send()
}

fn streams_are_announced(path: StreamPath) {
    let server = path.start(&FLAGS);
    let watch = |topics: &[&str], grants: &[&str]| follow(&server, topics).bearer(subscribe_token(grants)).open();
    let mut of_all = watch(&[ALL], &[ALL]);
    let mut of_one = watch(&["/.well-known/mercure/subscriptions/a/{subscriber}"], &[ALL]);
    let mut ungranted = watch(&[ALL, "x"], &["/.well-known/mercure/subscriptions/b{/subscriber}"]);
    // It hears of the other watchers as they come.
    for _ in 0..3 {
        assert_eq!(of_all.next_event().json()["active"], true);
    }
    let claims = json!({ "mercure": { "subscribe": [], "payload": { "user": "ann", "roles": [1, 2] } } });
    let stream = follow(&server, &["a", "https://example.com/{id}"]).bearer(token(&claims)).open();
    let document = of_one.next_event().json();
    let subscriber = document["subscriber"].as_str().unwrap().to_owned();
    assert!(subscriber.starts_with("urn:uuid:"), "{document}");
    let id = format!("{HUB}/subscriptions/a/{}", escape(&subscriber));
    let expected = |active: bool| {
        json!({
            "@context": "https://mercure.rocks/", "id": id, "type": "Subscription", "topic": "a",
            "subscriber": subscriber, "active": active, "payload": { "user": "ann", "roles": [1, 2] },
        })
    };
    assert_eq!(document, expected(true));
    let both = [of_all.next_event().json(), of_all.next_event().json()];
    assert!(both.iter().all(|document| document["subscriber"] == subscriber.as_str()), "{both:?}");
    assert!(both.iter().any(|document| document["topic"] == "https://example.com/{id}"), "{both:?}");
    drop(stream);
    assert_eq!(of_one.next_event().json(), expected(false));

    super::publish(&server, &[("topic", "x"), ("data", "all that comes")]);
    assert_eq!(ungranted.next_data(), "all that comes");
}

fn streams_are_listed(path: StreamPath) {
    let server = path.start(&FLAGS);
    let empty = get(&server, "", &["*"]);
    assert_eq!(empty.field("content-type"), Some("application/ld+json"));
    expect_security_fields(&empty);
    assert_eq!(
        empty.json(),
        json!({
            "@context": "https://mercure.rocks/", "id": "/.well-known/mercure/subscriptions", "type": "Subscriptions",
            "lastEventID": "earliest", "subscriptions": [],
        })
    );
    assert_eq!(empty.field("etag"), Some("earliest"));

    let stream = follow(&server, &["https://example.com/{id}", "b"]).open();
    let _other = follow(&server, &["b"]).open();
    server.wait_for_metric("sse_connections_active", 2.0);
    let all = get(&server, "", &[ALL]);
    let document = all.json();
    assert_eq!(document["subscriptions"].as_array().unwrap().len(), 3, "{document}");
    assert_eq!(all.field("etag"), document["lastEventID"].as_str());
    assert!(all.text().contains("\n  \"id\""), "for people to read: {}", all.text());

    let of_topic = format!("/{}", escape("https://example.com/{id}"));
    let listed = get(&server, &of_topic, &["*"]).json();
    let one = &listed["subscriptions"][0];
    assert_eq!(
        (&listed["id"], &one["topic"], &one["active"]),
        (&json!(format!("{HUB}/subscriptions{of_topic}")), &json!("https://example.com/{id}"), &json!(true))
    );
    assert_eq!(one.get("@context"), None);
    assert_eq!(one.get("payload"), None);
    let path = one["id"].as_str().unwrap().strip_prefix("/.well-known/mercure/subscriptions").unwrap();
    let single = get(&server, path, &["*"]);
    let mut expected = one.clone();
    expected["@context"] = json!("https://mercure.rocks/");
    expected["lastEventID"] = listed["lastEventID"].clone();
    assert_eq!(single.json(), expected);

    // What has not changed is not sent again.
    for path in ["", path] {
        let fresh = get(&server, path, &["*"]);
        let request = server.request("GET", format!("{HUB}/subscriptions{path}")).bearer(subscribe_token(&["*"]));
        let mut connection = request.field("If-None-Match", fresh.field("etag").unwrap()).start();
        assert_eq!(connection.head().status, 304);
    }
    let tag = all.field("etag").unwrap();
    drop(stream);
    eventually("the list changes", || {
        let reply = server
            .request("GET", format!("{HUB}/subscriptions"))
            .bearer(subscribe_token(&["*"]))
            .field("If-None-Match", tag);
        let mut connection = reply.start();
        let head = connection.head();
        (head.status == 200).then_some(())
    });

    eventually("all of it is gone", || {
        (get(&server, "", &["*"]).json()["subscriptions"].as_array().unwrap().len() == 1).then_some(())
    });
    get(&server, path, &["*"]).problem(404);
    get(&server, "/a/urn%3Auuid%3A018e5c8f-1c1a-4c3e-8f0a-1234567890ab", &["*"]).problem(404);
    get(&server, "/a/b/c", &["*"]).problem(404);
}

#[test]
fn a_list_needs_a_grant_that_matches_its_path() {
    let server = Server::start(&FLAGS);
    let one = "/a/urn%3Auuid%3A018e5c8f-1c1a-4c3e-8f0a-1234567890ab";
    for (path, grants, status) in [
        ("", &["/.well-known/mercure/subscriptions"][..], 200),
        ("", &["/.well-known/mercure/subscriptions/{topic}"], 401),
        ("", &[], 401),
        ("", &["a"], 401),
        ("/a", &["/.well-known/mercure/subscriptions/{topic}"], 200),
        ("/a", &["/.well-known/mercure/subscriptions"], 401),
        ("/a", &["/.well-known/mercure/subscriptions/b"], 401),
        (one, &["/.well-known/mercure/subscriptions/{topic}"], 401),
        (one, &[ALL], 404),
    ] {
        let reply = get(&server, path, grants);
        assert_eq!(reply.status(), status, "{path} {grants:?}");
    }
}

#[test]
fn without_the_setting_there_is_none() {
    let server = Server::start(&[]);
    let _stream = follow(&server, &["a"]).open();
    for path in ["", "/a", "/a/urn%3Auuid%3A018e5c8f-1c1a-4c3e-8f0a-1234567890ab"] {
        let reply = server.request("GET", format!("{HUB}/subscriptions{path}")).send();
        reply.problem(404);
        expect_security_fields(&reply);
    }
    assert_eq!(server.topics(), 1, "nothing was announced");
}

#[test]
fn nobody_reads_them_without_a_grant() {
    let server = Server::start(&["--subscriptions", "on"]);
    let mut watcher = follow(&server, &["/.well-known/mercure/subscriptions{/topic}{/subscriber}", "x"]).open();
    let _stream = follow(&server, &["a"]).open();
    for path in ["", "/a", "/a/urn%3Auuid%3A018e5c8f-1c1a-4c3e-8f0a-1234567890ab", "/a/b/c"] {
        let reply = server.request("GET", format!("{HUB}/subscriptions{path}")).send();
        reply.problem(401);
        expect_security_fields(&reply);
    }
    server.request("POST", format!("{HUB}/subscriptions")).send().problem(405);
    server.request("GET", format!("{HUB}/subscriptionsx")).send().problem(404);
    super::publish(&server, &[("topic", "x"), ("data", "all that comes")]);
    assert_eq!(watcher.next_data(), "all that comes");
}
