//! The simulation of the hub over a log: seeds by the hundred in `cargo test`, by the thousand here.

use anyhow::Result;

use crate::{program, workspace};

/// Seeds of the long form.
const LONG: u64 = 10_000;
/// Seeds when nothing else is said.
const SHORT: u64 = 1000;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this seed, and tell all that happens
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "long"])]
    seed: Option<u64>,
    /// So many seeds, from 0 on; 1,000 when nothing else is said
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// 10,000 seeds
    #[arg(long, conflicts_with = "seeds")]
    long: bool,
}

/// Plays them, up to the first that fails: its number is told.
pub fn run(args: Args) -> Result<()> {
    let test = ["test", "--package", "sse-hub", "--test", "sim", "--release", "nothing_is_lost", "--", "--nocapture"];
    let mut cargo = workspace::cargo(&test);
    match args.seed {
        Some(seed) => cargo.env("SIM_SEED", seed.to_string()),
        None => cargo.env("SIM_SEEDS", args.seeds.unwrap_or(if args.long { LONG } else { SHORT }).to_string()),
    };
    program::run(&mut cargo)
}
