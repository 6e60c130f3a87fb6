//! Defaults, and which layer wins.

use super::super::settings::SETTINGS;
use super::super::suggest::Layer;
use super::super::value::Notation;
use super::*;

/// INTERFACE's table, as `sse-server config` prints it on a machine with 4 GiB, 4 cores and 20,000 descriptors.
const DEFAULTS: &str = r#"# Listening
# config = "off"
listen = ["127.0.0.1:8080"]
tls_cert = "off"
tls_key = "off"
ready_file = "off"
upgrade_socket = "off"
admin_listen = "127.0.0.1:8081"
# admin_token is not set
health_on_public = "off"

# Access
insecure = "off"
# publisher_jwt_key is not set
publisher_jwt_alg = "HS256"
publisher_jwks_url = "off"
# subscriber_jwt_key is not set
subscriber_jwt_alg = "HS256"
subscriber_jwks_url = "off"
jwks_refresh_interval = "5m"
open_publish = "on"
anonymous = "on"
jwt_require = "off"
jwt_issuer = "off"
jwt_audience = "off"
cookie_name = "mercureAuthorization"
publish_origin = []
ticket_ttl = "30s"
host = []
cors_origin = []

# Mercure
mercure_signals = "off"
subscriptions = "off"

# Threads
shards = 4
writers = 4

# History in memory
ring_frames_max = 8192
ring_bytes_max = "4MiB"
ring_age_max = "5m"
rings_bytes_max = "1GiB"

# History on disk
data_dir = "off"
durability = "memory"
sync_interval = "100ms"
retain_age = "24h"
retain_events = 1000000
retain_bytes = "1GiB"

# Several nodes
# backplane is not set
backplane_name = "sse"
backplane_warm_up = 100000

# Slow subscribers
lag_frames_max = 256
lag_bytes_max = "4MiB"
lag_grace = "3s"
slow_policy = "evict"
write_timeout = "10s"

# A stream's life
heartbeat_interval = "25s"
retry = "3s"
retry_jitter = 0.25
connection_age_max = "off"
drain_window = "30s"

# Bounds
connections_max = 19488
connections_per_ip_max = "off"
connections_per_subject_max = "off"
publish_rate_max = "off"
subscribe_rate_max = "off"
trusted_proxy = []
topics_max = 1000000
topics_per_subscription_max = 128
event_bytes_max = "1MiB"
idempotency_window = "2m"
busy_reply = "stream"
closed_topic_age = "24h"

# Writing
coalesce_window = "0"
io_uring = "auto"
compression = "on"
compression_followers_min = 8
compressors_max = 256

# Logs
log_format = "json"
log_level = "info"

# Traces
otlp_endpoint = "off"
otlp_service_name = "sse-server"
trace_ratio = 1
"#;

#[test]
fn defaults_are_those_of_the_interface() {
    assert_eq!(config("", &[], &[]).to_toml(), DEFAULTS);
}

#[test]
fn defaults_of_another_machine() {
    let config = Config::for_memory(2 << 30);
    assert_eq!(config.rings_bytes_max.get(), 512 << 20);
    assert_eq!(config.ring_bytes_max.get(), 4 << 20);
    // Where memory is short, the smaller bounds follow the larger.
    let config = Config::for_memory(2 << 20);
    assert_eq!(config.rings_bytes_max.get(), 1 << 20);
    assert_eq!(config.ring_bytes_max.get(), 1 << 20);
    assert_eq!(config.event_bytes_max.get(), 1 << 20);
}

#[test]
fn logs_are_for_people_on_a_terminal() {
    let format = SETTINGS.iter().find(|setting| setting.key() == "log_format").expect("it is a setting");
    let on = |stderr_is_terminal| match format.rules.default {
        super::super::setting::Default::Machine { text, .. } => text(&Machine { stderr_is_terminal, ..MACHINE }),
        other => panic!("expected the machine to decide, got {other:?}"),
    };
    assert_eq!((on(true), on(false)), ("text".to_owned(), "json".to_owned()));
}

