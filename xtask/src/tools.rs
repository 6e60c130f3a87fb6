//! Programs that cargo installs, in `target/tools`: neither the user's own nor the workspace's build are touched.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{program, workspace};

/// The program of this crate in this version, installed first if it is not there.
pub fn installed(name: &str, version: &str) -> Result<PathBuf> {
    let root = workspace::target().join("tools");
    let tool = root.join("bin").join(name);
    if tool.is_file() && is_listed(&fs::read_to_string(root.join(".crates2.json")).unwrap_or_default(), name, version) {
        return Ok(tool);
    }
    // Unoptimised without debug information: it builds in a third of the time and takes a second to run.
    let mut cargo = workspace::cargo(&["install", name, "--locked", "--debug", "--version", version, "--root"]);
    program::run(cargo.arg(&root).env("CARGO_PROFILE_DEV_DEBUG", "0")).with_context(|| format!("installing {name}"))?;
    Ok(tool)
}

/// Whether cargo's list of what it has installed has this version.
fn is_listed(list: &str, name: &str, version: &str) -> bool {
    list.contains(&format!("\"{name} {version} ("))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_is_another_program() {
        let list = r#"{"installs":{"cargo-deny 0.20.2 (registry+https://..)":{"version_req":"0.20.2"}}}"#;
        assert!(is_listed(list, "cargo-deny", "0.20.2"));
        assert!(!is_listed(list, "cargo-deny", "0.20.1") && !is_listed("", "cargo-deny", "0.20.2"));
    }
}
