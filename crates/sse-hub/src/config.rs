//! Bounds and policies of a hub.

use std::time::Duration;

use crate::{Lag, Selector};

/// What a topic keeps in memory. Whatever comes first ends a frame's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingBounds {
    /// Most frames.
    pub frames_max: usize,
    /// Most bytes of frames; the newest frame stays even if it alone is larger.
    pub bytes_max: usize,
    /// Longest a frame is kept, in whole seconds of the times given to [`Hub::sweep`](crate::Hub::sweep).
    pub age_max: Duration,
}

/// What becomes of a subscriber that stays behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlowPolicy {
    /// Its stream ends; it can come back and resume.
    #[default]
    Evict,
    /// It is told of a gap and goes on with the newest frame, or with the first end of a topic: ends are never skipped.
    Skip,
    /// Whenever it is over a bound, it gets the newest frame of each topic only, without a gap.
    Latest,
}

/// When a subscriber is too slow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LagBounds {
    /// More unread frames than this are too many.
    pub frames_max: usize,
    /// More unread bytes than this are too many, and reading fewer within `grace` is too slow.
    pub bytes_max: u64,
    /// How long a subscriber may be over a bound.
    pub grace: Duration,
    /// What happens then.
    pub policy: SlowPolicy,
}

impl LagBounds {
    /// Whether that is too far behind.
    pub fn are_exceeded_by(&self, lag: Lag) -> bool {
        lag.frames > self.frames_max || lag.bytes > self.bytes_max
    }
}

/// How one topic is kept and followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPolicy {
    /// The history.
    pub ring: RingBounds,
    /// The slow subscribers.
    pub lag: LagBounds,
}

impl Default for TopicPolicy {
    /// 8,192 frames, 4 MiB and 5 minutes of history; eviction after 3 s over 256 frames or 4 MiB.
    fn default() -> Self {
        let ring = RingBounds { frames_max: 8192, bytes_max: 4 << 20, age_max: Duration::from_secs(300) };
        let lag =
            LagBounds { frames_max: 256, bytes_max: 4 << 20, grace: Duration::from_secs(3), policy: SlowPolicy::Evict };
        Self { ring, lag }
    }
}

/// All of a hub's settings.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// Independent slices of the topics. More let more publishers append at once.
    pub shards: usize,
    /// The policy of topics that no pattern matches.
    pub topic_policy: TopicPolicy,
    /// Policies by pattern; the first match counts.
    pub topic_policies: Vec<(Selector, TopicPolicy)>,
    /// Most topics at a time.
    pub topics_max: usize,
    /// Most topics and selectors of one subscription.
    pub topics_per_subscription_max: usize,
    /// Most topics of one event.
    pub topics_per_event_max: usize,
    /// Most bytes of one event: its data, id, type and comment.
    pub event_bytes_max: usize,
    /// Most bytes of all rings together.
    pub rings_bytes_max: usize,
    /// How long a closed topic is remembered.
    pub closed_topic_age: Duration,
    /// Collected topics whose exact floor is remembered. Beyond it the lowest eighth goes, and one floor stands for those.
    pub floors_max: usize,
    /// How long an idempotency key is remembered, in whole seconds of the times given to [`Hub::sweep`](crate::Hub::sweep).
    pub idempotency_window: Duration,
    /// Most keys that are remembered; beyond it the oldest are forgotten.
    pub idempotency_keys_max: usize,
    /// With a log, most bytes of events that wait for it.
    pub log_queue_bytes_max: usize,
    /// With a log, most bytes that are read of it and not delivered yet.
    pub replay_bytes_max: usize,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            shards: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            topic_policy: TopicPolicy::default(),
            topic_policies: Vec::new(),
            topics_max: 1_000_000,
            topics_per_subscription_max: 128,
            topics_per_event_max: 1000,
            event_bytes_max: 1 << 20,
            rings_bytes_max: 1 << 30,
            closed_topic_age: Duration::from_secs(24 * 3600),
            floors_max: 100_000,
            idempotency_window: Duration::from_secs(120),
            idempotency_keys_max: 100_000,
            log_queue_bytes_max: 64 << 20,
            replay_bytes_max: 64 << 20,
        }
    }
}
