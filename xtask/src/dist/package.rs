//! The package for Debian: made by cargo-deb, read by lintian, and installed where nothing of it stays.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Release;
use super::stage::Stage;
use super::target::Target;
use crate::faults::finding::Findings;
use crate::{program, tools, workspace};

const VERSION: &str = "3.8.0";
/// What each line of the trial that says `holds` stands for.
const TRIAL: &str = include_str!("package_trial.sh");

pub fn make(release: &Release) -> Result<PathBuf> {
    let tool = tools::installed("cargo-deb", VERSION)?;
    let target = Target::gnu();
    Stage::fill(release, &target)?;
    let mut command = Command::new(tool);
    command.current_dir(workspace::root()).args(["--package", "sse-server", "--no-build", "--no-strip", "--locked"]);
    command.args(["--target", &target.triple, "--output"]).arg(&release.out);
    command.env("SOURCE_DATE_EPOCH", release.epoch.to_string());
    let said = program::read(&mut command)?;
    let file = said.lines().rfind(|line| line.ends_with(".deb")).context("cargo-deb names no package")?;
    Ok(PathBuf::from(file.trim()))
}

pub fn try_out(release: &Release, file: &Path, findings: &mut Findings) -> Result<()> {
    let mut lintian = Command::new("lintian");
    let linted =
        lintian.args(["--allow-root", "--fail-on=error,warning", "--tag-display-limit=0"]).arg(file).output()?;
    print!("{}", String::from_utf8_lossy(&linted.stdout));
    eprint!("{}", String::from_utf8_lossy(&linted.stderr));
    findings.is_so("lintian has neither errors nor warnings", linted.status.success());
    ensure!(rustix::process::geteuid().is_root(), "installing it needs root");
    let room = release.room("deb")?;
    let script = room.join("trial.sh");
    std::fs::write(&script, TRIAL)?;
    // Changes to files stay in memory, ports are those of a network of its own, and processes end with the first.
    let mut trial = Command::new("unshare");
    trial.args(["--mount", "--propagation=private", "--net", "--pid", "--fork", "--kill-child", "timeout", "120"]);
    trial.args(["sh", "-eu"]).arg(&script).arg(&room).arg(file);
    let tried = trial.output().context("running the trial")?;
    let said = String::from_utf8_lossy(&tried.stdout).into_owned();
    for (step, holds) in said.lines().filter_map(step) {
        findings.is_so(step, holds);
    }
    if !tried.status.success() {
        println!("{said}{}", String::from_utf8_lossy(&tried.stderr));
    }
    findings.is_so("the trial comes to its end", tried.status.success());
    Ok(())
}

/// `holds: what`, or `does not hold: what`.
fn step(line: &str) -> Option<(&str, bool)> {
    let holds = line.strip_prefix("holds: ").map(|what| (what, true));
    holds.or_else(|| Some((line.strip_prefix("does not hold: ")?, false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_from_what_the_trial_says() {
        assert_eq!(step("holds: it serves"), Some(("it serves", true)));
        assert_eq!(step("does not hold: it serves"), Some(("it serves", false)));
        assert_eq!(step("Setting up sse-server .."), None);
    }
}
