//! Injects faults into the release server and judges what becomes of it: one row per fault, each with its gate.
//!
//! Every row starts servers of its own, bounds its load, and ends by itself. docs/faults.md has the rows and what was
//! measured.

pub mod answer;
pub mod asking;
pub mod bench;
mod big_log;
mod calls;
mod crafted;
pub mod crash;
pub mod crowd;
mod dead;
mod disk_errors;
mod disk_full;
mod disk_image;
mod draining;
mod evicted;
pub mod finding;
mod foreign;
mod full;
mod handshakes;
mod held;
mod hello;
mod herd;
mod history;
mod hot;
mod joining;
pub mod junk;
pub mod load;
pub mod metrics;
mod mount;
mod namespace;
mod power;
pub mod press;
mod profiled;
pub mod publisher;
mod publishing;
pub mod rank;
mod refusals;
mod reloading;
pub mod replaying;
mod replays;
mod resume;
mod samples;
mod scrapers;
pub mod server;
mod silent;
mod slow_disk;
mod slow_switch;
mod sockets;
pub mod spoiled;
mod stalled;
mod stopped;
mod storm;
mod switch_kills;
mod tiny;
mod tokens;
mod topics;
mod tracer;
mod unheard;
mod unscraped;
mod upgrades;
pub mod usage;
mod waiting;
mod wall_clock;
mod watch;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::loadtest::{Folder, write};
use crate::workspace;
use bench::Bench;
pub use crash::clear;
use finding::Findings;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rows by name; all of them when none is given
    rows: Vec<String>,
    /// The full gates: more streams, for longer
    #[arg(long)]
    long: bool,
    /// So many kills, answers or resumes in the rows that count them
    #[arg(long)]
    count: Option<usize>,
    /// End the rows that count after so long each, and judge what was done by then
    #[arg(long)]
    minutes: Option<f64>,
    /// What random rows begin with, as they print it; another one every time when none is given
    #[arg(long)]
    seed: Option<u64>,
    /// A flag for the server that wins over the row's own, as in --server-arg=--retry-jitter=0 (repeatable)
    #[arg(long, allow_hyphen_values = true)]
    server_arg: Vec<String>,
    /// Show that rows can fail: run those that a setting must break, with that setting
    #[arg(long, conflicts_with_all = ["server_arg", "long"])]
    prove: bool,
    /// Name the rows, and run none
    #[arg(long)]
    list: bool,
}

/// One fault and how to judge what it does.
#[derive(Debug)]
struct Row {
    name: &'static str,
    fault: &'static str,
    run: fn(&Bench) -> Result<Findings>,
    /// Settings with which a server must not pass, if there are any.
    broken_by: &'static [&'static str],
}

