//! Many distinct selectors at a time.

use std::time::Duration;

use super::{follow, publish};
use crate::harness::{Server, Stream};

/// Processor time that publishing takes: to a followed topic, and to topics that are new.
fn cost_of_publishing(server: &Server, round: usize) -> Duration {
    let line = |n: usize| format!("{{\"topic\":\"/fresh/{round}/{n}\"}}\n{{\"topic\":\"/followed\"}}\n");
    let lines: String = (0..4000).map(line).collect();
    let before = server.cpu_time();
    assert_eq!(server.post_ndjson(&lines).send().status(), 200);
    server.cpu_time() - before
}

fn follow_many(server: &Server, stream: usize) -> Stream {
    // Compiling templates takes a while in a debug build.
    let kind = if stream < 2 { "/{id}" } else { "" };
    let topics: Vec<String> = (0..1000).map(|n| format!("/{stream}/{n}{kind}")).collect();
    follow(server, &topics.iter().map(String::as_str).collect::<Vec<_>>()).open()
}

/// Two thousand of them are templates, each compiled once and looked at only for topics that begin as it does.
#[test]
fn twenty_thousand_followed_topics_do_not_slow_a_publish() {
    let server = Server::start(&[]);
    let _stream = follow(&server, &["/followed"]).open();
    let few: Duration = (0..3).map(|round| cost_of_publishing(&server, round)).min().unwrap();
    let mut streams: Vec<Stream> = (0..20).map(|stream| follow_many(&server, stream)).collect();
    assert!(server.topics() >= 10_000);
    let many: Duration = (3..6).map(|round| cost_of_publishing(&server, round)).min().unwrap();
    eprintln!("8,000 publishes take {few:?} of processor time, and {many:?} with 20,000 followed topics");
    assert!(many < few * 2 + Duration::from_millis(20), "{few:?}, then {many:?}");
    publish(&server, &[("topic", "/1/999/x"), ("data", "x")]);
    assert_eq!(streams[1].next_data(), "x");
}
