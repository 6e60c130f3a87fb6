//! Where things are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::Result;

use crate::program;

/// The folder of the workspace's manifest.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace")
}

/// Where cargo builds to.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Says, with this value, that programs are built as for debugging: CI, which has the dependencies so anyhow and judges what comes
/// out, not how fast.
pub const PROFILE: (&str, &str) = ("XTASK_PROFILE", "dev");

static IS_DEV: OnceLock<bool> = OnceLock::new();

/// From here on programs are built as for debugging.
pub fn use_dev_profile() {
    // Who asked before has started nothing yet.
    let _ = IS_DEV.set(true);
}

fn is_dev() -> bool {
    *IS_DEV.get_or_init(|| std::env::var_os(PROFILE.0).is_some_and(|profile| profile == PROFILE.1))
}

/// Builds programs for use, each named by its package and itself.
pub fn build(programs: &[(&str, &str)]) -> Result<()> {
    let mut cargo = cargo(if is_dev() { &["build"] } else { &["build", "--release"] });
    for (package, program) in programs {
        cargo.args(["--package", package, "--bin", program]);
    }
    program::run(&mut cargo)
}

/// A program that was built so.
pub fn built(program: &str) -> PathBuf {
    target().join(if is_dev() { "debug" } else { "release" }).join(program)
}

/// The cargo that runs this chore, in the workspace's root.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    command
}

/// `RUSTFLAGS` with `more` behind what the environment already has.
pub fn rustflags(more: &str) -> String {
    let given = std::env::var("RUSTFLAGS").unwrap_or_default();
    format!("{given} {more}").trim().to_owned()
}
