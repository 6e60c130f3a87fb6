//! What the hub counts, through the `metrics` facade. A recorder has to be installed before the hub is built.

use metrics::{Counter, Gauge, counter, gauge};

use crate::{EvictReason, GapReason};

/// Handles that are looked up once: a counter on the way of every event must not cost a lookup.
pub(crate) struct Signals {
    pub(crate) published: Counter,
    pub(crate) topics: Gauge,
    pub(crate) subscriptions: Gauge,
    pub(crate) ring_bytes: Gauge,
    pub(crate) replayed: Counter,
}

impl Signals {
    pub(crate) fn new() -> Self {
        Self {
            published: counter!("sse_events_published_total"),
            topics: gauge!("sse_topics"),
            subscriptions: gauge!("sse_subscriptions_active"),
            ring_bytes: gauge!("sse_ring_bytes"),
            replayed: counter!("sse_replayed_frames_total"),
        }
    }

    pub(crate) fn gap(&self, reason: GapReason) {
        counter!("sse_gaps_total", "reason" => reason.as_str()).increment(1);
    }

    pub(crate) fn eviction(&self, reason: EvictReason) {
        counter!("sse_evictions_total", "reason" => reason.as_str()).increment(1);
    }
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signals")
    }
}
