//! Who follows, how far behind, and why.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::token::{SECRET, token};
use crate::harness::{Server, StreamPath, also_compressed_in_http2, eventually, on_all_paths};

on_all_paths![a_stream_is_listed_as_what_it_is, who_does_not_read_is_listed_first_and_why];
also_compressed_in_http2![a_stream_is_listed_as_what_it_is, who_does_not_read_is_listed_first_and_why];

fn list(server: &Server, query: &str) -> Value {
    server.admin(&format!("/api/subscribers?{query}")).send().json()
}

fn ids(listing: &Value) -> Vec<&str> {
    listing["subscribers"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect()
}

fn a_stream_is_listed_as_what_it_is(path: StreamPath) {
    let server = path.start(&["--subscriber-jwt-key", SECRET, "--open-publish", "on"]);
    let ann = token(&json!({ "sub": "ann", "mercure": { "subscribe": ["*"] } }));
    let mut one = server.subscribe("news").bearer(&ann).field("User-Agent", "test/1").open();
    let _several = server.follow("/.well-known/mercure?topic=a&topic=/b/{id}").bearer(&ann).open();
    server.publish("news", "x");
    assert_eq!(one.next_data(), "x");

    let listing = eventually("both to have everything", || {
        let listing = list(&server, "");
        let all = listing["subscribers"].as_array().unwrap();
        (all.len() == 2 && all.iter().all(|one| one["state"] == "caught_up")).then_some(listing)
    });
    assert_eq!((&listing["total"], &listing["found"]), (&json!(2), &json!(2)));
    let listing = list(&server, "topic=news");
    assert_eq!((&listing["total"], &listing["found"]), (&json!(2), &json!(1)));
    let mut listed = listing["subscribers"][0].clone();
    let fields = listed.as_object_mut().unwrap();
    let age = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
        - fields.remove("connected_at").unwrap().as_u64().unwrap();
    assert!(age < 30 && fields.remove("last_write_ms").unwrap().as_u64().unwrap() < 30_000);
    assert!(!fields.remove("id").unwrap().as_str().unwrap().is_empty());
    let addr = fields.remove("remote_addr").unwrap();
    server.log.wait_for("connected", |line| line["remote_addr"] == addr && line["topics"] == "news");
    let protocol = match path {
        StreamPath::Writers | StreamPath::Hyper | StreamPath::Gzip => "http/1.1",
        StreamPath::Tls => "http/1.1+tls",
        StreamPath::Http2 | StreamPath::Http2Gzip => "http/2",
    };
    let expected = json!({
        "topics": "news", "user_agent": "test/1", "subject": "ann", "protocol": protocol, "interface": "native",
        "compressed": matches!(path, StreamPath::Gzip | StreamPath::Http2Gzip), "lag_events": 0, "lag_bytes": 0, "pending_bytes": 0,
        "slow_policy": "evict", "state": "caught_up",
    });
    assert_eq!(listed, expected);
    let mercure = &list(&server, "topic=/b/{id}")["subscribers"][0];
    assert_eq!((&mercure["interface"], &mercure["topics"]), (&json!("mercure"), &json!("a /b/{id}")));
}

fn who_does_not_read_is_listed_first_and_why(path: StreamPath) {
    let server = path.start(&["--lag-frames-max", "10", "--lag-grace", "1h", "--write-timeout", "1h"]);
    let _healthy = server.subscribe("b").open();
    let stalled = server.subscribe("a").open_with_tiny_buffer();
    let _several = server.follow("/events?topic=b&topic=c").open();
    let noise: String = std::iter::repeat_with(fastrand::alphanumeric).take(200_000).collect();
    (0..20).for_each(|_| drop(server.publish("a", &noise)));
    let first = eventually("the stalled one to be told", || {
        let listing = list(&server, "limit=1");
        let first = listing["subscribers"][0].clone();
        (first["state"] == "blocked" && first["lag_events"].as_u64().unwrap() > 10).then_some(first)
    });
    let addr = stalled.local_addr();
    let connected = server.log.wait_for("connected", |line| line["remote_addr"] == addr.as_str());
    assert_eq!(first["remote_addr"], connected["remote_addr"]);
    let (lag, pending) = (first["lag_bytes"].as_u64().unwrap(), first["pending_bytes"].as_u64().unwrap());
    assert!(lag > 2_000_000 && lag < 4_100_000 && pending < 4_100_000, "{first}");
    let why = first["why"].as_str().unwrap();
    assert!(
        why.starts_with("its socket is full: ") && why.ends_with("over the lag bound, so it will be evicted"),
        "{why}"
    );
    assert_eq!(list(&server, "limit=1")["found"], 3);
}

#[test]
fn listings_are_filtered_and_bounded() {
    let server = Server::start(&[]);
    let _here: Vec<_> = (0..3).map(|_| server.subscribe("a").open()).collect();
    let _elsewhere = server.subscribe("a").from("127.0.0.9").open();
    let _other = server.subscribe("a b").clone();
    assert_eq!(list(&server, "ip=127.0.0.9")["found"], 1);
    assert_eq!(list(&server, "ip=127.0.0.8")["found"], 0);
    assert_eq!(list(&server, "topic=b")["found"], 0);
    assert_eq!(list(&server, "subject=ann")["found"], 0);
    let listing = list(&server, "limit=2&topic=a");
    assert_eq!((ids(&listing).len(), &listing["found"]), (2, &json!(4)));
    for malformed in ["ip=x", "limit=x", "limit=-1", "colour=red", "topic=%ff"] {
        server.admin(&format!("/api/subscribers?{malformed}")).send().problem(400);
    }
    server.admin("/api/subscribers?limit=99999999").send().json();
    super::change(&server, "POST", "/api/subscribers").body("{}").send().problem(405);
}

/// A listing is a look, in slices: streams go on meanwhile.
#[test]
fn streams_go_on_while_many_are_listed() {
    let server = Server::start(&["--writers", "1"]);
    let _crowd: Vec<_> = (0..1500).map(|_| server.subscribe("quiet").open()).collect();
    let mut stream = server.subscribe("a").open();
    let mut slowest = Duration::ZERO;
    std::thread::scope(|scope| {
        let lister = scope.spawn(|| (0..20).for_each(|_| assert_eq!(list(&server, "limit=1000")["found"], 1501)));
        while !lister.is_finished() {
            let published = std::time::Instant::now();
            server.publish("a", "x");
            assert_eq!(stream.next_data(), "x");
            slowest = slowest.max(published.elapsed());
        }
    });
    // Far above what it takes, far below what a crowd at once would on a busy machine.
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}
