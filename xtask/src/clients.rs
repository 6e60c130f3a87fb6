//! Real clients against the real server: `clients/tests`, run by Node's own test runner.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::tally::Tally;
use crate::{program, setup, workspace};

/// Installs the clients, builds the server and runs their tests.
pub fn run() -> Result<()> {
    setup::run()?;
    println!("\n{}", tests()?);
    Ok(())
}

/// Runs the tests and counts them; an error names what failed.
pub fn tests() -> Result<Tally> {
    let dir = workspace::root().join("clients/tests");
    let python = workspace::target().join("clients/python");
    let results = workspace::target().join("clients/results.tap");
    // Together with the load generator, as loadtest builds them: alone, its dependencies would be built once more.
    workspace::build(&[("sse-server", "sse-server"), ("sse-loadgen", "sse-loadgen")])?;
    install(&dir.join("package-lock.json"), &dir.join("node_modules"), npm)?;
    install(&dir.join("python/requirements.txt"), &python, pip)?;
    let ran = program::run(&mut node(&dir, &python, &results));
    let tally = read(&fs::read_to_string(&results).with_context(|| format!("reading {}", results.display()))?);
    ensure!(tally.failed == 0, "the client tests failed: {tally}");
    ran?;
    ensure!(tally.passed > 0, "the client tests ran nothing");
    Ok(tally)
}

/// Puts the packages that `list` names into `dir` by `command`, unless just these are there.
fn install(list: &Path, dir: &Path, command: fn(list: &Path, dir: &Path) -> Command) -> Result<()> {
    let stamp = dir.join(".installed");
    let wanted = fs::read(list).with_context(|| format!("reading {}", list.display()))?;
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    program::run(&mut command(list, dir)).context("installing the clients")?;
    fs::write(&stamp, wanted).with_context(|| format!("writing {}", stamp.display()))
}

fn npm(list: &Path, _dir: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.current_dir(list.parent().expect("a lock file is in a folder"));
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
    npm
}

fn pip(list: &Path, dir: &Path) -> Command {
    let mut pip = Command::new("pip3");
    pip.args(["install", "--quiet", "--no-deps", "--disable-pip-version-check", "--root-user-action=ignore"]);
    pip.arg("--target").arg(dir).arg("--requirement").arg(list);
    pip
}

/// The tests, shown on the terminal and written down to be counted.
fn node(dir: &Path, python: &Path, results: &Path) -> Command {
    let mut node = Command::new("node");
    node.current_dir(dir);
    node.env("SSE_SERVER_BIN", workspace::built("sse-server")).env("SSE_CLIENTS_PYTHON", python);
    node.args(["--test", "--test-reporter=spec", "--test-reporter-destination=stdout", "--test-reporter=tap"]);
    node.arg(format!("--test-reporter-destination={}", results.display()));
    node
}

/// The totals at the end of a TAP report.
fn read(report: &str) -> Tally {
    let total = |what: &str| {
        let line = report.lines().rev().find_map(|line| line.strip_prefix(what));
        line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    };
    // A cancelled test is one whose file or suite failed before it could run.
    Tally { passed: total("# pass "), failed: total("# fail ") + total("# cancelled ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read_from_the_end_of_the_report() {
        let report = "TAP version 13\n# pass 99\nok 1 - a\n1..1\n# tests 5\n# pass 3\n# fail 1\n# cancelled 1\n";
        assert_eq!(read(report), Tally { passed: 3, failed: 2 });
        assert_eq!(read("TAP version 13\n"), Tally::default());
    }
}
