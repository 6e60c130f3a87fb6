//! Health and metrics: what an operator and a scraper see.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::{Launch, Request, Server, eventually};

#[test]
fn a_server_that_listens_is_live_and_ready() {
    let server = Server::start(&[]);
    let live = server.admin("/livez").send();
    assert_eq!((live.status(), live.text().as_str()), (200, "live\n"));
    let ready = server.admin("/readyz").send();
    assert_eq!(ready.status(), 200);
    assert_eq!(ready.json()["ready"], true);
}

/// FAILURES K6.
#[test]
fn a_node_starts_without_its_engine_and_is_not_ready() {
    // Nobody listens on these: the first ports of a machine are reserved.
    for engine in ["redis://127.0.0.1:1", "nats://127.0.0.1:1"] {
        let node = Server::start(&["--backplane", engine]);
        let ready = node.admin("/readyz").send();
        assert_eq!((ready.status(), &ready.json()["reasons"]), (503, &json!(["backplane_beginning"])), "{engine}");
        assert_eq!(node.admin("/livez").send().status(), 200);
        let problem = node.post("/events/a", "x").send().problem(503);
        assert_eq!(problem.document["reason"], "backplane_down");
        // It does not know where a stream would begin.
        assert_eq!(&*node.subscribe("a").open().next_event().event_type, "sse.reconnect");
    }
}

#[test]
fn health_is_on_the_public_listener_only_where_it_was_asked_for() {
    let server = Server::start(&["--health-on-public", "on"]);
    for target in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(server.request("GET", target).send().status(), 200, "{target}");
    }
    server.request("GET", "/api/topics").send().problem(404);
}

#[test]
fn the_admin_listener_can_be_off() {
    let server = Launch::new(&["--admin-listen", "off"]).start_without_admin();
    server.publish("a", "x");
}

#[test]
fn the_admin_token_guards_all_but_health() {
    let server = Server::start(&["--admin-token", "a-token-of-some-length"]);
    for target in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(server.admin(target).send().status(), 200, "{target}");
    }
    let topics = server.admin("/api/topics");
    topics.send().problem(401);
    for wrong in [
        "Bearer ",
        "Bearer a-token-of-some-lengtH",
        "Bearer a-token-of-some-length ",
        "Basic a-token-of-some-length",
        "a-token-of-some-length",
    ] {
        let status = topics.clone().field("Authorization", wrong).send().status();
        // Space around a field's value is not part of it.
        let expected = if wrong.trim_end() == "Bearer a-token-of-some-length" { 200 } else { 401 };
        assert_eq!(status, expected, "{wrong}");
    }
    assert_eq!(topics.field("Authorization", "Bearer a-token-of-some-length").send().status(), 200);
    assert!(!server.log.lines().iter().any(|line| line.to_string().contains("a-token-of")), "the token is in the log");
}

