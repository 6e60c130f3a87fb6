//! What one client may take: connections of an address, requests in a second, and who counts as one client behind a proxy.

use std::time::Duration;

use crate::harness::{Connection, Item, Request, Server, Stream, StreamPath, also_on_http2, eventually, on_both_paths};

on_both_paths![
    an_address_has_so_many_streams,
    a_spoofed_address_locks_nobody_out,
    clients_behind_a_trusted_proxy_count_for_themselves,
    an_address_may_ask_for_so_many_streams_in_a_second,
];

also_on_http2![an_address_may_ask_for_so_many_streams_in_a_second];

const HOG: &str = "127.0.9.1";
const VICTIM: &str = "127.0.9.2";

/// The stream of somebody who is to come back later.
#[track_caller]
fn expect_turned_away(mut stream: Stream) {
    let Item::Retry(retry) = stream.next_item() else { panic!("no retry: line") };
    assert!((Duration::from_secs(5)..=Duration::from_secs(15)).contains(&retry), "{retry:?}");
    assert_eq!(stream.next_event().event_type, "sse.reconnect");
}

#[track_caller]
fn retry_after(request: &Request) -> u64 {
    let reply = request.send();
    reply.problem(429);
    reply.field("retry-after").expect("when to come back").parse().unwrap()
}

