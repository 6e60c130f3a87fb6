//! Bad input: every malformed publish gets its status and a reason, and touches nobody's stream.

use crate::harness::{Request, Server, Stream};

/// A server with a follower who must not notice anything.
struct Scene {
    server: Server,
    bystander: Stream,
}

impl Scene {
    fn new() -> Self {
        let server = Server::start(&["--event-bytes-max", "1KiB"]);
        let bystander = server.follow("/events?match=*").open();
        Self { server, bystander }
    }

    #[track_caller]
    fn expect_refused(&self, request: &Request, field: &str) {
        let reply = request.send();
        assert_eq!(reply.status(), 400, "{request:?}");
        let problem = reply.problem(400);
        assert_eq!(problem.field.as_deref(), Some(field), "{problem:?}\n{request:?}");
    }

    /// Nothing was published, and the bystander's stream goes on.
    fn end(mut self) {
        self.server.publish("canary", "still here");
        assert_eq!(self.bystander.next_data(), "still here");
        assert_eq!(self.server.metric("sse_events_published_total"), Some(1.0));
    }
}

#[test]
fn queries() {
    let scene = Scene::new();
    let mut cases = vec![
        ("retry=", "retry"),
        ("retry=soon", "retry"),
        ("retry=-1", "retry"),
        ("retry=%2B1", "retry"),
        ("retry=1.5", "retry"),
        ("retry=1e3", "retry"),
        ("retry=18446744073709551616", "retry"),
        ("retry=%D9%A1", "retry"),
        ("typ=x", "query"),
        ("data=x", "query"),
        ("type=%ff", "query"),
        ("%ff=x", "query"),
        ("type=sse.gap", "type"),
        ("type=sse.", "type"),
        ("id=earliest", "id"),
        ("id=%23", "id"),
        ("id=%23anything", "id"),
        ("id=0abcdefg-0000000000000001", "id"),
    ];
    for line_break in ["%0A", "%0D", "%0D%0A", "%00"] {
        for (name, field) in [("type", "type"), ("id", "id")] {
            for value in [format!("a{line_break}b"), line_break.to_owned(), format!("{line_break}data:%20forged")] {
                cases.push((Box::leak(format!("{name}={value}").into_boxed_str()), field));
            }
        }
    }
    for (query, field) in cases {
        scene.expect_refused(&scene.server.post(&format!("/events/a?{query}"), "x"), field);
    }
    scene.end();
}

#[test]
fn topics() {
    let scene = Scene::new();
    let long = format!("/events/{}", "x".repeat(1025));
    for target in ["/events/", "/events/%ff", "/events/a%0Ab", "/events/a%00", "/events/%7F", &long] {
        scene.expect_refused(&scene.server.post(target, "x"), "topic");
        scene.expect_refused(&scene.server.request("DELETE", target), "topic");
    }
    scene.end();
}