#[test]
fn the_metrics_count_what_happens() {
    let server = Server::start(&[]);
    let mut streams: Vec<_> = (0..3).map(|_| server.subscribe("a").open()).collect();
    let mut several = server.follow("/events?topic=a&topic=b").open();
    server.publish_burst("a", 10);
    for stream in streams.iter_mut().chain([&mut several]) {
        for n in 0..10 {
            assert_eq!(stream.next_data(), n.to_string());
        }
    }
    server.wait_for_metric("sse_frames_delivered_total", 40.0);
    server.wait_for_metric("sse_topics", 2.0);
    assert_eq!(server.metric("sse_connections_active"), Some(4.0));
    assert_eq!(server.metric("sse_connections_total"), Some(4.0));
    assert_eq!(server.metric("sse_events_published_total"), Some(10.0));
    assert!(server.metric("sse_bytes_sent_total") > Some(4.0 * 10.0 * 40.0));
    // Looked at now and then.
    eventually("history", || server.metric("sse_ring_bytes").filter(|bytes| *bytes > 10.0 * 40.0));
    assert!(server.metric("sse_fanout_duration_seconds_count") >= Some(1.0));
    assert_eq!(server.metric("sse_build_info"), Some(1.0));
    assert!(server.metric("process_resident_memory_bytes") > Some(1e6));
    drop(streams);
    server.wait_for_metric("sse_connections_active", 1.0);
    server.wait_for_metric("sse_connection_duration_seconds_count", 3.0);

    let replayed = server.subscribe("a").last_event_id("earliest").open().next_data();
    assert_eq!(replayed, "0");
    let text = server.admin("/metrics").send();
    assert_eq!(text.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(!text.text().contains("topic="), "never labelled by topic");
}

/// What alerts ask for: whether the server can do its work, how full it is, and counters that do not begin with 1.
#[test]
fn what_may_wake_somebody_is_there_from_the_start() {
    let mut server = Server::start(&["--connections-max", "50", "--drain-window", "5s"]);
    for series in [
        "sse_evictions_total{reason=\"lagged\"}",
        "sse_gaps_total{reason=\"damaged\"}",
        "sse_publish_rejected_total{reason=\"log_full\"}",
        "sse_connections_rejected_total{reason=\"full\"}",
        "sse_panics_total",
    ] {
        server.wait_for_metric(series, 0.0);
    }
    let streams: Vec<_> = (0..3).map(|_| server.subscribe("a").open()).collect();
    server.wait_for_metric("sse_connections_open", 3.0);
    server.wait_for_metric("sse_connections_max", 50.0);
    server.wait_for_metric("sse_ready", 1.0);
    assert_eq!(server.metric("sse_log_stalled_seconds"), None, "there is no log");
    server.signal(rustix::process::Signal::TERM);
    server.wait_for_metric("sse_ready", 0.0);
    drop(streams);
    assert!(server.wait_exit().success());
}

/// FAILURES L1 and D10: whatever strangers send, the number of series stays what it is.
#[test]
fn strangers_add_no_series() {
    let server = Server::start(&[]);
    let series = || -> BTreeSet<String> {
        let text = server.admin("/metrics").send().text();
        let names = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        names.map(|(name, _)| name.to_owned()).collect()
    };
    send_junk(&server, 0..50);
    let before = series();
    send_junk(&server, 50..1050);
    let added: Vec<_> = series().difference(&before).cloned().collect();
    assert_eq!(added, Vec::<String>::new());
    assert!(before.len() <= 500, "{}", before.len());
}

/// Requests with a method, a path and a user agent of their own, on few connections.
fn send_junk(server: &Server, numbers: std::ops::Range<usize>) {
    let mut connection = server.connect();
    for n in numbers {
        let junk = format!("X{n:04}");
        let request = match n % 5 {
            0 => server.request(&junk, "/events/a"),
            1 => server.request("GET", format!("/{junk}")),
            2 => server.request("HEAD", format!("/events/{junk}?topic=%ff")),
            3 => server.post(&format!("/events/{junk}?{junk}={junk}"), &junk),
            _ => server.post_json(format!("{{\"{junk}\":1}}")).field("Origin", format!("https://{junk}.example")),
        };
        connection.send(request.field("User-Agent", &junk).bytes());
        if n % 5 == 2 {
            connection.head();
        } else {
            connection.reply();
        }
    }
}

#[test]
fn the_topics_are_listed_for_the_operator() {
    let server = Server::start(&[]);
    let _stream = server.subscribe("a").open();
    server.publish_all("a", ["1", "2"]);
    let listing = Request::new(server.admin_addr(), "GET", "/api/topics").send().json();
    assert_eq!(listing["total"], 1);
    let expected = serde_json::json!({
        "topic": "a", "followers": 1, "frames": 2, "bytes": 90, "events_per_second": 0.2, "closed": false,
    });
    assert_eq!(listing["topics"], serde_json::json!([expected]));
}
