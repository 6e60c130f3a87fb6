//! HTTP/2 as its clients and its attackers meet it, frame by frame. FAILURES E, and C10.

use std::time::{Duration, Instant};

use crate::harness::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, Frames, GOAWAY, HEADERS, PING, PREFACE, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, field, frame, request,
};
use crate::harness::{Connection, DEADLINE, Server, event_ids, within};

/// Settings that a client may send.
const INITIAL_WINDOW: u16 = 4;
/// Error codes (RFC 9113, 7).
const NO_ERROR: u32 = 0;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

/// The error code at the end of a RST_STREAM or GOAWAY.
fn code(frame: &Frame) -> u32 {
    let at = if frame.kind == GOAWAY { 4 } else { 0 };
    u32::from_be_bytes(frame.payload[at..at + 4].try_into().unwrap())
}

/// Streams that a client opens are odd.
fn odd(n: u32) -> u32 {
    2 * n + 1
}

/// Sends what `attack` makes until the server ends the connection; how often it took that.
#[track_caller]
fn until_closed(client: &mut Frames, rounds_max: u32, attack: impl Fn(u32) -> Vec<u8>) -> (u32, u32) {
    let started = Instant::now();
    let mut rounds = 0;
    loop {
        while let Ok(frame) = client.next_within(Duration::ZERO) {
            if frame.kind == GOAWAY {
                return (rounds, code(&frame));
            }
        }
        // In small steps, so that what comes back is seen in between.
        let bytes: Vec<u8> = (rounds..rounds + 20).flat_map(&attack).collect();
        rounds += 20;
        if rounds > rounds_max || !client.try_send(bytes) {
            let rest = client.rest_within(DEADLINE);
            let goaway = rest.iter().find(|frame| frame.kind == GOAWAY).expect("it says why it goes");
            return (rounds, code(goaway));
        }
        assert!(started.elapsed() < DEADLINE, "still open after {rounds} rounds");
    }
}

/// The server still serves others.
#[track_caller]
fn expect_served(server: &Server) {
    let mut client = Frames::open(server.addr(), &[]);
    client.ask(1, "GET", "/events/innocent");
    assert_eq!(client.next_of(HEADERS).payload[0], 0x88, "it is :status 200");
    server.publish("innocent", "still here");
    client.text_through(1, "data: still here\n\n");
}

#[test]
fn thirty_streams_share_a_connection() {
    let server = Server::start(&["--retry-jitter", "0"]);
    let mut client = Frames::open(server.addr(), &[]);
    (0..30).for_each(|n| client.ask(odd(n), "GET", &format!("/events/{n}")));
    (0..30).for_each(|_| assert_eq!(client.next_of(HEADERS).payload[0], 0x88));
    server.wait_for_metric("sse_connections_active", 30.0);
    for n in (0..30).rev() {
        let id = server.publish(&n.to_string(), "x");
        let text = client.text_through(odd(n), "x\n\n");
        assert!(text.ends_with(&format!("id: {id}\ndata: x\n\n")), "{text}");
    }
    // One leaves, the others stay.
    client.send(frame(RST_STREAM, 0, odd(3), &CANCEL.to_be_bytes()));
    server.wait_for_metric("sse_connections_active", 29.0);
    server.publish("4", "y");
    client.text_through(odd(4), "y\n\n");
}

/// E9.
#[test]
fn one_stream_too_many_is_refused() {
    let server = Server::start(&[]);
    let mut client = Frames::open(server.addr(), &[]);
    (0..100).for_each(|n| client.ask(odd(n), "GET", "/events/a"));
    server.wait_for_metric("sse_connections_active", 100.0);
    client.ask(odd(100), "GET", "/events/a");
    let refused = client.next_of(RST_STREAM);
    assert_eq!((refused.stream, code(&refused)), (odd(100), REFUSED_STREAM));
    server.publish("a", "still here");
    let mut told: Vec<u32> = Vec::new();
    while told.len() < 100 {
        let data = client.next_of(DATA);
        if String::from_utf8_lossy(&data.payload).contains("data: still here\n\n") {
            told.push(data.stream);
        }
    }
}

