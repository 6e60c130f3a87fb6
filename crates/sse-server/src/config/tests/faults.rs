//! Every kind of fault, its place and its words.

use super::*;

/// A value of each type that is none, in a flag.
#[test]
fn values_that_are_none() {
    let rows = [
        (
            "--retry",
            "3 parsecs",
            "expected a duration such as 100ms, 25s, 5m or 24h, got `3 parsecs` (units are us, ms, s, m, h, d)",
        ),
        ("--retry", "", "expected a duration such as 100ms, 25s, 5m or 24h, got nothing"),
        ("--retry", "0", "must be at least 1ms, got `0`"),
        ("--retry", "25h", "must be at most 24h, got `25h`"),
        ("--connection-age-max", "never", "expected a duration such as 100ms, 25s, 5m or 24h, or off, got `never`"),
        ("--connection-age-max", "0", "must be at least 1ms, got `0`"),
        ("--heartbeat-interval", "0s", "must be at least 1ms, got `0s`"),
        ("--heartbeat-interval", "off", "expected a duration such as 100ms, 25s, 5m or 24h, got `off`"),
        ("--write-timeout", "0", "must be at least 1ms, got `0`"),
        ("--ring-age-max", "0", "must be at least 1ms, got `0`"),
        ("--closed-topic-age", "0", "must be at least 1ms, got `0`"),
        ("--drain-window", "61m", "must be at most 1h, got `61m`"),
        ("--coalesce-window", "2s", "must be at most 1s, got `2s`"),
        ("--event-bytes-max", "0", "expected a size from 1 such as 512KiB, 4MiB, 1GiB or plain bytes, got `0`"),
        (
            "--event-bytes-max",
            "4MB",
            "expected a size from 1 such as 512KiB, 4MiB, 1GiB or plain bytes, got `4MB` (units are B, KiB, MiB, GiB, TiB)",
        ),
        ("--event-bytes-max", "2GiB", "must be at most 1GiB, got `2GiB`"),
        ("--ring-frames-max", "0", "expected a whole number from 1, got `0`"),
        ("--ring-frames-max", "-3", "expected a whole number from 1, got `-3`"),
        ("--ring-frames-max", "1.5", "expected a whole number from 1, got `1.5`"),
        ("--ring-frames-max", "99999999999999999999", "expected a whole number from 1, got `99999999999999999999`"),
        ("--shards", "4097", "must be at most 4096, got `4097`"),
        ("--writers", "1025", "must be at most 1024, got `1025`"),
        ("--connections-max", "0", "expected a whole number from 1, got `0`"),
        ("--retry-jitter", "1.5", "expected a number from 0 to 1 such as 0.25, got `1.5`"),
        ("--retry-jitter", "-0.5", "expected a number from 0 to 1 such as 0.25, got `-0.5`"),
        ("--retry-jitter", "NaN", "expected a number from 0 to 1 such as 0.25, got `NaN`"),
        ("--insecure", "maybe", "expected on or off, got `maybe`"),
        ("--slow-policy", "evct", "expected one of evict|skip|latest, got `evct`"),
        ("--busy-reply", "429", "expected one of stream|503, got `429`"),
        ("--log-format", "xml", "expected one of text|json, got `xml`"),
        ("--log-level", "INFO", "expected one of error|warn|info|debug|trace, got `INFO`"),
        (
            "--listen",
            "8080",
            "expected an address and port such as 127.0.0.1:8080 or [::1]:8080, got `8080` (127.0.0.1:8080 is for this machine, 0.0.0.0:8080 for every network)",
        ),
        (
            "--listen",
            ":8080",
            "expected an address and port such as 127.0.0.1:8080 or [::1]:8080, got `:8080` (127.0.0.1:8080 is for this machine, 0.0.0.0:8080 for every network)",
        ),
        (
            "--listen",
            "127.0.0.1",
            "expected an address and port such as 127.0.0.1:8080 or [::1]:8080, got `127.0.0.1` (the port is missing)",
        ),
        (
            "--listen",
            "127.0.0.1:65536",
            "expected an address and port such as 127.0.0.1:8080 or [::1]:8080, got `127.0.0.1:65536`",
        ),
        ("--admin-listen", "on", "expected an address and port such as 127.0.0.1:8080 or [::1]:8080, or off, got `on`"),
        ("--ready-file", "", "expected a file name, or off, got nothing"),
        (
            "--host",
            "a.example:80",
            "expected a host name such as events.example.com, without scheme or port, got `a.example:80`",
        ),
        (
            "--host",
            "http://a",
            "expected a host name such as events.example.com, without scheme or port, got `http://a`",
        ),
        ("--host", "a..b", "expected a host name such as events.example.com, without scheme or port, got `a..b`"),
        (
            "--cors-origin",
            "a.example",
            "expected an origin such as https://app.example.com, or *, got `a.example` (it begins with http:// or https://)",
        ),
        (
            "--cors-origin",
            "null",
            "expected an origin such as https://app.example.com, or *, got `null` (it begins with http:// or https://)",
        ),
        (
            "--cors-origin",
            "https://a.example/",
            "expected an origin such as https://app.example.com, or *, got `https://a.example/` (an origin has no path, not even a slash at its end)",
        ),
        (
            "--cors-origin",
            "https://a.example:443",
            "expected an origin such as https://app.example.com, or *, got `https://a.example:443` (browsers leave the usual port out)",
        ),
        (
            "--cors-origin",
            "https://*.example",
            "expected an origin such as https://app.example.com, or *, got `https://*.example`",
        ),
        (
            "--cors-origin",
            "https://a.example:99999",
            "expected an origin such as https://app.example.com, or *, got `https://a.example:99999`",
        ),
    ];
    for (flag, value, problem) in rows {
        check("", &[], &[&format!("{flag}={value}")], &[&format!("{flag}: {problem}")]);
    }
}

