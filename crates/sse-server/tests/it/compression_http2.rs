//! Compressed streams of one HTTP/2 connection, frame by frame: resets and shut windows are a stream's own affair.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::harness::frames::{
    DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, field, frame, request,
};
use crate::harness::gunzip::Gunzip;
use crate::harness::{Server, event_ids, within};

const INITIAL_WINDOW: u16 = 4;
const WINDOW_BYTES: u32 = 1000;
const CANCEL: u32 = 8;

/// One stream as its client decodes it.
struct Follower {
    gunzip: Gunzip,
    text: Vec<u8>,
    /// It lets nothing in for now.
    is_shut: bool,
    /// What came meanwhile, of which the server was not told.
    unread: u32,
    has_ended: bool,
}

/// A connection whose streams are compressed.
struct Client {
    frames: Frames,
    followers: BTreeMap<u32, Follower>,
    next: u32,
}

impl Client {
    fn open(server: &Server, window_bytes: u32) -> Self {
        let mut frames = Frames::open(server.addr(), &[(INITIAL_WINDOW, window_bytes)]);
        frames.send(frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes()));
        Self::over(frames)
    }

    fn over(frames: Frames) -> Self {
        Self { frames, followers: BTreeMap::new(), next: 1 }
    }

    fn follow(&mut self, path: &str, last_event_id: &str) -> u32 {
        let stream = self.next;
        self.next += 2;
        let fields = [field("accept-encoding", "gzip"), field("last-event-id", last_event_id)].concat();
        let head = [request("GET", path), fields].concat();
        self.frames.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, &head));
        let (gunzip, text) = (Gunzip::new(), Vec::new());
        self.followers.insert(stream, Follower { gunzip, text, is_shut: false, unread: 0, has_ended: false });
        stream
    }

    fn reset(&mut self, stream: u32) {
        self.frames.send(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
        self.followers.remove(&stream);
    }

    fn reopen(&mut self, stream: u32) {
        let follower = self.followers.get_mut(&stream).unwrap();
        follower.is_shut = false;
        let unread = std::mem::take(&mut follower.unread);
        if unread > 0 {
            self.frames.send(frame(WINDOW_UPDATE, 0, stream, &unread.to_be_bytes()));
        }
    }

    /// Reads until `fact` holds.
    #[track_caller]
    fn until(&mut self, fact: impl Fn(&BTreeMap<u32, Follower>) -> bool) {
        while !fact(&self.followers) {
            let data = self.frames.next_of(DATA);
            // Of one that was reset some may be on its way.
            let Some(follower) = self.followers.get_mut(&data.stream) else { continue };
            follower.gunzip.decode(&data.payload, &mut follower.text);
            follower.has_ended = data.flags & END_STREAM != 0;
            follower.unread += data.payload.len() as u32;
            if !follower.is_shut && !follower.has_ended && follower.unread >= WINDOW_BYTES / 2 {
                self.reopen(data.stream);
            }
        }
    }
}

impl Follower {
    /// Whether this event is among what came last.
    fn has(&self, id: &str) -> bool {
        let last = &self.text[self.text.len().saturating_sub(4096)..];
        String::from_utf8_lossy(last).contains(&format!("id: {id}\n"))
    }

    #[track_caller]
    fn expect(&self, ids: &[String]) {
        let text = std::str::from_utf8(&self.text).unwrap();
        assert_eq!(event_ids(text), ids);
        self.gunzip.expect_end();
    }
}

fn tick(number: usize) -> String {
    format!(
        r#"{{"type":"tick","symbol":"ACME","price":{}.{:02},"size":{}}}"#,
        number * 7 % 90,
        number % 100,
        number * 300
    )
}