#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { name: "A1", fault: "kill -9 while events are published", run: crash::under_load, broken_by: &["--durability=memory"] },
    Row { name: "A2", fault: "a loss of power", run: power::is_lost, broken_by: &["--durability=interval", "--sync-interval=1m"] },
    Row { name: "A3", fault: "answers and the syncs they stand for", run: power::answers_follow_syncs, broken_by: &["--durability=interval"] },
    Row { name: "A4", fault: "a sync of the log fails", run: disk_errors::syncs_fail, broken_by: &[] },
    Row { name: "A5", fault: "the log's disk is full", run: disk_full::fills_up, broken_by: &["--durability=memory"] },
    Row { name: "A8", fault: "a data directory that is no log's", run: foreign::is_refused, broken_by: &[] },
    Row { name: "A9", fault: "a second server on a data directory", run: foreign::is_in_use, broken_by: &[] },
    Row { name: "A10", fault: "a data directory that is read-only, or goes", run: disk_errors::directory_goes, broken_by: &[] },
    Row { name: "A11", fault: "syncs of 500 ms", run: slow_disk::takes_its_time, broken_by: &[] },
    Row { name: "A12", fault: "kill -9 during retention and checkpoints", run: crash::while_it_tends, broken_by: &["--durability=memory"] },
    Row { name: "A13", fault: "a restart with very many events", run: big_log::restarts, broken_by: &[] },
    Row { name: "group", fault: "64 publishers and syncs of 5 ms", run: slow_disk::commits_are_shared, broken_by: &[] },
    Row { name: "C1", fault: "a tenth of the readers is stopped", run: stopped::a_tenth_stops, broken_by: &["--lag-grace=1h", "--write-timeout=1h"] },
    Row { name: "C2", fault: "readers that take nothing", run: stalled::takes_nothing, broken_by: &["--write-timeout=1h"] },
    Row { name: "C3", fault: "readers that take one byte per second", run: stalled::trickles, broken_by: &["--lag-grace=1h", "--write-timeout=1h"] },
    Row { name: "C4", fault: "peers that vanish", run: dead::vanishes, broken_by: &[] },
    Row { name: "C5", fault: "a dead browser behind a proxy that lives", run: dead::dies_behind_a_proxy, broken_by: &["--connection-age-max=off"] },
    Row { name: "C7", fault: "a storm of resets", run: storm::resets, broken_by: &["--log-level=trace"] },
    Row { name: "C8", fault: "streams that come and go", run: storm::memory_comes_back, broken_by: &[] },
    Row { name: "C9", fault: "memory pinned by stalled readers", run: stalled::pins_memory, broken_by: &[] },
    Row { name: "C11", fault: "an evicted reader comes back", run: evicted::comes_back, broken_by: &["--lag-frames-max=100000"] },
    Row { name: "C12", fault: "a hot topic beside a cold one", run: hot::leaves_others_alone, broken_by: &[] },
    Row { name: "D1", fault: "2,000 sockets that say nothing", run: waiting::says_nothing, broken_by: &["--connections-max=1000"] },
    Row { name: "D2", fault: "heads that come a byte every three seconds", run: waiting::sends_a_head_slowly, broken_by: &["--connections-max=500"] },
    Row { name: "D3", fault: "1,000 connections that are kept for nothing", run: waiting::idles, broken_by: &["--connections-max=500"] },
    Row { name: "D8", fault: "random bytes and spoiled requests", run: junk::is_survived, broken_by: &[] },
    Row { name: "E7", fault: "small events to slow clients of HTTP/2", run: tiny::is_read_slowly, broken_by: &[] },
    Row { name: "F1", fault: "2,000 handshakes that stall", run: waiting::stalls_a_handshake, broken_by: &["--connections-max=1000"] },
    Row { name: "F2", fault: "500 junk handshakes per second", run: handshakes::flood, broken_by: &[] },
    Row { name: "G1", fault: "no descriptors left", run: full::no_descriptors, broken_by: &[] },
    Row { name: "G2", fault: "more connections than the bound", run: full::no_room, broken_by: &["--connections-max=10000"] },
    Row { name: "G5", fault: "topics that are used once", run: topics::come_and_go, broken_by: &["--ring-age-max=1h"] },
    Row { name: "G8", fault: "large events to many topics", run: topics::large_events, broken_by: &["--rings-bytes-max=1GiB"] },
    Row { name: "G11", fault: "topic names made to collide", run: crafted::hash_flooding, broken_by: &[] },
    Row { name: "G12", fault: "5,000 connects at once", run: herd::all_connect, broken_by: &["--connections-max=1000"] },
    Row { name: "G13", fault: "all come back after a crash", run: herd::all_come_back, broken_by: &["--retry-jitter=0"] },
    Row { name: "G14", fault: "10,000 streams leave", run: herd::all_leave, broken_by: &[] },
    Row { name: "H4", fault: "tokens refused for different reasons", run: refusals::tell_nothing_by_time, broken_by: &[] },
    Row { name: "H10", fault: "1,000 bad tokens a second", run: tokens::flood, broken_by: &[] },
    Row { name: "B1", fault: "ids from before a crash", run: resume::after_a_restart, broken_by: &[] },
    Row { name: "B2", fault: "the wall clock jumps back", run: wall_clock::goes_back, broken_by: &[] },
    Row { name: "B3", fault: "the wall clock jumps forward, and back", run: wall_clock::goes_forward, broken_by: &[] },
    Row { name: "B6", fault: "resumes from the log while it is written", run: replays::meet_live_events, broken_by: &[] },
    Row { name: "B7", fault: "very many replay at once", run: replays::storm, broken_by: &[] },
    Row { name: "B11", fault: "retention passes a slow reader", run: replays::outrun, broken_by: &["--retain-events=1000000"] },
    Row { name: "B4", fault: "ids older than what is kept", run: resume::older_than_kept, broken_by: &["--ring-frames-max=50"] },
    Row { name: "K1", fault: "a drain with very many streams", run: draining::ends_streams_evenly, broken_by: &["--drain-window=1s"] },
    Row { name: "K2", fault: "a drain while events are published", run: draining::answers_publishers, broken_by: &[] },
    Row { name: "K4", fault: "upgrades in a row, under load", run: upgrades::in_a_row, broken_by: &[] },
    Row { name: "upgrade", fault: "either process is killed during an upgrade", run: switch_kills::anywhere, broken_by: &[] },
    Row { name: "K5", fault: "settings that change under load, good ones and bad ones", run: reloading::goes_well, broken_by: &[] },
    Row { name: "L1", fault: "very many topics, and strangers' words", run: scrapers::series_are_bounded, broken_by: &[] },
    Row { name: "L2", fault: "nobody asks for metrics", run: unscraped::memory_is_flat, broken_by: &[] },
    Row { name: "L3", fault: "50 scrapers that do not read", run: scrapers::slow_scrapers, broken_by: &[] },
    Row { name: "L6", fault: "nobody reads the log", run: unheard::is_no_ones_trouble, broken_by: &["--log-level=error"] },
    Row { name: "profile", fault: "a profile is taken while events go out", run: profiled::shows_the_fan_out, broken_by: &[] },
    Row { name: "heap", fault: "who holds the memory of 10,000 streams", run: held::by_streams, broken_by: &[] },
    Row { name: "burst", fault: "5,000 events at once", run: hot::bursts, broken_by: &["--ring-frames-max=1000"] },
    Row { name: "full19k", fault: "19,000 streams in one process", run: full::very_many, broken_by: &["--connections-max=10000"] },
    Row { name: "presence", fault: "joining among 10,000 whose coming and going is announced", run: joining::costs_the_same_among_many, broken_by: &[] },
    Row { name: "selectors", fault: "20,000 selectors are followed", run: joining::selectors_cost_no_publish, broken_by: &[] },
    Row { name: "churn", fault: "1,000 connects and leaves per second", run: storm::churns, broken_by: &[] },
];