#[test]
fn what_was_given_is_cut_and_printable() {
    let long = "x".repeat(1000);
    check(
        "",
        &[("SSE_LOG_LEVEL", &long)],
        &[],
        &[&format!("SSE_LOG_LEVEL: expected one of error|warn|info|debug|trace, got `{}..`", "x".repeat(60))],
    );
    check(
        "log_level = \"a\\nb\\u001b[31m\"",
        &[],
        &[],
        &["sse.toml:1: log_level: expected one of error|warn|info|debug|trace, got `a\\nb\\u{1b}[31m`"],
    );
}

#[test]
fn shapes_that_do_not_fit() {
    check(
        "retry = ['3s']",
        &[],
        &[],
        &["sse.toml:1: retry: expected a duration such as 100ms, 25s, 5m or 24h, got a list"],
    );
    check(
        "\n\n[retry]\nseconds = 3",
        &[],
        &[],
        &["sse.toml:3: retry: expected a duration such as 100ms, 25s, 5m or 24h, got a table"],
    );
    check(
        "listen = ['127.0.0.1:1', ['127.0.0.1:2']]",
        &[],
        &[],
        &["sse.toml:1: listen: expected an address and port such as 127.0.0.1:8080 or [::1]:8080, got a list"],
    );
    check(
        "retry = 2026-01-01",
        &[],
        &[],
        &["sse.toml:1: retry: expected a duration such as 100ms, 25s, 5m or 24h, got `2026-01-01` \
         (units are us, ms, s, m, h, d)"],
    );
    check(
        "retry = true",
        &[],
        &[],
        &["sse.toml:1: retry: expected a duration such as 100ms, 25s, 5m or 24h, got `on`"],
    );
    check(
        "config = 'other.toml'",
        &[],
        &[],
        &["sse.toml:1: config: cannot stand in the file, set --config or SSE_CONFIG"],
    );
}

#[test]
fn each_item_of_a_list_has_its_line() {
    check(
        "listen = [\n  '127.0.0.1:1',\n  'here',\n  '127.0.0.1:2',\n  'there',\n]",
        &[],
        &[],
        &[
            "sse.toml:3: listen: expected an address and port such as 127.0.0.1:8080 or [::1]:8080, got `here`",
            "sse.toml:5: listen: expected an address and port such as 127.0.0.1:8080 or [::1]:8080, got `there`",
        ],
    );
    check(
        "",
        &[("SSE_HOST", "a,,b")],
        &[],
        &["SSE_HOST: expected a host name such as events.example.com, without scheme or port, got nothing"],
    );
}

