//! The fuzz targets, run by libFuzzer on a stable toolchain.
//!
//! A target is a test written with bolero, in `crates/*/tests/fuzz.rs` or a module `fuzz_tests` of a crate. Plain `cargo test` runs each for a second on random
//! input and replays its `__fuzz__` folder. This chore builds the same tests with coverage counters, which stable rustc
//! can insert, and hands them to libFuzzer, which bolero carries. New input goes to `target/fuzz`, a crash goes beside
//! the target, where it is a regression test from then on.

mod kept;

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
    /// How long each target runs; 10 seconds when nothing else is said
    #[arg(long, value_name = "N")]
    seconds: Option<u32>,
    /// A minute for each target
    #[arg(long, conflicts_with = "seconds")]
    long: bool,
    /// Only those of sse-wire, which build in seconds
    #[arg(long)]
    quick: bool,
    /// Chooses what the repository keeps of the input that was found, afterwards
    #[arg(long, conflicts_with = "quick")]
    keep: bool,
}

/// Seconds of each target when nothing else is said, and in the long form.
const SHORT: u32 = 10;
const LONG: u32 = 60;

/// What no input may take.
const LIMITS: [&str; 2] = ["-timeout=10", "-rss_limit_mb=2048"];

/// One test function that bolero drives.
struct Target {
    name: String,
    /// The test program it is in.
    program: PathBuf,
    /// `__fuzz__/<name>` beside the target's source, where bolero looks for input to replay.
    kept: PathBuf,
}

/// Fuzzes each target that `args` names for its time.
pub fn run(args: Args) -> Result<()> {
    setup::run()?;
    let seconds = args.seconds.unwrap_or(if args.long { LONG } else { SHORT });
    if args.quick {
        return quick(seconds).map(drop);
    }
    fuzz(&packages()?, args.target.as_deref().unwrap_or(""), seconds, args.keep).map(drop)
}

/// Fuzzes the targets of `sse-wire`, and counts them: what CI has time to build. The others it runs on random input, with the
/// tests of their crates.
pub fn quick(seconds: u32) -> Result<Tally> {
    fuzz(&[Package { name: "sse-wire".to_owned(), suite: Suite::Test }], "", seconds, false)
}

fn fuzz(packages: &[Package], wanted: &str, seconds: u32, keep: bool) -> Result<Tally> {
    let mut targets = Vec::new();
    for package in packages {
        targets.extend(package.build()?);
    }
    targets.retain(|target| target.name.contains(wanted));
    ensure!(!targets.is_empty(), "no fuzz target has {wanted:?} in its name");
    let mut failed = Vec::new();
    for target in &targets {
        let kept = target.fuzz(seconds).and_then(|()| if keep { target.keep().map(Some) } else { Ok(None) });
        match kept {
            Ok(Some(files)) => println!("fuzz {}: {files} files are kept", target.name),
            Ok(None) => (),
            Err(error) => {
                println!("{error:#}");
                failed.push(target.name.as_str());
            }
        }
    }
    ensure!(failed.is_empty(), "{} of {} targets failed: {}", failed.len(), targets.len(), failed.join(", "));
    Ok(Tally { passed: targets.len() as u64, failed: 0 })
}

/// A crate that has fuzz targets, in one of the two places.
struct Package {
    name: String,
    suite: Suite,
}

/// Where a crate's targets are.
enum Suite {
    /// `tests/fuzz.rs`.
    Test,
    /// Unit tests, in modules called `fuzz_tests`: what they call is not public.
    Unit,
}

/// The crates that have fuzz targets.
fn packages() -> Result<Vec<Package>> {
    let crates = fs::read_dir(workspace::root().join("crates")).context("listing the crates")?;
    let mut packages = Vec::new();
    for package in crates {
        let dir = package?.path();
        let name = dir.file_name().and_then(|name| name.to_str()).context("a crate's folder is its name")?.to_owned();
        let has = |file: &str| dir.join(file).is_file();
        let suite = match () {
            () if has("tests/fuzz.rs") => Suite::Test,
            () if has("src/fuzz_tests.rs") => Suite::Unit,
            () => continue,
        };
        packages.push(Package { name, suite });
    }
    packages.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(packages)
}