pub fn run(args: Args) -> Result<()> {
    let rows = chosen(&args)?;
    if args.list {
        rows.iter().for_each(|row| println!("{:<8} {}", row.name, row.fault));
        return Ok(());
    }
    workspace::build(&[("sse-server", "sse-server"), ("sse-loadgen", "sse-loadgen")])?;
    raise_descriptor_limit()?;
    let folder = Folder::take("faults")?;
    let mut judged = Vec::new();
    for row in rows {
        println!("{}: {} ..", row.name, row.fault);
        let findings = row.measure(&args, folder.path())?;
        findings.print(row.name);
        judged.push((row, findings));
    }
    Findings::print_heading("row");
    judged.iter().for_each(|(row, findings)| findings.print(row.name));
    write(&folder.path().join("report.json"), &report(&judged))?;
    println!("evidence: {}", folder.path().display());
    let held = judged.iter().filter(|(_, findings)| findings.hold()).count();
    if args.prove {
        ensure!(held == 0, "{held} rows hold although a setting should break them");
    } else {
        ensure!(held == judged.len(), "{} of {} rows do not hold", judged.len() - held, judged.len());
    }
    Ok(())
}

/// All rows in one, each with what was measured; the evidence of a row beside it has the rest.
fn report(judged: &[(&Row, Findings)]) -> Value {
    let row = |(row, findings): &(&Row, Findings)| {
        let mut found = findings.to_json();
        found["row"] = json!(row.name);
        found["fault"] = json!(row.fault);
        found
    };
    let held = judged.iter().filter(|(_, findings)| findings.hold()).count();
    json!({"rows": judged.iter().map(row).collect::<Value>(), "held": held, "of": judged.len()})
}

fn chosen(args: &Args) -> Result<Vec<&'static Row>> {
    let named = |name: &String| match ROWS.iter().find(|row| row.name.eq_ignore_ascii_case(name)) {
        Some(row) => Ok(row),
        None => bail!("there is no row {name}; see --list"),
    };
    let rows: Vec<&Row> = if args.rows.is_empty() {
        ROWS.iter().collect()
    } else {
        args.rows.iter().map(named).collect::<Result<_>>()?
    };
    Ok(if args.prove { rows.into_iter().filter(|row| !row.broken_by.is_empty()).collect() } else { rows })
}

