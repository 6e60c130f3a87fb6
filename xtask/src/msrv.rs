//! The `rust-version` that the manifest promises.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{program, workspace};

/// Checks that the toolchain in use is not older than `rust-version`, and says so when it is newer: then the promise
/// itself is not what these tests prove.
pub fn run() -> Result<()> {
    let promised = promised()?;
    let used = used()?;
    let text = |(major, minor)| format!("{major}.{minor}");
    if used < promised {
        bail!("the toolchain is {}, but rust-version is {}: run `rustup update`", text(used), text(promised));
    }
    if used == promised {
        println!("rust-version {} is the toolchain in use", text(promised));
    } else {
        println!("rust-version is {}, tested with the newer {}", text(promised), text(used));
    }
    Ok(())
}

/// The highest `rust-version` of the workspace's own packages.
fn promised() -> Result<(u32, u32)> {
    let metadata = program::read(&mut workspace::cargo(&["metadata", "--format-version", "1", "--no-deps"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("reading cargo's metadata")?;
    let packages = metadata["packages"].as_array().context("cargo names no packages")?;
    let versions = packages.iter().map(|package| {
        let version = package["rust_version"].as_str();
        version.and_then(parse).with_context(|| format!("{} has no rust-version", package["name"]))
    });
    let versions = versions.collect::<Result<Vec<_>>>()?;
    versions.into_iter().max().context("the workspace has no packages")
}

fn used() -> Result<(u32, u32)> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = program::read(Command::new(rustc).arg("--version"))?;
    version.split(' ').nth(1).and_then(parse).with_context(|| format!("cannot read the version in {version:?}"))
}

/// Major and minor of `1.95`, `1.95.0` or `1.95.0-beta.2`.
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_are_read_by_major_and_minor() {
        for (text, expected) in [
            ("1.95", Some((1, 95))),
            ("1.95.0", Some((1, 95))),
            ("1.96.0-nightly", Some((1, 96))),
            ("1", None),
            ("x.y", None),
        ] {
            assert_eq!(super::parse(text), expected, "{text}");
        }
    }
}
