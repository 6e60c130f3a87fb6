//! What the metrics of streams count, however the streams' bytes get to their sockets.

use crate::harness::{Stream, StreamPath, also_on_http2, on_both_paths};

on_both_paths![frames_and_bytes_are_counted_alike, a_burst_is_counted_once_for_each_stream, every_publish_is_a_fan_out];

also_on_http2![every_publish_is_a_fan_out];

fn frames_and_bytes_are_counted_alike(path: StreamPath) {
    let server = path.start(&["--retry-jitter", "0"]);
    server.publish_burst("a", 5);
    let follow = |target: &str| server.follow(target).last_event_id("earliest");
    let mut streams = [
        follow("/events/a").open(),
        follow("/events/a").field("Connection", "close").open(),
        follow("/events/a?envelope=json").open(),
        follow("/events?topic=a&topic=b").open(),
    ];
    expect_numbers(&mut streams, 0..5);
    server.wait_for_metric("sse_subscriptions_active", 4.0);
    server.wait_for_metric("sse_replayed_frames_total", 20.0);
    assert_eq!(server.metric("sse_fanout_duration_seconds_count"), Some(0.0), "what is replayed is no fan-out");

    server.publish("a", "5");
    streams.iter_mut().for_each(|stream| drop(stream.next_event()));
    server.close("a");
    server.close("b");
    let received: usize = streams.into_iter().map(Stream::bytes_to_end).sum();
    // Each of them got six events and the end of a; the last one that of b as well.
    server.wait_for_metric("sse_frames_delivered_total", 29.0);
    server.wait_for_metric("sse_bytes_sent_total", received as f64);
    server.wait_for_metric("sse_subscriptions_active", 0.0);
    assert_eq!(server.metric("sse_replayed_frames_total"), Some(20.0));
}

/// Some of them fall behind on the way: that must not change the count.
fn a_burst_is_counted_once_for_each_stream(path: StreamPath) {
    let server = path.start(&["--lag-frames-max", "100000"]);
    let mut streams: Vec<Stream> = (0..20).map(|_| server.subscribe("a").open()).collect();
    let data = "x".repeat(30_000);
    (0..40).for_each(|_| drop(server.publish("a", &data)));
    server.close("a");
    for stream in &mut streams {
        (0..41).for_each(|_| drop(stream.next_event()));
    }
    let received: usize = streams.into_iter().map(Stream::bytes_to_end).sum();
    server.wait_for_metric("sse_frames_delivered_total", 20.0 * 41.0);
    server.wait_for_metric("sse_bytes_sent_total", received as f64);
}

/// From the publish to the last follower's `send`: one of each event, however many streams get it.
fn every_publish_is_a_fan_out(path: StreamPath) {
    let server = path.start(&[]);
    let mut streams: Vec<Stream> = (0..10).map(|_| server.subscribe("a").open()).collect();
    for n in 0..5 {
        server.publish("a", &n.to_string());
        server.publish("unfollowed", "");
        expect_numbers(&mut streams, n..n + 1);
        server.wait_for_metric("sse_fanout_duration_seconds_count", f64::from(n + 1));
    }
    let form = server.post("/.well-known/mercure", "topic=a&data=5");
    assert_eq!(form.field("Content-Type", "application/x-www-form-urlencoded").send().status(), 200);
    expect_numbers(&mut streams, 5..6);
    server.wait_for_metric("sse_fanout_duration_seconds_count", 6.0);
    server.close("a");
    streams.into_iter().for_each(|mut stream| assert_eq!(stream.next_event().event_type, "sse.end"));
    server.wait_for_metric("sse_fanout_duration_seconds_count", 7.0);
}

#[track_caller]
fn expect_numbers(streams: &mut [Stream], numbers: std::ops::Range<i32>) {
    for stream in streams {
        for n in numbers.clone() {
            let data = stream.next_data();
            assert!(data == n.to_string() || data.ends_with(&format!(r#""data":"{n}"}}"#)), "{data}");
        }
    }
}
