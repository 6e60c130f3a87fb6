//! The same runs over TLS and in HTTP/2: what is wrong shows as it does without.

use sse_loadgen::{Report, RunError, Scenario};

use crate::gateway::Gateway;
use crate::scenario;
use crate::server::{Fault, Framing, Server};

fn sound() -> Server {
    Server::start(Fault::Nothing, Framing::Chunked)
}

/// The usual scenario through `gateway`, three streams on a connection of HTTP/2.
fn through(gateway: &Gateway, http2: bool) -> Scenario {
    let (follow_url, publish_url) = (gateway.url(), gateway.url());
    Scenario {
        ca_file: gateway.ca_file(),
        http2,
        http2_streams: 3,
        follow_url,
        publish_url,
        threads: 2,
        ..scenario(&sound())
    }
}

fn run(fault: Fault, gateway: fn(&Server) -> Gateway, http2: bool) -> Report {
    sse_loadgen::run(&through(&gateway(&Server::start(fault, Framing::Chunked)), http2)).unwrap()
}

#[test]
fn every_protocol_brings_everything() {
    for (gateway, http2) in
        [(Gateway::tls as fn(&Server) -> Gateway, false), (Gateway::tls, true), (Gateway::plain, true)]
    {
        let report = run(Fault::Nothing, gateway, http2);
        assert!(report.whole, "{http2}: {report}");
        assert_eq!((report.streams.opened, report.delivery.tally.delivered), (8, 200));
        assert_eq!(report.publishing.confirmed, 100);
    }
}

#[test]
fn large_events_are_acknowledged() {
    // Four events are more than a stream's window, and all together more than a connection's.
    let server = sound();
    let gateway = Gateway::tls(&server);
    let scenario = Scenario { event_bytes: 300_000, rate: 100.0, ..through(&gateway, true) };
    let report = sse_loadgen::run(&scenario).unwrap();
    assert!(report.whole, "{report}");
}

/// What goes wrong is seen as it is without.
fn faults_are_seen(gateway: fn(&Server) -> Gateway, http2: bool) {
    let tally = |fault| run(fault, gateway, http2).delivery.tally;
    assert_eq!(tally(Fault::Drop(20)).lost, 1);
    assert_eq!(tally(Fault::Swap(20)).reordered, 1);
    assert_eq!(tally(Fault::Damage(20)).damaged, 1);
    for end in [Fault::End(20), Fault::Cut(20)] {
        let tally = tally(end);
        assert_eq!(tally.closed_early, 1, "only one stream of its connection: {tally:?}");
        assert!(tally.lost > 0 && tally.delivered > 150, "{tally:?}");
    }
}

#[test]
fn faults_are_seen_over_tls() {
    faults_are_seen(Gateway::tls, false);
}

#[test]
fn faults_are_seen_in_http2() {
    faults_are_seen(Gateway::plain, true);
}

#[test]
fn faults_are_seen_in_http2_over_tls() {
    faults_are_seen(Gateway::tls, true);
}

#[test]
fn a_server_without_streams_is_named() {
    for (fault, said) in [(Fault::NoStreams, "answered 503"), (Fault::Html, "text/html")] {
        let server = Server::start(fault, Framing::Chunked);
        match sse_loadgen::run(&through(&Gateway::plain(&server), true)) {
            Err(RunError::Ramp { opened: 0, reason, .. }) => assert!(reason.contains(said), "{reason}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_certificate_that_is_not_trusted_is_refused() {
    let (server, other) = (sound(), sound());
    let (gateway, other) = (Gateway::tls(&server), Gateway::tls(&other));
    let scenario = Scenario { ca_file: other.ca_file(), ..through(&gateway, false) };
    match sse_loadgen::run(&scenario) {
        Err(RunError::Ramp { opened: 0, reason, .. }) => assert!(reason.contains("certificate"), "{reason}"),
        other => panic!("{other:?}"),
    }
}
