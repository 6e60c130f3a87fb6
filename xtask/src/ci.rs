//! Everything that CI runs, as steps.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

use crate::tally::Tally;
use crate::{Cli, clients, fuzz, loom, program, workspace};

/// The steps in order: what fails fastest comes first.
///
/// Everything but loom and the fuzzers is a debug build, so that one build of the dependencies serves nearly all: of what breaks the
/// server or drives it, CI judges what comes out. How fast, and at what cost, the chores themselves measure.
const STEPS: &[Step] = &[
    Step { name: "setup", what: What::Chore(&["setup"]) },
    Step { name: "msrv", what: What::Chore(&["msrv"]) },
    Step { name: "fmt", what: What::Cargo(&["fmt", "--all", "--check"]) },
    Step {
        name: "clippy",
        what: What::Cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
    },
    Step { name: "test", what: What::Cargo(&["test", "--workspace", "--locked"]) },
    Step { name: "examples", what: What::Cargo(&["build", "--workspace", "--examples", "--locked"]) },
    Step { name: "doc", what: What::Doc(&["doc", "--workspace", "--no-deps", "--locked"]) },
    Step { name: "docs", what: What::Chore(&["docs"]) },
    Step { name: "deny", what: What::Chore(&["deny"]) },
    Step { name: "loom", what: What::Tests(&["loom"], loom::models) },
    Step { name: "fuzz", what: What::Tests(&["fuzz", "--quick", "--seconds", "5"], || fuzz::quick(5)) },
    Step {
        name: "faults",
        what: What::Chore(&["faults", "A1", "A2", "A3", "A4", "A5", "A8", "A9", "A10", "A12", "B11"]),
    },
    Step { name: "cluster", what: What::Chore(&["cluster", "J1", "J2-replica", "J3"]) },
    Step { name: "clients", what: What::Tests(&["clients"], clients::tests) },
    Step { name: "proxies", what: What::Chore(&["proxies"]) },
    Step { name: "deploy", what: What::Chore(&["deploy"]) },
    Step {
        name: "loadtest",
        what: What::Chore(&["loadtest", "--subscribers", "500", "--topics", "5", "--seconds", "3"]),
    },
];

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these steps, in the usual order; all when none is named
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(STEPS.iter().map(|step| step.name)))]
    steps: Vec<String>,
}

struct Step {
    name: &'static str,
    what: What,
}

enum What {
    /// A cargo command.
    Cargo(&'static [&'static str]),
    /// A cargo command that builds documentation, where a warning is an error.
    Doc(&'static [&'static str]),
    /// Another chore.
    Chore(&'static [&'static str]),
    /// A chore that runs tests, and the function that runs and counts them.
    Tests(&'static [&'static str], fn() -> Result<Tally>),
}

/// A step that passed.
struct Done {
    name: &'static str,
    took: Duration,
    tally: Tally,
}

/// Runs the steps up to the first that fails.
pub fn run(args: Args) -> Result<()> {
    let wanted = |step: &&Step| args.steps.is_empty() || args.steps.iter().any(|name| name == step.name);
    workspace::use_dev_profile();
    let mut done = Vec::new();
    for step in STEPS.iter().filter(wanted) {
        println!("\n=== {}: {}", step.name, step.shown());
        let started = Instant::now();
        match step.run() {
            Ok(tally) => done.push(Done { name: step.name, took: started.elapsed(), tally }),
            Err(error) => {
                summary(&done);
                println!("{:<10} FAILED after {:.1} s", step.name, started.elapsed().as_secs_f64());
                return Err(error).with_context(|| format!("{} failed, repeat it with: {}", step.name, step.shown()));
            }
        }
    }
    let total = summary(&done);
    if !total.is_empty() {
        println!("\n{total}");
    } else if args.steps.is_empty() {
        bail!("no test ran");
    }
    Ok(())
}

impl Step {
    fn run(&self) -> Result<Tally> {
        match self.what {
            What::Tests(_, tests) => {
                let tally = tests()?;
                ensure!(!tally.is_empty(), "no test ran");
                Ok(tally)
            }
            What::Cargo(_) | What::Doc(_) => program::run_counted(&mut self.command()),
            What::Chore(args) => {
                let chore = ["xtask"].iter().chain(args);
                Cli::try_parse_from(chore)?.chore.run().map(|()| Tally::default())
            }
        }
    }

    fn shown(&self) -> String {
        program::shown(&self.command())
    }

    /// The step as a command of its own.
    fn command(&self) -> Command {
        match self.what {
            What::Cargo(args) => workspace::cargo(args),
            What::Doc(args) => {
                let mut cargo = workspace::cargo(args);
                cargo.env("RUSTDOCFLAGS", "-D warnings");
                cargo
            }
            What::Chore(args) | What::Tests(args, _) => {
                let mut cargo = workspace::cargo(&["xtask"]);
                cargo.args(args).env(workspace::PROFILE.0, workspace::PROFILE.1);
                cargo
            }
        }
    }
}

/// Prints what each step took and how many tests it ran, and returns the sum of them.
fn summary(done: &[Done]) -> Tally {
    println!("\n{:<10} {:>8}  tests", "step", "time");
    let (mut took, mut total) = (Duration::ZERO, Tally::default());
    for step in done {
        let tests = if step.tally.is_empty() { String::new() } else { format!("  {}", step.tally) };
        println!("{:<10} {:>6.1} s{tests}", step.name, step.took.as_secs_f64());
        took += step.took;
        total += step.tally;
    }
    println!("{:<10} {:>6.1} s", "all", took.as_secs_f64());
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_chore_of_a_step_parses() {
        for step in STEPS {
            if let What::Chore(args) | What::Tests(args, _) = step.what {
                Cli::try_parse_from(["xtask"].iter().chain(args)).unwrap();
            }
        }
    }

    #[test]
    fn a_step_shows_what_one_types_to_repeat_it() {
        let step = Step { name: "doc", what: What::Doc(&["doc", "--no-deps"]) };
        assert_eq!(step.shown(), "RUSTDOCFLAGS='-D warnings' cargo doc --no-deps");
        let step = Step { name: "loom", what: What::Tests(&["loom"], loom::models) };
        assert_eq!(step.shown(), "XTASK_PROFILE=dev cargo xtask loom");
    }
}
