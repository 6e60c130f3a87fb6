//! Several nodes with one order of events between them.

use std::time::Duration;

use serde_json::json;

use crate::harness::token::{SECRET, subscribe_token, token};
use crate::harness::{Engine, EngineKind, Request, back, eventually, with_both_engines, within};

with_both_engines![
    what_is_published_anywhere_is_everywhere,
    a_client_goes_on_at_another_node,
    a_key_counts_at_every_node,
    an_engine_that_restarts_loses_nothing,
    an_engine_that_lost_all_is_told_of,
    an_engine_that_hangs_harms_no_stream,
    the_end_of_a_topic_is_the_end_everywhere,
    a_node_that_begins_knows_what_was,
    who_follows_is_known_everywhere,
    what_one_node_is_told_holds_for_all,
    an_event_that_one_node_cannot_have_is_told_of_there,
    who_is_ahead_of_a_node_without_its_engine_comes_again,
];

fn what_is_published_anywhere_is_everywhere(kind: EngineKind) {
    let engine = Engine::start(kind);
    let nodes = [engine.node(&[]), engine.node(&["--writers", "off"]), engine.node(&[])];
    let mut streams: Vec<_> = nodes
        .iter()
        .flat_map(|node| {
            let by_name = node.follow("/events?topic=news&topic=x%2Fy");
            let by_template = node.follow("/events?match=%7Bx%7D&match=x%2F%7By%7D");
            [by_name.open(), by_template.open()]
        })
        .collect();
    let mut ids = Vec::new();
    for round in 0..10 {
        for (n, node) in nodes.iter().enumerate() {
            let topic = if n == 1 { "x%2Fy" } else { "news" };
            let answer = node.post(&format!("/events/{topic}"), format!("{round}.{n}")).send().json();
            assert_eq!(answer["durability"], "backplane");
            ids.push(answer["id"].as_str().unwrap().to_owned());
        }
    }
    assert!(ids.is_sorted(), "{ids:?}");
    for stream in &mut streams {
        let events: Vec<_> = (0..30).map(|_| stream.next_event()).collect();
        assert_eq!(events.iter().map(|event| event.id.clone()).collect::<Vec<_>>(), ids);
        assert!((0..30).all(|n| *events[n].data == format!("{}.{}", n / 3, n % 3)));
    }
}

fn a_client_goes_on_at_another_node(kind: EngineKind) {
    let engine = Engine::start(kind);
    let mut nodes = [engine.node(&[]), engine.node(&[])];
    let ids: Vec<_> = (0..20).map(|n| nodes[n % 2].publish("news", &n.to_string())).collect();
    nodes[0].kill();
    let mut stream = nodes[1].subscribe("news").last_event_id(&ids[4]).open();
    (5..20).for_each(|n| assert_eq!(stream.next_data(), n.to_string()));
    // It has heard of an event that this node has not: it waits, rather than be told that nobody knows it.
    let next = |id: &str| format!("{}-{:016}", &id[..8], id[9..].parse::<u64>().unwrap() + 1);
    let ahead = nodes[1].subscribe("news").last_event_id(next(&ids[19])).start();
    nodes[1].publish("news", "20");
    nodes[1].publish("news", "21");
    assert_eq!(crate::harness::Stream::begin(ahead).next_data(), "21");
}

fn a_key_counts_at_every_node(kind: EngineKind) {
    let engine = Engine::start(kind);
    let nodes = [engine.node(&[]), engine.node(&[])];
    let mut stream = nodes[0].subscribe("news").open();
    let publish = |node: usize, data: &str| nodes[node].post("/events/news", data).field("Idempotency-Key", "k").send();
    let first = publish(0, "once").json();
    assert_eq!(publish(1, "once").json(), first);
    publish(1, "something else").problem(409);
    nodes[1].publish("news", "twice");
    assert_eq!([stream.next_data(), stream.next_data()], ["once", "twice"]);
}

fn an_engine_that_restarts_loses_nothing(kind: EngineKind) {
    let mut engine = Engine::start(kind);
    let nodes = [engine.node(&[]), engine.node(&[])];
    let mut streams = [nodes[0].subscribe("news").open(), nodes[1].follow("/events?topic=news&topic=b").open()];
    nodes[0].publish("news", "1");
    engine.kill();
    for node in &nodes {
        let problem = node.post("/events/news", "lost").send().problem(503);
        assert_eq!(problem.document["reason"], "backplane_down");
        assert_eq!(node.admin("/readyz").send().json()["reasons"], json!(["backplane_away"]));
    }
    engine.revive();
    back(&nodes[0], "news", "2");
    back(&nodes[1], "news", "3");
    for stream in &mut streams {
        assert_eq!([stream.next_data(), stream.next_data(), stream.next_data()], ["1", "2", "3"]);
    }
}

