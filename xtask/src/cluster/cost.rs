//! What the backplane costs: a node with it, and the same server without, in turns.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::nodes::expect_ready;
use super::stage::Stage;
use crate::faults::finding::{Findings, median};
use crate::faults::load::{Load, is_whole};
use crate::faults::server::Server;

/// One topic, a thousand subscribers, events now and then.
const LOAD: [&str; 8] = ["--subscribers", "1000", "--topics", "1", "--rate", "50", "--settle", "0.5"];
const MORE_MS_MAX: f64 = 2.0;
const CPU_RATIO_MAX: f64 = 1.15;

#[derive(Debug, Clone, Copy)]
struct Measured {
    /// From publishing to a subscriber.
    median_ms: f64,
    cpu_us_per_delivery: f64,
    is_whole: bool,
}

pub fn of_the_backplane(stage: &Stage) -> Result<Findings> {
    let engine = stage.engine(&[])?;
    let mut pairs = Vec::new();
    for _ in 0..stage.bench.pick(3, 9) {
        pairs.push((measure(stage, &[])?, measure(stage, &[&engine.url()])?));
    }
    let mut findings = Findings::default();
    let whole = pairs.iter().filter(|(without, with)| without.is_whole && with.is_whole).count();
    findings.all("pairs in which every stream got everything", whole, pairs.len());
    let more = median(pairs.iter().map(|(without, with)| with.median_ms - without.median_ms));
    findings.at_most("median delivery, more", more, MORE_MS_MAX, "ms");
    let ratio = median(pairs.iter().map(|(without, with)| with.cpu_us_per_delivery / without.cpu_us_per_delivery));
    findings.at_most("the server's CPU per delivery", ratio, CPU_RATIO_MAX, "x");
    let of = |one: &Measured| json!({"median_ms": one.median_ms, "cpu_us_per_delivery": one.cpu_us_per_delivery});
    let shown = pairs.iter().map(|(without, with)| json!({"without": of(without), "with": of(with)}));
    findings.note("pairs", shown.collect::<Value>());
    Ok(findings)
}

fn measure(stage: &Stage, args: &[&str]) -> Result<Measured> {
    let seconds = stage.bench.pick("4", "10");
    let server = Server::start_ahead(&stage.bench, &[&["--log-level=warn"], args].concat())?;
    expect_ready(&server)?;
    let report = Load::run(&stage.bench, "load", &server, &[&LOAD[..], &["--seconds", seconds]].concat())?;
    server.stop()?;
    let figure = |value: &Value| value.as_f64().context("the report lacks a figure");
    Ok(Measured {
        median_ms: figure(&report["delivery"]["latency"]["p50_ms"])?,
        cpu_us_per_delivery: figure(&report["server"]["cpu_us_per_delivery"])?,
        is_whole: is_whole(&report),
    })
}
