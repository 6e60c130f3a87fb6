//! K5: settings that change while everything runs, among them some that are wrong.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::asking::Asking;
use super::bench::{Bench, expect, wait_for};
use super::finding::Findings;
use super::load::{Load, is_whole};
use super::server::Server;

/// Secrets, and a token of each that may publish everything.
const KEYS: [(&str, &str); 2] = [
    (
        "0f6c2b1d9e8a47536b7c8d9e0f1a2b3c",
        "eyJhbGciOiJIUzI1NiJ9.eyJtZXJjdXJlIjp7InB1Ymxpc2giOlsiKiJdfX0.o7bVUMFD--o3Dn0D43C1dpmMuFUEI43dmcxh73bYD7E",
    ),
    (
        "b3c4d5e6f708192a3b4c5d6e7f8091a2",
        "eyJhbGciOiJIUzI1NiJ9.eyJtZXJjdXJlIjp7InB1Ymxpc2giOlsiKiJdfX0.3EDjZj03xUybLnN1LHGWMgZwsrPdqUCkl0y84DXG_TY",
    ),
];
/// Faults of the bad file, one on each line but its first.
const BAD: &str = "\nretry = \"soon\"\nnonsense = 1\n";
const FAULTS: usize = 2;
const RELOAD_WITHIN: Duration = Duration::from_secs(5);

/// Under load a key changes again and again, and the file is bad in between: the key that counts is always the last good one,
/// every fault is named, and no stream ends or misses an event.
pub fn goes_well(bench: &Bench) -> Result<Findings> {
    let (count, seconds) = bench.pick(("1000", "12"), ("5000", "60"));
    let settings = Settings::new(bench)?;
    let config = format!("--config={}", settings.file.display());
    let server = Server::start(bench, &[&config, "--anonymous=on", "--open-publish=on", "--log-level=warn"])?;
    let load = ["--topics", "10", "--subscribers", count, "--rate", "500", "--settle", "0.2", "--seconds", seconds];
    let mut load = Load::start(bench, "load", &server, &load)?;
    let streams: usize = count.parse().context("counting streams")?;
    expect("the streams", Duration::from_secs(60), || Ok(server.streams()? == streams))?;

    let (mut rotations, mut taken, mut refused) = (0, 0, 0);
    while load.is_running() {
        rotations += 1;
        taken += usize::from(settings.rotate(&server, rotations)?);
        refused += usize::from(settings.spoil(&server, rotations)?);
    }
    let report = load.report(Duration::ZERO)?;
    let lines = server.log_lines()?;
    let named =
        |at: &str| lines.iter().filter(|line| line.contains("a fault in the settings") && line.contains(at)).count();
    let named = named("sse.toml:2: retry:") + named("sse.toml:3: nonsense:");
    let mut findings = Findings::default();
    findings.at_least("rotations of the key", rotations as f64, 5.0, "");
    findings.all("new keys that count within 5 s, and the old one no more", taken, rotations);
    findings.all("bad files that change nothing", refused, rotations);
    findings.at_least("faults named with their line", named as f64, (FAULTS * rotations) as f64, "");
    findings.is_so("every event on every stream", is_whole(&report));
    let rejected = server.metrics()?.sum("sse_evictions_total") as u64;
    findings.none("streams cut", rejected);
    server.stop()?;
    Ok(findings)
}

/// A configuration file and the key's that it names.
struct Settings {
    file: PathBuf,
    key: PathBuf,
    good: String,
}

impl Settings {
    fn new(bench: &Bench) -> Result<Self> {
        let dir = bench.file("settings");
        fs::create_dir_all(&dir).context("making a folder for the settings")?;
        let key = dir.join("key");
        let good = format!("publisher_jwt_key = \"@{}\"\n", key.display());
        let settings = Self { file: dir.join("sse.toml"), key, good };
        fs::write(&settings.key, KEYS[0].0)?;
        fs::write(&settings.file, &settings.good)?;
        Ok(settings)
    }

    /// Another key; whether it counts in time, and the one before does not.
    fn rotate(&self, server: &Server, rotation: usize) -> Result<bool> {
        let ((secret, token), (_, before)) = (KEYS[rotation % 2], KEYS[(rotation + 1) % 2]);
        fs::write(&self.key, secret)?;
        hang_up(server)?;
        let is_taken = wait_for(RELOAD_WITHIN, || is_good(server, token))?.is_some();
        Ok(is_taken && !is_good(server, before)?)
    }

    /// A bad file with another key; whether everything stays as it is. The good one is there afterwards.
    fn spoil(&self, server: &Server, rotation: usize) -> Result<bool> {
        let failed =
            || Ok::<_, anyhow::Error>(server.metrics()?.sum_where("sse_config_reloads_total", "result=\"failed\""));
        let before = failed()?;
        let (other, (_, token)) = (KEYS[(rotation + 1) % 2].0, KEYS[rotation % 2]);
        fs::write(&self.file, format!("publisher_jwt_key = \"{other}\"{BAD}"))?;
        hang_up(server)?;
        let is_refused = wait_for(RELOAD_WITHIN, || Ok(failed()? > before))?.is_some();
        let stays = is_good(server, token)?;
        fs::write(&self.file, &self.good)?;
        Ok(is_refused && stays)
    }
}

fn hang_up(server: &Server) -> Result<()> {
    let pid = i32::try_from(server.pid()).ok().and_then(Pid::from_raw).context("no process")?;
    kill_process(pid, Signal::HUP).context("sending SIGHUP")
}

/// Whether the token may publish.
fn is_good(server: &Server, token: &str) -> Result<bool> {
    let request = format!(
        "POST /events/rotation HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 1\r\n\r\nx"
    );
    let answer = Asking::connect(server.address())?.answer(request.as_bytes())?;
    Ok(answer.starts_with("HTTP/1.1 200 "))
}