/// E9.
#[test]
fn after_so_many_requests_the_client_is_asked_to_open_another_connection() {
    let server = Server::start(&[]);
    let mut client = Frames::open(server.addr(), &[]);
    client.ask(1, "GET", "/events/a");
    client.text_through(1, "\n\n");
    for burst in 0..200 {
        (0..50).for_each(|n| client.ask(odd(1 + burst * 50 + n), "HEAD", "/events/a"));
        (0..50).for_each(|_| drop(client.next_of(HEADERS)));
    }
    assert_eq!(code(&client.next_of(GOAWAY)), NO_ERROR);
    server.publish("a", "still here");
    client.text_through(1, "data: still here\n\n");
    server.wait_for_metric(r#"sse_connections_rejected_total{reason="requests"}"#, 1.0);
    client.send(frame(RST_STREAM, 0, 1, &CANCEL.to_be_bytes()));
    client.rest_within(DEADLINE);
}

/// E1: rapid reset.
#[test]
fn streams_that_are_given_up_at_once_end_the_connection() {
    for (method, path) in [("GET", "/events/a"), ("POST", "/events/a"), ("HEAD", "/events/a")] {
        let server = Server::start(&[]);
        let mut client = Frames::open(server.addr(), &[]);
        let (rounds, code) = until_closed(&mut client, 1000, |n| {
            let head = frame(HEADERS, END_HEADERS | END_STREAM, odd(n), &request(method, path));
            [head, frame(RST_STREAM, 0, odd(n), &CANCEL.to_be_bytes())].concat()
        });
        assert!(rounds <= 1000, "{rounds}");
        assert_eq!(code, ENHANCE_YOUR_CALM);
        expect_served(&server);
    }
}

#[test]
fn resets_are_counted_as_the_reason() {
    let server = Server::start(&[]);
    let mut client = Frames::open(server.addr(), &[]);
    // Few at a time, so that each has become a stream before it is given up.
    for n in 0..2000 {
        let head = frame(HEADERS, END_HEADERS | END_STREAM, odd(n), &request("HEAD", "/events/a"));
        let is_sent = client.try_send(head) && client.next_within(DEADLINE).is_ok();
        if !is_sent || !client.try_send(frame(RST_STREAM, 0, odd(n), &CANCEL.to_be_bytes())) {
            break;
        }
    }
    server.wait_for_metric(r#"sse_connections_rejected_total{reason="http2_resets"}"#, 1.0);
}

/// Makes the n-th round of frames.
type Attack = fn(u32) -> Vec<u8>;

/// E2: the server is made to reset.
#[test]
fn faults_that_make_the_server_reset_end_the_connection() {
    fn get(n: u32) -> Vec<u8> {
        frame(HEADERS, END_HEADERS | END_STREAM, odd(n), &request("GET", "/events/a"))
    }
    fn post(n: u32) -> Vec<u8> {
        frame(HEADERS, END_HEADERS, odd(n), &request("POST", "/events/a"))
    }
    let attacks: [(&str, Attack); 5] = [
        ("a window that grows by nothing", |n| [get(n), frame(WINDOW_UPDATE, 0, odd(n), &[0; 4])].concat()),
        ("a window that overflows", |n| [get(n), frame(WINDOW_UPDATE, 0, odd(n), &[0x7F, 0xFF, 0xFF, 0xFF])].concat()),
        ("data after the end", |n| [get(n), frame(DATA, 0, odd(n), b"x")].concat()),
        ("a stream that depends on itself", |n| {
            [post(n), frame(PRIORITY, 0, odd(n), &[&odd(n).to_be_bytes()[..], &[0]].concat())].concat()
        }),
        ("a head after the end", |n| [get(n), get(n)].concat()),
    ];
    for (name, attack) in &attacks {
        let server = Server::start(&[]);
        let mut client = Frames::open(server.addr(), &[]);
        let (rounds, _) = until_closed(&mut client, 1024, attack);
        assert!(rounds <= 1024, "{name}: {rounds}");
        expect_served(&server);
    }
}

/// E3.
#[test]
fn a_head_without_an_end_ends_the_connection() {
    let server = Server::start(&[]);
    for piece in [0, 16 * 1024] {
        let mut client = Frames::open(server.addr(), &[]);
        client.send(frame(HEADERS, 0, 1, &request("GET", "/events/a")));
        let filler = field("x", &"y".repeat(piece));
        let filler = &filler[..filler.len().min(16 * 1024)];
        for _ in 0..20 {
            client.try_send(frame(CONTINUATION, 0, 1, if piece == 0 { &[] } else { filler }));
        }
        let rest = client.rest_within(Duration::from_secs(5));
        assert!(rest.iter().any(|frame| frame.kind == GOAWAY), "{rest:?}");
    }
    expect_served(&server);
}

/// E4.
#[test]
fn a_head_that_unpacks_to_too_much_is_refused() {
    let server = Server::start(&[]);
    let before = server.resident_bytes();
    let mut client = Frames::open(server.addr(), &[]);
    // One field of 3,000 bytes, put into the table and then named so many times.
    let named = |times| [vec![0x40], field("x", &"y".repeat(3000))[1..].to_vec(), vec![0xBE; times]].concat();
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &[request("GET", "/events/a"), named(30)].concat()));
    let answer = client.next_of(HEADERS);
    assert_ne!(answer.payload[0], 0x88, "it is no :status 200");
    // The connection goes on.
    client.ask(3, "GET", "/events/a");
    assert_eq!(client.next_of(HEADERS).payload[0], 0x88);
    // 30 MB from a few thousand bytes is no mistake any more.
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 5, &[request("GET", "/events/a"), named(10_000)].concat()));
    client.rest_within(DEADLINE);
    // A server's first requests take a few by themselves.
    assert!(server.resident_bytes() - before < 8 << 20);
}

