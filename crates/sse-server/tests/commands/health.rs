//! `sse-server health`, which containers ask.

use crate::command::Command;

/// A server with its admin listener on a free port, and the URL of a path there.
fn server(args: &[&str]) -> (Command, impl Fn(&str) -> String) {
    let own = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"];
    let command = Command::start(&[&own[..], args].concat());
    let line: serde_json::Value = serde_json::from_str(&command.notice("\"listening\"")).expect("a log line is JSON");
    let admin = line["admin"].as_str().expect("it names its address").to_owned();
    (command, move |path| format!("http://{admin}{path}"))
}

#[test]
fn a_server_that_is_well_says_so() {
    let (_server, url) = server(&[]);
    let live = Command::run(&["health", &url("/livez")]);
    live.succeeded();
    assert_eq!(live.out, ["live"]);
    let ready = Command::run(&["health", &url("/readyz")]);
    ready.succeeded();
    assert_eq!(ready.out, [r#"{"ready":true,"reasons":[]}"#]);
}

#[test]
fn anything_but_200_and_silence_fail() {
    let (server, url) = server(&[]);
    let missing = Command::run(&["health", &url("/nothing")]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.err[0].contains("the server answered 404"), "{missing:?}");
    let livez = url("/livez");
    drop(server);
    let gone = Command::run(&["health", &livez]);
    assert_eq!(gone.code, Some(1));
    assert!(gone.err[0].contains("cannot connect"), "{gone:?}");
    // Somebody accepts, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/livez", silent.local_addr().expect("an address"));
    let waited = Command::run(&["health", &url]);
    assert_eq!(waited.code, Some(1));
    assert!(waited.err[0].contains("no answer within 3 s"), "{waited:?}");
}
