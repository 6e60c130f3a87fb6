//! A push server for Server-Sent Events.

mod config;

pub use config::{
    BusyReply, ByteSize, Command, Config, ConfigError, Fault, HostName, LogFormat, LogLevel, Origin, Preset,
    PublishArgs, Ratio, Secret, SlowPolicy, SubscribeArgs, TopicLimits, TopicPattern, TopicRule, WebOrigin,
    reference_markdown,
};