/// As Kubernetes sets them for services called `sse` and `sse-server`.
#[test]
fn variables_of_services_are_none_of_ours() {
    for (name, value) in [
        ("SSE_SERVICE_HOST", "10.0.0.11"),
        ("SSE_SERVICE_PORT", "80"),
        ("SSE_SERVICE_PORT_HTTP", "80"),
        ("SSE_PORT", "tcp://10.0.0.11:80"),
        ("SSE_SERVER_PORT", "tcp://[fd00::1]:8080"),
        ("SSE_PORT_80_TCP", "tcp://10.0.0.11:80"),
        ("SSE_SERVER_PORT_8080_TCP_PROTO", "tcp"),
        ("SSE_SERVER_PORT_8080_UDP_PORT", "8080"),
        ("SSE_SERVER_PORT_8080_TCP_ADDR", "fd00::1"),
    ] {
        check("", &[(name, value)], &[], &[]);
    }
    for (name, value) in [
        ("SSE_PORT", "8080"),
        ("SSE_PORT", "tcp://example.com:80"),
        ("SSE_SERVICE_HOST", "sse.example"),
        ("SSE_SERVICE_PORT", "http"),
        ("SSE_PORT_HTTP_TCP", "tcp://10.0.0.11:80"),
        ("SSE_PORT_80_TCP_PRT", "80"),
        ("SSE_ADMIN_PORT", "8081"),
    ] {
        let told = outcome("", &[(name, value)], &[]);
        assert!(matches!(&told[..], [only] if only.starts_with(&format!("{name}: unknown setting"))), "{told:?}");
    }
}

#[test]
fn unknown_names_get_a_suggestion() {
    check(
        "ring-frames-max = 5\nring_frame_max = 5\nfrobnicate = 1\n",
        &[],
        &[],
        &[
            "sse.toml:1: ring-frames-max: unknown setting, did you mean `ring_frames_max`?",
            "sse.toml:2: ring_frame_max: unknown setting, did you mean `ring_frames_max`?",
            "sse.toml:3: frobnicate: unknown setting, `--help` lists them all",
        ],
    );
    check(
        "",
        &[("SSE_RTRY", "3s"), ("SSE_Q", "1"), ("PATH", "/bin"), ("ASSE_RETRY", "1")],
        &[],
        &["SSE_Q: unknown setting, `--help` lists them all", "SSE_RTRY: unknown setting, did you mean `SSE_RETRY`?"],
    );
    check(
        "",
        &[],
        &["--ring-byte-max", "5", "--lisen=127.0.0.1:0", "--retry", "4s", "--q"],
        &[
            "--lisen: unknown flag, did you mean `--listen`?",
            "--q: unknown flag, `--help` lists them all",
            "--ring-byte-max: unknown flag, did you mean `--ring-bytes-max`?",
        ],
    );
    // The file cannot set it, so it is not suggested there.
    check("confi = 'a'", &[], &[], &["sse.toml:1: confi: unknown setting, `--help` lists them all"]);
}

#[test]
fn renamed_names_answer_with_the_new_one() {
    check(
        "ring_size = 5\nkeepalive = '5s'",
        &[("SSE_RING_SIZE", "5")],
        &["--ring-size", "5", "--keepalive=1s"],
        &[
            "sse.toml:1: ring_size: this setting is now `ring_frames_max`",
            "sse.toml:2: keepalive: this setting is now `heartbeat_interval`",
            "SSE_RING_SIZE: this setting is now `SSE_RING_FRAMES_MAX`",
            "--keepalive: this flag is now `--heartbeat-interval`",
            "--ring-size: this flag is now `--ring-frames-max`",
        ],
    );
}

#[test]
fn renamed_names_lead_to_settings() {
    let keys: Vec<&str> = super::super::settings::SETTINGS.iter().map(|setting| setting.key()).collect();
    for (old, new) in super::super::settings::RENAMED.iter().chain(RENAMED) {
        assert!(keys.contains(new) && !keys.contains(old), "{old} -> {new}");
    }
}

