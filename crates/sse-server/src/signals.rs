//! The server's metrics: every name and label in one place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use sse_hub::GapReason;

/// What somebody may want to be woken for: these series are there from the start, with 0. For Prometheus a series that begins with 1
/// has not increased, so the first eviction or gap would go by unseen.
const ALARMING: &[(&str, &[&str])] = &[
    ("sse_evictions_total", &["lagged", "stalled"]),
    ("sse_connections_rejected_total", &["descriptors", "full", "writer_busy"]),
    ("sse_publish_rejected_total", &["log_busy", "log_failed", "log_full", "rate", "rings_full", "topics_full"]),
];
const GAP_REASONS: [GapReason; 5] =
    [GapReason::Damaged, GapReason::Epoch, GapReason::Lagged, GapReason::Trimmed, GapReason::Unknown];

fn begin_alarming_series() {
    for (name, reasons) in ALARMING {
        reasons.iter().for_each(|reason| counter!(*name, "reason" => *reason).increment(0));
    }
    GAP_REASONS.iter().for_each(|reason| counter!("sse_gaps_total", "reason" => reason.as_str()).increment(0));
    ["failed", "ok"].iter().for_each(|result| counter!("sse_tls_reloads_total", "result" => *result).increment(0));
    counter!("sse_log_read_errors_total").increment(0);
    counter!("sse_backplane_epochs_total").increment(0);
    counter!("sse_backplane_missed_entries_total").increment(0);
    counter!("sse_panics_total").increment(0);
    counter!("sse_upgrades_failed_total").increment(0);
    gauge!("sse_config_last_reload_successful").set(1.0);
}

/// Handles looked up once. Made after the recorder is installed.
#[derive(Clone)]
pub(crate) struct Signals {
    connections_active: Gauge,
    connections: Counter,
    connection_duration: Histogram,
    subscriptions_active: Gauge,
    replayed_frames: Counter,
    frames_delivered: Counter,
    bytes_sent: Counter,
    bytes_saved: Counter,
    bytes_filled: Counter,
    compressors: Gauge,
    compressed_streams: Gauge,
    fanout_duration: Histogram,
    publish_duration: Histogram,
    totals: Arc<Totals>,
}

/// What is counted a second time, as a recorder's counters cannot be read.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    streams: AtomicUsize,
    delivered: AtomicU64,
    sent: AtomicU64,
}

