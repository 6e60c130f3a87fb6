//! Who may publish and follow what.

use serde_json::json;

use crate::harness::token::{OTHER_SECRET, SECRET, publish_token, subscribe_token, token, token_with};
use crate::harness::{Event, Launch, Reply, Server, StreamPath, on_all_paths};

const KEYS: [&str; 4] = ["--publisher-jwt-key", SECRET, "--subscriber-jwt-key", SECRET];

on_all_paths![
    private_events_reach_those_granted,
    followers_of_one_topic_see_what_each_is_granted,
    a_resume_is_judged_by_its_own_token,
    without_anonymous_a_token_is_needed
];

#[track_caller]
fn publish(server: &Server, target: &str, data: &str) -> String {
    let reply = server.post(target, data).bearer(publish_token(&["*"])).send();
    assert_eq!(reply.status(), 200, "{}", reply.text());
    reply.json()["id"].as_str().unwrap().to_owned()
}

fn private_events_reach_those_granted(path: StreamPath) {
    let server = path.start(&[&KEYS[..], &["--anonymous", "on"]].concat());
    let targets = ["/events/orders/1", "/events?topic=orders/1&topic=other", "/events?match=orders/{id}"];
    for target in targets {
        let mut anonymous = server.follow(target).open();
        let mut granted = server.follow(target).bearer(subscribe_token(&["orders/{id}"])).open();
        let mut all = server.follow(target).bearer(subscribe_token(&["*"])).open();
        let mut elsewhere = server.follow(target).bearer(subscribe_token(&["orders/2", "invoices/{id}"])).open();
        publish(&server, "/events/orders/1?private", "secret");
        publish(&server, "/events/orders/1", "public");
        for stream in [&mut granted, &mut all] {
            assert_eq!((stream.next_data(), stream.next_data()), ("secret".into(), "public".into()), "{target}");
        }
        for stream in [&mut anonymous, &mut elsewhere] {
            assert_eq!(stream.next_data(), "public", "{target}");
        }
    }
}

/// Their lanes must not be taken for one another.
fn followers_of_one_topic_see_what_each_is_granted(path: StreamPath) {
    let server = path.start(&KEYS);
    let follow = |topics: &[&str]| server.subscribe("books").bearer(subscribe_token(topics)).open();
    let (mut ann, mut ben, mut both, mut none) =
        (follow(&["users/ann"]), follow(&["users/ben"]), follow(&["users/ben", "users/ann"]), follow(&[]));
    let to = |user: &str| {
        let body = json!({ "topics": ["books", format!("users/{user}")], "data": user, "private": true }).to_string();
        let reply = server.post_json(body).bearer(publish_token(&["*"])).send();
        assert_eq!(reply.status(), 200, "{}", reply.text());
    };
    to("ann");
    to("ben");
    publish(&server, "/events/books", "end");
    let seen = |stream: &mut crate::harness::Stream| {
        std::iter::repeat_with(|| stream.next_data()).take_while(|data| data != "end").collect::<Vec<_>>()
    };
    assert_eq!(seen(&mut ann), ["ann"]);
    assert_eq!(seen(&mut ben), ["ben"]);
    assert_eq!(seen(&mut both), ["ann", "ben"]);
    assert!(seen(&mut none).is_empty());
}

fn a_resume_is_judged_by_its_own_token(path: StreamPath) {
    let server = path.start(&[&KEYS[..], &["--anonymous", "on"]].concat());
    let first = publish(&server, "/events/a", "first");
    let secret = publish(&server, "/events/a?private&id=name-of-a-secret", "secret");
    publish(&server, "/events/a", "last");
    assert_eq!(secret, "name-of-a-secret");
    let resumed = |token: Option<String>, id: &str| {
        let request = server.subscribe("a").last_event_id(id);
        let mut stream = match token {
            Some(token) => request.bearer(token).open(),
            None => request.open(),
        };
        let head = stream.head.text.clone();
        let events: Vec<Event> = std::iter::repeat_with(|| stream.next_event()).take(1).collect();
        (head, events[0].data.clone())
    };
    for (token, expected) in
        [(Some(subscribe_token(&["a"])), "secret"), (Some(subscribe_token(&["b"])), "last"), (None, "last")]
    {
        let (head, data) = resumed(token, &first);
        assert_eq!(data, expected);
        assert!(!head.contains("name-of-a-secret"), "{head}");
    }
    // Everything kept, and what is not granted leaves no trace.
    let mut stream = server.subscribe("a").last_event_id("earliest").open();
    assert_eq!((stream.next_data(), stream.next_data()), ("first".into(), "last".into()));
}