#[test]
fn data_that_is_not_text() {
    let scene = Scene::new();
    for data in [&b"\xff"[..], b"caf\xe9", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\x80", b"fine until \xe2\x82"] {
        scene.expect_refused(&scene.server.post("/events/a", data), "data");
        let envelope = [br#"{"topic":"a","data":""#, data, br#""}"#].concat();
        scene.expect_refused(&scene.server.post_json(&envelope), "body");
        scene.expect_refused(&scene.server.post_ndjson(&envelope), "body");
    }
    scene.end();
}

#[test]
fn envelopes() {
    let scene = Scene::new();
    let many_topics = format!(r#"{{"topics":[{}]}}"#, numbered(1001));
    let deep = |open: &str, close: &str| {
        format!(r#"{{"topic":"a","data":{}1{}}}"#, open.repeat(100_000), close.repeat(100_000))
    };
    for (body, field) in [
        ("", "body"),
        (" \n", "body"),
        ("x", "body"),
        ("1", "body"),
        ("null", "body"),
        (r#""topic""#, "body"),
        ("{", "body"),
        (r#"{"topic":"a"}}"#, "body"),
        (r#"{"topic":"a"} {"topic":"b"}"#, "body"),
        ("\u{feff}{\"topic\":\"a\"}", "body"),
        (r#"{"topic":"a","dat":"x"}"#, "body"),
        (r#"{"topic":"a","topic":"b"}"#, "body"),
        (r#"{"topic":"a","data":1,"data":2}"#, "body"),
        (r#"{"topic":1}"#, "body"),
        (r#"{"topic":"a","id":1}"#, "body"),
        (r#"{"topic":"a","retry":"1"}"#, "body"),
        (r#"{"topic":"a","retry":-1}"#, "body"),
        (r#"{"topic":"a","retry":1.5}"#, "body"),
        (r#"{"topic":"a","retry":1e400}"#, "body"),
        (r#"{"topic":"a","retry":18446744073709551616}"#, "body"),
        (r#"{"topic":"a","private":"yes"}"#, "body"),
        (r#"{"topic":"a","data":"\ud800"}"#, "body"),
        (r#"{"topic":"a","data":"\udc00\ud800"}"#, "body"),
        ("{\"topic\":\"a\",\"data\":\"a\nb\"}", "body"),
        (r#"{"topic":"a","data":NaN}"#, "body"),
        (r#"{"topic":"a","data":01}"#, "body"),
        (&deep("[", "]"), "data"),
        (&deep(r#"{"a":"#, "}"), "data"),
        ("{}", "topic"),
        (r#"{"data":"x"}"#, "topic"),
        (r#"{"topic":""}"#, "topic"),
        (r#"{"topic":"a\nb"}"#, "topic"),
        (r#"{"topic":"a","topics":["b"]}"#, "topic"),
        (r#"{"topics":[]}"#, "topic"),
        (r#"{"topics":["a",""]}"#, "topic"),
        (&many_topics, "topics"),
        (r#"{"topic":"a","type":"sse.gap"}"#, "type"),
        (r#"{"topic":"a","id":"earliest"}"#, "id"),
        (r##"{"topic":"a","id":"#1"}"##, "id"),
        (r#"{"topic":"a","id":"0abcdefg-0000000000000001"}"#, "id"),
        (r#"{"topic":"a","type":"a\nb"}"#, "type"),
        (r#"{"topic":"a","type":"a\rb"}"#, "type"),
        (r#"{"topic":"a","type":"\r\n"}"#, "type"),
        (r#"{"topic":"a","type":"\u0000"}"#, "type"),
        (r#"{"topic":"a","id":"a\nb"}"#, "id"),
        (r#"{"topic":"a","id":"a\rdata: forged"}"#, "id"),
        (r#"{"topic":"a","id":"\r\n"}"#, "id"),
        (r#"{"topic":"a","id":"a\u0000"}"#, "id"),
    ] {
        scene.expect_refused(&scene.server.post_json(body), field);
        // As an item of a batch it is refused in the same way, and the batch with it.
        scene.expect_refused(&scene.server.post_json(format!(r#"[{{"topic":"a"}},{body}]"#)), field);
    }
    scene.end();
}

#[test]
fn batches_that_are_too_long_or_empty() {
    let scene = Scene::new();
    let before = scene.server.resident_bytes();
    for body in [
        "[]".to_owned(),
        format!("[{}]", vec![r#"{"topic":"a"}"#; 10_001].join(",")),
        format!("[{}]", vec!["0"; 1_000_000].join(",")),
        format!("[{}", "[".repeat(1_000_000)),
    ] {
        scene.expect_refused(&scene.server.post_json(body), "body");
    }
    scene.expect_refused(&scene.server.post_ndjson(""), "body");
    scene.expect_refused(&scene.server.post_ndjson("\n\n"), "body");
    scene.expect_refused(&scene.server.post_ndjson("{\"topic\":\"a\"}\n".repeat(10_001)), "body");
    let grown = scene.server.resident_bytes().saturating_sub(before);
    assert!(grown < 128 << 20, "refusing took {} MiB", grown >> 20);
    scene.end();
}

/// I8: a refusal tells what was wrong without handing the input back as something a browser would run.
#[test]
fn refusals_reflect_nothing() {
    let server = Server::start(&[]);
    let (markup, encoded) = ("<script>alert(1)</script>", "%3Cscript%3Ealert(1)%3C/script%3E");
    for request in [
        server.request("GET", format!("/{encoded}")),
        server.request("GET", format!("/events/a?envelope={encoded}")),
        server.post(&format!("/events/a?{encoded}=1"), ""),
        server.post_json(format!(r#"{{"{markup}":1}}"#)),
        server.request("SCRIPT", "/events/a"),
        server.request("GET", "/events/a").field("Host", markup),
    ] {
        let reply = request.send();
        reply.problem(reply.status());
        assert_eq!(reply.field("cache-control"), Some("no-store"));
        assert!((400..500).contains(&reply.status()));
    }
}

fn numbered(count: usize) -> String {
    (0..count).map(|n| format!("\"{n}\"")).collect::<Vec<_>>().join(",")
}

/// Issue 3: every malformed request gets its status and a clear problem body.
#[test]
fn requests_that_are_none_get_a_problem_body_too() {
    let server = Server::start(&[]);
    for request in ["GET /events/a HTTP/1.1\r\nX\r\n\r\n", "nonsense\r\n\r\n"] {
        let mut connection = server.connect();
        connection.send(request);
        connection.reply().problem(400);
    }
    let many = (0..200).fold(server.subscribe("a"), |request, n| request.field(&format!("X-{n}"), "y"));
    many.send().problem(431);
}
