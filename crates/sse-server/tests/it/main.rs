//! The server as its users meet it: the real binary on free ports, spoken to in bytes.

#![expect(clippy::unwrap_used, reason = "a test's own helpers fail the test")]

mod activation;
mod churn;
mod closing;
mod coalescing;
mod compression;
mod config;
mod deadlines;
mod descriptors;
mod disconnect;
mod drain;
mod durable;
mod expiry;
mod follow;
mod forged;
mod grants;
mod handover;
mod harness;
mod health;
mod heartbeat;
mod hostile_ids;
mod hosts;
mod http2;
mod idempotency;
mod jwks;
mod jwks_https;
mod life;
mod limits;
mod malformed;
mod mercure;
mod methods;
mod metrics;
mod minting;
mod origins;
mod publish;
mod quickstart;
mod resume;
mod revocations;
mod secrets;
mod service;
mod shares;
mod slow;
mod smuggling;
mod tickets;
mod tls;
