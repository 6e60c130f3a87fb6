//! cargo-mutants: does a test notice when a function does something else?
//!
//! It changes one thing at a time in a copy of the tree and runs the tests of that crate.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::Value;

use crate::{program, tools, workspace};

const VERSION: &str = "27.1.0";
/// What a test under a mutant may take of addresses: one that never stops collecting ends by itself, and not the machine.
const ADDRESSES_MAX: u64 = 10 << 30;
/// Of the mutants that build, so many in a hundred have to be noticed.
const CAUGHT_MIN: f64 = 90.0;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Parts by name; all of them when none is given
    parts: Vec<String>,
    /// Only a share of the mutants, as in 0/8
    #[arg(long, value_name = "N/M")]
    shard: Option<String>,
}

/// What is changed, and what has to notice.
struct Part {
    name: &'static str,
    package: &'static str,
    files: &'static [&'static str],
    /// What of the package's tests is run.
    tests: &'static [&'static str],
}

const PARTS: &[Part] = &[
    Part { name: "wire", package: "sse-wire", files: &["crates/sse-wire/src/**/*.rs"], tests: &[] },
    Part {
        name: "ring",
        package: "sse-hub",
        files: &["crates/sse-hub/src/ring.rs", "crates/sse-hub/src/given_ids.rs"],
        tests: &["--lib", "--test", "it", "--test", "model"],
    },
    Part {
        name: "cursor",
        package: "sse-hub",
        files: &["crates/sse-hub/src/cursor.rs", "crates/sse-hub/src/epochs.rs"],
        tests: &["--lib", "--test", "it", "--test", "model", "--test", "fuzz"],
    },
    Part {
        name: "auth",
        package: "sse-server",
        files: &[
            "crates/sse-server/src/access/claims.rs",
            "crates/sse-server/src/access/credential.rs",
            "crates/sse-server/src/access/key.rs",
            "crates/sse-server/src/access/role.rs",
            "crates/sse-server/src/access/token.rs",
            "crates/sse-server/src/access/tickets.rs",
            "crates/sse-server/src/access/revocations.rs",
        ],
        // Each of these is built anew for each mutant, so the black-box tests are not among them.
        tests: &["--lib", "access::"],
    },
];

/// Runs the parts, and fails when too few mutants are noticed.
pub fn run(args: Args) -> Result<()> {
    let is_wanted = |part: &&Part| args.parts.is_empty() || args.parts.iter().any(|name| name == part.name);
    if let Some(unknown) = args.parts.iter().find(|name| PARTS.iter().all(|part| part.name != **name)) {
        bail!("there is no part {unknown}: {}", PARTS.iter().map(|part| part.name).collect::<Vec<_>>().join(", "));
    }
    setrlimit(Resource::As, Rlimit { current: Some(ADDRESSES_MAX), maximum: Some(ADDRESSES_MAX) })
        .context("bounding the memory of what this starts")?;
    let (mut caught, mut tried) = (0, 0);
    for part in PARTS.iter().filter(is_wanted) {
        let outcome = part.run(args.shard.as_deref())?;
        println!("mutants {}: {} of {} caught ({:.1} %)", part.name, outcome.caught, outcome.tried, outcome.percent());
        outcome.missed.iter().for_each(|missed| println!("  missed: {missed}"));
        caught += outcome.caught;
        tried += outcome.tried;
    }
    let all = Outcome { caught, tried, missed: Vec::new() };
    println!("mutants: {caught} of {tried} caught ({:.1} %)", all.percent());
    ensure!(all.percent() >= CAUGHT_MIN, "less than {CAUGHT_MIN} % of the mutants are caught");
    Ok(())
}

/// What became of the mutants that built.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    caught: usize,
    tried: usize,
    missed: Vec<String>,
}

impl Outcome {
    fn percent(&self) -> f64 {
        100.0 * self.caught as f64 / self.tried as f64
    }

    /// From what cargo-mutants writes down. A mutant that hangs is noticed too.
    fn of(outcomes: &Value) -> Self {
        let (mut caught, mut missed) = (0, Vec::new());
        for outcome in outcomes["outcomes"].as_array().into_iter().flatten() {
            match outcome["summary"].as_str() {
                Some("CaughtMutant" | "Timeout") => caught += 1,
                Some("MissedMutant") => {
                    missed.push(outcome["scenario"]["Mutant"]["name"].as_str().unwrap_or("?").to_owned());
                }
                _ => (),
            }
        }
        Self { caught, tried: caught + missed.len(), missed }
    }
}

impl Part {
    fn run(&self, shard: Option<&str>) -> Result<Outcome> {
        tools::installed("cargo-mutants", VERSION)?;
        let out = workspace::target().join("mutants").join(self.name);
        fs::create_dir_all(&out).with_context(|| format!("creating {}", out.display()))?;
        let mut cargo = workspace::cargo(&["mutants", "--package", self.package, "--jobs", "1", "--no-shuffle"]);
        cargo.env("PATH", path_with_tools()?).args(["--timeout", "120", "--colors", "never", "--output"]).arg(&out);
        // Each mutant is built and linked anew, which takes less without what debuggers read.
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "none");
        self.files.iter().for_each(|file| _ = cargo.args(["--file", file]));
        shard.into_iter().for_each(|shard| _ = cargo.args(["--shard", shard]));
        // Which programs are built and run, and behind both marks which of their tests.
        let (options, names) =
            self.tests.split_at(self.tests.iter().position(|arg| arg.contains("::")).unwrap_or(self.tests.len()));
        options.iter().for_each(|option| _ = cargo.arg(format!("--cargo-arg={option}")));
        if !names.is_empty() {
            cargo.args(["--", "--"]).args(names);
        }
        // It fails when some are missed, which is judged below; that it did not get so far shows there, too.
        let _ = program::run(&mut cargo);
        read(&out.join("mutants.out/outcomes.json"))
    }
}

fn path_with_tools() -> Result<std::ffi::OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = workspace::target().join("tools/bin");
    std::env::join_paths([tools].into_iter().chain(std::env::split_paths(&path))).context("the PATH takes no tools")
}

fn read(path: &Path) -> Result<Outcome> {
    let text = fs::read_to_string(path).with_context(|| format!("cargo-mutants wrote no {}", path.display()))?;
    let outcome = Outcome::of(&serde_json::from_str(&text).context("reading what cargo-mutants wrote")?);
    ensure!(outcome.tried > 0, "no mutant was tried");
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workspace;

    #[test]
    fn what_hangs_is_caught_and_what_does_not_build_does_not_count() {
        let mutant = |summary: &str| json!({"summary": summary, "scenario": {"Mutant": {"name": "a.rs:1: x"}}});
        let all = ["CaughtMutant", "Timeout", "MissedMutant", "Unviable", "CaughtMutant"].map(mutant);
        let outcome = Outcome::of(
            &json!({"outcomes": [{"summary": "Success", "scenario": "Baseline"}, all[0], all[1], all[2], all[3], all[4]]}),
        );
        assert_eq!(outcome, Outcome { caught: 3, tried: 4, missed: vec!["a.rs:1: x".to_owned()] });
        assert!(outcome.percent() < CAUGHT_MIN);
    }

    #[test]
    fn every_file_of_a_part_is_there() {
        for file in PARTS.iter().flat_map(|part| part.files).filter(|file| !file.contains('*')) {
            assert!(workspace::root().join(file).is_file(), "{file}");
        }
    }
}
