//! Runs that come to nothing say why.

use std::time::Duration;

use sse_loadgen::{RunError, Scenario};

use crate::scenario;
use crate::server::{Fault, Framing, Server};

fn refused(fault: Fault) -> String {
    match sse_loadgen::run(&scenario(&Server::start(fault, Framing::Chunked))) {
        Err(RunError::Ramp { opened: 0, streams: 8, reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_without_streams_is_named() {
    assert!(refused(Fault::NoStreams).contains("answered 503"));
    assert!(refused(Fault::Html).contains("text/html"));
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/events/{{topic}}", listener.local_addr().unwrap());
    drop(listener);
    let error = sse_loadgen::run(&Scenario { subscribers: 1, ..Scenario::new(&url, &url) }).unwrap_err();
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn a_server_that_never_answers_is_given_up() {
    // The kernel accepts; nobody reads.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/events/{{topic}}", listener.local_addr().unwrap());
    let scenario = Scenario { subscribers: 1, ramp_timeout: Duration::from_millis(100), ..Scenario::new(&url, &url) };
    assert!(matches!(sse_loadgen::run(&scenario), Err(RunError::Ramp { opened: 0, streams: 1, .. })));
}

#[test]
fn more_streams_than_descriptors_are_refused_at_once() {
    let scenario =
        Scenario { subscribers: u32::MAX, ..Scenario::new("http://127.0.0.1:9/{topic}", "http://127.0.0.1:9/{topic}") };
    assert!(matches!(sse_loadgen::run(&scenario), Err(RunError::Descriptors { .. })));
}

#[test]
fn a_process_that_cannot_be_measured_is_an_error() {
    let server = Server::start(Fault::Nothing, Framing::Chunked);
    let scenario = Scenario { server_pids: vec![u32::MAX], ..scenario(&server) };
    assert!(matches!(sse_loadgen::run(&scenario), Err(RunError::Server(_))));
}