/// Newcomers at every point, streams that are reset, streams whose windows are shut for a while, heartbeats, bursts.
#[test]
fn every_stream_decodes_to_its_end_whatever_becomes_of_the_others() {
    let server = Server::start(&["--heartbeat-interval", "300ms", "--lag-grace", "1m", "--write-timeout", "1m"]);
    let mut client = Client::open(&server, WINDOW_BYTES);
    // Too few to be compressed, but they count.
    let mut others = Frames::open(server.addr(), &[]);
    (0..7).for_each(|n| others.ask(2 * n + 1, "GET", "/events/a"));
    server.wait_for_metric("sse_connections_active", 7.0);
    let mut ids: Vec<String> = Vec::new();
    // Each with how many events were there before what it gets.
    let mut starts: BTreeMap<u32, usize> = (0..30).map(|_| (client.follow("/events/a", ""), 0)).collect();
    server.wait_for_metric("sse_compressed_streams", 30.0);
    for round in 0..120 {
        match round % 12 {
            3 => {
                let follower = *starts.keys().nth(round * 7 % starts.len()).unwrap();
                client.followers.get_mut(&follower).unwrap().is_shut = true;
            }
            5 => {
                let stream = *starts.keys().nth(round * 5 % starts.len()).unwrap();
                client.reset(stream);
                starts.remove(&stream);
            }
            6 => ids.extend(server.publish_burst("a", 40)),
            7 => {
                let after = ids.len() / 2;
                starts.insert(client.follow("/events/a", &ids[after - 1]), after);
                starts.insert(client.follow("/events/a", "earliest"), 0);
            }
            9 => {
                let told = starts.len() as f64;
                let start = ids.len();
                starts.insert(client.follow("/events/a", ""), start);
                server.wait_for_metric("sse_compressed_streams", told + 1.0);
            }
            11 => {
                let shut: Vec<u32> =
                    client.followers.iter().filter(|(_, one)| one.is_shut).map(|(key, _)| *key).collect();
                shut.iter().skip(2).for_each(|stream| client.reopen(*stream));
            }
            _ => (),
        }
        ids.push(server.publish("a", &tick(round)));
        let id = ids.last().unwrap().clone();
        if round % 4 == 1 {
            client.until(|all| all.values().all(|one| one.is_shut || one.has(&id)));
        }
    }
    ids.push(server.close("a"));
    let shut: Vec<u32> = client.followers.iter().filter(|(_, one)| one.is_shut).map(|(key, _)| *key).collect();
    assert!(shut.len() >= 2);
    shut.iter().for_each(|stream| client.reopen(*stream));
    client.until(|all| all.values().all(|one| one.has_ended));
    for (stream, start) in starts {
        client.followers[&stream].expect(&ids[start..]);
    }
    server.wait_for_metric("sse_compressed_streams", 0.0);
    server.wait_for_metric("sse_compressors", 0.0);
}

/// E7: clients that open no wide window have small frames filled up. That changes no text.
#[test]
fn frames_that_are_filled_decode_to_the_same() {
    let server = Server::start(&["--compression-followers-min", "1"]);
    let mut client = Client::open(&server, 1 << 20);
    let mut narrow = Client::over(Frames::open(server.addr(), &[]));
    let streams = [client.follow("/events/a", ""), narrow.follow("/events/a", "")];
    server.wait_for_metric("sse_compressed_streams", 2.0);
    let mut ids = Vec::new();
    for n in 0..150 {
        ids.push(server.publish("a", &tick(n)));
        narrow.until(|all| all[&streams[1]].has(ids.last().unwrap()));
    }
    assert!(server.metric("sse_http2_filled_bytes_total").unwrap() > 10_000.0);
    ids.push(server.close("a"));
    for (client, stream) in [(&mut client, streams[0]), (&mut narrow, streams[1])] {
        client.until(|all| all[&stream].has_ended);
        client.followers[&stream].expect(&ids);
    }
}

/// C10: one that lets nothing in pins little, and is cut by itself; the others go on.
#[test]
fn windows_that_stay_shut_pin_little() {
    let server = Server::start(&["--write-timeout", "2s", "--lag-grace", "1m", "--compression-followers-min", "1"]);
    let large = |n: u64| -> String {
        let mut random = fastrand::Rng::with_seed(n);
        std::iter::repeat_with(|| random.alphanumeric()).take(300_000).collect()
    };
    (0..12).for_each(|n| drop(server.publish("a", &large(n))));
    let before = server.resident_bytes();
    let mut client = Client::open(&server, 0);
    let streams: Vec<u32> = (0..100).map(|_| client.follow("/events/a", "earliest")).collect();
    server.wait_for_metric("sse_compressed_streams", 100.0);
    // A window of a few bytes has what comes next of each put together.
    let open =
        |client: &mut Client, stream: u32| client.frames.send(frame(WINDOW_UPDATE, 0, stream, &30_u32.to_be_bytes()));
    streams.iter().for_each(|stream| open(&mut client, *stream));
    server.publish("a", &large(100));
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < (8 << 20) + 600_000, "{grown} bytes for a hundred streams, and the ring's");
    within(Duration::from_secs(8), "all are cut", || {
        (server.metric(r#"sse_evictions_total{reason="stalled"}"#) == Some(100.0)).then_some(())
    });
    // Each by itself: the connection is as good as before.
    client.frames.send(frame(SETTINGS, 0, 0, &[&INITIAL_WINDOW.to_be_bytes()[..], &65_535u32.to_be_bytes()].concat()));
    client.followers.clear();
    let stream = client.follow("/events/b", "");
    server.wait_for_metric("sse_compressed_streams", 1.0);
    let id = server.publish("b", "still here");
    client.until(|all| all[&stream].has(&id));
}
