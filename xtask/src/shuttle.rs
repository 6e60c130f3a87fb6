//! Whole hubs under random schedules, run by shuttle.

use anyhow::Result;

use crate::{program, workspace};

/// Schedules of the long form, in each test.
const LONG: u64 = 1_000_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// So many schedules in each test; 10,000 when nothing else is said
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    schedules: u64,
    /// A million schedules in each test
    #[arg(long, conflicts_with = "schedules")]
    long: bool,
}

/// Runs every test of `crates/sse-hub/tests/shuttle.rs`. A schedule that fails is printed, to be replayed.
///
/// Release, and a target folder of its own, as for loom.
pub fn run(args: Args) -> Result<()> {
    let schedules = if args.long { LONG } else { args.schedules };
    let mut cargo =
        workspace::cargo(&["test", "--package", "sse-hub", "--release", "--test", "shuttle", "--target-dir"]);
    cargo.arg(workspace::target().join("shuttle")).env("RUSTFLAGS", workspace::rustflags("--cfg shuttle"));
    program::run(cargo.env("SHUTTLE_SCHEDULES", schedules.to_string()))
}
