//! cargo-deny: licences, sources, banned versions and advisories.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::{program, tools, workspace};

/// The cargo-deny that `deny.toml` is written for.
const VERSION: &str = "0.20.2";

/// Checks the dependencies, installing cargo-deny first if this version of it is not there.
pub fn run() -> Result<()> {
    let deny = tools::installed("cargo-deny", VERSION)?;
    let check =
        |what: &[&str]| program::run(Command::new(&deny).current_dir(workspace::root()).arg("check").args(what));
    check(&["bans", "licenses", "sources"])?;
    match fetch_advisories(&deny)? {
        Ok(()) => check(&["advisories"]),
        Err(why) => {
            println!("advisories: NOT CHECKED, the database could not be fetched: {why}");
            Ok(())
        }
    }
}

/// Fetches the advisory database. The inner error is why it cannot be had here, which is no fault of the workspace.
fn fetch_advisories(deny: &Path) -> Result<Result<(), String>> {
    // Behind a firewall that swallows packets a fetch would hang, so it gets a minute.
    let output = Command::new("timeout")
        .arg("60")
        .arg(deny)
        .args(["fetch", "db"])
        .current_dir(workspace::root())
        .env("GIT_TERMINAL_PROMPT", "0")
        .stdin(Stdio::null())
        .output()
        .context("running timeout")?;
    if output.status.success() {
        return Ok(Ok(()));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(Err(said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no answer within 60 s").to_owned()))
}
