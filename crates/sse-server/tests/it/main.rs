//! The server as its users meet it: the real binary on free ports, spoken to in bytes.

#![expect(clippy::unwrap_used, reason = "a test's own helpers fail the test")]

mod deadlines;
mod follow;
mod harness;
mod hostile_ids;
mod hosts;
mod limits;
mod malformed;
mod methods;
mod origins;
mod publish;
mod quickstart;
mod resume;
mod smuggling;