impl Totals {
    /// Streams that are open.
    pub(crate) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Events put on their way to sockets.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }

    /// Bytes that the sockets of streams took.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Signals {
    pub(crate) fn new() -> Self {
        gauge!("sse_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        begin_alarming_series();
        Self {
            connections_active: gauge!("sse_connections_active"),
            connections: counter!("sse_connections_total"),
            connection_duration: histogram!("sse_connection_duration_seconds"),
            // The hub counts its subscriptions and what it replays to them; a writer's lane is one feed for many streams.
            subscriptions_active: gauge!("sse_subscriptions_active"),
            replayed_frames: counter!("sse_replayed_frames_total"),
            frames_delivered: counter!("sse_frames_delivered_total"),
            bytes_sent: counter!("sse_bytes_sent_total"),
            bytes_saved: counter!("sse_compression_saved_bytes_total"),
            bytes_filled: counter!("sse_http2_filled_bytes_total"),
            compressors: gauge!("sse_compressors"),
            compressed_streams: gauge!("sse_compressed_streams"),
            fanout_duration: histogram!("sse_fanout_duration_seconds"),
            publish_duration: histogram!("sse_publish_duration_seconds"),
            totals: Arc::default(),
        }
    }

    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    pub(crate) fn stream_opened(&self) {
        self.totals.streams.fetch_add(1, Ordering::Relaxed);
        self.connections_active.increment(1.0);
        self.connections.increment(1);
    }

    pub(crate) fn stream_closed(&self, duration: Duration) {
        self.totals.streams.fetch_sub(1, Ordering::Relaxed);
        self.connections_active.decrement(1.0);
        self.connection_duration.record(duration.as_secs_f64());
    }

    /// A stream has joined a lane.
    pub(crate) fn lane_joined(&self) {
        self.subscriptions_active.increment(1.0);
    }

    /// A stream has left its lane.
    pub(crate) fn lane_left(&self) {
        self.subscriptions_active.decrement(1.0);
    }

    /// Frames older than the stream they went to, which follows through a lane.
    pub(crate) fn replayed(&self, frames: usize) {
        if frames > 0 {
            self.replayed_frames.increment(frames as u64);
        }
    }

    /// This process goes on, although another was to do so.
    pub(crate) fn upgrade_failed(&self) {
        counter!("sse_upgrades_failed_total").increment(1);
    }

    /// Streams of another process are this one's.
    pub(crate) fn taken_over(&self, streams: usize) {
        counter!("sse_streams_taken_over_total").increment(streams as u64);
    }

    pub(crate) fn eviction(&self, reason: &'static str) {
        counter!("sse_evictions_total", "reason" => reason).increment(1);
    }

    pub(crate) fn gaps(&self, reason: &'static str, count: u64) {
        counter!("sse_gaps_total", "reason" => reason).increment(count);
    }

    /// An operator has ended a stream.
    pub(crate) fn kicked(&self) {
        counter!("sse_kicks_total").increment(1);
    }

    pub(crate) fn connection_rejected(&self, reason: &'static str) {
        counter!("sse_connections_rejected_total", "reason" => reason).increment(1);
    }

    pub(crate) fn jwks_fetched(&self, role: &'static str, result: &'static str) {
        counter!("sse_jwks_fetches_total", "role" => role, "result" => result).increment(1);
    }

    pub(crate) fn certificate_reloaded(&self, result: &'static str) {
        counter!("sse_tls_reloads_total", "result" => result).increment(1);
    }

    /// When the certificate in use is over, in seconds since 1970, if that can be read.
    pub(crate) fn certificate_valid_until(&self, seconds: Option<i64>) {
        let seconds = seconds.map_or(f64::NAN, |seconds| seconds as f64);
        gauge!("sse_tls_certificate_expiration_timestamp_seconds").set(seconds);
    }

    /// Changed settings were taken on, or not.
    pub(crate) fn config_reloaded(&self, is_good: bool) {
        counter!("sse_config_reloads_total", "result" => if is_good { "ok" } else { "failed" }).increment(1);
        gauge!("sse_config_last_reload_successful").set(f64::from(u8::from(is_good)));
    }

    /// So many settings have changed that need a restart.
    pub(crate) fn config_waiting(&self, settings: usize) {
        gauge!("sse_config_restart_pending").set(settings as f64);
    }

    /// Spans that the collector took.
    pub(crate) fn spans_exported(&self, count: u64) {
        counter!("sse_trace_spans_exported_total").increment(count);
    }

    /// Spans that it did not take, or that were too many to wait for it.
    pub(crate) fn spans_dropped(&self, reason: &'static str, count: u64) {
        counter!("sse_trace_spans_dropped_total", "reason" => reason).increment(count);
    }

    /// Lines of the log that nobody took in time, since the start.
    pub(crate) fn log_lines_dropped(&self, lines: u64) {
        counter!("sse_log_lines_dropped_total").absolute(lines);
    }

    /// Whether publishing works.
    pub(crate) fn ready(&self, is_ready: bool) {
        gauge!("sse_ready").set(f64::from(u8::from(is_ready)));
    }

    /// Connections of every kind, and how many there may be.
    pub(crate) fn connections(&self, open: usize, max: usize) {
        gauge!("sse_connections_open").set(open as f64);
        gauge!("sse_connections_max").set(max as f64);
    }

    /// How long the log's thread has been at its present work.
    pub(crate) fn log_stalled(&self, stalled: Duration) {
        gauge!("sse_log_stalled_seconds").set(stalled.as_secs_f64());
    }

    /// Whether the engine of several nodes is there, and how many of its entries this node has not read.
    pub(crate) fn backplane(&self, is_up: bool, lag: u64) {
        gauge!("sse_backplane_up").set(f64::from(u8::from(is_up)));
        gauge!("sse_backplane_lag_events").set(lag as f64);
    }

    /// The engine of several nodes was lost sight of.
    pub(crate) fn backplane_lost() {
        counter!("sse_backplane_disconnects_total").increment(1);
    }

    /// It had lost entries, and another epoch began.
    pub(crate) fn backplane_epoch() {
        counter!("sse_backplane_epochs_total").increment(1);
    }

    /// It dropped entries before this node had read them.
    pub(crate) fn backplane_missed(entries: u64) {
        counter!("sse_backplane_missed_entries_total").increment(entries);
    }

    /// One of its entries is nobody's event.
    pub(crate) fn backplane_entry_dropped(reason: &'static str) {
        Self::backplane_entries_dropped(reason, 1);
    }

    pub(crate) fn backplane_entries_dropped(reason: &'static str, entries: u64) {
        counter!("sse_backplane_entries_dropped_total", "reason" => reason).increment(entries);
    }

    pub(crate) fn revocations(&self, count: usize) {
        gauge!("sse_revocations").set(count as f64);
    }

    pub(crate) fn ticket(&self, result: &'static str) {
        counter!("sse_tickets_total", "result" => result).increment(1);
    }

    pub(crate) fn publish_rejected(&self, reason: &'static str) {
        counter!("sse_publish_rejected_total", "reason" => reason).increment(1);
    }

    pub(crate) fn published(&self, duration: Duration) {
        self.publish_duration.record(duration.as_secs_f64());
    }

    /// Events put on their way to sockets.
    pub(crate) fn delivered(&self, frames: usize) {
        self.frames_delivered.increment(frames as u64);
        self.totals.delivered.fetch_add(frames as u64, Ordering::Relaxed);
    }

    /// A lane has a compressor from now on.
    pub(crate) fn compressor_made(&self) {
        self.compressors.increment(1.0);
    }

    pub(crate) fn compressor_gone(&self) {
        self.compressors.decrement(1.0);
    }

    /// A stream that may be compressed has begun.
    pub(crate) fn compressed_stream_opened(&self) {
        self.compressed_streams.increment(1.0);
    }

    pub(crate) fn compressed_stream_closed(&self) {
        self.compressed_streams.decrement(1.0);
    }

    /// A stream would be compressed, were there not as many compressors already as there may be.
    pub(crate) fn compression_declined(&self) {
        counter!("sse_compression_declined_total", "reason" => "compressors").increment(1);
    }

    /// Bytes of events that streams did not have to be sent, as they are compressed.
    pub(crate) fn saved(&self, bytes: usize) {
        self.bytes_saved.increment(bytes as u64);
    }

    /// Bytes of nothing, which small DATA frames were filled up with.
    pub(crate) fn filled(&self, bytes: usize) {
        self.bytes_filled.increment(bytes as u64);
    }

    /// Bytes that the sockets of streams took: heads, frames, heartbeats and their framing.
    pub(crate) fn sent(&self, bytes: usize) {
        self.bytes_sent.increment(bytes as u64);
        self.totals.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Where a [`FanOut`](crate::fan_out::FanOut) is recorded.
    pub(crate) fn fan_out(&self) -> &Histogram {
        &self.fanout_duration
    }
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signals")
    }
}

/// Bounds of every histogram, in seconds: from a fan-out of ten microseconds to a connection of a day.
pub const HISTOGRAM_BUCKETS: [f64; 18] = [
    0.000_01, 0.000_03, 0.000_1, 0.000_3, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0, 300.0, 3_600.0,
    21_600.0, 86_400.0,
];
