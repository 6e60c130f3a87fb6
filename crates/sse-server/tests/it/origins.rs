//! Pages in browsers: who may read a stream from elsewhere, and who may make a browser publish.

use crate::harness::{Reply, Server, StreamPath, on_all_paths};

on_all_paths![an_allowed_page_may_follow, a_page_nobody_allowed_may_not_follow];

const APP: &str = "https://app.example";

fn an_allowed_page_may_follow(path: StreamPath) {
    let server = path.start(&["--cors-origin", APP, "--cors-origin", "http://localhost:3000"]);
    for origin in [APP, "http://localhost:3000"] {
        let stream = server.subscribe("a").field("Origin", origin).open();
        assert_eq!(stream.head.field("access-control-allow-origin"), Some(origin));
        assert_eq!(stream.head.field("access-control-allow-credentials"), Some("true"));
        assert_eq!(stream.head.field("vary"), Some("Accept-Encoding, Origin"));
    }
    // Caches have to know that the answer depends on who asks, even when nobody did.
    assert_eq!(server.subscribe("a").open().head.field("vary"), Some("Accept-Encoding, Origin"));
    let refusal = server.follow("/events/%ff").field("Origin", APP).send();
    assert_eq!(refusal.field("access-control-allow-origin"), Some(APP), "a page may read why it was refused");
}

/// FAILURES I4: compared exactly.
fn a_page_nobody_allowed_may_not_follow(path: StreamPath) {
    let closed = path.start(&[]);
    let one = path.start(&["--cors-origin", APP]);
    for origin in [
        "https://evil.example",
        "https://app.example.evil.test",
        "https://evilapp.example",
        "https://app.example:8443",
        "http://app.example",
        "https://sub.app.example",
        "https://app.example/",
        "https://app.example, https://evil.example",
        "null",
        "*",
        "file://",
        "",
    ] {
        for server in [&closed, &one] {
            let stream = server.subscribe("a").field("Origin", origin).open();
            assert_eq!(stream.head.field("access-control-allow-origin"), None, "{origin}");
            assert_eq!(stream.head.field("access-control-allow-credentials"), None, "{origin}");
        }
    }
    assert!(!closed.subscribe("a").field("Origin", APP).open().head.text.contains("Access-Control"));
}

#[test]
fn a_star_goes_without_credentials() {
    let server = Server::start(&["--cors-origin", "*"]);
    for origin in ["https://anybody.example", "null"] {
        let stream = server.subscribe("a").field("Origin", origin).open();
        assert_eq!(stream.head.field("access-control-allow-origin"), Some("*"));
        assert_eq!(stream.head.field("access-control-allow-credentials"), None);
    }
}

#[test]
fn a_preflight_tells_what_an_allowed_page_may_send() {
    let server = Server::start(&["--cors-origin", APP]);
    let preflight = |origin: &str| -> Reply {
        let request = server.request("OPTIONS", "/events/a").field("Origin", origin);
        request.field("Access-Control-Request-Method", "GET").send()
    };
    let allowed = preflight(APP);
    assert_eq!(allowed.status(), 204);
    assert_eq!(allowed.field("access-control-allow-origin"), Some(APP));
    assert!(allowed.field("access-control-allow-methods").unwrap().contains("GET"));
    let headers = allowed.field("access-control-allow-headers").unwrap();
    assert!(["Last-Event-ID", "Authorization", "Content-Type"].iter().all(|name| headers.contains(name)), "{headers}");
    assert!(allowed.field("access-control-max-age").is_some());

    let refused = preflight("https://evil.example");
    assert_eq!(refused.status(), 204);
    assert!(!refused.head.text.to_ascii_lowercase().contains("access-control"), "{}", refused.head.text);
}

/// FAILURES I5: with publishing open, no foreign page may use a visitor's browser to publish.
#[test]
fn foreign_pages_cannot_publish() {
    let server = Server::start(&[]);
    let own = format!("http://{}", server.addr());
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Origin", ""),
        ("Origin", "http://127.0.0.1"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        let text = server.post("/events/canary", "x").field("Content-Type", "text/plain");
        text.field(name, value).send().problem(403);
        server.post_json(r#"{"topic":"canary"}"#).field(name, value).send().problem(403);
        server.request("DELETE", "/events/canary").field(name, value).send().problem(403);
    }
    server.expect_untouched("canary");
    for (name, value) in [("Origin", own.as_str()), ("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "none")] {
        assert_eq!(server.post("/events/a", "x").field(name, value).send().status(), 200, "{name}: {value}");
    }
}

/// FAILURES I5: letting every page read is not letting every page publish.
#[test]
fn a_star_for_readers_lets_no_page_publish() {
    let server = Server::start(&["--cors-origin", "*"]);
    for (name, value) in [("Origin", "https://evil.example"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site")] {
        server.post("/events/canary", "x").field(name, value).send().problem(403);
        server.request("DELETE", "/events/canary").field(name, value).send().problem(403);
    }
    server.expect_untouched("canary");
}
