//! A load whose server is killed halfway and started again on its log.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::process::Process;
use super::subject::{self, Subject};
use super::{Args, NOT_WHOLE, read};
use crate::faults::clear;
use crate::proxies::proxy::free_address;
use crate::workspace;

/// What opening the streams takes, more or less, and the quiet behind it.
const RAMP: f64 = 1.5;
/// What the load generator may take beyond its time.
const END_WITHIN: Duration = Duration::from_secs(120);

/// Runs it; the report is not whole unless everything that was confirmed came to everyone.
pub fn run(args: &Args, kill_after: f64, dir: &Path) -> Result<Value> {
    let (data, report, log) = (dir.join("data"), dir.join("run-1.json"), dir.join("loadgen.log"));
    clear(&data)?;
    let address = free_address()?;
    let server = start(args, address, &data, dir)?;
    let url = format!("http://{address}/events/{{topic}}");
    // Its process is another one in the end, so it is not measured.
    let mut command = subject::loadgen(&Subject::running(&url, None, None));
    args.shape()?.pass_on(&mut command);
    command.arg("--json").arg(&report).args(&args.loadgen);
    let mut load = Process::start(&mut command, &log)?;
    let killed_at = Duration::from_secs_f64(RAMP + kill_after);
    if let Some(status) = load.ended_within(killed_at)? {
        bail!("the load generator ended before the server was killed, {status}:\n{}", load.log_end());
    }
    drop(server);
    println!("the server was killed, and is started again");
    let server = start(args, address, &data, dir)?;
    let status = load.wait(killed_at + END_WITHIN)?;
    print!("{}", fs::read_to_string(&log).context("reading what the load generator said")?);
    server.stop()?;
    ensure!(matches!(status.code(), Some(0 | NOT_WHOLE)), "the load generator failed, {status}");
    let report = read(&report)?;
    ensure!(report["delivery"]["comebacks"].as_u64() > Some(0), "the server was not killed during the load");
    Ok(report)
}

fn start(args: &Args, address: SocketAddr, data: &Path, dir: &Path) -> Result<Process> {
    let ready = dir.join("sse-server.ready");
    if ready.exists() {
        fs::remove_file(&ready).context("removing the last ready file")?;
    }
    let mut command = Command::new(workspace::built("sse-server"));
    command.args(["--listen", &address.to_string(), "--admin-listen", "127.0.0.1:0", "--ready-file"]).arg(&ready);
    command.arg("--data-dir").arg(data).args(&args.server_arg);
    let mut process = Process::start(&mut command, &dir.join("sse-server.log"))?;
    process.ready(&ready)?;
    Ok(process)
}
