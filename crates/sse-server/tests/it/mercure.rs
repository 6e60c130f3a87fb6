//! The Mercure protocol, as its clients speak it.

mod cursor;
mod form;
mod head;
mod logged;
mod many;
mod selectors;
mod silence;
mod subscriptions;
mod tokens;

use crate::harness::{Reply, Request, Server};

/// The hub's address.
const HUB: &str = "/.well-known/mercure";

/// A name or value as a form and a query carry it: everything but the unreserved characters is escaped.
fn escape(text: &str) -> String {
    let unreserved = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let byte = |byte: u8| if unreserved(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(byte).collect()
}

fn pairs(fields: &[(&str, &str)]) -> String {
    let pair = |(name, value): &(&str, &str)| format!("{name}={}", escape(value));
    fields.iter().map(pair).collect::<Vec<_>>().join("&")
}

/// A request to publish.
fn post(server: &Server, fields: &[(&str, &str)]) -> Request {
    server.post(HUB, pairs(fields)).field("Content-Type", "application/x-www-form-urlencoded")
}

/// Publishes and returns the event's id.
#[track_caller]
fn publish(server: &Server, fields: &[(&str, &str)]) -> String {
    let reply = post(server, fields).send();
    assert_eq!(reply.status(), 200, "{}", reply.text());
    reply.text()
}

/// A request to follow.
fn follow(server: &Server, topics: &[&str]) -> Request {
    follow_with(server, topics, &[])
}

/// The same with other fields in the query.
fn follow_with(server: &Server, topics: &[&str], others: &[(&str, &str)]) -> Request {
    let topics = topics.iter().map(|topic| ("topic", *topic));
    let fields: Vec<(&str, &str)> = topics.chain(others.iter().copied()).collect();
    server.follow(format!("{HUB}?{}", pairs(&fields)))
}

/// The fields that every answer of the hub has.
#[track_caller]
fn expect_security_fields(reply: &Reply) {
    for (name, value) in [
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("x-xss-protection", "1; mode=block"),
        ("content-security-policy", "default-src 'self'"),
    ] {
        assert_eq!(reply.field(name), Some(value), "{}", reply.head.text);
    }
}