/// FAILURES G3.
fn an_address_has_so_many_streams(path: StreamPath) {
    let server = path.start(&["--connections-per-ip-max", "2"]);
    let mut first = server.subscribe("a").from(HOG).open();
    let second = server.subscribe("a").from(HOG).open();
    expect_turned_away(server.subscribe("a").from(HOG).open());
    assert!((5..=15).contains(&retry_after(&server.request("GET", "/events/a").from(HOG))));
    assert_eq!(server.metric(r#"sse_connections_rejected_total{reason="address"}"#), Some(2.0));

    // Nobody else notices, and publishing goes on even from there.
    let mut other = server.subscribe("a").from(VICTIM).open();
    assert_eq!(server.post("/events/a", "still here").from(HOG).send().status(), 200);
    assert_eq!([first.next_data(), other.next_data()], ["still here", "still here"]);

    drop(second);
    let mut third = eventually("the place becomes free", || {
        let mut stream = server.subscribe("a").from(HOG).last_event_id("earliest").open();
        (stream.next_event().event_type == "message").then_some(stream)
    });
    server.publish("a", "welcome");
    assert_eq!(third.next_data(), "welcome");
}

/// Even to be told so, there is only so much room.
#[test]
fn a_crowd_of_one_address_is_closed_on() {
    let server = Server::start(&["--connections-per-ip-max", "2"]);
    let member = || {
        let mut connection = Connection::open_from(HOG.parse().unwrap(), server.addr());
        // The kernel hands out at once only those who say something.
        connection.try_send("G");
        connection
    };
    let crowd: Vec<Connection> = (0..60).map(|_| member()).collect();
    let closed = crowd
        .into_iter()
        .filter_map(|mut connection| (!connection.is_quiet_for(Duration::from_millis(100))).then_some(()))
        .count();
    assert_eq!(closed, 60 - 2 - 4, "all but those within the bound and those who are told");
    let _other = server.subscribe("a").from(VICTIM).open();
}

/// Whoever is no trusted proxy can write what it likes.
fn a_spoofed_address_locks_nobody_out(path: StreamPath) {
    let server = path.start(&["--connections-per-ip-max", "2"]);
    let spoofed = |name: &str| {
        server.subscribe("a").from(HOG).field(name, format!("for={VICTIM}")).field("X-Forwarded-For", VICTIM)
    };
    let _streams = [spoofed("Forwarded").open(), spoofed("Forwarded").open()];
    expect_turned_away(spoofed("Forwarded").open());
    let _victims = [server.subscribe("a").from(VICTIM).open(), server.subscribe("a").from(VICTIM).open()];
    let line = server.log.wait_for("connected", |_| true);
    assert!(line["remote_addr"].as_str().unwrap().starts_with(HOG), "{line}");
}

fn clients_behind_a_trusted_proxy_count_for_themselves(path: StreamPath) {
    let proxy = HOG;
    let server = path.start(&["--connections-per-ip-max", "2", "--trusted-proxy", "127.0.9.1/32"]);
    let client =
        |address: &str| server.subscribe("a").from(proxy).field("X-Forwarded-For", format!("192.0.2.9, {address}"));
    let mut streams = Vec::new();
    for address in ["198.51.100.1", "198.51.100.2", "2001:db8:0:1::1", "2001:db8:0:2::1"] {
        streams.extend([client(address).open(), client(address).open()]);
    }
    // Of one /64 all are one client.
    for address in ["198.51.100.1", "2001:db8:0:1:ffff::9"] {
        expect_turned_away(client(address).open());
    }
    let line = server.log.wait_for("connected", |line| line["remote_addr"] == "2001:db8:0:2::1");
    assert_eq!(line["topics"], "a");
    streams.clear();
    eventually("the places become free", || {
        let mut stream = client("198.51.100.1").open();
        server.publish("a", "x");
        (stream.next_event().event_type == "message").then_some(())
    });
}

/// Two proxies: the nearer one is asked by the farther one, which may be trusted too.
#[test]
fn a_chain_of_trusted_proxies_is_walked_from_the_right() {
    let server = Server::start(&["--trusted-proxy", "127.0.9.0/24", "--trusted-proxy", "10.0.0.0/8"]);
    for (name, value, expected) in [
        ("X-Forwarded-For", "192.0.2.66, 198.51.100.1, 10.1.2.3", "198.51.100.1"),
        ("Forwarded", "for=192.0.2.66, for=198.51.100.2;proto=https, for=10.1.2.3", "198.51.100.2"),
    ] {
        let _stream = server.subscribe("a").from(HOG).field(name, value).open();
        server.log.wait_for("connected", |line| line["remote_addr"] == expected);
    }
}

#[test]
fn an_address_may_publish_so_much_in_a_second() {
    let server = Server::start(&["--publish-rate-max", "5"]);
    let post = |source: &str| server.post("/events/a", "x").from(source);
    // Whatever the machine is busy with, fifty requests do not take ten seconds.
    let refused = (0..50).find_map(|_| {
        let reply = post(HOG).send();
        (reply.status() != 200).then_some(reply)
    });
    let refused = refused.expect("one is too many");
    refused.problem(429);
    assert_eq!(refused.field("retry-after"), Some("1"));
    assert_eq!(post(VICTIM).send().status(), 200);
    assert!(server.metric(r#"sse_publish_rejected_total{reason="rate"}"#) >= Some(1.0));

    // A batch counts by its events.
    let lines = "{\"topic\":\"b\"}\n".repeat(5);
    let batch = || server.post_ndjson(&lines).from("127.0.9.3").send();
    assert_eq!(batch().status(), 200);
    batch().problem(429);
    assert_eq!(server.request("DELETE", "/events/c").from("127.0.9.3").send().status(), 429);
}

fn an_address_may_ask_for_so_many_streams_in_a_second(path: StreamPath) {
    let server = path.start(&["--subscribe-rate-max", "3"]);
    let _streams: Vec<Stream> = (0..3).map(|_| server.subscribe("a").from(HOG).open()).collect();
    let refused = (0..30).find_map(|_| {
        let reply = server.request("HEAD", "/events/a").from(HOG).send();
        (reply.status() != 200).then_some(reply)
    });
    let refused = refused.expect("one is too many");
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.field("retry-after"), Some("1"));
    drop(server.subscribe("a").from(VICTIM).open());
    assert!(server.metric(r#"sse_connections_rejected_total{reason="rate"}"#) >= Some(1.0));
}
