//! What there is to follow.

use serde_json::{Value, json};

use crate::harness::{Server, StreamPath, on_both_paths};

on_both_paths![followers_are_counted_whoever_writes_them];

fn names(listing: &Value) -> Vec<&str> {
    listing["topics"].as_array().unwrap().iter().map(|one| one["topic"].as_str().unwrap()).collect()
}

fn followers_are_counted_whoever_writes_them(path: StreamPath) {
    let server = path.start(&[]);
    let _alone: Vec<_> = (0..3).map(|_| server.subscribe("a").open()).collect();
    let _several = server.follow("/events?topic=a&topic=b").open();
    let _all = server.follow("/events?match=*").open();
    server.publish("b", "x");
    let listing = server.admin("/api/topics").send().json();
    assert_eq!(listing["topics"][0]["topic"], "a");
    assert_eq!((&listing["topics"][0]["followers"], &listing["topics"][1]["followers"]), (&json!(4), &json!(1)));
    assert_eq!((&listing["topics"][1]["frames"], &listing["topics"][1]["events_per_second"]), (&json!(1), &json!(0.1)));
    drop(_alone);
    server.wait_for_metric("sse_connections_active", 2.0);
    assert_eq!(server.admin("/api/topics?q=A").send().json()["topics"][0]["followers"], 1);
}

#[test]
fn topics_are_searched_and_sorted() {
    let server = Server::start(&[]);
    let _follower = server.subscribe("orders-quiet").open();
    (0..5).for_each(|_| drop(server.publish("Orders/busy", "x")));
    (0..20).for_each(|n| drop(server.publish(&format!("other-{n:02}"), "x")));
    let list = |query: &str| server.admin(&format!("/api/topics?{query}")).send().json();
    assert_eq!(names(&list("q=orders")), ["orders-quiet", "Orders/busy"]);
    assert_eq!(names(&list("q=orders&sort=activity")), ["Orders/busy", "orders-quiet"]);
    let few = list("limit=2&sort=followers");
    assert_eq!(
        (names(&few), &few["total"], &few["found"]),
        (vec!["orders-quiet", "Orders/busy"], &json!(22), &json!(22))
    );
    assert_eq!(list("q=other")["found"], 20);
    for malformed in ["sort=name", "limit=x", "colour=red"] {
        server.admin(&format!("/api/topics?{malformed}")).send().problem(400);
    }
    super::change(&server, "POST", "/api/topics").body("").send().problem(405);
}
