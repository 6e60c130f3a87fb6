//! Has several servers share an engine, breaks what can break, and judges every stream: one row per fault, each with its
//! gate.
//!
//! Every row starts an engine and nodes of its own, bounds its load, and ends by itself. docs/faults.md has what was
//! measured.

mod cost;
pub mod crowds;
mod engine;
mod engine_killed;
mod engine_lost;
mod engine_refuses;
mod nats;
mod nodes;
mod partition;
mod poison;
mod publishing;
mod spread;
mod stage;
mod streams;
mod verdict;

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, bail, ensure};
use serde_json::json;

use crate::faults::bench::Bench;
use crate::faults::finding::Findings;
use crate::faults::raise_descriptor_limit;
use crate::loadtest::{Folder, write};
use crate::workspace;
use engine::Kind;
use stage::Stage;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rows by name; all of them when none is given
    rows: Vec<String>,
    /// What orders and keeps the events
    #[arg(long, value_enum, default_value_t = Engines::Redis)]
    engine: Engines,
    /// Servers that share it
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(2..=8))]
    nodes: u16,
    /// The full gates: more cycles, for longer
    #[arg(long)]
    long: bool,
    /// A flag for the servers that wins over the row's own (repeatable)
    #[arg(long, allow_hyphen_values = true)]
    server_arg: Vec<String>,
    /// Name the rows, and run none
    #[arg(long)]
    list: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Engines {
    Redis,
    Nats,
    Both,
}

impl Engines {
    fn kinds(self) -> &'static [Kind] {
        match self {
            Self::Redis => &[Kind::Redis],
            Self::Nats => &[Kind::Nats],
            Self::Both => &[Kind::Redis, Kind::Nats],
        }
    }
}

/// One fault and how to judge what it does.
#[derive(Debug)]
struct Row {
    name: &'static str,
    fault: &'static str,
    run: fn(&Stage) -> Result<Findings>,
    /// Engines that have this fault.
    of: &'static [Kind],
}

const ANY: &[Kind] = &[Kind::Redis, Kind::Nats];
const REDIS: &[Kind] = &[Kind::Redis];
const NATS: &[Kind] = &[Kind::Nats];

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "spread", fault: "6,000 streams over 1,000 topics on all nodes", run: spread::in_peace, of: ANY },
    Row { name: "moving", fault: "a node is killed every five seconds", run: spread::nodes_are_killed, of: ANY },
    Row { name: "J1", fault: "the engine is killed and restarted, syncing always", run: engine_killed::syncing_always, of: ANY },
    Row { name: "J1-second", fault: "the same, syncing every second", run: engine_killed::syncing_every_second, of: REDIS },
    Row { name: "J2", fault: "the engine is emptied", run: engine_lost::emptied, of: REDIS },
    Row { name: "J2-replica", fault: "an engine that has nothing takes its place", run: engine_lost::replaced, of: ANY },
    Row { name: "J3", fault: "the engine drops what a stopped node has not read", run: engine_lost::trimmed, of: ANY },
    Row { name: "J4", fault: "the engine hangs", run: engine_refuses::hung, of: ANY },
    Row { name: "J5", fault: "the engine answers OOM, MISCONF, READONLY, NOAUTH", run: engine_refuses::refusing, of: REDIS },
    Row { name: "J7", fault: "the engine's stream is deleted", run: engine_lost::deleted, of: NATS },
    Row { name: "J10", fault: "nodes cannot reach the engine, both ways and one way", run: partition::cut_off, of: ANY },
    Row { name: "J12", fault: "the engine comes and goes every second", run: engine_killed::flapping, of: ANY },
    Row { name: "poison", fault: "entries that somebody else writes", run: poison::is_dropped, of: ANY },
    Row { name: "cost", fault: "a node beside a server without an engine", run: cost::of_the_backplane, of: ANY },
    Row { name: "crowds", fault: "one event for the streams of five nodes", run: crowds::are_reached, of: ANY },
];

pub fn run(args: Args) -> Result<()> {
    let rows = chosen(&args)?;
    if args.list {
        rows.iter().for_each(|row| println!("{:<10} {}", row.name, row.fault));
        return Ok(());
    }
    workspace::build(&[("sse-server", "sse-server"), ("sse-loadgen", "sse-loadgen")])?;
    raise_descriptor_limit()?;
    let folder = Folder::take("cluster")?;
    let mut judged = Vec::new();
    for kind in args.engine.kinds() {
        for row in rows.iter().filter(|row| row.of.contains(kind)) {
            println!("{} {}: {} ..", kind.name(), row.name, row.fault);
            let findings = row.measure(*kind, &args, folder.path())?;
            findings.print(&format!("{} {}", kind.name(), row.name));
            judged.push((*kind, row, findings));
        }
    }
    Findings::print_heading("row");
    judged.iter().for_each(|(kind, row, findings)| findings.print(&format!("{} {}", kind.name(), row.name)));
    println!("evidence: {}", folder.path().display());
    let held = judged.iter().filter(|(.., findings)| findings.hold()).count();
    ensure!(held == judged.len(), "{} of {} rows do not hold", judged.len() - held, judged.len());
    Ok(())
}

fn chosen(args: &Args) -> Result<Vec<&'static Row>> {
    let named = |name: &String| match ROWS.iter().find(|row| row.name.eq_ignore_ascii_case(name)) {
        Some(row) => Ok(row),
        None => bail!("there is no row {name}; see --list"),
    };
    match args.rows.as_slice() {
        [] => Ok(ROWS.iter().collect()),
        names => names.iter().map(named).collect(),
    }
}

impl Row {
    /// Runs the row and keeps its evidence. A row that breaks off does not hold.
    fn measure(&self, kind: Kind, args: &Args, dir: &Path) -> Result<Findings> {
        let started = Instant::now();
        let bench = Bench::new(self.name, dir, args.long, &args.server_arg);
        let stage = Stage { bench, kind, node_count: usize::from(args.nodes) };
        let findings = Findings::of(|findings| (self.run)(&stage).map(|found| *findings = found));
        let mut evidence = findings.to_json();
        evidence["row"] = json!(self.name);
        evidence["fault"] = json!(self.fault);
        evidence["engine"] = json!(kind.name());
        evidence["nodes"] = json!(args.nodes);
        evidence["form"] = json!(if args.long { "long" } else { "short" });
        evidence["seconds"] = json!(started.elapsed().as_secs_f64());
        write(&dir.join(format!("{}-{}.json", kind.name(), self.name)), &evidence)?;
        Ok(findings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let mut names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
    }

    /// docs/faults.md names every row, and no row that there is not.
    #[test]
    fn the_document_names_what_there_is() {
        let document = std::fs::read_to_string(crate::workspace::root().join("docs/faults.md")).unwrap();
        let named: Vec<&str> = document.split('`').skip(1).step_by(2).collect();
        for row in ROWS {
            assert!(named.contains(&format!("cluster {}", row.name).as_str()), "{} is not in the document", row.name);
        }
        let rows = named.iter().filter_map(|named| named.strip_prefix("cluster ")).filter(|row| !row.starts_with('-'));
        for row in rows {
            assert!(ROWS.iter().any(|known| known.name == row), "there is no row {row}");
        }
    }
}
