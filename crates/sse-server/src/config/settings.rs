//! Every setting, declared once: flags, environment, file keys, printing and reference all come from here.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::backplane::{BackplaneUrl, StreamName};
use super::machine::Machine;
use super::network::Network;
use super::otlp::{OtlpEndpoint, ServiceName};
use super::setting::{default, machine, nothing, settings};
use super::token::{ClaimText, CookieName, JwksUrl, JwtAlg, JwtKey, OriginPattern, RequiredClaims};
use super::topic::TopicRule;
use super::types::{Ratio, Secret};
use super::units::ByteSize;
use super::web::{HostName, WebOrigin};
use super::words::{BusyReply, Durability, IoUring, LogFormat, LogLevel, SlowPolicy};

/// Settings that once had another name: old key, new key.
pub(super) const RENAMED: &[(&str, &str)] = &[];

settings! {
    /// Everything that can be set, resolved once at the start and passed down by value.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Config;
    table SETTINGS;
    also {
        /// The `[[topic]]` tables; the first whose pattern matches a topic applies to it.
        topics: Vec<TopicRule>,
    }

    "Listening" {
        /// The TOML file with settings. Later layers win: default, file, environment, flag.
        config: Option<PathBuf> = nothing().not_in_file(), restart;
        /// Public HTTP listener. Port 0 picks a free port, which the log and the ready file name.
        /// Off loopback it needs a publisher key, or `insecure`.
        listen: Vec<SocketAddr> = default("127.0.0.1:8080"), restart;
        /// A chain of certificates in PEM: public listeners then speak TLS (1.2 and 1.3), and HTTP/2 with clients that can. Read
        /// again when it changes, and on SIGHUP.
        tls_cert: Option<PathBuf> = nothing(), restart;
        /// The certificate's private key in PEM.
        tls_key: Option<PathBuf> = nothing(), restart;
        /// Written once the server listens: `{"listen":["127.0.0.1:41234"],"admin":"127.0.0.1:41235"}`.
        ready_file: Option<PathBuf> = nothing(), restart;
        /// A Unix socket at which a server that is to go on in the place of this one takes everything over: listeners, history and
        /// streams. One that finds another there at its start does so itself.
        upgrade_socket: Option<PathBuf> = nothing(), restart;
        /// Listener for metrics, health and administration; `off` for none. Off loopback it needs a token.
        admin_listen: Option<SocketAddr> = default("127.0.0.1:8081"), restart;
        /// What the admin listener asks for as a bearer token; off loopback at least 16 characters.
        admin_token: Option<Secret> = nothing(), reload;
        /// Answer health and metrics on the public listener as well, without a token.
        health_on_public: bool = default("off"), reload;
    }

    "Access" {
        /// Serve beyond this machine although no publisher key protects publishing, or a key is weak.
        insecure: bool = default("off"), restart;
        /// What publishers' tokens are checked with: a secret for HS algorithms, else a public key in PEM. `@FILE` reads
        /// it from a file.
        publisher_jwt_key: Option<JwtKey> = nothing(), reload;
        /// How publishers' tokens are signed; no other is taken. For RSA keys of a set that do not say it themselves too.
        publisher_jwt_alg: JwtAlg = default("HS256"), reload;
        /// A set of publishers' public keys (RFC 7517), by http, https or file; it takes the place of the key.
        publisher_jwks_url: Option<JwksUrl> = nothing(), reload;
        /// What subscribers' tokens are checked with.
        subscriber_jwt_key: Option<JwtKey> = nothing(), reload;
        /// How subscribers' tokens are signed.
        subscriber_jwt_alg: JwtAlg = default("HS256"), reload;
        /// A set of subscribers' public keys.
        subscriber_jwks_url: Option<JwksUrl> = nothing(), reload;
        /// How often a set of keys is fetched again. A key that is not in the set is looked for sooner, but at most twice
        /// a minute.
        jwks_refresh_interval: Duration = default("5m").at_least("1s"), reload;
        /// Publish without a token. Off loopback it stays off unless set together with `insecure`.
        open_publish: bool = machine("on without a publisher key on loopback, else off", |_| "on".to_owned()), reload;
        /// Follow public events without a token.
        anonymous: bool = machine("on without a subscriber key, else off", |_| "on".to_owned()), reload;
        /// Claims that every token must have, such as `exp,aud,iss`. `exp` and `nbf` are checked whenever they are there.
        jwt_require: Option<RequiredClaims> = nothing(), reload;
        /// The `iss` that every token must have.
        jwt_issuer: Option<ClaimText> = nothing(), reload;
        /// The `aud` that every token must have, alone or among others.
        jwt_audience: Option<ClaimText> = nothing(), reload;
        /// The cookie that may carry a token.
        cookie_name: CookieName = default("mercureAuthorization"), reload;
        /// A web page's origin that may publish with the cookie; `https://*.example.com` for all below, `*` for any.
        publish_origin: Vec<OriginPattern> = nothing(), reload;
        /// How long a ticket of `POST /tickets` may be used.
        ticket_ttl: Duration = default("30s").at_least("1s").at_most("10m"), restart;
        /// A Host header to answer to besides loopback names; others get 421. Without effect while a publisher key is set.
        host: Vec<HostName> = nothing(), reload;
        /// A web page's origin that may follow from a browser; `*` for any.
        cors_origin: Vec<WebOrigin> = nothing(), reload;
    }

    "Mercure" {
        /// Tell streams of the Mercure path of gaps, ends and reconnects by `sse.` events too. Without them such a stream ends
        /// where it would be told, and its client learns of the gap when it comes back.
        mercure_signals: bool = default("off"), reload;
        /// Announce who follows what by private events, and answer the subscriptions API of the Mercure protocol.
        subscriptions: bool = default("off"), restart;
    }

    "Threads" {
        /// Slices of the topics, each behind its own lock. More than cores costs a little memory and gains nothing.
        shards: NonZeroUsize = machine("cores", |machine| machine.cores.to_string()).at_most("4096"), restart;
        /// Threads that write to sockets. More than cores costs context switches; `off` leaves every stream with hyper,
        /// at several times the memory and CPU.
        writers: Option<NonZeroUsize> = machine("cores", |machine| machine.cores.to_string()).at_most("1024"), restart;
    }

    "History in memory" {
        /// Events kept per topic, to resume from. Raising it costs memory on busy topics.
        ring_frames_max: NonZeroUsize = default("8192"), restart;
        /// Bytes kept per topic. As a default it is lowered to `rings_bytes_max`.
        ring_bytes_max: ByteSize = default("4MiB"), restart;
        /// Age after which a kept event may go.
        ring_age_max: Duration = default("5m").at_least("1ms"), restart;
        /// Bytes kept in all topics together.
        rings_bytes_max: ByteSize = machine("a quarter of memory", Machine::quarter_of_memory), restart;
    }

    "History on disk" {
        /// The directory of the durable log; without one nothing outlives the process. It is made if it is not there, and no
        /// two servers share one.
        data_dir: Option<PathBuf> = nothing(), restart;
        /// What an answered publish stands for: the event is in memory, was written, or is on the disk. Only with a data
        /// directory.
        durability: Durability = machine("fsync with a data directory, else memory", |_| "memory".to_owned()), restart;
        /// With the durability `interval`, how often what was written is synced: what a crash of the machine may take.
        sync_interval: Duration = default("100ms").at_least("1ms").at_most("1m"), restart;
        /// Age after which a logged event may go.
        retain_age: Duration = default("24h").at_least("1s"), restart;
        /// Events that the whole log keeps.
        retain_events: NonZeroUsize = default("1000000"), restart;
        /// Bytes of events that the whole log keeps.
        retain_bytes: ByteSize = default("1GiB"), restart;
    }

    "Several nodes" {
        /// The engine that orders and keeps the events of several nodes: Redis (`redis://`, `rediss://`) or NATS JetStream
        /// (`nats://`, `tls://`), several processes of one engine with commas, or `@FILE`. `retain_*` say what it keeps. Not
        /// together with a data directory.
        backplane: Option<BackplaneUrl> = nothing(), restart;
        /// What the engine's stream is called, the same on every node.
        backplane_name: StreamName = default("sse"), restart;
        /// Events that a node reads of the engine when it starts, to have them at hand for those who resume. Raising it costs
        /// time and memory at the start.
        backplane_warm_up: NonZeroUsize = default("100000"), restart;
    }

    "Slow subscribers" {
        /// Events a subscriber may be behind. A subscriber is a cursor, so raising it costs no memory.
        lag_frames_max: NonZeroUsize = default("256"), restart;
        /// Bytes a subscriber may be behind.
        lag_bytes_max: ByteSize = default("4MiB"), restart;
        /// How long it may stay over a lag bound before the policy applies, unless it is draining fast.
        lag_grace: Duration = default("3s"), restart;
        /// What then happens: close it, jump to the newest event, or send the newest per topic only.
        slow_policy: SlowPolicy = default("evict"), restart;
        /// How long a connection may take no byte at all before it is closed.
        write_timeout: Duration = default("10s").at_least("1ms"), restart;
    }

    "A stream's life" {
        /// Longest silence on a stream before a heartbeat. Common proxies cut at 30 to 60 seconds.
        heartbeat_interval: Duration = default("25s").at_least("1ms"), restart;
        /// What `retry:` tells clients: how long to wait before they reconnect.
        retry: Duration = default("3s").at_least("1ms").at_most("24h"), reload;
        /// Each stream's `retry:` differs from `retry` by at most this share, so that not all return at once; 0 for exact.
        retry_jitter: Ratio = default("0.25"), reload;
        /// Age at which a stream is asked to reconnect, so that load evens out and dead proxies are noticed;
        /// `off` for never.
        connection_age_max: Option<Duration> = default("off").at_least("1ms"), restart;
        /// Time over which streams are ended evenly on SIGTERM.
        drain_window: Duration = default("30s").at_most("1h"), reload;
    }

    "Bounds" {
        /// Open connections.
        connections_max: NonZeroUsize = machine("the descriptor limit less a reserve", Machine::connections), reload;
        /// Open connections of one address; of IPv6 a /64 network counts as one. Behind a trusted proxy: open streams of one
        /// client.
        connections_per_ip_max: Option<NonZeroUsize> = default("off"), reload;
        /// Open streams of one token subject.
        connections_per_subject_max: Option<NonZeroUsize> = default("off"), reload;
        /// Events that one address, and one token subject, may publish per second; more get 429.
        publish_rate_max: Option<NonZeroUsize> = default("off").at_most("1000000"), reload;
        /// Streams that one address may ask for per second; more are told to come back later.
        subscribe_rate_max: Option<NonZeroUsize> = default("off").at_most("1000000"), reload;
        /// Network of a proxy whose `X-Forwarded-For` and `Forwarded` are believed.
        trusted_proxy: Vec<Network> = nothing(), reload;
        /// Topics with events or followers.
        topics_max: NonZeroUsize = default("1000000"), reload;
        /// Topics that one stream may follow. While it is 128, streams of the Mercure path may follow 1,000.
        topics_per_subscription_max: NonZeroUsize = default("128"), restart;
        /// Bytes of one event's data. As a default it is lowered to `ring_bytes_max`.
        event_bytes_max: ByteSize = default("1MiB").at_most("1GiB"), restart;
        /// How long an `Idempotency-Key` is remembered; of more than 100,000 the oldest are forgotten.
        idempotency_window: Duration = default("2m").at_least("1s").at_most("24h"), restart;
        /// How a full or draining server answers an EventSource: an empty stream that asks it to come back, or 503.
        busy_reply: BusyReply = default("stream"), reload;
        /// How long a closed topic stays known as closed.
        closed_topic_age: Duration = default("24h").at_least("1ms"), restart;
    }

    "Writing" {
        /// How long an event may wait for others to leave with it. Raising it saves CPU and adds latency.
        coalesce_window: Duration = default("0").at_most("1s"), restart;
        /// Send to many plain streams by one system call, where Linux (from 6.1 on) allows it. It saves a sixth of the CPU.
        io_uring: IoUring = default("auto"), restart;
        /// Compress what the followers of one topic get, once for all of them, for clients that accept gzip.
        compression: bool = default("on"), restart;
        /// Followers from which on a topic's new streams are compressed. For fewer it costs more CPU than the bytes are worth.
        compression_followers_min: NonZeroUsize = default("8"), restart;
        /// Compressors at a time, one for each compressed topic on each writer and one for HTTP/2; each takes 240 KiB. Beyond, new streams are not compressed.
        compressors_max: NonZeroUsize = default("256").at_most("65536"), restart;
    }

    "Logs" {
        /// One line per event on standard error, for people or as JSON.
        log_format: LogFormat = machine("text on a terminal, else json", |machine| {
            if machine.stderr_is_terminal { "text" } else { "json" }.to_owned()
        }), restart;
        /// The least severe line that is written; heartbeats are at debug.
        log_level: LogLevel = default("info"), reload;
    }

    "Traces" {
        /// An OpenTelemetry collector that requests to publish and to follow are told of, by OTLP over HTTP in JSON. Unless
        /// set anywhere, it is what `OTEL_EXPORTER_OTLP_ENDPOINT` says.
        otlp_endpoint: Option<OtlpEndpoint> = nothing().or_variable("OTEL_EXPORTER_OTLP_ENDPOINT"), restart;
        /// What traces call this server; unless set anywhere, as `OTEL_SERVICE_NAME` says.
        otlp_service_name: ServiceName = default("sse-server").or_variable("OTEL_SERVICE_NAME"), restart;
        /// The share of requests that are traced. One with a `traceparent` is traced as that says.
        trace_ratio: Ratio = default("1"), restart;
    }
}

impl Config {
    /// Topics that one stream of the Mercure path may follow: clients of that protocol count on 1,000 unless somebody has
    /// said otherwise.
    pub fn mercure_topics_max(&self) -> usize {
        match self.topics_per_subscription_max.get() {
            128 => 1000,
            topics_max => topics_max,
        }
    }

    /// Whether publishers' tokens can be checked.
    pub fn publisher_is_keyed(&self) -> bool {
        self.publisher_jwt_key.is_some() || self.publisher_jwks_url.is_some()
    }

    /// Whether subscribers' tokens can be checked.
    pub fn subscriber_is_keyed(&self) -> bool {
        self.subscriber_jwt_key.is_some() || self.subscriber_jwks_url.is_some()
    }
}
