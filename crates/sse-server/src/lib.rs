//! A push server for Server-Sent Events: an application publishes an event once over HTTP, and everybody who follows its
//! topic has it within milliseconds.
//!
//! The `sse-server` binary is this library with a command line. Other programs can run a [`Server`] inside their own
//! process; those that want to keep their own HTTP layer use the `sse-hub` crate instead.
//!
//! ```no_run
//! use sse_server::{Config, Server};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::bind(Config::for_memory(8 << 30), None)?;
//! println!("listening on {:?}", server.addresses()?.listen);
//! server.run(async { /* until this completes */ }).await?;
//! # Ok(())
//! # }
//! ```

mod access;
mod admin;
mod app;
mod arrival;
mod backplane;
#[doc(hidden)]
pub mod bench;
mod carrier;
pub mod client;
mod compression;
mod config;
mod connection;
mod event_log;
mod fan_out;
#[cfg(test)]
mod fuzz_tests;
mod gauge;
mod health;
mod history;
mod http;
mod http2;
mod inherited;
mod interner;
mod io;
mod late_socket;
mod limits;
mod listener;
pub mod logging;
pub mod memory;
mod peers;
#[cfg(test)]
mod pieces;
mod presence;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod profile;
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
#[path = "profile/absent.rs"]
mod profile;
mod pulse;
mod reload;
mod request_scan;
mod reserve;
mod roster;
mod server;
pub mod service_manager;
mod signals;
mod stamp;
mod stream;
mod tls;
mod trace;
mod transport;
mod upgrade;
mod vital;
mod writer;

pub use config::{
    BusyReply, ByteSize, ClaimText, Command, Config, ConfigError, CookieName, Durability, Fault, HealthArgs,
    HiddenText, HostName, IoUring, JwksUrl, JwtAlg, JwtKey, LogAction, LogArgs, LogFormat, LogLevel, Network, Origin,
    OriginPattern, OtlpEndpoint, Preset, PublishArgs, Ratio, Reloaded, Reloader, RequiredClaims, Secret, ServiceName,
    SlowPolicy, SubscribeArgs, TokenArgs, TopArgs, TopicCompression, TopicLimits, TopicPattern, TopicRule, WebOrigin,
    reference_markdown,
};
pub use inherited::{InheritError, Inherited};
pub use server::{Addresses, RunError, Server, StartError};
pub use signals::HISTOGRAM_BUCKETS;
pub use upgrade::{LinkError, Predecessor, TakeOverError};