/// E6.
#[test]
fn frames_that_ask_for_nothing_end_the_connection() {
    let floods: [(&str, Vec<u8>); 6] = [
        ("pings", frame(PING, 0, 0, &[0; 8])),
        ("settings", frame(SETTINGS, 0, 0, &[])),
        ("acknowledged settings", frame(PING, ACK, 0, &[0; 8])),
        ("priorities", frame(PRIORITY, 0, 1001, &[0, 0, 0, 0, 0])),
        ("windows", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("empty data", frame(DATA, 0, 1, &[])),
    ];
    for (name, flood) in &floods {
        let server = Server::start(&[]);
        let mut client = Frames::open(server.addr(), &[]);
        client.send(frame(HEADERS, END_HEADERS, 1, &request("POST", "/events/a")));
        let (rounds, code) = until_closed(&mut client, 100_000, |_| flood.clone());
        assert!(rounds < 10_000, "{name}: {rounds}");
        assert_eq!(code, ENHANCE_YOUR_CALM, "{name}");
        if *name != "empty data" {
            // Of those the library has had enough sooner.
            server.wait_for_metric(r#"sse_connections_rejected_total{reason="http2_control"}"#, 1.0);
        }
        expect_served(&server);
    }
}

/// E5, C2 and C10: who opens no window gets nothing, pins little, and is cut once there is something for it.
#[test]
fn a_window_that_stays_shut_pins_little() {
    let server = Server::start(&["--write-timeout", "2s", "--lag-grace", "1m"]);
    let filler = "x".repeat(60_000);
    (0..60).for_each(|_| drop(server.publish("a", &filler)));
    let before = server.resident_bytes();
    let mut client = Frames::open(server.addr(), &[(INITIAL_WINDOW, 0)]);
    (0..100).for_each(|n| {
        let head = [request("GET", "/events/a"), field("last-event-id", "earliest")].concat();
        client.send(frame(HEADERS, END_HEADERS | END_STREAM, odd(n), &head));
    });
    server.wait_for_metric("sse_connections_active", 100.0);
    // A window of one byte has a batch of each put together.
    (0..100).for_each(|n| client.send(frame(WINDOW_UPDATE, 0, odd(n), &[0, 0, 0, 14])));
    (0..60).for_each(|_| drop(server.publish("a", &filler)));
    let pinned = server.resident_bytes() - before;
    assert!(pinned < (8 << 20) + (60 * 60_000), "{pinned} bytes for a hundred streams, and the ring's");
    let cut = Instant::now();
    within(Duration::from_secs(5), "all are cut", || {
        (server.metric(r#"sse_evictions_total{reason="stalled"}"#) == Some(100.0)).then_some(())
    });
    assert!(cut.elapsed() < Duration::from_secs(5));
    // Each by itself: the connection is as good as before.
    client.send(frame(SETTINGS, 0, 0, &[&INITIAL_WINDOW.to_be_bytes()[..], &65_535u32.to_be_bytes()].concat()));
    client.ask(odd(100), "GET", "/events/b");
    server.wait_for_metric("sse_connections_active", 1.0);
    server.publish("b", "still here");
    client.text_through(odd(100), "data: still here\n\n");
}

/// E7 and TRAPS S5: clients end a connection that brings hundreds of small DATA frames that they have not read.
#[test]
fn what_a_slow_client_has_not_read_comes_in_few_frames() {
    let server = Server::start(&["--lag-frames-max", "100000"]);
    let mut client = Frames::open(server.addr(), &[(INITIAL_WINDOW, 1)]);
    client.ask(1, "GET", "/events/a");
    client.next_of(HEADERS);
    server.wait_for_metric("sse_connections_active", 1.0);
    let ids = server.publish_burst("a", 2000);
    client.send(frame(SETTINGS, 0, 0, &[&INITIAL_WINDOW.to_be_bytes()[..], &1_000_000u32.to_be_bytes()].concat()));
    client.send(frame(WINDOW_UPDATE, 0, 0, &1_000_000u32.to_be_bytes()));
    let (mut frames, mut text) = (0, String::new());
    while !text.ends_with("data: 1999\n\n") {
        text.push_str(std::str::from_utf8(&client.next_of(DATA).payload).unwrap());
        frames += 1;
    }
    assert_eq!(event_ids(&text), ids);
    assert!(frames < 30, "{frames} frames for {} bytes", text.len());
}

/// The same where each event has left before the next comes: what is unread must not be many small frames, of all streams
/// together, whatever a client counts.
#[test]
fn small_frames_are_filled_before_a_slow_client_has_too_many() {
    let server = Server::start(&[]);
    let mut client = Frames::open(server.addr(), &[]);
    client.send(frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 20).to_be_bytes()));
    let streams = [1, 3, 5];
    streams.iter().for_each(|stream| client.ask(*stream, "GET", "/events/a"));
    server.wait_for_metric("sse_connections_active", 3.0);
    let mut unread = Unread::default();
    for n in 0..200 {
        let id = server.publish("a", &format!("{n}"));
        let mut missing = streams.to_vec();
        while !missing.is_empty() {
            let data = client.next_of(DATA);
            unread.count(data.payload.len());
            let text = String::from_utf8(data.payload).unwrap();
            if text.contains(&format!("id: {id}\ndata: {n}\n\n")) {
                assert!(text.starts_with(&format!("id: {id}\n")) && text.ends_with("\n\n"), "{text:?}");
                missing.retain(|stream| *stream != data.stream);
            }
        }
    }
    assert!(unread.largest < 25_600, "{unread:?}");
    assert!(server.metric("sse_http2_filled_bytes_total").unwrap() > 50_000.0);
}

/// What the strictest client counts that has read nothing yet.
#[derive(Debug, Default)]
struct Unread {
    lack: usize,
    largest: usize,
}

impl Unread {
    fn count(&mut self, bytes: usize) {
        self.lack = (self.lack + 256).saturating_sub(bytes);
        self.largest = self.largest.max(self.lack);
    }
}

/// Browsers, which have no such bound, open wide windows.
#[test]
fn nothing_is_filled_for_a_wide_window() {
    let server = Server::start(&[]);
    let mut client = Frames::open(server.addr(), &[]);
    client.send(frame(WINDOW_UPDATE, 0, 0, &(8_u32 << 20).to_be_bytes()));
    client.ask(1, "GET", "/events/a");
    client.next_of(DATA);
    for n in 0..150 {
        let id = server.publish("a", &format!("{n}"));
        assert_eq!(client.text_through(1, "\n\n"), format!("id: {id}\ndata: {n}\n\n"));
    }
    assert_eq!(server.metric("sse_http2_filled_bytes_total"), Some(0.0));
}

/// D1 and D2 in HTTP/2, where the protocol has no deadlines.
#[test]
fn nobody_keeps_the_server_waiting() {
    let server = Server::start(&[]);
    let mut half_a_preface = Connection::open(server.addr());
    half_a_preface.send(&PREFACE[..9]);
    let mut half_a_frame = Frames::open(server.addr(), &[]);
    half_a_frame.send(&frame(HEADERS, END_HEADERS, 1, &request("GET", "/events/a"))[..20]);
    let mut half_a_head = Frames::open(server.addr(), &[]);
    half_a_head.send(frame(HEADERS, END_STREAM, 1, &request("GET", "/events/a")));
    // An acknowledgement within a head would be a fault of another kind.
    half_a_frame.fall_silent();
    half_a_head.fall_silent();
    half_a_preface.expect_end_within(Duration::from_secs(10));
    half_a_frame.rest_within(DEADLINE);
    half_a_head.rest_within(DEADLINE);
    server.wait_for_metric(r#"sse_connections_rejected_total{reason="slow_head"}"#, 3.0);
}

/// E10.
#[test]
fn who_does_not_answer_a_ping_is_gone() {
    let server = Server::start(&[]);
    let mut client = Frames::open(server.addr(), &[]);
    client.ask(1, "GET", "/events/a");
    client.next_of(DATA);
    client.fall_silent();
    let rest = client.rest_within(Duration::from_secs(42));
    assert!(rest.iter().any(|frame| frame.kind == PING), "{rest:?}");
    server.wait_for_metric("sse_connections_active", 0.0);
}

/// Each stream counts as a connection does, and the connection counts as its first.
#[test]
fn streams_count_as_connections() {
    let server = Server::start(&["--connections-max", "5"]);
    let mut client = Frames::open(server.addr(), &[]);
    (0..5).for_each(|n| client.ask(odd(n), "GET", "/events/a"));
    (0..5).for_each(|n| drop((n, client.next_of(HEADERS))));
    server.wait_for_metric("sse_connections_active", 5.0);
    let accept = field("accept", "text/event-stream");
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, odd(5), &[request("GET", "/events/a"), accept].concat()));
    let text = client.text_through(odd(5), "\n\n");
    assert!(text.contains("\"reason\":\"busy\""), "{text}");
    // One that leaves makes room.
    client.send(frame(RST_STREAM, 0, odd(0), &CANCEL.to_be_bytes()));
    server.wait_for_metric("sse_connections_active", 4.0);
    client.ask(odd(6), "GET", "/events/a");
    server.wait_for_metric("sse_connections_active", 5.0);
}

/// The same with a bound for each address.
#[test]
fn streams_count_for_their_address() {
    let server = Server::start(&["--connections-per-ip-max", "3"]);
    let mut client = Frames::open(server.addr(), &[]);
    (0..3).for_each(|n| client.ask(odd(n), "GET", "/events/a"));
    server.wait_for_metric("sse_connections_active", 3.0);
    client.ask(odd(3), "GET", "/events/a");
    server.wait_for_metric(r#"sse_connections_rejected_total{reason="address"}"#, 1.0);
    assert_eq!(server.metric("sse_connections_active"), Some(3.0));
}

#[test]
fn a_host_that_differs_from_the_authority_is_refused() {
    let server = Server::start(&[]);
    let mut client = Frames::open(server.addr(), &[]);
    let head = [request("GET", "/events/a"), field("host", "other.example")].concat();
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head));
    let refusal = client.next_of(DATA);
    assert!(String::from_utf8_lossy(&refusal.payload).contains("authority"), "{refusal:?}");
}
