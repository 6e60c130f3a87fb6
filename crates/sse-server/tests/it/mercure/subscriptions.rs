//! The subscriptions API and its events.

use super::{HUB, expect_security_fields, follow};
use crate::harness::Server;

#[test]
fn without_the_setting_there_is_none() {
    let server = Server::start(&[]);
    let _stream = follow(&server, &["a"]).open();
    for path in ["", "/a", "/a/urn%3Auuid%3A018e5c8f-1c1a-4c3e-8f0a-1234567890ab"] {
        let reply = server.request("GET", format!("{HUB}/subscriptions{path}")).send();
        reply.problem(404);
        expect_security_fields(&reply);
    }
    assert_eq!(server.topics(), 1, "nothing was announced");
}

#[test]
fn nobody_reads_them_without_a_grant() {
    let server = Server::start(&["--subscriptions", "on"]);
    let mut watcher = follow(&server, &["/.well-known/mercure/subscriptions{/topic}{/subscriber}", "x"]).open();
    let _stream = follow(&server, &["a"]).open();
    for path in ["", "/a", "/a/urn%3Auuid%3A018e5c8f-1c1a-4c3e-8f0a-1234567890ab", "/a/b/c"] {
        let reply = server.request("GET", format!("{HUB}/subscriptions{path}")).send();
        reply.problem(401);
        expect_security_fields(&reply);
    }
    server.request("POST", format!("{HUB}/subscriptions")).send().problem(405);
    server.request("GET", format!("{HUB}/subscriptionsx")).send().problem(404);
    super::publish(&server, &[("topic", "x"), ("data", "all that comes")]);
    assert_eq!(watcher.next_data(), "all that comes");
}
