//! Starting, and refusing to.

use std::fs;
use std::net::TcpListener;

use crate::harness::{Launch, Server};

#[test]
fn every_fault_of_the_settings_is_listed_at_once() {
    let launch = Launch::new(&["--listn", "127.0.0.1:0", "--retry", "soon", "--retry-jitter", "2", "--shards", "0"]);
    let output = launch.environment("SSE_DRAIN_WINDOW", "5").environment("SSE_NONSENSE", "1").finish();
    assert_eq!(output.status.code(), Some(64));
    let told = String::from_utf8(output.stderr).unwrap();
    for fault in ["--listn", "--listen", "--retry:", "--retry-jitter", "--shards", "SSE_DRAIN_WINDOW", "SSE_NONSENSE"] {
        assert!(told.contains(fault), "{fault} is not in: {told}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn the_file_is_part_of_it() {
    let server = Server::start(&[]);
    let file = server.home().join("settings.toml");
    fs::write(&file, "retry = \"1s\"\nretry_jiter = 0\n[[topic]]\nmatch = \"a\"\npreset = \"fast\"\n").unwrap();
    let output = Launch::new(&["--config", file.to_str().unwrap()]).finish();
    assert_eq!(output.status.code(), Some(64));
    let told = String::from_utf8(output.stderr).unwrap();
    for fault in ["retry_jiter", "retry_jitter", "preset", "settings.toml"] {
        assert!(told.contains(fault), "{fault} is not in: {told}");
    }

    fs::write(&file, "retry = \"1s\"\nretry_jitter = 0\n").unwrap();
    let flags = ["--config", file.to_str().unwrap()];
    Launch::new(&flags).start().subscribe("a").open().expect_opening(1000);
    // The environment goes before the file, a flag before both.
    let environment = |flags: &[&str]| Launch::new(flags).environment("SSE_RETRY", "2s");
    environment(&flags).start().subscribe("a").open().expect_opening(2000);
    environment(&[&flags[..], &["--retry", "4s"]].concat()).start().subscribe("a").open().expect_opening(4000);
}

#[test]
fn a_file_that_is_not_there_is_a_fault() {
    let output = Launch::new(&["--config", "/nowhere/settings.toml"]).finish();
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/nowhere/settings.toml"));
}

/// A pod beside a service called `sse-server` has such variables.
#[test]
fn what_kubernetes_sets_is_no_setting() {
    let launch = Launch::new(&[])
        .environment("SSE_SERVER_SERVICE_HOST", "10.0.0.11")
        .environment("SSE_SERVER_PORT", "tcp://10.0.0.11:8080")
        .environment("SSE_SERVER_PORT_8080_TCP_ADDR", "10.0.0.11");
    let server = launch.start();
    server.publish("a", "it runs");
    let output = Launch::new(&[]).environment("SSE_SERVER_PORT", "8080").finish();
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn an_open_server_beyond_this_machine_warns() {
    let warnings = |flags: &[&str]| {
        let server = Launch::new(flags).start();
        server.log.wait_for("listening", |_| true);
        let lines = server.log.lines().into_iter().filter(|line| line["level"] == "WARN");
        lines.map(|line| line["message"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join("\n")
    };
    let told = warnings(&["--listen", "0.0.0.0:0", "--insecure", "--open-publish"]);
    assert!(["follow every topic", "may publish", "--host"].iter().all(|said| told.contains(said)), "{told}");
    let told = warnings(&["--listen", "0.0.0.0:0", "--insecure", "--host", "sse.example"]);
    assert!(told.contains("follow") && !told.contains("may publish") && !told.contains("--host"), "{told}");
    assert_eq!(warnings(&[]), "");
}

/// FAILURES K6.
#[test]
fn a_taken_port_is_a_failed_start() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for flags in [["--listen", &addr, "--admin-listen", "off"], ["--listen", "127.0.0.1:0", "--admin-listen", &addr]] {
        let output = Launch::new(&flags).finish();
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains(&addr), "{told}");
        assert!(told.to_lowercase().contains("in use"), "{told}");
    }
}

#[test]
fn an_open_server_stays_on_this_machine() {
    for flags in [&["--listen", "0.0.0.0:0"][..], &["--listen", "127.0.0.1:0", "--admin-listen", "0.0.0.0:0"]] {
        let output = Launch::new(flags).finish();
        assert_eq!(output.status.code(), Some(64), "{flags:?}");
    }
}

#[test]
fn several_listeners_serve_the_same_topics() {
    let server = Server::start(&["--listen", "127.0.0.2:0", "--listen", "[::1]:0"]);
    let mut streams: Vec<_> =
        server.addrs().iter().map(|addr| crate::harness::Request::new(*addr, "GET", "/events/a").open()).collect();
    assert_eq!(streams.len(), 3);
    server.publish("a", "everywhere");
    for stream in &mut streams {
        assert_eq!(stream.next_data(), "everywhere");
    }
}

#[test]
fn help_and_version_are_answers() {
    let help = Launch::new(&["--help"]).finish();
    assert_eq!(help.status.code(), Some(0));
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(["--listen", "--drain-window", "--retry-jitter"].iter().all(|flag| text.contains(flag)), "{text}");
    let version = Launch::new(&["--version"]).finish();
    assert_eq!(version.status.code(), Some(0));
    assert!(String::from_utf8(version.stdout).unwrap().contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn settings_can_be_checked_without_serving() {
    let good = Launch::new(&["check-config", "--listen", "127.0.0.1:1"]).finish();
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    let bad = Launch::new(&["check-config", "--listen", "nowhere"]).finish();
    assert_eq!(bad.status.code(), Some(64), "{bad:?}");
}

/// Whoever is behind gets the newest event only, however little it is behind.
#[test]
fn a_realtime_topic_brings_the_newest() {
    let home = Server::start(&[]);
    let file = home.home().join("topics.toml");
    fs::write(&file, "[[topic]]\nmatch = \"price\"\npreset = \"realtime\"\n").unwrap();
    for writers in ["2", "off"] {
        let server = Server::start(&["--config", file.to_str().unwrap(), "--writers", writers]);
        server.publish_all("price", ["1", "2", "3"]);
        let mut stream = server.subscribe("price").last_event_id("earliest").open();
        assert_eq!(stream.next_data(), "3");
        server.publish("price", "4");
        assert_eq!(stream.next_data(), "4");
    }
}

#[test]
fn a_topic_has_its_own_bounds() {
    let home = Server::start(&[]);
    let file = home.home().join("topics.toml");
    fs::write(&file, "[[topic]]\nmatch = \"short/{x}\"\nring_frames_max = 1\n").unwrap();
    let server = Server::start(&["--config", file.to_str().unwrap()]);
    for topic in ["short/1", "long"] {
        server.publish_all(topic, ["a", "b"]);
    }
    assert_eq!(server.subscribe("short/1").last_event_id("earliest").open().next_data(), "b");
    assert_eq!(server.subscribe("long").last_event_id("earliest").open().next_data(), "a");
}