fn an_engine_that_lost_all_is_told_of(kind: EngineKind) {
    let mut engine = Engine::start(kind);
    let nodes = [engine.node(&[]), engine.node(&["--writers", "off"])];
    let targets = ["/events/news", "/events?topic=news&topic=b", "/events?match=%7Bx%7D"];
    let mut streams: Vec<_> = nodes.iter().flat_map(|node| targets.map(|target| node.follow(target).open())).collect();
    let old: Vec<_> = (0..3).map(|n| nodes[0].publish("news", &n.to_string())).collect();
    streams.iter_mut().for_each(|stream| (0..3).for_each(|n| assert_eq!(stream.next_data(), n.to_string())));
    // It has waited for what was there.
    let late = engine.node(&[]);
    engine.begin_anew();
    let new = back(&nodes[1], "news", "new");
    assert!(new[..8] != old[0][..8] && new[9..] > old[2][9..], "another epoch, whose numbers go on: {old:?} {new}");
    let expect_gap = |stream: &mut crate::harness::Stream| {
        let gap = stream.next_event();
        assert_eq!((&*gap.event_type, &gap.json()["reason"]), ("sse.gap", &json!("epoch")));
        assert_eq!(gap.json()["requested"], old[2].as_str());
        let event = stream.next_event();
        assert_eq!((event.id, &*event.data), (new.clone(), "new"));
    };
    streams.iter_mut().for_each(expect_gap);
    assert!(back(&late, "other", "x") > new);
    for target in targets {
        expect_gap(&mut nodes[0].follow(target).last_event_id(&old[2]).open());
    }
}

fn an_engine_that_hangs_harms_no_stream(kind: EngineKind) {
    let engine = Engine::start(kind);
    let node = engine.node(&["--heartbeat-interval", "200ms"]);
    let mut stream = node.subscribe("news").open();
    node.publish("news", "1");
    assert_eq!(stream.next_data(), "1");
    engine.hang();
    let answer = within(Duration::from_secs(7), "an answer", || Some(node.post("/events/news", "2").send()));
    assert_eq!(answer.problem(503).document["reason"], "backplane_down");
    stream.expect_text(": ping");
    engine.go_on();
    back(&node, "news", "3");
    // Nobody knew whether the second was taken; it was.
    let data = stream.next_data();
    assert!(data == "3" || (data == "2" && stream.next_data() == "3"));
}

fn the_end_of_a_topic_is_the_end_everywhere(kind: EngineKind) {
    let engine = Engine::start(kind);
    let nodes = [engine.node(&[]), engine.node(&[])];
    let mut stream = nodes[0].subscribe("news").open();
    nodes[1].publish("news", "1");
    assert_eq!(nodes[1].request("DELETE", "/events/news").send().status(), 200);
    assert_eq!(stream.next_data(), "1");
    assert_eq!(&*stream.next_event().event_type, "sse.end");
    stream.expect_end();
    nodes[0].post("/events/news", "2").send().problem(409);
    engine.node(&[]).post("/events/news", "2").send().problem(409);
}

fn a_node_that_begins_knows_what_was(kind: EngineKind) {
    let engine = Engine::start(kind);
    let first = engine.node(&[]);
    let ids: Vec<_> = (0..50).map(|n| first.publish(if n % 2 == 0 { "a" } else { "b" }, &n.to_string())).collect();
    // One has all of it at hand, the other reads it from the engine.
    for warm_up in ["100000", "1"] {
        let node = engine.node(&["--backplane-warm-up", warm_up]);
        let mut stream = node.subscribe("a").last_event_id(&ids[9]).open();
        (10..50).step_by(2).for_each(|n| assert_eq!(stream.next_data(), n.to_string()));
        let mut both = node.follow("/events?topic=a&topic=b").last_event_id("earliest").open();
        (0..50).for_each(|n| assert_eq!(both.next_data(), n.to_string(), "{warm_up}"));
    }
}

