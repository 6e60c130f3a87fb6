//! Coming back: where a stream goes on, and what it says when it cannot.

use serde_json::json;

use crate::harness::{Event, Stream, StreamPath, on_all_paths_and_compressed_in_http2};

on_all_paths_and_compressed_in_http2![
    resumes_after_last_event_id,
    resumes_by_every_name_of_the_parameter,
    the_header_wins_over_the_query,
    an_empty_id_asks_for_nothing,
    who_had_no_event_resumes_where_it_began,
    earliest_asks_for_all_that_is_kept,
    resumes_after_a_publishers_own_id,
    replay_and_live_events_meet_without_a_seam,
    one_id_positions_a_stream_in_all_its_topics,
    what_the_ring_no_longer_has_is_a_gap,
    an_id_nobody_knows_is_a_gap,
    an_id_of_the_future_is_a_gap,
    a_gap_is_told_once,
    a_restart_is_a_gap,
];

fn resumes_after_last_event_id(path: StreamPath) {
    let server = path.start(&["--ring-frames-max", "100"]);
    let ids = server.publish_all("news", ["a", "b", "c"]);
    let mut stream = server.subscribe("news").last_event_id(&ids[0]).open();
    assert_eq!(stream.next_data(), "b");
    assert_eq!(stream.next_data(), "c");
    server.publish("news", "d");
    assert_eq!(stream.next_data(), "d");
}

fn resumes_by_every_name_of_the_parameter(path: StreamPath) {
    let server = path.start(&[]);
    let ids = server.publish_all("news", ["a", "b"]);
    for name in ["last_event_id", "lastEventID"] {
        let mut stream = server.follow(format!("/events/news?{name}={}", ids[0])).open();
        assert_eq!(stream.next_data(), "b", "{name}");
    }
}

fn the_header_wins_over_the_query(path: StreamPath) {
    let server = path.start(&[]);
    let ids = server.publish_all("news", ["a", "b", "c"]);
    let request = server.follow(format!("/events/news?last_event_id={}", ids[0]));
    assert_eq!(request.clone().last_event_id(&ids[1]).open().next_data(), "c");
    // A browser that has seen nothing yet may send an empty one.
    assert_eq!(request.last_event_id("").open().next_data(), "b");
}

fn an_empty_id_asks_for_nothing(path: StreamPath) {
    let server = path.start(&[]);
    server.publish("news", "long ago");
    let mut stream = server.follow("/events/news?last_event_id=").last_event_id("").open();
    server.publish("news", "now");
    assert_eq!(stream.next_data(), "now");
}

/// Cut before its first event, a browser comes back with the id that the stream began with.
fn who_had_no_event_resumes_where_it_began(path: StreamPath) {
    let server = path.start(&["--retry-jitter", "0"]);
    for target in ["/events/news", "/events?topic=news&topic=quiet", "/events?match=*"] {
        server.publish("news", "before");
        let id = server.follow(target).open().expect_opening(3000);
        server.publish("news", "missed");
        let mut again = server.follow(target).last_event_id(&id).open();
        again.expect_text("retry: 3000\n\n");
        assert_eq!(again.next_data(), "missed", "{target}");
    }
}

fn earliest_asks_for_all_that_is_kept(path: StreamPath) {
    let server = path.start(&["--ring-frames-max", "2"]);
    server.publish_all("news", ["a", "b", "c"]);
    let mut stream = server.subscribe("news").last_event_id("earliest").open();
    // Nobody asked for what is gone, so this is no gap.
    assert_eq!(stream.next_data(), "b");
    assert_eq!(stream.next_data(), "c");
    let mut nothing_yet = server.follow("/events/silent?last_event_id=earliest").open();
    server.publish("silent", "the first");
    assert_eq!(nothing_yet.next_data(), "the first");
}

fn resumes_after_a_publishers_own_id(path: StreamPath) {
    let server = path.start(&[]);
    server.publish_to("/events/news?id=order-1/created", "a");
    server.publish("news", "b");
    server.publish_to("/events/news?id=order-1/created", "c");
    server.publish("news", "d");
    // Used twice, it stands for its earliest use: rather an event twice than one lost.
    let mut stream = server.subscribe("news").last_event_id("order-1/created").open();
    assert_eq!([stream.next_data(), stream.next_data(), stream.next_data()], ["b", "c", "d"]);
    let mut several = server.follow("/events?topic=news&topic=x").last_event_id("order-1/created").open();
    assert_eq!([several.next_data(), several.next_data(), several.next_data()], ["b", "c", "d"]);
}

fn replay_and_live_events_meet_without_a_seam(path: StreamPath) {
    let server = path.start(&[]);
    let kept = server.publish_burst("news", 2000);
    std::thread::scope(|scope| {
        let publisher = scope.spawn(|| (0..20).flat_map(|_| server.publish_burst("news", 50)).collect::<Vec<_>>());
        let mut streams: Vec<Stream> = (0..20)
            .map(|n| match n % 2 {
                0 => server.subscribe("news").last_event_id(&kept[n]).open(),
                _ => server.follow("/events?topic=news&topic=other").last_event_id(&kept[n]).open(),
            })
            .collect();
        let live = publisher.join().unwrap();
        for (n, stream) in streams.iter_mut().enumerate() {
            for expected in kept[n + 1..].iter().chain(&live) {
                assert_eq!(&stream.next_event().id, expected);
            }
        }
    });
}

