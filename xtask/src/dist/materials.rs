//! The bill of materials: every crate in the binary, as CycloneDX.
//!
//! cargo-cyclonedx is kept by CycloneDX itself; cargo-sbom, the other, has had no release for longer and no toolchain named.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Release;
use crate::faults::finding::Findings;
use crate::{program, tools, workspace};

const VERSION: &str = "0.5.9";
const FILE: &str = "sse-server.materials";

pub fn make(release: &Release) -> Result<PathBuf> {
    let tool = tools::installed("cargo-cyclonedx", VERSION)?;
    let manifest = workspace::root().join("crates/sse-server/Cargo.toml");
    let mut command = std::process::Command::new(tool);
    command.current_dir(workspace::root()).args(["cyclonedx", "--format=json", "--spec-version=1.5"]);
    command.args(["--all", "--no-build-deps", "--target=all", "--override-filename", FILE, "--manifest-path"]);
    // With a time it draws no serial number either.
    program::run(command.arg(&manifest).env("SOURCE_DATE_EPOCH", release.epoch.to_string()))?;
    let file = release.out.join(format!("sse-server-{}.cdx.json", release.version));
    collect(&file)?;
    Ok(file)
}

/// It writes a file beside every manifest of the workspace: the server's is the one.
fn collect(file: &Path) -> Result<()> {
    let mut found = None;
    for dir in ["crates", "."] {
        for entry in fs::read_dir(workspace::root().join(dir))? {
            let written = entry?.path().join(format!("{FILE}.json"));
            let Ok(text) = fs::read_to_string(&written) else { continue };
            fs::remove_file(&written)?;
            found = found.or_else(|| written.ends_with(format!("sse-server/{FILE}.json")).then_some(text));
        }
    }
    // Crates of the workspace go by their folders in it.
    let root = workspace::root().to_string_lossy();
    let text = found.context("no bill of materials was written")?.replace(&*root, "/src");
    fs::write(file, text).context("writing the bill of materials")
}

pub fn try_out(_: &Release, file: &Path, findings: &mut Findings) -> Result<()> {
    let text = fs::read_to_string(file)?;
    let bill: Value = serde_json::from_str(&text).context("it is no JSON")?;
    let components = bill["components"].as_array().context("it lists nothing")?;
    findings.is_so("it is of CycloneDX", bill["bomFormat"] == "CycloneDX");
    findings.at_least("crates in it", components.len() as f64, 100.0, "");
    let has = |name: &str| components.iter().any(|component| component["name"] == name);
    for name in ["sse-hub", "hyper", "rustls", "aws-lc-sys", "libsqlite3-sys"] {
        ensure!(has(name), "{name} is not in it");
    }
    findings.is_so("no crate of the tests is in it", !has("rcgen") && !has("proptest"));
    let is_named = |component: &Value| component["version"].is_string() && component["purl"].is_string();
    findings.all(
        "crates with a version and an address",
        components.iter().filter(|c| is_named(c)).count(),
        components.len(),
    );
    let root = workspace::root().to_string_lossy().into_owned();
    findings.is_so("it names no folder of this machine", !text.contains(&root));
    Ok(())
}