/// For each type: a line of the file, the same from the environment, and from a flag; each with what it comes to.
#[test]
fn later_layers_win_for_every_type() {
    let rows = [
        // Key, in the file, in the environment, as a flag, and the three as they are printed.
        ("retry", "'5s'", "6s", "7000ms", ["retry = \"5s\"", "retry = \"6s\"", "retry = \"7s\""]),
        (
            "connection_age_max",
            "'1h'",
            "2h",
            "180m",
            ["connection_age_max = \"1h\"", "connection_age_max = \"2h\"", "connection_age_max = \"3h\""],
        ),
        (
            "event_bytes_max",
            "2048",
            "512KiB",
            "2MiB",
            ["event_bytes_max = \"2KiB\"", "event_bytes_max = \"512KiB\"", "event_bytes_max = \"2MiB\""],
        ),
        (
            "ring_frames_max",
            "0x10",
            "100_000",
            "7",
            ["ring_frames_max = 16", "ring_frames_max = 100000", "ring_frames_max = 7"],
        ),
        ("retry_jitter", "0.5", "1", "0", ["retry_jitter = 0.5", "retry_jitter = 1", "retry_jitter = 0"]),
        ("anonymous", "false", "off", "false", ["anonymous = \"off\""; 3]),
        ("health_on_public", "true", "true", "on", ["health_on_public = \"on\""; 3]),
        (
            "slow_policy",
            "'skip'",
            "latest",
            "skip",
            ["slow_policy = \"skip\"", "slow_policy = \"latest\"", "slow_policy = \"skip\""],
        ),
        ("busy_reply", "503", "503", "503", ["busy_reply = \"503\""; 3]),
        (
            "listen",
            "['127.0.0.1:1', '[::1]:2']",
            "127.0.0.2:3,localhost:4",
            "127.0.0.1:0",
            [
                "listen = [\"127.0.0.1:1\", \"[::1]:2\"]",
                "listen = [\"127.0.0.2:3\", \"127.0.0.1:4\"]",
                "listen = [\"127.0.0.1:0\"]",
            ],
        ),
        (
            "host",
            "'A.example'",
            "b.example, c.example",
            "[::1]",
            ["host = [\"a.example\"]", "host = [\"b.example\", \"c.example\"]", "host = [\"::1\"]"],
        ),
        (
            "cors_origin",
            "['https://A.example']",
            "*",
            "http://b.example:8000",
            [
                "cors_origin = [\"https://a.example\"]",
                "cors_origin = [\"*\"]",
                "cors_origin = [\"http://b.example:8000\"]",
            ],
        ),
        (
            "ready_file",
            "'a \"b\".json'",
            "b",
            "c",
            ["ready_file = 'a \"b\".json'", "ready_file = \"b\"", "ready_file = \"c\""],
        ),
        ("admin_token", "'one'", "two", "three", ["# admin_token is set (hidden)"; 3]),
    ];
    for (key, in_file, in_environment, in_flag, [file, environment, flag]) in rows {
        let text = format!("{key} = {in_file}");
        let variable = Layer::Environment.spell(key);
        let variables = [(variable.as_str(), in_environment)];
        let args = [format!("{}={in_flag}", Layer::Flag.spell(key))];
        let args = [args[0].as_str()];
        check(&text, &[], &[], &[file]);
        check(&text, &variables, &[], &[environment]);
        check(&text, &variables, &args, &[flag]);
        check(&text, &[], &args, &[flag]);
        check("", &variables, &args, &[flag]);
        check("", &variables, &[], &[environment]);
        check("", &[], &args, &[flag]);
    }
}

#[test]
fn ratios_have_no_sign() {
    assert_eq!(config("", &[], &["--retry-jitter", "0.5"]).retry_jitter.get(), 0.5);
    check("retry_jitter = -0.0", &[], &[], &["retry_jitter = 0"]);
}

#[test]
fn secrets_layer_too() {
    let token = |env: &[(&str, &str)], args: &[&str]| {
        config("admin_token = 'one'", env, args).admin_token.map(|token| token.reveal().to_owned())
    };
    let two = [("SSE_ADMIN_TOKEN", "two")];
    assert_eq!(token(&[], &[]).as_deref(), Some("one"));
    assert_eq!(token(&two, &[]).as_deref(), Some("two"));
    assert_eq!(token(&two, &["--admin-token", "three"]).as_deref(), Some("three"));
    assert_eq!(token(&two, &["--admin-token", "off"]), None);
}

/// No setting is declared and then forgotten by a layer: each takes its own default from all of them.
#[test]
fn every_setting_is_in_every_layer() {
    let defaults = config("", &[], &[]);
    for (setting, values) in defaults.shown() {
        let key = setting.key();
        let value = match (values.first(), setting.kind.notation) {
            (Some(value), _) => value.clone(),
            (None, Notation::Text) if key == "host" => "a.example".to_owned(),
            (None, Notation::Text) if matches!(key, "cors_origin" | "publish_origin") => "*".to_owned(),
            (None, Notation::Text) if key == "trusted_proxy" => "10.0.0.0/8".to_owned(),
            (None, _) => "off".to_owned(),
        };
        let text = format!("{key} = '{value}'");
        let variable = Layer::Environment.spell(key);
        let flag = Layer::Flag.spell(key);
        let loads = |file: &str, env: &[(&str, &str)], args: &[&str]| {
            let found = load(file, env, args);
            assert!(found.is_ok(), "{key}: {found:?}");
        };
        loads("", &[(variable.as_str(), value.as_str())], &[]);
        loads("", &[], &[flag.as_str(), value.as_str()]);
        if setting.rules.in_file {
            loads(&text, &[], &[]);
        }
        let broken = [(variable.as_str(), "\u{7}\0")];
        let faults = load("", &broken, &[]).expect_err("no setting takes control characters");
        assert!(faults.to_string().starts_with(&variable), "{faults}");
    }
}

