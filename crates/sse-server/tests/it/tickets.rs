//! Tickets: for addresses, in place of tokens.

use serde_json::json;

use crate::harness::token::{SECRET, seconds_from_now, subscribe_token, token};
use crate::harness::{Reply, Request, Server, StreamPath, eventually, on_all_paths};

const KEYS: [&str; 4] = ["--publisher-jwt-key", SECRET, "--subscriber-jwt-key", SECRET];

on_all_paths![a_ticket_opens_one_stream, a_ticket_is_as_good_as_its_token];

fn ask(server: &Server, query: &str, body: &str, token: &str) -> Reply {
    server.post(&format!("/tickets{query}"), body).bearer(token).send()
}

#[track_caller]
fn ticket(reply: &Reply) -> String {
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_eq!(reply.field("cache-control"), Some("no-store"));
    let ticket = reply.json()["ticket"].as_str().unwrap().to_owned();
    assert!(ticket.len() >= 32, "{ticket}");
    ticket
}

fn a_ticket_opens_one_stream(path: StreamPath) {
    let server = path.start(&KEYS);
    let all = token(&json!({ "mercure": { "subscribe": ["*"], "publish": ["*"] } }));
    let reply = ask(&server, "", r#"{"topics":["a","b"]}"#, &all);
    assert_eq!(reply.json()["expires_in"], 30);
    let name = ticket(&reply);
    // A head opens no stream and takes no ticket.
    assert_eq!(server.request("HEAD", format!("/events/a?ticket={name}")).send().status(), 200);
    let mut stream = server.follow(format!("/events/a?ticket={name}")).open();
    assert_eq!(server.post("/events/a?private", "x").bearer(&all).send().status(), 200);
    assert_eq!(stream.next_data(), "x");
    server.follow(format!("/events/a?ticket={name}")).send().problem(401);

    let several = ticket(&ask(&server, "?topic=a&topic=b", "", &all));
    server.follow(format!("/events?topic=a&topic=b&ticket={several}")).open();
    server.wait_for_metric("sse_tickets_total{result=\"used\"}", 2.0);
    server.wait_for_metric("sse_tickets_total{result=\"issued\"}", 2.0);
}

fn a_ticket_is_as_good_as_its_token(path: StreamPath) {
    let server = path.start(&KEYS);
    let make = |more: serde_json::Value| {
        let mut claims = json!({ "jti": "1", "mercure": { "subscribe": ["a"], "publish": ["*"] } });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        token(&claims)
    };
    // Private events as far as the token says.
    let of_b = ticket(&ask(&server, "?topic=b", "", &make(json!({}))));
    let mut stream = server.follow(format!("/events/b?ticket={of_b}")).open();
    server.post("/events/b?private", "secret").bearer(make(json!({}))).send();
    server.post("/events/b", "public").bearer(make(json!({}))).send();
    assert_eq!(stream.next_data(), "public");
    // And as long.
    let short = ticket(&ask(&server, "?topic=a", "", &make(json!({ "exp": seconds_from_now(3) }))));
    let mut stream = server.follow(format!("/events/a?ticket={short}")).open();
    assert_eq!(stream.next_event().data, r#"{"reason":"expired"}"#);
    // Revoked with its token, used or not.
    let unused = ticket(&ask(&server, "?topic=a", "", &make(json!({}))));
    let used = ticket(&ask(&server, "?topic=a", "", &make(json!({}))));
    let mut stream = server.follow(format!("/events/a?ticket={used}")).open();
    let revoke = Request::new(server.admin_addr(), "POST", "/api/revocations").body(r#"{"jti":"1"}"#).send();
    assert_eq!(revoke.status(), 200);
    assert_eq!(stream.next_event().data, r#"{"reason":"revoked"}"#);
    server.follow(format!("/events/a?ticket={unused}")).send().problem(401);
}

#[test]
fn a_ticket_is_for_what_it_names() {
    let server = Server::start(&KEYS);
    let make = || ticket(&ask(&server, "?topic=a", "", &subscribe_token(&["*"])));
    for target in ["/events/b?", "/events?topic=a&topic=b&", "/events?match=*&", "/events?match={x}&"] {
        server.follow(format!("{target}ticket={}", make())).send().problem(403);
    }
    for wrong in ["", "x", &"A".repeat(32), &subscribe_token(&["*"])] {
        server.follow(format!("/events/a?ticket={wrong}")).send().problem(401);
    }
    // It is nothing to publish with.
    assert_eq!(server.post(&format!("/events/a?ticket={}", make()), "x").send().status(), 401);
}

#[test]
fn a_ticket_ends_by_itself() {
    let server = Server::start(&[&KEYS[..], &["--ticket-ttl", "1s"]].concat());
    let name = ticket(&ask(&server, "?topic=a", "", &subscribe_token(&["*"])));
    // Looking at it with a head does not take it.
    eventually("the ticket's end", || {
        let status = server.request("HEAD", format!("/events/a?ticket={name}")).send().status();
        (status == 401).then_some(())
    });
    server.follow(format!("/events/a?ticket={name}")).send().problem(401);
}

#[test]
fn tickets_are_asked_for_properly() {
    let server = Server::start(&[&KEYS[..], &["--anonymous", "on"]].concat());
    server.post("/tickets?topic=a", "").send().problem(401);
    let token = subscribe_token(&["*"]);
    let many = format!("?{}", (0..129).map(|n| format!("topic={n}")).collect::<Vec<_>>().join("&"));
    for (query, body) in [
        ("", ""),
        ("", "{}"),
        ("", r#"{"topics":[]}"#),
        ("", r#"{"topics":"a"}"#),
        ("", r#"{"topics":["a",""]}"#),
        ("", r#"{"topics":["a"],"more":1}"#),
        ("?topic=", ""),
        ("?tpoic=a", ""),
        (&*many, ""),
    ] {
        ask(&server, query, body, &token).problem(400);
    }
    server.request("GET", "/tickets").bearer(&token).send().problem(405);
    assert_eq!(server.request("OPTIONS", "/tickets").send().status(), 204);
    ask(&server, "", &"x".repeat(300_000), &token).problem(413);
}