fn who_follows_is_known_everywhere(kind: EngineKind) {
    const HUB: &str = "/.well-known/mercure";
    let flags = ["--subscriptions", "on", "--subscriber-jwt-key", SECRET, "--anonymous", "on"];
    let engine = Engine::start(kind);
    let nodes = [engine.node(&flags), engine.node(&flags)];
    let all = format!("{HUB}?topic=%2F.well-known%2Fmercure%2Fsubscriptions%7B%2Ftopic%7D%7B%2Fsubscriber%7D");
    let mut watcher = nodes[1].follow(all).bearer(subscribe_token(&["*"])).open();
    assert_eq!(watcher.next_event().json()["active"], true, "itself");
    let claims = json!({ "mercure": { "subscribe": [], "payload": { "user": "ann" } } });
    let stream = nodes[0].follow(format!("{HUB}?topic=a")).bearer(token(&claims)).open();
    let document = watcher.next_event().json();
    assert_eq!((&document["topic"], &document["active"]), (&json!("a"), &json!(true)));
    assert_eq!(document["payload"], json!({ "user": "ann" }));
    let listed = |node: &crate::harness::Server| {
        let list = node.request("GET", format!("{HUB}/subscriptions/a")).bearer(subscribe_token(&["*"])).send().json();
        list["subscriptions"].as_array().unwrap().len()
    };
    assert_eq!((listed(&nodes[0]), listed(&nodes[1])), (1, 1));
    // One that begins later asks.
    let late = engine.node(&flags);
    eventually("the others have told", || (listed(&late) == 1).then_some(()));
    drop(stream);
    let document = watcher.next_event().json();
    assert_eq!((&document["topic"], &document["active"]), (&json!("a"), &json!(false)));
    eventually("it is gone", || (listed(&late) == 0).then_some(()));
}

fn what_one_node_is_told_holds_for_all(kind: EngineKind) {
    let flags = ["--publisher-jwt-key", SECRET, "--subscriber-jwt-key", SECRET];
    let engine = Engine::start(kind);
    let nodes = [engine.node(&flags), engine.node(&flags)];
    let of = |id: &str, subject: &str| token(&json!({ "jti": id, "sub": subject, "mercure": { "subscribe": ["*"] } }));
    let open = |id: &str, subject: &str| nodes[1].subscribe("a").bearer(of(id, subject)).open();
    let (mut revoked, mut kicked) = (open("1", "ann"), open("2", "ben"));
    let body = json!({ "jti": "1" }).to_string();
    let revoke = Request::new(nodes[0].admin_addr(), "POST", "/api/revocations").body(body).send();
    assert_eq!(revoke.status(), 200);
    assert_eq!(revoked.next_event().json(), json!({ "reason": "revoked" }));
    let late = engine.node(&flags);
    for node in [&nodes[1], &late] {
        eventually("it is not let in", || {
            (node.subscribe("a").bearer(of("1", "ann")).send().status() == 401).then_some(())
        });
    }
    let kick = Request::new(nodes[0].admin_addr(), "DELETE", "/api/subscribers?subject=ben").send();
    assert_eq!(kick.status(), 200);
    assert_eq!(kicked.next_event().json(), json!({ "reason": "kicked" }));
}

fn an_event_that_one_node_cannot_have_is_told_of_there(kind: EngineKind) {
    let engine = Engine::start(kind);
    let nodes = [engine.node(&[]), engine.node(&["--event-bytes-max", "1000"])];
    let targets = ["/events/news", "/events?topic=news&topic=b", "/events?match=%7Bx%7D"];
    let mut streams = targets.map(|target| nodes[1].follow(target).open());
    let mut whole = nodes[0].subscribe("news").open();
    let large = "x".repeat(5_000);
    let first = nodes[0].publish("news", "1");
    nodes[0].publish("news", &large);
    nodes[1].publish("news", "3");
    let expect_gap = |stream: &mut crate::harness::Stream| {
        let gap = stream.next_event();
        assert_eq!((&*gap.event_type, &gap.json()["reason"]), ("sse.gap", &json!("damaged")));
        assert_eq!(stream.next_data(), "3");
    };
    for stream in &mut streams {
        assert_eq!(stream.next_data(), "1");
        expect_gap(stream);
    }
    for target in targets {
        expect_gap(&mut nodes[1].follow(target).last_event_id(&first).open());
    }
    assert_eq!([whole.next_data(), whole.next_data(), whole.next_data()], ["1", &large, "3"]);
}