#[test]
fn repeated_flags_make_a_list_and_otherwise_the_last_wins() {
    check(
        "",
        &[],
        &["--listen", "127.0.0.1:1", "--listen=127.0.0.1:2"],
        &["listen = [\"127.0.0.1:1\", \"127.0.0.1:2\"]"],
    );
    check("", &[], &["--retry", "5s", "--retry", "6s"], &["retry = \"6s\""]);
    check(
        "",
        &[],
        &["--retry", "5", "--retry", "6s"],
        &["--retry: expected a duration such as 100ms, 25s, 5m or 24h, got `5` (the unit is missing, as in 5s)"],
    );
    check(
        "",
        &[],
        &["--connection-age-max", "5", "--connection-age-max", "off"],
        &["--connection-age-max: expected a duration such as 100ms, 25s, 5m or 24h, or off, got `5` \
         (the unit is missing, as in 5s)"],
    );
}

#[test]
fn off_and_empty_take_back_what_an_earlier_layer_gave() {
    check("connection_age_max = '1h'", &[("SSE_CONNECTION_AGE_MAX", "off")], &[], &[]);
    check("ready_file = 'a'", &[], &["--ready-file", "off"], &[]);
    check("cors_origin = ['*']", &[("SSE_CORS_ORIGIN", "")], &[], &[]);
    check("host = ['a']", &[("SSE_HOST", "b")], &["--host", "c"], &["host = [\"c\"]"]);
    check("", &[], &["--admin-listen", "off"], &["admin_listen = \"off\""]);
}

#[test]
fn the_file_is_named_by_the_later_layer() {
    let named = |env: &[(&str, &str)], args: &[&str]| match load("", env, args) {
        Ok(_) => "loaded".to_owned(),
        Err(error) => error.to_string(),
    };
    assert_eq!(named(&[("SSE_CONFIG", "a.toml")], &[]), "SSE_CONFIG: reading a.toml: not there");
    assert_eq!(named(&[("SSE_CONFIG", "a.toml")], &["--config", "b.toml"]), "--config: reading b.toml: not there");
    assert_eq!(named(&[("SSE_CONFIG", "a.toml")], &["--config", "off"]), "loaded");
    check("retry = '5s'", &[("SSE_CONFIG", "a.toml")], &[], &["retry = \"5s\""]);
}

#[test]
fn a_file_may_have_four_mebibytes() {
    let path = std::env::temp_dir().join(format!("sse-server-config-{}.toml", std::process::id()));
    let read = |bytes: usize| {
        std::fs::write(&path, vec![b'#'; bytes]).expect("the temporary folder can be written to");
        super::super::file::read(&path).map(|text| text.len())
    };
    let (most, more) = (read(4 << 20), read((4 << 20) + 1));
    std::fs::remove_file(&path).expect("it was just written");
    assert_eq!(most, Ok(4 << 20));
    assert_eq!(more, Err(format!("{} is larger than 4MiB", path.display())));
}

#[test]
fn files_that_cannot_be_read_are_told() {
    let refused = |path: &str| super::super::file::read(Path::new(path)).expect_err(path);
    assert!(refused("/dev/null/none.toml").starts_with("reading /dev/null/none.toml: "));
    assert_eq!(refused("/dev/zero"), "/dev/zero is larger than 4MiB");
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/config/latin1.toml");
    assert_eq!(refused(fixture), format!("{fixture} is not UTF-8"));
}

/// The one test through the public function: real files, real machine.
#[test]
fn loads_from_the_process_surroundings() {
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/config/good.toml");
    let args = ["sse-server", "--config", fixture, "--shards", "3"].map(OsString::from).into_iter();
    let env = |name: &str| (name == "SSE_RETRY").then(|| "9s".to_owned());
    let Ok(Command::Serve(config)) = Config::load(args, &env, &["SSE_RETRY".to_owned(), "PATH".to_owned()]) else {
        panic!("the fixture is good");
    };
    assert_eq!(config.heartbeat_interval.as_secs(), 15);
    assert_eq!(config.retry.as_secs(), 9);
    assert_eq!(config.shards.get(), 3);
    assert_eq!(config.topics.len(), 1);
}

/// Programs of any maker read these, so they are often there for all of a machine.
#[test]
fn variables_of_opentelemetry_count_below_all_layers() {
    let env = &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"), ("OTEL_SERVICE_NAME", "shop")];
    let endpoint = r#"otlp_endpoint = "http://collector:4318""#;
    check("", env, &[], &[endpoint, r#"otlp_service_name = "shop""#]);
    check("otlp_endpoint = \"off\"", env, &["--otlp-service-name", "hub"], &[r#"otlp_service_name = "hub""#]);
    check("", &[env[0], ("SSE_OTLP_ENDPOINT", "off")], &[], &[]);
    check("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", ""), ("OTEL_SERVICE_NAME", " ")], &[], &[]);
    check(
        "",
        &[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
        &[],
        &["OTEL_EXPORTER_OTLP_ENDPOINT: expected an address such as http://127.0.0.1:4318, or off, got \
           `http://collector:4317` (4317 is for gRPC, and traces are sent by HTTP, for which collectors have 4318)"],
    );
}
