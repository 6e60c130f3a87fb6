//! Going away: SIGTERM ends every stream in order, evenly over the window, and the process with exit code 0.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::harness::{Connection, End, Item, Stream, StreamPath, on_all_paths};

on_all_paths![
    streams_are_asked_to_reconnect_over_the_window,
    whoever_comes_while_draining_is_asked_to_come_back,
    everybody_who_joins_as_the_drain_begins_is_told,
    an_idle_server_is_gone_at_once,
    a_second_signal_ends_it_now,
    what_was_acknowledged_reaches_its_followers_first,
];

fn streams_are_asked_to_reconnect_over_the_window(path: StreamPath) {
    let mut server = path.start(&["--drain-window", "2s"]);
    let mut streams: Vec<_> = (0..20)
        .flat_map(|_| {
            [server.subscribe("a"), server.follow("/events?topic=a&topic=b"), server.subscribe("a").version("HTTP/1.0")]
        })
        .map(|request| request.open())
        .collect();
    let id = server.publish("a", "before");
    for stream in &mut streams {
        assert_eq!(stream.next_data(), "before");
    }
    let started = Instant::now();
    server.signal(Signal::TERM);
    let readers: Vec<_> = streams
        .into_iter()
        .map(|mut stream| {
            let id = id.clone();
            std::thread::spawn(move || {
                let event = stream.next_event();
                let told = started.elapsed();
                assert_eq!((event.event_type.as_str(), &event.id), ("sse.reconnect", &id));
                assert_eq!(event.data, r#"{"reason":"drain"}"#);
                assert_eq!(stream.expect_end().expect_closed(), End::Fin);
                told
            })
        })
        .collect();
    let mut told: Vec<Duration> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    told.sort();
    assert!(server.wait_exit().success());
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());

    // Evenly; hyper's streams each at a random moment.
    let early = told.iter().filter(|told| **told < Duration::from_secs(1)).count();
    let even = if path == StreamPath::Writers { 20..=40 } else { 12..=48 };
    assert!(even.contains(&early), "{early} of {} in the first half: {told:?}", told.len());
    server.log.wait_for_all("disconnected", 60, |line| assert_eq!(line["reason"], "drain"));
}

fn whoever_comes_while_draining_is_asked_to_come_back(path: StreamPath) {
    let mut server = path.start(&["--drain-window", "3s"]);
    let streams: Vec<_> = (0..5).map(|_| server.subscribe("a").open()).collect();
    assert_eq!(server.admin("/readyz").send().status(), 200);
    server.signal(Signal::TERM);
    server.log.wait_for("draining", |_| true);

    let ready = server.admin("/readyz").send();
    assert_eq!(ready.status(), 503);
    assert_eq!(ready.json()["reasons"][0], "draining");
    assert_eq!(server.admin("/livez").send().status(), 200, "it lives as long as it drains");
    let mut late = server.subscribe("a").open();
    assert!(matches!(late.next_item(), Item::Retry(retry) if retry >= Duration::from_secs(5)));
    assert_eq!(late.next_event().data, r#"{"reason":"busy"}"#);
    server.request("GET", "/events/a").send().problem(503);
    drop(streams);
    assert!(server.wait_exit().success());
}

fn everybody_who_joins_as_the_drain_begins_is_told(path: StreamPath) {
    let mut server = path.start(&["--drain-window", "1s"]);
    let _first = server.subscribe("a").open();
    let get = server.subscribe("a").bytes();
    let join = |count: usize| -> Vec<Connection> {
        // Once the server is gone there is nothing to connect to.
        let connect = || {
            let mut connection = Connection::try_open(server.addr())?;
            connection.try_send(&get).then_some(connection)
        };
        (0..count).filter_map(|_| connect()).collect()
    };
    let joining: Vec<Connection> = std::thread::scope(|scope| {
        let crowds: Vec<_> = (0..4).map(|_| scope.spawn(|| join(100))).collect();
        let before = join(20);
        server.signal(Signal::TERM);
        crowds.into_iter().flat_map(|crowd| crowd.join().unwrap()).chain(before).collect()
    });
    let mut told = 0;
    for mut connection in joining {
        // One that was never accepted is closed with the listener; one that was answered has to be told.
        if connection.is_answered() {
            let mut stream = Stream::begin(connection);
            assert_eq!(stream.next_event().event_type, "sse.reconnect");
            stream.expect_end();
            told += 1;
        }
    }
    assert!(told >= 20, "only {told} were there: not much of a test");
    assert!(server.wait_exit().success());
}

fn an_idle_server_is_gone_at_once(path: StreamPath) {
    let mut server = path.start(&["--drain-window", "30s"]);
    let mut idle = server.connect();
    idle.send(server.post("/events/a", "x").bytes());
    assert_eq!(idle.reply().status(), 200);
    let started = Instant::now();
    server.signal(Signal::INT);
    assert!(server.wait_exit().success());
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    idle.expect_closed();
}

/// FAILURES K3.
fn a_second_signal_ends_it_now(path: StreamPath) {
    let mut server = path.start(&["--drain-window", "30s"]);
    let _stream = server.subscribe("a").open();
    server.signal(Signal::TERM);
    server.log.wait_for("draining", |_| true);
    let started = Instant::now();
    server.signal(Signal::TERM);
    let status = server.wait_exit();
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(status.code(), Some(1));
}

/// FAILURES K2: a publish that was answered is delivered, drain or not.
fn what_was_acknowledged_reaches_its_followers_first(path: StreamPath) {
    let mut server = path.start(&["--drain-window", "500ms"]);
    let streams: Vec<_> = (0..10).map(|_| server.subscribe("a").open()).collect();
    let ids = server.publish_burst("a", 2000);
    server.signal(Signal::TERM);
    for mut stream in streams {
        let mut seen = Vec::new();
        while let Some(event) = stream.event_or_end() {
            match event.event_type.as_str() {
                "sse.reconnect" => break,
                _ => seen.push(event.id),
            }
        }
        assert_eq!(seen, ids);
    }
    assert!(server.wait_exit().success());
}
