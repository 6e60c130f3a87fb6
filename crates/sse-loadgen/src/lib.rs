//! Measures servers of event streams: opens thousands of streams from a few threads, publishes on a schedule that does
//! not slip when the server is slow, verifies for every subscriber that nothing is lost, repeated or out of order, and
//! tells how long it took and what it cost.
//!
//! It speaks HTTP/1.1 and HTTP/2, plain and over TLS, and knows nothing of any server's inside: what arrives is parsed with `sse-wire`, and
//! `sse-hub` is never linked, so that a fault there cannot hide here.
//!
//! ```no_run
//! use sse_loadgen::Scenario;
//!
//! # fn main() -> Result<(), sse_loadgen::RunError> {
//! let url = "http://127.0.0.1:8080/events/{topic}";
//! let mut scenario = Scenario::new(url, url);
//! scenario.subscribers = 500;
//! let report = sse_loadgen::run(&scenario)?;
//! println!("{report}");
//! assert!(report.whole);
//! # Ok(())
//! # }
//! ```

mod chunked;
mod clock;
mod comeback;
mod connection;
mod connector;
mod control;
mod descriptors;
mod frame;
mod gunzip;
mod head;
mod latency;
mod ledger;
mod machine;
mod meter;
mod multiplex;
mod poster;
mod procfs;
mod progress;
mod publisher;
mod reader;
mod report;
mod run;
mod scenario;
mod schedule;
mod socket;
mod stamp;
mod subscriber;
mod table;
mod target;
mod template;
mod tls;
mod verify;
mod visits;

pub use latency::{QuantilePoint, Quantiles};
pub use ledger::Tally;
pub use machine::Machine;
pub use meter::Sample;
pub use procfs::Usage;
pub use report::{Delivery, Load, OwnUse, Published, Report, ServerUse, Streams};
pub use run::{RunError, run};
pub use scenario::{Scenario, ScenarioError};
pub use target::TargetError;
