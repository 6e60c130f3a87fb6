//! How the server does.

use serde_json::json;

use crate::harness::{Server, eventually};

#[test]
fn figures_are_those_of_the_metrics() {
    let server = Server::start(&["--ring-frames-max", "2"]);
    let mut streams: Vec<_> = (0..3).map(|_| server.subscribe("a").open()).collect();
    // One after the other, or somebody would miss what the ring no longer has.
    let publish = |n: usize| {
        let id = server.publish("a", &n.to_string());
        streams.iter_mut().for_each(|stream| assert_eq!(stream.next_data(), n.to_string()));
        id
    };
    let ids: Vec<String> = (0..4).map(publish).collect();
    let _late = server.subscribe("a").last_event_id(&ids[0]).open();
    let stats = eventually("a second that tells of it", || {
        let stats = server.admin("/api/stats?seconds=300").send().json();
        let sum =
            |name: &str| stats["history"][name].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum::<u64>();
        (sum("events") == 4 && sum("deliveries") == 14).then_some(stats)
    });
    assert_eq!(stats["totals"]["events"], 4);
    assert_eq!(stats["totals"]["deliveries"], 14);
    assert_eq!(stats["totals"]["bytes"].as_f64(), server.metric("sse_bytes_sent_total"));
    assert_eq!((&stats["streams"], &stats["topics"]), (&json!(4), &json!(1)));
    assert_eq!(stats["gaps"], json!({ "trimmed": 1 }));
    assert_eq!((&stats["evictions"], &stats["kicks"], &stats["draining"]), (&json!({}), &json!(0), &json!(false)));
    assert!(stats["connections"]["open"].as_u64().unwrap() >= 4, "{stats}");
    assert!(stats["per_second"]["events"].as_f64().unwrap() > 0.0, "{stats}");
    assert_eq!(stats["history"]["connections"].as_array().unwrap().last(), Some(&json!(4)));
    assert_eq!(server.admin("/api/stats").send().json()["history"], json!(null));
    for malformed in ["seconds=x", "minutes=1"] {
        server.admin(&format!("/api/stats?{malformed}")).send().problem(400);
    }
}
