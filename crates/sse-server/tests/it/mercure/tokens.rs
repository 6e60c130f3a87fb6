//! Tokens: who may publish, who sees what. Those of Mercure's clients carry no `exp`, `aud` or `iss`.

use serde_json::json;

use super::{HUB, follow, follow_with, pairs, post};
use crate::harness::token::{
    OTHER_SECRET, SECRET, base64, publish_token, seconds_from_now, subscribe_token, token, token_with,
};
use crate::harness::{Server, StreamPath, on_all_paths};

on_all_paths![
    who_may_not_follow_is_told_so_first,
    private_events_follow_the_delivery_rule,
    a_replay_is_judged_by_the_present_token,
    a_stream_ends_in_silence_with_its_token,
    a_subject_has_so_many_streams,
];

const KEYS: [&str; 4] = ["--publisher-jwt-key", SECRET, "--subscriber-jwt-key", SECRET];
const BOOK: &str = "https://example.com/books/1";

/// A token that nobody signed.
fn unsigned() -> String {
    format!(
        "{}.{}.",
        base64(r#"{"typ":"JWT","alg":"none"}"#),
        base64(r#"{"mercure":{"publish":["*"],"subscribe":["*"]}}"#)
    )
}

fn bad_tokens() -> Vec<String> {
    let claims = json!({ "mercure": { "publish": ["*"], "subscribe": ["*"] } });
    vec!["invalid".to_owned(), unsigned(), token_with(OTHER_SECRET, &claims), token(&claims) + "x"]
}

#[track_caller]
fn publish_as_anybody(server: &Server, fields: &[(&str, &str)]) -> String {
    let reply = post(server, fields).bearer(publish_token(&["*"])).send();
    assert_eq!(reply.status(), 200, "{}", reply.text());
    reply.text()
}

#[test]
fn publishing_needs_a_grant_for_every_topic() {
    let server = Server::start(&KEYS);
    let fields = [("topic", BOOK), ("topic", "/users/7"), ("data", "x")];
    post(&server, &fields).send().problem(401);
    for bad in bad_tokens() {
        post(&server, &fields).bearer(bad).send().problem(401);
    }
    // Without the claim, with nothing in it, without all of the topics, in public and in private.
    for token in [
        token(&json!({})),
        token(&json!({ "mercure": { "subscribe": ["*"] } })),
        publish_token(&[]),
        publish_token(&[BOOK]),
        publish_token(&["https://example.com/{x}", "/users/{id}"]),
    ] {
        post(&server, &fields).bearer(&token).send().problem(401);
        post(&server, &[&fields[..], &[("private", "on")]].concat()).bearer(&token).send().problem(401);
    }
    for topics in [&["*"][..], &[BOOK, "/users/7"], &["https://example.com/books/{id}", "/users/{id}"]] {
        let reply = post(&server, &[&fields[..], &[("id", "urn:x:1")]].concat()).bearer(publish_token(topics)).send();
        assert_eq!((reply.status(), reply.text().as_str()), (200, "urn:x:1"));
    }
    let by_query =
        server.post(&format!("{HUB}?{}", pairs(&[("authorization", &publish_token(&["*"]))])), pairs(&fields));
    assert_eq!(by_query.field("Content-Type", "application/x-www-form-urlencoded").send().status(), 200);
    post(&server, &[("topic", "x/.well-known/mercure/y")]).bearer(publish_token(&["*"])).send().problem(403);
}

/// One header, of one scheme: what is not clear is refused, whatever else would have been shown.
#[test]
fn a_credential_is_one_and_clear() {
    let server = Server::start(&[&KEYS[..], &["--publish-origin", "*"]].concat());
    let good = publish_token(&["*"]);
    let as_cookie = format!("mercureAuthorization={good}");
    let publish = || post(&server, &[("topic", "canary")]);
    for header in ["", "Bearer", "Bearer ", &format!("Basic {good}"), &good, &format!("Bearer {good} {good}")] {
        let request = publish().field("Authorization", header).field("Cookie", &as_cookie);
        request.field("Origin", "https://app.example").send().problem(401);
    }
    publish().bearer(&good).bearer(&good).send().problem(401);
    let twice = pairs(&[("authorization", &good), ("authorization", &good)]);
    let form = |query: &str| server.post(&format!("{HUB}?{query}"), pairs(&[("topic", "canary")]));
    form(&twice).field("Content-Type", "application/x-www-form-urlencoded").send().problem(401);
    form("authorization=short").field("Content-Type", "application/x-www-form-urlencoded").send().problem(401);
    let many = |name: &str| {
        let selectors: Vec<String> = (0..1001).map(|n| n.to_string()).collect();
        token(&json!({ "mercure": { "publish": ["*"], "subscribe": ["*"], name: selectors } }))
    };
    publish().bearer(many("publish")).send().problem(401);
    follow(&server, &["a"]).bearer(many("subscribe")).send().problem(401);
    let ok = post(&server, &[("topic", "canary"), ("data", "the only one")]).bearer(&good).send();
    assert_eq!(ok.status(), 200);
    let mut all = follow(&server, &["canary"]).last_event_id("earliest").bearer(subscribe_token(&[])).open();
    assert_eq!(all.next_data(), "the only one");
}

/// A body that is no form, or that never comes, makes no difference to somebody without a token.
#[test]
fn tokens_come_before_bodies() {
    let server = Server::start(&KEYS);
    server.post(HUB, "nothing of a form").send().problem(401);
    let mut connection = server.connect();
    connection.send(format!("POST {HUB} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"));
    connection.reply().problem(401);
    server.post(HUB, "nothing of a form").bearer(publish_token(&["*"])).send().problem(400);
}

/// A browser sends a cookie by itself: the page that has it sent must be one that may publish.
#[test]
fn a_cookie_publishes_for_known_origins_only() {
    let by_cookie = |server: &Server| {
        post(server, &[("topic", BOOK)]).field("Cookie", format!("a=b; mercureAuthorization={}", publish_token(&["*"])))
    };
    let server = Server::start(&[&KEYS[..], &["--publish-origin", "https://app.example"]].concat());
    by_cookie(&server).send().problem(401);
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Origin", "https://app.example.evil.test"),
        ("Origin", "null"),
        ("Referer", "https://evil.example/https://app.example"),
        ("Referer", "no address"),
    ] {
        by_cookie(&server).field(name, value).send().problem(401);
    }
    by_cookie(&server)
        .field("Origin", "https://evil.example")
        .field("Referer", "https://app.example/")
        .send()
        .problem(401);
    assert_eq!(by_cookie(&server).field("Origin", "https://app.example").send().status(), 200);
    assert_eq!(by_cookie(&server).field("Referer", "https://app.example/page?x").send().status(), 200);

    let server = Server::start(&[&KEYS[..], &["--publish-origin", "*", "--cookie-name", "other"]].concat());
    by_cookie(&server).field("Origin", "https://app.example").send().problem(401);
    let other = post(&server, &[("topic", BOOK)]).field("Cookie", format!("other={}", publish_token(&["*"])));
    assert_eq!(other.field("Origin", "https://whoever.example").send().status(), 200);
}

fn who_may_not_follow_is_told_so_first(path: StreamPath) {
    let closed = path.start(&[&KEYS[..], &["--anonymous", "off"]].concat());
    let open = path.start(&[&KEYS[..], &["--anonymous", "on"]].concat());
    for target in [HUB.to_owned(), format!("{HUB}?topic=a"), format!("{HUB}?topic=%ff")] {
        closed.follow(&target).send().problem(401);
        for server in [&closed, &open] {
            for bad in bad_tokens() {
                server.follow(&target).bearer(&bad).send().problem(401);
                let cookie = format!("mercureAuthorization={bad}");
                server.follow(&target).field("Cookie", cookie).send().problem(401);
            }
        }
    }
    open.follow(HUB).send().problem(400);
    drop(follow(&open, &["a"]).open());
    // A token without a claim follows what is public.
    drop(follow(&closed, &["a"]).bearer(token(&json!({}))).open());
    let tokens = [("authorization", subscribe_token(&[])), ("authorization", subscribe_token(&[]))];
    let [one, two] = tokens.each_ref().map(|(name, token)| (*name, token.as_str()));
    drop(follow_with(&closed, &["a"], &[one]).open());
    follow_with(&closed, &["a"], &[one, two]).send().problem(401);
}

/// Some topic matches what is followed, and the event is public or some topic, maybe another, matches a grant.
fn private_events_follow_the_delivery_rule(path: StreamPath) {
    let server = path.start(&[&KEYS[..], &["--anonymous", "on"]].concat());
    let user = "https://example.com/users/foo/?topic=https%3A%2F%2Fexample.com%2Fbooks%2F1";
    let token_of = |grants: &[&str]| subscribe_token(grants);
    let book = "https://example.com/books/{id}";
    let mut streams = Vec::new();
    for (followed, grants, sees) in [
        (book, &["https://example.com/users/foo/{?topic}"][..], true),
        (book, &[book], true),
        (book, &["*"], true),
        (BOOK, &["https://example.com/users/foo/{?topic}"], true),
        (user, &[BOOK], true),
        (book, &["https://example.com/users/bar/{?topic}"], false),
        (book, &["https://example.com/books/2"], false),
        (BOOK, &[], false),
    ] {
        for request in [
            follow(&server, &[followed]).bearer(token_of(grants)),
            follow(&server, &[followed]).field("Cookie", format!("mercureAuthorization={}", token_of(grants))),
            follow_with(&server, &[followed], &[("authorization", &token_of(grants))]),
            follow(&server, &[followed, "https://example.com/{x}"]).bearer(token_of(grants)),
        ] {
            streams.push((request.open(), sees));
        }
    }
    streams.push((follow(&server, &["*"]).open(), false));
    publish_as_anybody(&server, &[("topic", BOOK), ("topic", user), ("id", "1"), ("data", "secret"), ("private", "")]);
    publish_as_anybody(
        &server,
        &[("topic", "https://example.com/books/3"), ("id", "2"), ("data", "none of theirs"), ("private", "on")],
    );
    publish_as_anybody(
        &server,
        &[("topic", BOOK), ("topic", user), ("id", "3"), ("data", "public"), ("type", "t"), ("retry", "10")],
    );
    for (stream, sees) in &mut streams {
        stream.expect_text(":\n");
        if *sees {
            stream.expect_text("id: 1\ndata: secret\n\n");
        }
        let text = stream.text_through(["data: public\n\n", "data: public\n\n"]);
        let others =
            text.strip_suffix("event: t\nretry: 10\nid: 3\ndata: public\n\n").expect("the public one is the last");
        // Whoever follows and is granted everything of that kind sees the other one too.
        assert!(matches!(others, "" | "id: 2\ndata: none of theirs\n\n"), "{others}");
        assert!(!others.contains("secret") && (*sees || others.is_empty()), "{others}");
    }
}

fn a_replay_is_judged_by_the_present_token(path: StreamPath) {
    let server = path.start(&[&KEYS[..], &["--anonymous", "on"]].concat());
    let first = publish_as_anybody(&server, &[("topic", "a"), ("data", "1")]);
    let secret = publish_as_anybody(&server, &[("topic", "a"), ("data", "2"), ("private", "on")]);
    publish_as_anybody(&server, &[("topic", "a"), ("id", "urn:x:secret"), ("data", "3"), ("private", "on")]);
    publish_as_anybody(&server, &[("topic", "a"), ("data", "4")]);
    for topics in [&["a"][..], &["a", "b"], &["{x}"]] {
        let start = |id: &str, grants: &[&str]| {
            let mut stream = follow(&server, topics).last_event_id(id).bearer(subscribe_token(grants)).open();
            let head = stream.head.field("last-event-id").unwrap().to_owned();
            let mut data = Vec::new();
            while data.last().is_none_or(|last| last != "4") {
                data.push(stream.next_data());
            }
            (head, data.concat())
        };
        assert_eq!(start(&first, &["a"]), (first.clone(), "234".to_owned()));
        assert_eq!(start(&first, &["b"]), (first.clone(), "4".to_owned()));
        assert_eq!(start("earliest", &[]), ("earliest".to_owned(), "14".to_owned()));
        assert_eq!(start(&secret, &["a"]), (secret.clone(), "34".to_owned()));
        assert_eq!(start("urn:x:secret", &["a"]), ("urn:x:secret".to_owned(), "4".to_owned()));
        assert_eq!(start("urn:x:secret", &["b"]), ("earliest".to_owned(), "14".to_owned()), "its id does not leak");
    }
}

fn a_stream_ends_in_silence_with_its_token(path: StreamPath) {
    let server = path.start(&KEYS);
    let token = token(&json!({ "exp": seconds_from_now(2), "mercure": { "subscribe": ["*"] } }));
    for topics in [&["a"][..], &["a", "b"]] {
        let mut stream = follow(&server, topics).bearer(&token).open();
        stream.expect_text(":\n");
        stream.expect_end();
    }
}

/// FAILURES G4.
fn a_subject_has_so_many_streams(path: StreamPath) {
    let server = path.start(&[&KEYS[..], &["--connections-per-subject-max", "2", "--busy-reply", "503"]].concat());
    let of = |subject: &str| token(&json!({ "sub": subject, "mercure": { "subscribe": ["*"] } }));
    let mut streams =
        vec![follow(&server, &["a"]).bearer(of("ann")).open(), server.subscribe("a").bearer(of("ann")).open()];
    let refused = follow(&server, &["a"]).bearer(of("ann")).send();
    refused.problem(429);
    assert!(refused.field("retry-after").is_some());
    server.subscribe("a").bearer(of("ann")).send().problem(429);
    assert_eq!(server.metric(r#"sse_connections_rejected_total{reason="subject"}"#), Some(2.0));
    drop(follow(&server, &["a"]).bearer(of("ben")).open());
    drop(follow(&server, &["a"]).bearer(subscribe_token(&["*"])).open());
    streams.pop();
    crate::harness::eventually("the place becomes free", || {
        let connection = &mut follow(&server, &["a"]).bearer(of("ann")).start();
        (connection.head().status == 200).then_some(())
    });
}