/// Streams are descriptors here as well as in the server.
pub fn raise_descriptor_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).context("raising the limit of open files")
}

impl Row {
    /// Runs the row and keeps its evidence. A row that breaks off does not hold.
    fn measure(&self, args: &Args, dir: &Path) -> Result<Findings> {
        let broken_by: Vec<String> = self.broken_by.iter().map(|flag| (*flag).to_owned()).collect();
        let server_args = if args.prove { &broken_by } else { &args.server_arg };
        let started = Instant::now();
        let time = args.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
        let bench = Bench::new(self.name, dir, args.long, server_args).bounded(args.count, time).seeded(args.seed);
        let findings = Findings::of(|findings| (self.run)(&bench).map(|found| *findings = found));
        let mut evidence = findings.to_json();
        evidence["row"] = json!(self.name);
        evidence["fault"] = json!(self.fault);
        evidence["form"] = json!(if args.long { "long" } else { "short" });
        evidence["server_args"] = json!(server_args);
        evidence["seconds"] = json!(started.elapsed().as_secs_f64());
        write(&dir.join(format!("{}.json", self.name)), &evidence)?;
        Ok(findings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    #[test]
    fn every_row_has_a_name_of_its_own() {
        let mut names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ROWS.len());
    }

    /// docs/faults.md names every row, and no row or test that there is not.
    #[test]
    fn the_document_names_what_there_is() {
        let root = workspace::root();
        let document = std::fs::read_to_string(root.join("docs/faults.md")).unwrap();
        let named: Vec<&str> = document.split('`').skip(1).step_by(2).collect();
        for row in ROWS {
            assert!(named.contains(&format!("faults {}", row.name).as_str()), "{} is not in the document", row.name);
        }
        let suites = [
            ("it", "sse-server/tests/it"),
            ("hub", "sse-hub/tests/it"),
            ("disk", "sse-hub/tests/disk"),
            ("commands", "sse-server/tests/commands"),
        ];
        for (suite, dir) in suites {
            let tests = named.iter().filter_map(|named| named.strip_prefix(suite)?.trim().split_once("::"));
            for (module, test) in tests.filter(|(_, test)| *test != "..") {
                let source = root.join("crates").join(dir).join(format!("{module}.rs"));
                let source = std::fs::read_to_string(&source).unwrap_or_else(|error| panic!("{module}: {error}"));
                assert!(source.contains(&format!("fn {test}(")), "there is no {module}::{test}");
            }
        }
        let rows = named.iter().filter_map(|named| named.strip_prefix("faults ")).filter(|row| !row.starts_with('-'));
        for row in rows {
            assert!(ROWS.iter().any(|known| known.name == row), "there is no row {row}");
        }
    }

    #[test]
    fn the_report_says_how_many_hold() {
        let mut good = Findings::default();
        good.none("lost", 0);
        let report = report(&[(&ROWS[0], good), (&ROWS[1], Findings::default())]);
        assert_eq!((&report["held"], &report["of"]), (&json!(1), &json!(2)));
        assert_eq!((&report["rows"][0]["row"], &report["rows"][1]["holds"]), (&json!(ROWS[0].name), &json!(false)));
    }

    #[test]
    fn rows_are_chosen_by_name() {
        let args = |rows: &[&str], prove| Args {
            count: None,
            minutes: None,
            seed: None,
            rows: rows.iter().map(|row| (*row).to_owned()).collect(),
            long: false,
            server_arg: Vec::new(),
            prove,
            list: false,
        };
        let names = |args| chosen(&args).unwrap().iter().map(|row| row.name).collect::<Vec<_>>();
        assert_eq!(names(args(&["g2", "C2"], false)), ["G2", "C2"]);
        assert_eq!(names(args(&[], false)).len(), ROWS.len());
        assert_eq!(names(args(&["B1", "G13"], true)), ["G13"], "B1 has no setting that breaks it");
        assert!(chosen(&args(&["C99"], false)).unwrap_err().to_string().contains("C99"));
    }
}
