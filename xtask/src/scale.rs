//! How many nodes it takes: a model of connections, events and the engine's work, from what was measured, and a simulation of
//! a lost node's clients as they come back. docs/scale.md has the table, and a test has it equal what comes out here.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};

use crate::workspace;

/// One machine for a node.
const CORES: f64 = 4.0;
const MEMORY_BYTES: f64 = 16.0 * GIB;
/// Of what it has, so much is for what the model counts: the rest is for peaks, for history, and for the kernel.
const SHARE: f64 = 0.5;

/// What was measured on the machine of docs/performance.md; each is there or in docs/scale.md.
const DELIVERY_US: f64 = 7.2;
const ENTRY_US: f64 = 50.0;
const ENGINE_ENTRY_US: f64 = 45.0;
const OPEN_US: f64 = 35.0;
const STREAM_BYTES: f64 = 10.0 * 1024.0;
/// An event as it goes to a stream, and as it leaves the engine.
const EVENT_BYTES: f64 = 265.0;
const ENTRY_BYTES: f64 = 330.0;

/// `retry:` and its jitter: when the clients of a lost node come.
const RETRY_SECONDS: (f64, f64) = (2.25, 3.75);
const GIB: f64 = 1_073_741_824.0;
const BEGIN: &str = "<!-- begin: cargo xtask scale -->\n";
const END: &str = "<!-- end -->\n";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Put the table into docs/scale.md
    #[arg(long)]
    write: bool,
}

/// What is asked of a cluster.
#[derive(Debug, Clone, Copy)]
struct Demand {
    connections: f64,
    /// Events published each second, on all nodes together.
    events: f64,
    /// Streams that get each of them.
    followers: f64,
}

const DEMANDS: &[Demand] = &[
    Demand { connections: 10e3, events: 100.0, followers: 100.0 },
    Demand { connections: 100e3, events: 500.0, followers: 200.0 },
    Demand { connections: 100e3, events: 5.0, followers: 100e3 },
    Demand { connections: 1e6, events: 500.0, followers: 1_000.0 },
    Demand { connections: 1e6, events: 1.0, followers: 1e6 },
    Demand { connections: 1e6, events: 5_000.0, followers: 200.0 },
    Demand { connections: 5e6, events: 200.0, followers: 5_000.0 },
    Demand { connections: 5e6, events: 0.1, followers: 5e6 },
];

/// What it takes.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Plan {
    nodes: f64,
    /// Of each node's cores, once one of them is lost.
    cpu: f64,
    memory_gib: f64,
    out_mbit: f64,
    /// Of the engine's one thread.
    engine_cpu: f64,
    engine_out_mbit: f64,
}

/// Nodes enough for what is asked, with one of them away.
fn plan(demand: Demand) -> Plan {
    let deliveries = demand.events * demand.followers;
    // Every node reads every entry, so that part of its work does not shrink with more of them.
    let budget_us = CORES * SHARE * 1e6 - demand.events * ENTRY_US;
    let by_cpu = deliveries * DELIVERY_US / budget_us.max(1.0);
    let by_memory = demand.connections * STREAM_BYTES / (MEMORY_BYTES * SHARE);
    let nodes = by_cpu.max(by_memory).ceil().max(1.0) + 1.0;
    let left = nodes - 1.0;
    Plan {
        nodes,
        cpu: (deliveries / left * DELIVERY_US + demand.events * ENTRY_US) / (CORES * 1e6),
        memory_gib: demand.connections / left * STREAM_BYTES / GIB,
        out_mbit: deliveries / left * EVENT_BYTES * 8.0 / 1e6,
        engine_cpu: demand.events * nodes * ENGINE_ENTRY_US / 1e6,
        engine_out_mbit: demand.events * nodes * ENTRY_BYTES * 8.0 / 1e6,
    }
}

/// What becomes of a lost node's clients.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Return {
    /// After so long all have a stream again.
    seconds: f64,
    /// So many waited at one node at most.
    waiting: usize,
}

