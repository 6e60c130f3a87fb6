//! Methods and paths: what there is, and what is told about the rest.

use crate::harness::{Server, StreamPath, on_all_paths};

on_all_paths![head_gives_the_head_and_opens_no_stream];

fn head_gives_the_head_and_opens_no_stream(path: StreamPath) {
    let server = path.start(&[]);
    let get = server.subscribe("a").open();
    let mut connection = server.connect();
    for target in ["/events/a", "/events?topic=a&topic=b"] {
        connection.send(server.request("HEAD", target).bytes());
        let head = connection.head();
        assert_eq!(head.status, 200);
        for name in ["content-type", "cache-control", "x-accel-buffering"] {
            assert_eq!(head.field(name), get.head.field(name), "{name}");
        }
    }
    // Nothing follows a head: what comes next on the connection is the answer to the next request.
    connection.send(server.post("/events/a", "x").bytes());
    assert_eq!(connection.reply().status(), 200);
    assert_eq!(server.metric("sse_connections_total"), Some(1.0));
    assert_eq!(server.request("HEAD", "/events/%ff").send().status(), 400);
    assert_eq!(server.request("HEAD", "/nowhere").send().status(), 404);
}

#[test]
fn options_answers_without_a_body() {
    let server = Server::start(&[]);
    for (target, allow) in [
        ("/events/a", "GET, HEAD, POST, DELETE, OPTIONS"),
        ("/events", "GET, HEAD, OPTIONS"),
        ("/publish", "POST, OPTIONS"),
    ] {
        let reply = server.request("OPTIONS", target).send();
        assert_eq!((reply.status(), reply.text().as_str()), (204, ""), "{target}");
        assert_eq!(reply.field("allow"), Some(allow), "{target}");
    }
}

#[test]
fn other_methods_are_told_which_there_are() {
    let server = Server::start(&[]);
    for (target, allow, refused) in [
        ("/events/a", "GET, HEAD, POST, DELETE, OPTIONS", &["PUT", "PATCH", "TRACE", "BREW", "get"][..]),
        ("/events", "GET, HEAD, OPTIONS", &["POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"]),
        ("/publish", "POST, OPTIONS", &["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE"]),
    ] {
        for method in refused {
            let reply = server.request(method, target).send();
            assert_eq!(reply.field("allow"), Some(allow), "{method} {target}");
            if *method != "HEAD" {
                reply.problem(405);
            }
        }
    }
    for target in ["/livez", "/readyz", "/metrics"] {
        let reply = crate::harness::Request::new(server.admin_addr(), "POST", target).body("x").send();
        reply.problem(405);
        assert_eq!(reply.field("allow"), Some("GET, HEAD"));
    }
}

#[test]
fn there_is_nothing_at_other_paths() {
    let server = Server::start(&[]);
    for target in
        ["/", "/event/a", "/eventsa", "/Events/a", "/publish/", "/favicon.ico", "//events/a", "/livez", "/metrics"]
    {
        for method in ["GET", "POST", "DELETE", "OPTIONS", "BREW"] {
            server.request(method, target).send().problem(404);
        }
    }
    server.admin("/events/a").send().problem(404);
    assert_eq!(server.topics(), 0);
}

#[test]
fn junk_for_a_method_opens_no_stream() {
    let server = Server::start(&[]);
    for method in ["CONNECT", "PRI", "%00", "GET/", "!#$&'*+-.^_`|~", &"G".repeat(1000)] {
        let status = server.request(method, "/events/a").send().status();
        assert!(matches!(status, 400 | 404 | 405 | 421), "{method}: {status}");
    }
    for method in ["", "G(T", "G\u{e9}T", "GET\t", "\"GET\""] {
        let mut connection = server.connect();
        connection.send(server.request(method, "/events/a").bytes());
        connection.reply().problem(400);
        connection.expect_closed();
    }
    assert_eq!(server.metric("sse_connections_total"), Some(0.0));
    assert_eq!(server.topics(), 0);
}