impl Package {
    /// Builds the targets and lists them.
    fn build(&self) -> Result<Vec<Target>> {
        let (suite, filter): (&[&str], &str) = match self.suite {
            Suite::Test => (&["--test", "fuzz"], ""),
            Suite::Unit => (&["--lib"], "fuzz_tests::"),
        };
        let mut cargo = workspace::cargo(&["test", "--release", "--no-run", "--all-features", "--package", &self.name]);
        // Naming the host as the target keeps the counters out of build scripts and macros.
        cargo.args(suite).args(["--message-format", "json-render-diagnostics", "--target", &host()?, "--target-dir"]);
        cargo.arg(workspace::target().join("fuzz/build")).env("RUSTFLAGS", workspace::rustflags(FLAGS));
        let messages = program::read(&mut cargo)?;
        let program = messages.lines().find_map(|message| self.test_program(message));
        let program = program.with_context(|| format!("cargo built no fuzz targets of {}", self.name))?;
        // Asked so, each target says where it keeps its input, and does nothing else.
        let mut list = Command::new(&program);
        list.args([filter, "--nocapture", "--test-threads=1"]).env("CARGO_BOLERO_SELECT", "all");
        let listed = program::read(list.current_dir(workspace::root()))?;
        Ok(listed.lines().filter_map(|line| Target::listed(line, &program)).collect())
    }

    /// The program that one of cargo's messages says it built.
    fn test_program(&self, message: &str) -> Option<PathBuf> {
        let message: Value = serde_json::from_str(message).ok()?;
        let wanted = match self.suite {
            Suite::Test => "fuzz".to_owned(),
            Suite::Unit => self.name.replace('-', "_"),
        };
        let is_ours = message["target"]["name"] == *wanted && message["profile"]["test"] == true;
        message["executable"].as_str().filter(|_| is_ours).map(PathBuf::from)
    }
}

fn host() -> Result<String> {
    let version = program::read(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}

impl Target {
    /// What a line of bolero's says of one.
    fn listed(line: &str, program: &Path) -> Option<Self> {
        let target: Value =
            serde_json::from_str(line).ok().filter(|line: &Value| line["__bolero_target"].is_string())?;
        let text = |field: &str| target[field].as_str().map(str::to_owned);
        Some(Self { name: text("test_name")?, program: program.to_owned(), kept: text("work_dir")?.into() })
    }

    /// What has the test program run this target alone.
    fn only_this(&self) -> [&str; 4] {
        [&self.name, "--exact", "--nocapture", "--test-threads=1"]
    }

    /// libFuzzer over this target.
    fn engine(&self, flags: &[String], corpora: &[&Path]) -> Result<Command> {
        let mut engine = Command::new(&self.program);
        engine.args(self.only_this()).env("RUST_BACKTRACE", "0");
        engine.env("BOLERO_LIBFUZZER_ARGS", engine_args(flags, corpora)?);
        Ok(engine)
    }

    fn fuzz(&self, seconds: u32) -> Result<()> {
        let work = workspace::target().join("fuzz").join(&self.name);
        let (found, crashes) = (work.join("corpus"), self.kept.join("crashes"));
        let kept = self.kept.join("corpus");
        for dir in [&found, &kept, &crashes] {
            fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
        }
        let log = work.join("log");
        let flags = [
            format!("-max_total_time={seconds}"),
            format!("-artifact_prefix={}/", crashes.display()),
            "-print_final_stats=1".to_owned(),
        ];
        let status = self
            .engine(&flags, &[&found, &kept])?
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
fn engine_args(flags: &[String], corpora: &[&Path]) -> Result<String> {
    let mut args = LIMITS.map(str::to_owned).to_vec();
    args.extend_from_slice(flags);
    args.extend(corpora.iter().map(|dir| dir.display().to_string()));
    // bolero splits them at spaces and knows no quoting.
    ensure!(!args.iter().any(|arg| arg.contains(' ')), "fuzzing needs a path to the workspace without spaces");
    Ok(args.join(" "))
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