fn without_anonymous_a_token_is_needed(path: StreamPath) {
    let server = path.start(&KEYS);
    for target in ["/events/a", "/events?topic=a&topic=b", "/events?match=*", "/events/a?last_event_id=earliest"] {
        let reply = server.follow(target).send();
        reply.problem(401);
        assert_eq!(reply.field("www-authenticate"), Some("Bearer"));
        assert_eq!(server.request("HEAD", target).send().status(), 401);
        server.follow(target).bearer(subscribe_token(&[])).open();
    }
    server.wait_for_metric("sse_connections_rejected_total{reason=\"no_token\"}", 8.0);
    // With anonymous followers a bad token is still a bad one.
    let open = path.start(&[&KEYS[..], &["--anonymous", "on"]].concat());
    open.subscribe("a").open();
    open.subscribe("a").bearer(token_with(OTHER_SECRET, &json!({}))).send().problem(401);
}

/// Every way to publish, with its answer.
fn ways(server: &Server, token: Option<&str>) -> Vec<Reply> {
    let requests = [
        server.post("/events/news/1", "x"),
        server.post_json(r#"{"topic":"news/1","data":"x"}"#),
        server.post_json(r#"[{"topic":"news/2","data":"x"},{"topic":"news/1","data":"x"}]"#),
        server.post_ndjson(
            "{\"topic\":\"news/2\",\"data\":\"x\"}\n{\"topics\":[\"news/1\",\"news/3\"],\"data\":\"x\"}\n",
        ),
        server.request("DELETE", "/events/news/9"),
    ];
    let with_token = |request: crate::harness::Request| match token {
        Some(token) => request.bearer(token),
        None => request,
    };
    requests.into_iter().map(|request| with_token(request).send()).collect()
}

#[test]
fn publishing_needs_a_grant_for_every_topic() {
    let server = Server::start(&KEYS);
    for reply in ways(&server, None) {
        reply.problem(401);
    }
    for granted in [&["*"][..], &["news/{id}"], &["news/9", "news/3", "news/2", "news/1"]] {
        let server = Server::start(&KEYS);
        for reply in ways(&server, Some(&publish_token(granted))) {
            assert_eq!(reply.status(), 200, "{granted:?}: {}", reply.text());
        }
    }
    for granted in [&["news/2", "news/3"][..], &[], &["news"], &["news/{id}/x"]] {
        for reply in ways(&server, Some(&publish_token(granted))) {
            reply.problem(403);
        }
    }
    // Nothing of a batch was published before its refusal.
    assert_eq!(server.topics(), 0);
}

/// Rights for the one thing are none for the other.
#[test]
fn rights_are_not_crossed() {
    let server = Launch::new(&[&KEYS[..], &["--admin-token", "a-token-of-some-length"]].concat()).start();
    let (publisher, subscriber) = (publish_token(&["*"]), subscribe_token(&["*"]));
    for reply in ways(&server, Some(&subscriber)) {
        reply.problem(403);
    }
    server.subscribe("a").bearer(&publisher).send().problem(403);
    server.post("/tickets?topic=a", "").bearer(&publisher).send().problem(403);
    for target in ["/api/topics", "/api/revocations"] {
        for token in [&publisher, &subscriber] {
            server.admin(target).bearer(token).send().problem(401);
        }
        assert_eq!(server.admin(target).bearer("a-token-of-some-length").send().status(), 200);
    }
    for reply in ways(&server, Some("a-token-of-some-length")) {
        reply.problem(401);
    }
    // Each role has a key of its own.
    let apart = Server::start(&["--publisher-jwt-key", SECRET, "--subscriber-jwt-key", OTHER_SECRET]);
    let claims = json!({ "mercure": { "publish": ["*"], "subscribe": ["*"] } });
    let (of_publishers, of_subscribers) = (token(&claims), token_with(OTHER_SECRET, &claims));
    assert_eq!(apart.post("/events/a", "x").bearer(&of_publishers).send().status(), 200);
    apart.post("/events/a", "x").bearer(&of_subscribers).send().problem(401);
    apart.subscribe("a").bearer(&of_subscribers).open();
    apart.subscribe("a").bearer(&of_publishers).send().problem(401);
}

/// G4: whoever has one token, or many for one subject, takes the place of nobody else.
#[test]
fn a_subject_has_so_many_streams() {
    let server = Server::start(&[&KEYS[..], &["--connections-per-subject-max", "2"]].concat());
    let of = |subject: &str, id: &str| {
        let claims = json!({ "sub": subject, "jti": id, "mercure": { "subscribe": [] } });
        server.request("GET", "/events/a").bearer(token(&claims))
    };
    let first = of("ann", "1").open();
    let _second = of("ann", "2").open();
    let reply = of("ann", "3").send();
    reply.problem(429);
    assert!(reply.field("retry-after").is_some());
    of("ben", "4").open();
    drop(first);
    crate::harness::eventually("a place that is free again", || {
        let mut connection = of("ann", "5").start();
        (connection.head().status == 200).then_some(())
    });
}

#[test]
fn the_first_credential_counts_alone() {
    let server =
        Server::start(&[&KEYS[..], &["--cookie-name", "auth", "--publish-origin", "https://app.test"]].concat());
    let (good, bad) = (subscribe_token(&["*"]), token_with(OTHER_SECRET, &json!({})));
    let follow = || server.subscribe("a");
    follow().field("Cookie", format!("x=1; auth={good}")).open();
    follow().field("Cookie", format!("mercureAuthorization={good}")).send().problem(401);
    follow().field("Cookie", format!("auth={bad}")).bearer(&good).open();
    follow().field("Cookie", format!("auth={good}")).bearer(&bad).send().problem(401);
    follow().field("Authorization", format!("Basic {good}")).send().problem(401);
    // Tokens in addresses are for the Mercure path alone.
    server.follow(format!("/events/a?authorization={good}")).send().problem(401);
}

#[test]
fn a_cookie_publishes_only_from_pages_that_may() {
    let flags = ["--publish-origin", "https://app.test", "--publish-origin", "https://*.good.test"];
    let server = Server::start(&[&KEYS[..], &flags].concat());
    let cookie = format!("mercureAuthorization={}", publish_token(&["*"]));
    let post = |fields: &[(&str, &str)]| {
        let request = server.post("/events/a", "x").field("Cookie", cookie.clone());
        fields.iter().fold(request, |request, (name, value)| request.field(name, *value)).send()
    };
    for good in [
        &[("Origin", "https://app.test")][..],
        &[("Origin", "https://a.good.test")],
        &[("Referer", "https://app.test/a?b")],
        &[("Origin", "https://app.test"), ("Referer", "https://evil.test/")],
    ] {
        assert_eq!(post(good).status(), 200, "{good:?}");
    }
    for bad in [
        &[][..],
        &[("Origin", "https://evil.test")],
        &[("Origin", "null")],
        &[("Origin", "https://app.test.evil.test")],
        &[("Origin", "https://good.test")],
        &[("Referer", "https://evil.test/https://app.test")],
        &[("Referer", "app.test")],
        &[("Origin", "https://evil.test"), ("Referer", "https://app.test/")],
    ] {
        assert_eq!(post(bad).status(), 403, "{bad:?}");
    }
    let delete = server.request("DELETE", "/events/a").field("Cookie", cookie.clone());
    delete.send().problem(403);
    // A header is nothing that a browser adds by itself.
    let foreign = server.post("/events/a", "x").field("Origin", "https://elsewhere.test");
    assert_eq!(foreign.bearer(publish_token(&["*"])).send().status(), 200);
}

#[test]
fn open_publishing_asks_for_no_token() {
    let server = Server::start(&[&KEYS[..], &["--open-publish", "on"]].concat());
    assert_eq!(server.post("/events/a", "x").send().status(), 200);
    assert_eq!(server.post("/events/a", "x").bearer(publish_token(&[])).send().status(), 200);
    server.post("/events/a", "x").bearer(token_with(OTHER_SECRET, &json!({}))).send().problem(401);
    // As open as it is, a foreign page is kept from it.
    server.post("/events/a", "x").field("Origin", "https://evil.test").send().problem(403);
}

/// Without a key there is nothing to check a token with: a program that always sends one works all the same.
#[test]
fn without_keys_tokens_say_nothing() {
    let server = Server::start(&[]);
    assert_eq!(server.post("/events/a", "x").bearer("anything").send().status(), 200);
    server.subscribe("a").bearer("anything").open();
    server.post("/tickets?topic=a", "").send().problem(404);
}

#[test]
fn a_publisher_key_lets_other_hosts_in() {
    let keyed = Server::start(&KEYS);
    let reply = keyed.post("/events/a", "x").field("Host", "events.example").bearer(publish_token(&["*"])).send();
    assert_eq!(reply.status(), 200);
    let half = Server::start(&["--subscriber-jwt-key", SECRET]);
    half.post("/events/a", "x").field("Host", "events.example").send().problem(421);
}
