//! The fuzz targets, run by libFuzzer on a stable toolchain.
//!
//! A target is a test in `crates/*/tests/fuzz.rs` written with bolero. Plain `cargo test` runs each for a second on random
//! input and replays its `__fuzz__` folder. This chore builds the same tests with coverage counters, which stable rustc
//! can insert, and hands them to libFuzzer, which bolero carries. New input goes to `target/fuzz`, a crash goes beside
//! the target, where it is a regression test from then on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::tally::Tally;
use crate::{program, setup, workspace};

/// What makes rustc insert the counters, and bolero link the engine that reads them.
const FLAGS: &str = "--cfg fuzzing --cfg fuzzing_libfuzzer -Cpasses=sancov-module -Ccodegen-units=1 \
    -Cdebug-assertions=on -Coverflow-checks=on -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only the targets whose name contains this
    target: Option<String>,
    /// How long each target runs
    #[arg(long, default_value_t = 60, value_name = "N")]
    seconds: u32,
}

/// One test function that bolero drives.
struct Target {
    name: String,
    /// The test program it is in.
    program: PathBuf,
    /// `crates/<crate>/tests/__fuzz__/<name>`, where bolero looks for input to replay.
    kept: PathBuf,
}

/// Fuzzes each target that `args` names for its time.
pub fn run(args: Args) -> Result<()> {
    setup::run()?;
    all(args.target.as_deref().unwrap_or(""), args.seconds).map(drop)
}

/// Fuzzes each target whose name contains `wanted`, and counts them.
pub fn all(wanted: &str, seconds: u32) -> Result<Tally> {
    let mut targets = Vec::new();
    for package in packages()? {
        targets.extend(build(&package)?);
    }
    targets.retain(|target| target.name.contains(wanted));
    ensure!(!targets.is_empty(), "no fuzz target has {wanted:?} in its name");
    for target in &targets {
        target.fuzz(seconds)?;
    }
    Ok(Tally { passed: targets.len() as u64, failed: 0 })
}

/// The crates that have fuzz targets.
fn packages() -> Result<Vec<PathBuf>> {
    let crates = fs::read_dir(workspace::root().join("crates")).context("listing the crates")?;
    let mut packages = crates.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    packages.retain(|package| package.join("tests/fuzz.rs").is_file());
    packages.sort();
    Ok(packages)
}

/// Builds a crate's targets and lists them.
fn build(package: &Path) -> Result<Vec<Target>> {
    let name = package.file_name().and_then(|name| name.to_str()).context("a crate's folder is its name")?;
    let mut cargo = workspace::cargo(&["test", "--release", "--test", "fuzz", "--no-run", "--package", name]);
    // Naming the host as the target keeps the counters out of build scripts and macros.
    cargo.args(["--message-format", "json-render-diagnostics", "--target", &host()?, "--target-dir"]);
    cargo.arg(workspace::target().join("fuzz/build")).env("RUSTFLAGS", workspace::rustflags(FLAGS));
    let messages = program::read(&mut cargo)?;
    let program = messages.lines().find_map(test_program).with_context(|| format!("cargo built no fuzz of {name}"))?;
    let list = program::read(Command::new(&program).args(["--list", "--format", "terse"]))?;
    let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
    Ok(names
        .map(|name| Target {
            name: name.to_owned(),
            program: program.clone(),
            kept: package.join("tests/__fuzz__").join(name.replace("::", "__")),
        })
        .collect())
}

fn host() -> Result<String> {
    let version = program::read(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}

/// The program that one of cargo's messages says it built.
fn test_program(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let is_fuzz = message["target"]["name"] == "fuzz";
    message["executable"].as_str().filter(|_| is_fuzz).map(PathBuf::from)
}

impl Target {
    fn fuzz(&self, seconds: u32) -> Result<()> {
        let work = workspace::target().join("fuzz").join(&self.name);
        let (found, crashes) = (work.join("corpus"), self.kept.join("crashes"));
        let kept = self.kept.join("corpus");
        for dir in [&found, &kept, &crashes] {
            fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        }
        let log = work.join("log");
        let status = Command::new(&self.program)
            .args([&self.name, "--exact", "--nocapture", "--test-threads=1"])
            .env("RUST_BACKTRACE", "0")
            .env("BOLERO_LIBFUZZER_ARGS", engine_args(seconds, &crashes, &[&found, &kept])?)
            .stdout(fs::File::create(&log)?)
            .stderr(fs::OpenOptions::new().append(true).open(&log)?)
            .status()
            .with_context(|| format!("running {}", self.program.display()))?;
        let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        // The engine needs the folders; those that stayed empty are no part of the repository.
        for dir in [&*kept, &crashes].into_iter().chain(self.kept.ancestors().take(2)) {
            let _ = fs::remove_dir(dir);
        }
        if !status.success() {
            bail!("{} failed, its input is kept in {}:\n{}", self.name, crashes.display(), last_lines(&said, 40));
        }
        let runs = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
        let runs = runs.with_context(|| format!("{} ran nothing, see {}", self.name, log.display()))?;
        println!("fuzz {}: ok, {} runs in {seconds} s", self.name, runs.trim());
        Ok(())
    }
}

/// libFuzzer's arguments: it adds to the first of `corpora` and reads all.
fn engine_args(seconds: u32, crashes: &Path, corpora: &[&Path]) -> Result<String> {
    let mut args = vec![
        format!("-max_total_time={seconds}"),
        format!("-artifact_prefix={}/", crashes.display()),
        "-timeout=10".to_owned(),
        "-rss_limit_mb=2048".to_owned(),
        "-print_final_stats=1".to_owned(),
    ];
    args.extend(corpora.iter().map(|dir| dir.display().to_string()));
    // bolero splits them at spaces and knows no quoting.
    ensure!(!args.iter().any(|arg| arg.contains(' ')), "fuzzing needs a path to the workspace without spaces");
    Ok(args.join(" "))
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
