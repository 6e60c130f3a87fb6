//! Other servers beside this one: the same loads on the same machine in the same run, in turns, each delivery verified.

mod figures;
mod page;
mod peer;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::loadtest::{Folder, read, subject, write};
use crate::peers::figures::{Figures, Run};
use crate::peers::peer::Peer;
use crate::peers::table::Table;
use crate::{setup, workspace};

/// What the load generator exits with when something was lost, repeated, reordered or not published.
const NOT_WHOLE: i32 = 2;
/// Slow servers take a while to open ten thousand streams, or to get rid of what was published.
const LOADGEN_ARGS: [&str; 7] = ["--quiet", "--topics", "1", "--topic-prefix", "peers-", "--drain-timeout", "8"];

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these, by name; this server and the bare loop are always there
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// A Mercure hub to measure as well
    #[arg(long, value_name = "FILE")]
    mercure: Option<PathBuf>,
    /// A Centrifugo to measure as well
    #[arg(long, value_name = "FILE")]
    centrifugo: Option<PathBuf>,
    /// A server of durable streams to measure as well
    #[arg(long, value_name = "FILE")]
    durable_streams: Option<PathBuf>,
    /// How often everything is measured
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=50))]
    rounds: u32,
    /// Seconds of each load
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// A hundredth of the streams for a second: whether everything works, no figures to tell of
    #[arg(long)]
    brief: bool,
}

/// A load that everyone gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    pub name: &'static str,
    subscribers: u32,
    rate: u32,
    burst: u32,
    /// Seconds of quiet before the idle figures are taken.
    settle: u32,
}

/// The rates are what the slowest can take on two cores, and the same for all.
pub const LOADS: [Load; 3] = [
    Load { name: "1,000 subscribers, 50 events/s", subscribers: 1_000, rate: 50, burst: 1, settle: 1 },
    Load { name: "10,000 subscribers, 5 events/s", subscribers: 10_000, rate: 5, burst: 1, settle: 4 },
    Load { name: "1,000 subscribers, bursts of 25", subscribers: 1_000, rate: 50, burst: 25, settle: 1 },
];

pub fn run(args: Args) -> Result<()> {
    let args = args.found()?;
    let peers = args.peers()?;
    setup::run_for_peers()?;
    let folder = Folder::take("peers")?;
    let dir = folder.path();
    workspace::build(&[("sse-server", "sse-server"), ("sse-loadgen", "sse-loadgen")])?;
    workspace::build(&[("sse-benches", "bare_loop"), ("sse-benches", "axum_broadcast")])?;
    peers.iter().try_for_each(|peer| peer.build(dir))?;
    let mut figures = Figures::default();
    let all = args.rounds as usize * LOADS.len() * peers.len();
    for round in 0..args.rounds as usize {
        for (load_at, load) in LOADS.iter().enumerate() {
            for at in 0..peers.len() {
                // Who goes first changes from round to round, so that a machine that slows down favours nobody.
                let peer = &peers[(at + round) % peers.len()];
                let done = (round * LOADS.len() + load_at) * peers.len() + at + 1;
                println!("{done:>3} of {all}: {}, {} ..", peer.name(), load.name);
                let run = args.measure(peer, *load, dir);
                if let Err(error) = &run {
                    println!("           {error:#}");
                }
                figures.add(peer.name(), load_at, run);
            }
        }
    }
    tell(&args, &figures, dir)
}

/// Prints and keeps what came of it.
fn tell(args: &Args, figures: &Figures, dir: &Path) -> Result<()> {
    let table = Table::of(figures);
    println!("\n{table}");
    if args.brief {
        println!("\nIt was brief: what works is told, what the figures are is not.");
    }
    let report = dir.join("report.json");
    let sample = read(&dir.join("last.json"))?;
    let told = json!({"machine": sample["machine"], "rounds": args.rounds, "peers": figures.to_json(), "behind": table.behind()});
    write(&report, &told)?;
    let page = report.with_extension("html");
    let command: Vec<String> = std::env::args().skip(1).collect();
    let text = page::of(&table, args.rounds, &sample["machine"], &format!("cargo xtask {}", command.join(" ")));
    fs::write(&page, text).with_context(|| format!("writing {}", page.display()))?;
    println!("report: {} and {}", report.display(), page.display());
    ensure!(figures.is_whole(Peer::Server.name()), "this server did not deliver everything as it should");
    Ok(())
}

impl Args {
    /// The programs that were given, by paths that hold in any folder: each peer is started in one of its own.
    fn found(mut self) -> Result<Self> {
        for file in [&mut self.mercure, &mut self.centrifugo, &mut self.durable_streams].into_iter().flatten() {
            *file = fs::canonicalize(&*file).with_context(|| format!("finding {}", file.display()))?;
        }
        Ok(self)
    }

    fn peers(&self) -> Result<Vec<Peer>> {
        let mut peers = vec![Peer::Server, Peer::BareLoop, Peer::Nchan, Peer::Axum, Peer::Go];
        peers.extend(self.durable_streams.clone().map(Peer::DurableStreams));
        peers.extend(self.mercure.clone().map(Peer::Mercure));
        peers.extend(self.centrifugo.clone().map(Peer::Centrifugo));
        for name in &self.only {
            ensure!(
                peers.iter().any(|peer| peer.name() == name),
                "there is no peer {name}, or its binary was not given"
            );
        }
        peers.retain(|peer| {
            self.only.is_empty() || peer.is_reference() || self.only.iter().any(|name| name == peer.name())
        });
        Ok(peers)
    }

    /// One run: starts the peer, drives it, stops it.
    fn measure(&self, peer: &Peer, load: Load, dir: &Path) -> Result<Run> {
        let subject = peer.start(dir)?;
        let report = dir.join("last.json");
        let mut command = subject::loadgen(&subject);
        command.args(LOADGEN_ARGS).args(self.flags(load)).arg("--json").arg(&report);
        let status = command.status().context("running the load generator")?;
        // One that died tells more than what came of it.
        subject.stop()?;
        ensure!(matches!(status.code(), Some(0 | NOT_WHOLE)), "the load generator failed, {status}");
        let report: Value = read(&report)?;
        Run::of(&report).context("the report lacks figures")
    }

    fn flags(&self, load: Load) -> Vec<String> {
        let (part, seconds) = if self.brief { (100, 1.0) } else { (1, self.seconds) };
        let flags = [
            ("--subscribers", (load.subscribers / part).to_string()),
            ("--rate", load.rate.to_string()),
            ("--burst", load.burst.to_string()),
            ("--settle", if self.brief { 0.1 } else { f64::from(load.settle) }.to_string()),
            ("--seconds", seconds.to_string()),
        ];
        flags.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value]).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn names(args: &[&str]) -> Result<Vec<&'static str>> {
        let args = Cli::try_parse_from(["peers"].iter().chain(args))?.args;
        Ok(args.peers()?.iter().map(Peer::name).collect())
    }

    #[test]
    fn peers_are_chosen_by_name_and_binary() {
        assert_eq!(names(&[]).unwrap(), ["sse-server", "bare loop", "nchan", "axum", "go"]);
        assert_eq!(names(&["--only", "go"]).unwrap(), ["sse-server", "bare loop", "go"]);
        assert_eq!(names(&["--mercure", "m", "--only", "mercure"]).unwrap()[2..], ["mercure"]);
        assert!(names(&["--only", "mercure"]).is_err(), "its binary was not given");
        assert!(names(&["--rounds", "0"]).is_err());
    }
}
