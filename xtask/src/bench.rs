//! The criterion benches.

use anyhow::Result;

use crate::{program, workspace};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Passed on to `cargo bench`, such as `--bench fanout` or `-- --save-baseline before`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

/// Runs the benches.
pub fn run(args: Args) -> Result<()> {
    program::run(workspace::cargo(&["bench", "--package", "sse-benches"]).args(args.rest))
}
