//! The settings: one declaration ([`settings`]), from which flags, environment, file, printing and reference come.
//!
//! Loading goes one way: `command` and `load` gather what each layer gives as text, [`setting`] reads every text
//! through its type (`types`, `units`, `web`, `words`), `checks` looks at the whole. No other file reads the environment.

mod backplane;
mod checks;
mod client_command;
mod command;
mod fault;
mod file;
mod load;
mod log_command;
mod machine;
mod manual;
mod network;
mod otlp;
mod print;
mod reload;
mod service_links;
mod setting;
mod settings;
mod suggest;
mod token;
mod topic;
mod types;
mod units;
mod value;
mod weak;
mod web;
mod words;

#[cfg(test)]
mod tests;

pub(crate) use backplane::BackplaneUrl;
pub use client_command::{HealthArgs, HiddenText, PublishArgs, SubscribeArgs, TokenArgs, TopArgs};
pub use command::Command;
pub use fault::{ConfigError, Fault, Origin};
pub use log_command::{LogAction, LogArgs};
pub use network::Network;
pub use otlp::{OtlpEndpoint, ServiceName};
pub use print::reference_markdown;
pub(crate) use reload::Stamps;
pub use reload::{Reloaded, Reloader};
pub use settings::Config;
pub use token::{ClaimText, CookieName, JwksUrl, JwtAlg, JwtKey, OriginPattern, RequiredClaims};
pub use topic::{TopicLimits, TopicPattern, TopicRule};
pub use types::{Ratio, Secret};
pub use units::ByteSize;
pub(crate) use value::Scalar;
pub use web::{HostName, WebOrigin};
pub use words::{BusyReply, Durability, IoUring, LogFormat, LogLevel, Preset, SlowPolicy, TopicCompression};
