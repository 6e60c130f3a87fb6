//! `[[topic]]` tables.

use super::super::units::ByteSize;
use super::super::value::Scalar as _;
use super::super::words::SlowPolicy;
use super::*;

#[test]
fn presets_and_overrides_go_on_top_of_the_server() {
    let config = config(
        "
lag_frames_max = 300
ring_bytes_max = '3MiB'
[[topic]]
match = 'news'
preset = 'low-frequency'
[[topic]]
match = '/runs/{id}'
preset = 'bursty'
ring_frames_max = 10
ring_bytes_max = '2MiB'
ring_age_max = '1m'
[[topic]]
match = '/prices/{symbol}'
preset = 'realtime'
[[topic]]
match = 'same'
preset = 'default'
[[topic]]
match = '*'
preset = 'bursty'
lag_frames_max = 7
lag_bytes_max = '1MiB'
lag_grace = '0'
slow_policy = 'skip'
",
        &[],
        &["--ring-frames-max", "900"],
    );
    let server = config.topic_limits();
    assert_eq!((server.lag_frames_max.get(), server.ring_frames_max.get()), (300, 900));
    let patterns: Vec<&str> = config.topics.iter().map(|rule| rule.pattern.as_str()).collect();
    assert_eq!(patterns, ["news", "/runs/{id}", "/prices/{symbol}", "same", "*"]);
    let limits: Vec<_> = config.topics.iter().map(|rule| rule.limits(&config)).collect();

    assert_eq!(limits[0].lag_frames_max.get(), 16);
    assert_eq!(limits[0].slow_policy, SlowPolicy::Evict);
    assert_eq!((limits[0].ring_frames_max, limits[0].ring_bytes_max), (server.ring_frames_max, server.ring_bytes_max));

    assert_eq!(limits[1].lag_frames_max.get(), 512);
    assert_eq!(limits[1].ring_frames_max.get(), 10);
    assert_eq!(limits[1].ring_bytes_max, ByteSize::parse("2MiB").expect("a size"));
    assert_eq!(limits[1].ring_age_max.as_secs(), 60);
    assert_eq!(limits[1].lag_bytes_max, server.lag_bytes_max);

    assert_eq!(limits[2].slow_policy, SlowPolicy::Latest);
    assert_eq!(limits[2].lag_frames_max.get(), 1);

    assert_eq!(limits[3], server);

    assert_eq!((limits[4].lag_frames_max.get(), limits[4].slow_policy), (7, SlowPolicy::Skip));
    assert_eq!((limits[4].lag_bytes_max.get(), limits[4].lag_grace.as_secs()), (1 << 20, 0));
}

#[test]
fn faults_in_tables() {
    let pattern = "expected a topic, a URI template or *, of 1 to 1,024 bytes without control characters";
    check("[[topic]]\nring_frames_max = 1", &[], &[], &[&format!("sse.toml:1: topic: `match` is missing, {pattern}")]);
    check("[[topic]]\nmatch = ''", &[], &[], &[&format!("sse.toml:2: match: {pattern}, got nothing")]);
    check("[[topic]]\nmatch = 'a\tb'", &[], &[], &[&format!("sse.toml:2: match: {pattern}, got `a\\tb`")]);
    check(
        "[[topic]]\nmatch = 'a'\n[[topic]]\nmatch = 'b'\n[[topic]]\nmatch = 'a'",
        &[],
        &[],
        &["sse.toml:5: topic: an earlier table already matches `a`"],
    );
    check(
        "[[topic]]\nmatch = 'a'\nheartbeat_interval = '1s'\nring_frame_max = 3\nring_size = 1",
        &[],
        &[],
        &[
            "sse.toml:3: heartbeat_interval: unknown setting, `--help` lists them all",
            "sse.toml:4: ring_frame_max: unknown setting, did you mean `ring_frames_max`?",
            "sse.toml:5: ring_size: this setting is now `ring_frames_max`",
        ],
    );
    check(
        "[[topic]]\nmatch = 'a'\nring_age_max = '0'\nlag_frames_max = 0\npreset = 'fast'",
        &[],
        &[],
        &[
            "sse.toml:3: ring_age_max: must be at least 1ms, got `0`",
            "sse.toml:4: lag_frames_max: expected a whole number from 1, or off, got `0`",
            "sse.toml:5: preset: expected one of low-frequency|default|bursty|realtime, got `fast`",
        ],
    );
    check(
        "rings_bytes_max = '8MiB'\n[[topic]]\nmatch = 'a'\nring_bytes_max = '9MiB'",
        &[],
        &[],
        &["sse.toml:2: topic: its ring_bytes_max 9MiB is more than rings_bytes_max, which is 8MiB"],
    );
    for file in ["[topic]\nmatch = 'a'", "topic = 'a'", "topic = ['a']"] {
        check(file, &[], &[], &["sse.toml:1: topic: expected tables headed [[topic]]"]);
    }
}

#[test]
fn patterns_mean_topics() {
    let config = config("[[topic]]\nmatch = '/runs/{id}'\n[[topic]]\nmatch = 'news'", &[], &[]);
    let matches = |index: usize, topic: &str| config.topics[index].pattern.selector().matches(topic);
    assert!(matches(0, "/runs/7") && !matches(0, "news"));
    assert!(matches(1, "news") && !matches(1, "/runs/7"));
    let longest = "x".repeat(1024);
    check(
        &format!("[[topic]]\nmatch = '{longest}'"),
        &[],
        &[],
        &["[[topic]]", &format!("match = \"{longest}\""), "preset = \"default\"", "compression = \"default\""],
    );
    let found = outcome(&format!("[[topic]]\nmatch = '{longest}x'"), &[], &[]);
    assert!(found[0].starts_with("sse.toml:2: match: expected a topic"), "{found:?}");
}

/// A rule may use all the memory there is for rings, and no more.
#[test]
fn a_ring_may_be_as_large_as_all_rings() {
    let config = config("rings_bytes_max = '8MiB'\n[[topic]]\nmatch = 'a'\nring_bytes_max = '8MiB'", &[], &[]);
    assert_eq!(config.topics[0].limits(&config).ring_bytes_max, config.rings_bytes_max);
}

#[test]
fn tables_belong_in_the_file() {
    check(
        "",
        &[("SSE_TOPIC", "a")],
        &["--topic", "a"],
        &[
            "SSE_TOPIC: unknown setting, did you mean `SSE_TOPICS_MAX`?",
            "--topic: unknown flag, did you mean `--topics-max`?",
        ],
    );
}
