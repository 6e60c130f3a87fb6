//! Miri, which sees undefined behaviour, on sse-wire, the ring and ids. It needs a nightly toolchain, which nothing else does.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::{program, workspace};

/// Cases of each property, which Miri runs some hundred times slower.
const CASES: &str = "8";

/// What is run: a package, and what of its tests.
const RUNS: &[&[&str]] = &[
    &["--package", "sse-wire", "--lib", "--test", "properties"],
    &["--package", "sse-hub", "--lib", "ring::", "cursor::", "epochs::", "given_ids::", "lag::"],
];

/// Runs them, installing the toolchain first if it is not there.
pub fn run() -> Result<()> {
    install()?;
    for run in RUNS {
        let mut miri = nightly();
        // Tests read the clock and the environment.
        miri.args(["cargo", "miri", "test"]).env("MIRIFLAGS", "-Zmiri-disable-isolation -Zmiri-strict-provenance");
        miri.env("PROPTEST_CASES", CASES).env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1");
        miri.arg("--target-dir").arg(workspace::target().join("miri"));
        let (options, names) = run.split_at(run.iter().position(|arg| arg.contains("::")).unwrap_or(run.len()));
        miri.args(options).arg("--").args(names);
        program::run(&mut miri)?;
    }
    Ok(())
}

fn install() -> Result<()> {
    let is_there = nightly().args(["cargo", "miri", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if is_there.context("Miri is installed by rustup, which has to be there")?.success() {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["toolchain", "install", "nightly", "--profile", "minimal", "--component", "miri,rust-src"]);
    program::run(&mut rustup).context("installing a nightly toolchain with Miri")
}

/// Something of the nightly toolchain, and not of the one that runs this.
fn nightly() -> Command {
    let mut command = Command::new("rustup");
    command.current_dir(workspace::root()).args(["run", "nightly"]);
    ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"].iter().for_each(|name| _ = command.env_remove(name));
    command
}