/// Clients of the lost node come to the others, each at a moment of its own, and each node opens one after another, with
/// what deliveries leave it of its cores.
fn simulate(demand: Demand, plan: Plan) -> Return {
    let left = (plan.nodes - 1.0) as usize;
    let clients = (demand.connections / plan.nodes) as usize;
    let open_seconds = OPEN_US / 1e6 / (CORES * (1.0 - plan.cpu)).max(0.01);
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut draw = || {
        // xorshift, from the same seed always: the table is the same wherever it is made.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut arrivals: Vec<Vec<f64>> = vec![Vec::new(); left];
    for _ in 0..clients {
        let node = ((draw() * left as f64) as usize).min(left - 1);
        arrivals[node].push(RETRY_SECONDS.0 + draw() * (RETRY_SECONDS.1 - RETRY_SECONDS.0));
    }
    let mut all = Return { seconds: 0.0, waiting: 0 };
    for mut at in arrivals {
        at.sort_by(f64::total_cmp);
        let mut done: Vec<f64> = Vec::with_capacity(at.len());
        let mut served = 0;
        for (index, arrival) in at.iter().enumerate() {
            let free = done.last().copied().unwrap_or(0.0);
            done.push(free.max(*arrival) + open_seconds);
            while done[served] <= *arrival {
                served += 1;
            }
            all.waiting = all.waiting.max(index + 1 - served);
        }
        all.seconds = all.seconds.max(done.last().copied().unwrap_or(0.0));
    }
    all
}

/// The table as the page has it.
fn table() -> String {
    let mut table = String::from(
        "| connections | events/s, streams of each | nodes | cores used of 4 | memory of streams | out of a node | engine's thread | out of the engine | a lost node's clients back |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for demand in DEMANDS {
        let plan = plan(*demand);
        let back = simulate(*demand, plan);
        let engine = if plan.engine_cpu > 1.0 { "more than it has" } else { "" };
        let engine = if engine.is_empty() { format!("{:.0} %", plan.engine_cpu * 100.0) } else { engine.to_owned() };
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| {} | {}, {} | {} | {:.1} | {:.1} GiB | {:.0} Mbit/s | {engine} | {:.1} Mbit/s | {:.1} s, {} waiting |",
            short(demand.connections),
            short(demand.events),
            short(demand.followers),
            plan.nodes,
            plan.cpu * CORES,
            plan.memory_gib,
            plan.out_mbit,
            plan.engine_out_mbit,
            back.seconds,
            back.waiting,
        );
    }
    table
}

/// A number as people write it.
fn short(number: f64) -> String {
    match number {
        number if number >= 1e6 => format!("{} million", number / 1e6),
        number if number >= 1e3 => format!("{},{:03}", (number / 1e3) as u64, number as u64 % 1_000),
        number => format!("{number}"),
    }
}

pub fn run(args: Args) -> Result<()> {
    print!("{}", table());
    if !args.write {
        return Ok(());
    }
    let path = workspace::root().join("docs/scale.md");
    let page = std::fs::read_to_string(&path).context("reading docs/scale.md")?;
    let (head, rest) = page.split_once(BEGIN).context("docs/scale.md has no place for the table")?;
    let (_, tail) = rest.split_once(END).context("docs/scale.md has no end of the table")?;
    std::fs::write(&path, format!("{head}{BEGIN}\n{}\n{END}{tail}", table())).context("writing docs/scale.md")?;
    ensure!(shown()? == table(), "the table did not come out as it went in");
    Ok(())
}

/// The table that the page has.
fn shown() -> Result<String> {
    let page = std::fs::read_to_string(workspace::root().join("docs/scale.md")).context("reading docs/scale.md")?;
    let (_, rest) = page.split_once(BEGIN).context("docs/scale.md has no place for the table")?;
    let (table, _) = rest.split_once(END).context("docs/scale.md has no end of the table")?;
    Ok(table.trim_start_matches('\n').trim_end_matches('\n').to_owned() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cargo xtask scale --write` mends it.
    #[test]
    fn the_page_has_what_the_model_gives() {
        assert_eq!(shown().unwrap(), table());
    }

    #[test]
    fn one_node_may_always_go() {
        for demand in DEMANDS {
            let plan = plan(*demand);
            assert!(plan.nodes >= 2.0 && plan.cpu <= SHARE + 1e-9, "{demand:?}: {plan:?}");
            assert!(plan.memory_gib * GIB <= MEMORY_BYTES * SHARE + 1.0, "{demand:?}: {plan:?}");
        }
    }

    #[test]
    fn who_comes_back_waits_for_those_before() {
        let demand = Demand { connections: 200e3, events: 0.0, followers: 0.0 };
        let plan = Plan { nodes: 2.0, ..plan(demand) };
        let back = simulate(demand, plan);
        // 100,000 within a second and a half, at 35 us on four cores: faster than they come, and hardly anybody waits.
        assert!(back.seconds < RETRY_SECONDS.1 + 0.1 && back.waiting < 100, "{back:?}");
        let busy = simulate(demand, Plan { cpu: 0.75, ..plan });
        assert!(busy.seconds > 5.7 && busy.waiting > 10_000, "{busy:?}");
    }
}