#[test]
fn broken_toml_is_told_by_line_and_the_rest_is_read() {
    check(
        "retry = '3s'\nretry = '4s'\nshards = 0\n",
        &[],
        &[],
        &["sse.toml:2: duplicate key", "sse.toml:3: shards: expected a whole number from 1, got `0`"],
    );
    let found = outcome("retry = '3s\n\nshards = 0\n", &[], &[]);
    assert!(found[0].starts_with("sse.toml:1: "), "{found:?}");
    assert!(found.contains(&"sse.toml:3: shards: expected a whole number from 1, got `0`".to_owned()), "{found:?}");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let file = "\
retry = '3 parsecs'
ring_frames = 5
admin_token = 'with a space'
[[topic]]
preset = 'burst'
";
    let env = [("SSE_SHARDS", "0"), ("SSE_RTRY", "3s"), ("SSE_RETRY", "4s")];
    let args = ["--writers", "-3", "--insecure=maybe", "check-confg", "--lag-grace", "--drain-windo=3s"];
    check(
        file,
        &env,
        &args,
        &[
            "sse.toml:1: retry: expected a duration such as 100ms, 25s, 5m or 24h, got `3 parsecs` \
         (units are us, ms, s, m, h, d)",
            "sse.toml:2: ring_frames: unknown setting, did you mean `ring_frames_max`?",
            "sse.toml:3: admin_token: expected printable ASCII without spaces, or @FILE to read it from a file, or off, \
         got something else, not shown",
            "sse.toml:4: topic: `match` is missing, expected a topic, a URI template or *, of 1 to 1,024 bytes without \
         control characters",
            "sse.toml:5: preset: expected one of low-frequency|default|bursty|realtime, got `burst`",
            "SSE_RTRY: unknown setting, did you mean `SSE_RETRY`?",
            "SSE_SHARDS: expected a whole number from 1, got `0`",
            "--drain-windo: unknown flag, did you mean `--drain-window`?",
            "--insecure: expected on or off, got `maybe`",
            "--lag-grace: a value must follow",
            "--writers: expected a whole number from 1, or off, got `-3`",
            "command line: unknown command `check-confg`, did you mean `check-config`?",
        ],
    );
}

/// A fault in a value that a later layer hides is a fault all the same: the next change would uncover it.
#[test]
fn hidden_values_are_checked_too() {
    check(
        "retry = 'soon'",
        &[("SSE_RETRY", "later")],
        &["--retry", "3s"],
        &[
            "sse.toml:1: retry: expected a duration such as 100ms, 25s, 5m or 24h, got `soon`",
            "SSE_RETRY: expected a duration such as 100ms, 25s, 5m or 24h, got `later`",
        ],
    );
}

#[test]
fn sizes_must_not_contradict_each_other() {
    let ring = "sse.toml:1: ring_bytes_max: 8MiB is more than rings_bytes_max, which is 2MiB; \
                lower one or raise the other";
    check("ring_bytes_max = '8MiB'\nrings_bytes_max = '2MiB'", &[], &[], &[ring]);
    check(
        "",
        &[("SSE_EVENT_BYTES_MAX", "2MiB")],
        &["--ring-bytes-max", "1MiB"],
        &["SSE_EVENT_BYTES_MAX: 2MiB is more than ring_bytes_max, which is 1MiB; lower one or raise the other"],
    );
    // A default gives way instead.
    check(
        "",
        &[],
        &["--rings-bytes-max", "64KiB"],
        &["ring_bytes_max = \"64KiB\"", "rings_bytes_max = \"64KiB\"", "event_bytes_max = \"64KiB\""],
    );
    // One fault does not breed others.
    check(
        "",
        &[],
        &["--rings-bytes-max", "0", "--ring-bytes-max", "8GiB"],
        &["--rings-bytes-max: expected a size from 1 such as 512KiB, 4MiB, 1GiB or plain bytes, got `0`"],
    );
}

#[test]
fn listeners_must_differ() {
    check("listen = []", &[], &[], &["sse.toml:1: listen: at least one address is needed, such as 127.0.0.1:8080"]);
    check(
        "",
        &[],
        &["--listen", "127.0.0.1:1", "--listen", "127.0.0.1:1"],
        &["--listen: 127.0.0.1:1 is listened on already"],
    );
    check(
        "",
        &[("SSE_LISTEN", "127.0.0.1:1")],
        &["--admin-listen", "127.0.0.1:1"],
        &["--admin-listen: 127.0.0.1:1 is listened on already"],
    );
    check(
        "",
        &[],
        &["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"],
        &["listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]"],
    );
}

#[test]
fn arguments_that_are_not_text() {
    use std::os::unix::ffi::OsStringExt as _;
    let env = |_: &str| None;
    let args = [b"sse-server".to_vec(), b"--log-level".to_vec(), b"\xff".to_vec(), b"--\xfe".to_vec()];
    let error = Config::load(args.into_iter().map(OsString::from_vec), &env, &[]).expect_err("not UTF-8");
    assert!(error.to_string().contains("--log-level: the value is not UTF-8"), "{error}");
    assert!(error.faults().len() >= 2, "{error}");
}

#[test]
fn a_line_break_in_a_name_begins_no_line() {
    let printed = outcome("", &[("SSE_TLS_CERT", "a\nb"), ("SSE_TLS_KEY", "a\nb")], &[]);
    assert!(
        !printed.is_empty() && printed.iter().all(|line| line.starts_with("SSE_TLS_") && line.contains(r"a\nb")),
        "{printed:?}"
    );
}
