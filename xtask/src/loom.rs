//! The models of the lock-free pieces, run by loom.

use anyhow::Result;

use crate::tally::Tally;
use crate::{program, workspace};

/// Runs every model.
pub fn run() -> Result<()> {
    models().map(drop)
}

/// Runs every model and counts them: the hub's unit tests whose names begin with `loom_`.
///
/// Release, because loom explores many thousands of executions; a target folder of its own, because `--cfg loom`
/// rebuilds every crate and would throw the ordinary build away.
pub fn models() -> Result<Tally> {
    let target = workspace::target().join("loom");
    let models = ["test", "--package", "sse-hub", "--release", "--lib", "loom_", "--target-dir"];
    let mut cargo = workspace::cargo(&models);
    cargo.arg(target).env("RUSTFLAGS", workspace::rustflags("--cfg loom"));
    program::run_counted(&mut cargo)
}