fn who_is_ahead_of_a_node_without_its_engine_comes_again(kind: EngineKind) {
    let mut engine = Engine::start(kind);
    let node = engine.node(&["--busy-reply", "503"]);
    let id = node.publish("news", "1");
    engine.kill();
    node.post("/events/news", "2").send().problem(503);
    let ahead = format!("{}-{:016}", &id[..8], id[9..].parse::<u64>().unwrap() + 1);
    let problem = node.subscribe("news").last_event_id(&ahead).send().problem(503);
    assert_eq!(problem.document["reason"], "behind");
    node.subscribe("news").last_event_id(&id).open();
    engine.revive();
    back(&node, "news", "2");
    back(&node, "news", "3");
    // What has its number now may be a word of this node's.
    let next = node.subscribe("news").last_event_id(&ahead).open().next_event();
    assert!(&*next.event_type == "message" && ["2", "3"].contains(&&*next.data), "{next:?}");
}

/// The engine takes nothing, and the nodes follow it.
#[test]
fn what_an_engine_did_not_take_is_told_again() {
    let flags = ["--publisher-jwt-key", SECRET, "--subscriber-jwt-key", SECRET];
    let engine = Engine::start(EngineKind::Redis);
    let nodes = [engine.node(&flags), engine.node(&flags)];
    let ann = token(&json!({ "jti": "1", "sub": "ann", "mercure": { "subscribe": ["*"] } }));
    let is_let_in = |node: usize| nodes[node].subscribe("a").bearer(&ann).send().status() == 200;
    let ask = |method: &str, target: &str| Request::new(nodes[0].admin_addr(), method, target);
    let revoke = || ask("POST", "/api/revocations").body(json!({ "jti": "1" }).to_string()).send();
    engine.redis("CONFIG SET maxmemory 1\n");
    assert_eq!(revoke().problem(503).document["reason"], "backplane_down");
    assert_eq!(ask("DELETE", "/api/subscribers?subject=ann").send().status(), 503);
    assert!(!is_let_in(0) && is_let_in(1), "it holds where it was asked for");
    engine.redis("CONFIG SET maxmemory 0\n");
    within(Duration::from_secs(15), "the other node has heard of it", || (!is_let_in(1)).then_some(()));
    engine.redis("CONFIG SET maxmemory 1\n");
    assert_eq!(ask("DELETE", "/api/revocations?jti=1").send().status(), 503);
    assert!(!is_let_in(0), "it holds everywhere or nowhere");
    engine.redis("CONFIG SET maxmemory 0\n");
    assert_eq!(ask("DELETE", "/api/revocations?jti=1").send().status(), 204);
    within(Duration::from_secs(5), "it is taken back everywhere", || (is_let_in(0) && is_let_in(1)).then_some(()));
}

/// No connection breaks, and what is new has numbers beyond those that were read.
#[test]
fn an_engine_that_was_emptied_and_filled_at_once_is_found_out() {
    let engine = Engine::start(EngineKind::Redis);
    let node = engine.node(&[]);
    let mut stream = node.subscribe("news").open();
    (0..3).for_each(|n| drop(node.publish("news", &n.to_string())));
    (0..3).for_each(|n| assert_eq!(stream.next_data(), n.to_string()));
    let compared = || {
        let stats = engine.redis("INFO commandstats\n");
        let of_get = stats.split("cmdstat_get:calls=").nth(1).unwrap();
        of_get.split(',').next().unwrap().parse::<u64>().unwrap()
    };
    let before = compared();
    within(Duration::from_secs(5), "it has compared what it read", || (compared() >= before + 2).then_some(()));
    let entry = |n: u32| {
        format!(r#"XADD {{sse}}:events 0-{n} e '{{"v":1,"nonce":"{n:016x}","topics":["news"],"data":"new {n}"}}'"#)
    };
    let entries: Vec<String> = (1..=60).map(entry).collect();
    let answer = engine.redis(&format!("MULTI\nDEL {{sse}}:events\n{}\nEXEC\n", entries.join("\n")));
    assert!(answer.contains("0-60"), "{answer}");
    let mut told = Vec::new();
    while told.last().is_none_or(|event: &crate::harness::Event| &*event.event_type != "sse.gap") {
        told.push(stream.next_event());
        assert!(told.len() <= 61, "nobody tells of what is missing");
    }
    assert_eq!(told.pop().unwrap().json()["reason"], "epoch");
    (1..=60).for_each(|n| assert_eq!(stream.next_data(), format!("new {n}")));
}
