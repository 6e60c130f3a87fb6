//! The first minute with the server: `curl -N` in one terminal, `curl -d` in another.

use crate::harness::{Head, Server, StreamPath, also_on_http2, on_both_paths};

on_both_paths![a_follower_sees_an_event_byte_for_byte, what_is_published_is_acknowledged_with_its_id];

also_on_http2![what_is_published_is_acknowledged_with_its_id];

fn a_follower_sees_an_event_byte_for_byte(path: StreamPath) {
    let server = path.start(&["--retry-jitter", "0"]);
    let mut stream = server.request("GET", "/events/news").field("User-Agent", "curl/8.5.0").open();
    let date = stream.head.field("date").expect("a date").to_owned();
    assert_eq!(
        stream.head.text,
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\n\
             Vary: Accept-Encoding\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\nDate: {date}\r\n\r\n"
        )
    );
    // At once: a browser's `onopen` waits for it.
    stream.expect_opening(3000);

    let curl = server.post("/events/news", "hello").field("Content-Type", "application/x-www-form-urlencoded");
    let id = curl.send().json()["id"].as_str().unwrap().to_owned();
    stream.expect_text(&format!("id: {id}\ndata: hello\n\n"));
}

fn what_is_published_is_acknowledged_with_its_id(path: StreamPath) {
    let server = path.start(&[]);
    let reply = server.post("/events/news", "hello").send();
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.field("content-type"), Some("application/json"));
    let id = reply.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(reply.text(), format!("{{\"id\":\"{id}\",\"durability\":\"memory\"}}\n"));

    let (epoch, sequence) = id.split_once('-').unwrap();
    assert_eq!((epoch.len(), sequence), (8, "0000000000000001"));
    let second = server.publish("news", "again");
    assert_eq!(second, format!("{epoch}-0000000000000002"));
}

/// One suite over both paths: whatever is asked, the two answer with the same head and the same stream.
#[test]
fn the_two_paths_cannot_be_told_apart() {
    let writers = Transcript::of(&StreamPath::Writers.start(TRANSCRIPT_FLAGS));
    let hyper = Transcript::of(&StreamPath::Hyper.start(TRANSCRIPT_FLAGS));
    assert_eq!(writers.parts.len(), hyper.parts.len());
    for (writers, hyper) in writers.parts.iter().zip(&hyper.parts) {
        assert_eq!(writers, hyper);
    }
}

const TRANSCRIPT_FLAGS: &[&str] = &["--retry-jitter", "0", "--cors-origin", "https://app.example"];

/// What a server answered to a fixed series of requests, with epoch and date taken out.
struct Transcript {
    epoch: String,
    parts: Vec<String>,
}

impl Transcript {
    fn of(server: &Server) -> Self {
        let first = server.publish("past", "before anybody came");
        let epoch = first.split_once('-').unwrap().0.to_owned();
        let mut transcript = Self { epoch, parts: Vec::new() };
        transcript.take_streams(server);
        transcript.take_ends(server);
        transcript
    }

    fn take_streams(&mut self, server: &Server) {
        let targets = [
            "/events/a",
            "/events/past?last_event_id=earliest",
            "/events/past?last_event_id=unheard-of",
            "/events/past?last_event_id=00000000-0000000000000001",
            "/events?topic=a",
            "/events?topic=a&topic=b&last_event_id=earliest",
            "/events?topic=a&topic=b&last_event_id=00000000-0000000000000001",
            "/events?match=*",
            "/events?match=%7Bname%7D&last_event_id=earliest",
            "/events/a?envelope=json",
        ];
        let requests = targets.iter().flat_map(|target| {
            let plain = server.follow(*target);
            let cross_origin = plain.clone().field("Origin", "https://app.example");
            let closing = plain.clone().field("Connection", "close");
            let old = plain.clone().version("HTTP/1.0");
            [plain, cross_origin, closing, old]
        });
        let mut streams: Vec<_> = requests.map(|request| request.open()).collect();
        server.publish_to("/events/a?type=greeting&retry=1500", "one\ntwo\r\nthree\rfour\n");
        server.publish_to("/events/a?id=chosen", "");
        server.post_json(r#"{"topics":["a","b"],"data":{"to": "both"}}"#).send();
        server.post_json(r#"{"topics":["a","b","past"],"data":"last"}"#).send();
        for stream in &mut streams {
            let text = stream.text_through(["data: last\n\n", "\"data\":\"last\"}\n\n"]);
            let head = stream.head.clone();
            self.note(&head, &text);
        }
    }

    fn take_ends(&mut self, server: &Server) {
        let follower = server.subscribe("run").open();
        let several = server.follow("/events?topic=run&topic=other").open();
        server.publish("run", "step");
        server.close("run");
        let late = server.subscribe("run").last_event_id("earliest").open();
        server.close("other");
        for stream in [follower, several, late] {
            let head = stream.head.clone();
            self.note(&head, &stream.text_to_end());
        }
        for request in [server.subscribe("run"), server.request("HEAD", "/events/a"), server.subscribe("")] {
            let reply = request.send();
            self.note(&reply.head, &reply.text());
        }
    }

    fn note(&mut self, head: &Head, text: &str) {
        let mut fields: Vec<&str> = head.text.lines().filter(|line| !line.starts_with("Date: ")).collect();
        if head.field("connection") == Some("close") {
            // Here hyper goes by its own rules: it answers HTTP/1.0 with HTTP/1.0 and HTTP/1.1 with chunks.
            fields[0] = "HTTP/1.x 200 OK";
            fields.retain(|field| *field != "Transfer-Encoding: chunked");
        }
        let fields = fields.join("\n");
        self.parts.push(format!("{fields}\n\n{text}").replace(&self.epoch, "EPOCH"));
    }
}
