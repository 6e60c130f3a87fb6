//! Names the server answers to: a page whose own name resolves to loopback must not reach it (FAILURES I6).

use crate::harness::Server;
use crate::harness::token::SECRET;

const FOREIGN: &[&str] = &[
    "evil.test",
    "evil.test:8080",
    "localhost.evil.test",
    "127.0.0.1.evil.test",
    "evil.test.localhost.",
    "127.0.0.1@evil.test",
    "10.0.0.1",
    "0.0.0.0",
    "[::2]:80",
    "2130706433",
    "",
];

#[test]
fn other_names_are_misdirected() {
    let server = Server::start(&[]);
    for host in FOREIGN {
        for request in [
            server.subscribe("a"),
            server.post("/events/canary", "x"),
            server.post_json(r#"{"topic":"canary"}"#),
            server.request("OPTIONS", "/events/a"),
        ] {
            let mut connection = request.field("Host", *host).start();
            assert_eq!(connection.head().status, 421, "{host}");
        }
    }
    server.expect_untouched("canary");
}

#[test]
fn names_of_this_machine_are_its_own() {
    let server = Server::start(&[]);
    for host in ["localhost", "LocalHost:1", "127.0.0.1", "127.9.9.9:8080", "[::1]:8080"] {
        assert_eq!(server.post("/events/a", "x").field("Host", host).send().status(), 200, "{host}");
    }
}

#[test]
fn a_name_that_was_set_is_its_own() {
    let server = Server::start(&["--host", "push.example", "--host", "10.1.2.3"]);
    for host in ["push.example", "PUSH.example:443", "10.1.2.3:80", "localhost"] {
        assert_eq!(server.post("/events/a", "x").field("Host", host).send().status(), 200, "{host}");
    }
    server.post("/events/a", "x").field("Host", "sub.push.example").send().problem(421);
}

#[test]
fn an_absolute_target_names_the_host() {
    let server = Server::start(&[]);
    server.follow("http://evil.test/events/a").field("Host", "localhost").send().problem(421);
    let mut stream = server.follow("http://localhost/events/a").field("Host", "localhost").open();
    server.publish("a", "x");
    assert_eq!(stream.next_data(), "x");
}

/// RFC 9112, 3.2.
#[test]
fn a_request_names_one_host() {
    let server = Server::start(&[]);
    for fields in ["", "Host: localhost\r\nHost: localhost\r\n", "Host: localhost\r\nX: y\r\nhost: evil.test\r\n"] {
        let mut connection = server.connect();
        connection.send(format!("POST /events/canary HTTP/1.1\r\n{fields}Content-Length: 1\r\n\r\nx"));
        assert_eq!(connection.reply().problem(400).field.as_deref(), Some("Host"), "{fields:?}");
    }
    server.expect_untouched("canary");
    // Before HTTP/1.1 there was none.
    let mut connection = server.connect();
    connection.send("POST /events/a HTTP/1.0\r\nContent-Length: 1\r\n\r\nx");
    assert_eq!(connection.reply().status(), 200);
}

/// FAILURES I6: the admin listener is on loopback, too, and needs no token there. A publisher's key protects nothing of it.
#[test]
fn the_admin_listener_answers_to_its_own_names_only() {
    for keys in [&[][..], &["--publisher-jwt-key", SECRET]] {
        let server = Server::start(keys);
        for target in ["/metrics", "/api/topics"] {
            server.admin(target).field("Host", "evil.test").send().problem(421);
        }
    }
}
