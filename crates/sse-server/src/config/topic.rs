//! `[[topic]]` tables: bounds for the topics that match a pattern.

use std::cmp::Ordering;
use std::num::NonZeroUsize;
use std::time::Duration;

use sse_hub::Selector;

use super::setting::{default, nothing, settings};
use super::settings::Config;
use super::units::ByteSize;
use super::value::{Scalar, Wrong};
use super::words::{Preset, SlowPolicy, TopicCompression};

settings! {
    /// One `[[topic]]` table: which topics, and what differs for them.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TopicRule;
    table TOPIC_SETTINGS;
    also {}

    "Topic rules" {
        /// The topics this table is for: a topic, a URI template such as `/orders/{id}`, or `*`.
        pattern: TopicPattern = nothing().named("match"), restart;
        /// A ready-made set of bounds: low-frequency (a lag of 16 events), default (the whole server's), bursty (512),
        /// realtime (slow policy latest, a lag of 1: who is behind gets the newest event only). The keys below go on top.
        preset: Preset = default("default"), restart;
        /// As for the whole server.
        ring_frames_max: Option<NonZeroUsize> = nothing(), restart;
        /// As for the whole server.
        ring_bytes_max: Option<ByteSize> = nothing(), restart;
        /// As for the whole server.
        ring_age_max: Option<Duration> = nothing().at_least("1ms"), restart;
        /// Age after which an event of one of these topics may go from the log.
        retain_age: Option<Duration> = nothing().at_least("1s"), restart;
        /// Events that the log keeps of each of these topics.
        retain_events: Option<NonZeroUsize> = nothing(), restart;
        /// Bytes of events that the log keeps of each of these topics.
        retain_bytes: Option<ByteSize> = nothing(), restart;
        /// As for the whole server.
        lag_frames_max: Option<NonZeroUsize> = nothing(), restart;
        /// As for the whole server.
        lag_bytes_max: Option<ByteSize> = nothing(), restart;
        /// As for the whole server.
        lag_grace: Option<Duration> = nothing(), restart;
        /// As for the whole server.
        slow_policy: Option<SlowPolicy> = nothing(), restart;
        /// As for the whole server by default; `off` where events do not compress, such as pictures.
        compression: TopicCompression = default("default"), restart;
    }
}

/// Which topics a rule is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPattern(Selector);

impl TopicPattern {
    /// The topics meant.
    pub fn selector(&self) -> &Selector {
        &self.0
    }

    /// The pattern as it was written: a topic, a URI template or `*`.
    pub fn as_str(&self) -> &str {
        self.0.text().as_str()
    }
}

impl PartialOrd for TopicPattern {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.as_str().partial_cmp(other.as_str())
    }
}

impl Scalar for TopicPattern {
    const NAME: &'static str = "PATTERN";
    const EXPECTS: &'static str = "a topic, a URI template or *, of 1 to 1,024 bytes without control characters";

    fn parse(text: &str) -> Result<Self, Wrong> {
        Selector::parse(text).map(Self).map_err(|_| Wrong::default())
    }

    fn text(&self) -> String {
        self.as_str().to_owned()
    }
}

/// The bounds of one topic, with rule, preset and server settings applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicLimits {
    /// Events kept.
    pub ring_frames_max: NonZeroUsize,
    /// Bytes kept.
    pub ring_bytes_max: ByteSize,
    /// Age after which a kept event may go.
    pub ring_age_max: Duration,
    /// Events a subscriber may be behind.
    pub lag_frames_max: NonZeroUsize,
    /// Bytes a subscriber may be behind.
    pub lag_bytes_max: ByteSize,
    /// How long it may stay over a lag bound.
    pub lag_grace: Duration,
    /// What then happens.
    pub slow_policy: SlowPolicy,
}

/// The lag of topics with few events.
const LOW_FREQUENCY_LAG: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not zero");
/// The lag of topics of which only the newest event matters.
const REALTIME_LAG: NonZeroUsize = NonZeroUsize::MIN;
/// The lag of topics with many events at once.
const BURSTY_LAG: NonZeroUsize = NonZeroUsize::new(512).expect("512 is not zero");

impl Config {
    /// The bounds of topics that no rule matches.
    pub fn topic_limits(&self) -> TopicLimits {
        TopicLimits {
            ring_frames_max: self.ring_frames_max,
            ring_bytes_max: self.ring_bytes_max,
            ring_age_max: self.ring_age_max,
            lag_frames_max: self.lag_frames_max,
            lag_bytes_max: self.lag_bytes_max,
            lag_grace: self.lag_grace,
            slow_policy: self.slow_policy,
        }
    }
}

impl Config {
    /// Whether this topic's streams may be compressed: not where who is slow misses events, each another part of them.
    pub fn compresses(&self, topic: &str) -> bool {
        let rule = self.topics.iter().find(|rule| rule.pattern.selector().matches(topic));
        let is_on = match rule.map_or(TopicCompression::Default, |rule| rule.compression) {
            TopicCompression::Default => self.compression,
            compression => compression == TopicCompression::On,
        };
        let policy = || rule.map_or(self.slow_policy, |rule| rule.limits(self).slow_policy);
        is_on && policy() == SlowPolicy::Evict
    }
}

impl TopicRule {
    /// The bounds of topics this rule matches, on top of those of the server.
    pub fn limits(&self, server: &Config) -> TopicLimits {
        let base = self.preset_limits(server.topic_limits());
        TopicLimits {
            ring_frames_max: self.ring_frames_max.unwrap_or(base.ring_frames_max),
            ring_bytes_max: self.ring_bytes_max.unwrap_or(base.ring_bytes_max),
            ring_age_max: self.ring_age_max.unwrap_or(base.ring_age_max),
            lag_frames_max: self.lag_frames_max.unwrap_or(base.lag_frames_max),
            lag_bytes_max: self.lag_bytes_max.unwrap_or(base.lag_bytes_max),
            lag_grace: self.lag_grace.unwrap_or(base.lag_grace),
            slow_policy: self.slow_policy.unwrap_or(base.slow_policy),
        }
    }

    fn preset_limits(&self, base: TopicLimits) -> TopicLimits {
        match self.preset {
            Preset::Default => base,
            Preset::LowFrequency => TopicLimits { lag_frames_max: LOW_FREQUENCY_LAG, ..base },
            Preset::Bursty => TopicLimits { lag_frames_max: BURSTY_LAG, ..base },
            Preset::Realtime => TopicLimits { lag_frames_max: REALTIME_LAG, slow_policy: SlowPolicy::Latest, ..base },
        }
    }
}
