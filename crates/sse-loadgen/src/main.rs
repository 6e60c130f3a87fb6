//! The load generator's command: arguments in, table and JSON out.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use crate::args::Args;

mod args;

/// Something was lost, repeated, out of order or not published.
const NOT_WHOLE: u8 = 2;

fn main() -> ExitCode {
    match measure(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(NOT_WHOLE),
        Err(error) => {
            eprintln!("sse-loadgen: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything arrived as it should.
fn measure(args: &Args) -> anyhow::Result<bool> {
    let report = sse_loadgen::run(&args.scenario())?;
    if !args.quiet {
        print!("{report}");
    }
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(&report).context("writing the report as JSON")?;
        std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(report.whole)
}
