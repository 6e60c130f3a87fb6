//! The Dockerfile: linted, and built where an engine answers.

use std::process::Command;

use anyhow::Result;

use super::{Yard, linters};
use crate::faults::finding::Findings;
use crate::{program, workspace};

pub fn check(yard: &Yard, findings: &mut Findings) -> Result<()> {
    let hadolint = linters::installed()?.join("bin/hadolint");
    let lint = |file: &std::path::Path| Command::new(&hadolint).arg("--no-color").arg(file).output();
    let dockerfile = workspace::root().join("Dockerfile");
    let linted = lint(&dockerfile)?;
    print!("{}", String::from_utf8_lossy(&linted.stdout));
    findings.is_so("hadolint has nothing to say of the Dockerfile", linted.status.success());
    let spoiled = yard.dir.join("Dockerfile");
    let text = std::fs::read_to_string(&dockerfile)?;
    std::fs::write(&spoiled, text.replace("WORKDIR /build", "WORKDIR build"))?;
    findings.is_so("it does of one that is spoiled", !lint(&spoiled)?.status.success());
    if !has_engine() {
        println!("the image: NOT BUILT, no container engine answers here");
        return Ok(());
    }
    let mut build = Command::new("docker");
    build.current_dir(workspace::root()).args(["build", "--quiet", "--tag", "sse-server:checked", "."]);
    program::run(&mut build)?;
    let help = Command::new("docker").args(["run", "--rm", "sse-server:checked", "--version"]).output()?;
    findings.is_so("the image runs", help.status.success() && help.stdout.starts_with(b"sse-server "));
    Ok(())
}

fn has_engine() -> bool {
    program::find("docker").is_some()
        && Command::new("docker").args(["info"]).output().is_ok_and(|info| info.status.success())
}