fn one_id_positions_a_stream_in_all_its_topics(path: StreamPath) {
    let server = path.start(&["--shards", "4"]);
    let ids: Vec<String> = (0..10).map(|n| server.publish(["a", "b", "c"][n % 3], &n.to_string())).collect();
    let mut stream = server.follow("/events?topic=a&topic=b&topic=c").last_event_id(&ids[3]).open();
    for n in 4..10 {
        assert_eq!(stream.next_data(), n.to_string());
    }
    // An id of one topic says where another one stood at that moment, too.
    let mut other = server.subscribe("b").last_event_id(&ids[3]).open();
    assert_eq!([other.next_data(), other.next_data()], ["4", "7"]);
    server.publish("a", "10");
    let last = server.publish("a", "11");
    let mut quiet = server.subscribe("b").last_event_id(last).open();
    server.publish("b", "12");
    assert_eq!(quiet.next_data(), "12");
}

fn what_the_ring_no_longer_has_is_a_gap(path: StreamPath) {
    let server = path.start(&["--ring-frames-max", "2", "--retry-jitter", "0"]);
    let ids = server.publish_all("news", ["a", "b", "c", "d"]);
    let mut stream = server.subscribe("news").last_event_id(&ids[0]).open();
    stream.expect_text(&format!(
        "retry: 3000\n\nevent: sse.gap\nid: {resumed}\n\
         data: {{\"requested\":\"{requested}\",\"resumed_after\":\"{resumed}\",\"reason\":\"trimmed\"}}\n\n\
         id: {}\ndata: c\n\nid: {}\ndata: d\n\n",
        ids[2],
        ids[3],
        requested = ids[0],
        resumed = ids[1],
    ));
    // Right at the edge nothing is missing.
    assert_eq!(server.subscribe("news").last_event_id(&ids[1]).open().next_data(), "c");
    server.wait_for_metric(r#"sse_gaps_total{reason="trimmed"}"#, 1.0);

    let mut several = server.follow("/events?topic=news&topic=other").last_event_id(&ids[0]).open();
    expect_gap(&several.next_event(), &ids[0], &ids[1], "trimmed");
    assert_eq!([several.next_data(), several.next_data()], ["c", "d"]);
}

fn an_id_nobody_knows_is_a_gap(path: StreamPath) {
    let server = path.start(&[]);
    let ids = server.publish_all("news", ["a", "b"]);
    let before = before_everything(&ids[0]);
    for target in ["/events/news", "/events?topic=news&topic=other", "/events?match=*"] {
        let mut stream = server.follow(target).last_event_id("never-published").open();
        expect_gap(&stream.next_event(), "never-published", &before, "unknown");
        assert_eq!([stream.next_data(), stream.next_data()], ["a", "b"], "{target}");
    }
}

fn an_id_of_the_future_is_a_gap(path: StreamPath) {
    let server = path.start(&[]);
    let ids = server.publish_all("news", ["a", "b"]);
    let epoch = ids[0].split_once('-').unwrap().0;
    let future = format!("{epoch}-0000000000000003");
    let mut stream = server.subscribe("news").last_event_id(&future).open();
    expect_gap(&stream.next_event(), &future, &before_everything(&ids[0]), "unknown");
    assert_eq!([stream.next_data(), stream.next_data()], ["a", "b"]);
}

fn a_gap_is_told_once(path: StreamPath) {
    let server = path.start(&["--ring-frames-max", "1"]);
    let ids = server.publish_all("news", ["a", "b", "c"]);
    let gap = server.subscribe("news").last_event_id(&ids[0]).open().next_event();
    assert_eq!(gap.event_type, "sse.gap");
    // Cut right after the gap: its id leads to what it announced.
    assert_eq!(server.subscribe("news").last_event_id(&gap.id).open().next_data(), "c");
}

fn a_restart_is_a_gap(path: StreamPath) {
    let mut server = path.start(&[]);
    let old = server.publish_all("news", ["a", "b"]);
    server.kill();
    let server = path.start(&[]);
    // As many events again: by its number alone the old id would fit.
    let new = server.publish_all("news", ["c", "d", "e"]);
    for target in ["/events/news", "/events?topic=news&topic=other"] {
        let mut stream = server.follow(target).last_event_id(&old[1]).open();
        expect_gap(&stream.next_event(), &old[1], &before_everything(&new[0]), "epoch");
        assert_eq!([stream.next_data(), stream.next_data(), stream.next_data()], ["c", "d", "e"]);
    }
    server.wait_for_metric(r#"sse_gaps_total{reason="epoch"}"#, 2.0);
}

/// The cursor before the first event kept.
fn before_everything(first: &str) -> String {
    let (epoch, sequence) = first.split_once('-').unwrap();
    assert_eq!(sequence, "0000000000000001");
    format!("{epoch}-0000000000000000")
}

#[track_caller]
fn expect_gap(event: &Event, requested: &str, resumed_after: &str, reason: &str) {
    assert_eq!(event.event_type, "sse.gap", "{event:?}");
    assert_eq!(event.id, resumed_after);
    assert_eq!(event.json(), json!({"requested": requested, "resumed_after": resumed_after, "reason": reason}));
}
