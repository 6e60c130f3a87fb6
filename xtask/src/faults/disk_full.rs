//! A5: the disk of the log is full, and later has room again.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result};

use super::bench::{Bench, seconds_or_over, wait_for};
use super::crash::{wait_for_acks, wait_for_end};
use super::disk_errors::{REFUSED_AGAIN, get, quiet_stream, refusals};
use super::finding::Findings;
use super::history::{judge, replay, replay_to, sequence};
use super::mount::Mount;
use super::press::{Journal, Press};
use super::server::Server;

const PUBLISHERS: usize = 8;
const EVENT_BYTES: usize = 16_000;
const BALLAST_BYTES: usize = 24 << 20;
const HEALS_WITHIN: Duration = Duration::from_secs(5);

/// Publishing is refused while there is no room, reading goes on, and both go on once there is.
pub fn fills_up(bench: &Bench) -> Result<Findings> {
    let mount = Mount::create(bench, "size=64m")?;
    let dir = mount.dir().join("log");
    let data_dir = format!("--data-dir={}", dir.display());
    let flags = [&*data_dir, "--durability=fsync", "--ring-frames-max=50", "--lag-frames-max=50"];
    let flags = [&flags[..], &["--heartbeat-interval=200ms"]].concat();
    let start = || Server::start_as(bench, |command| mount.enter(&command), &flags);
    let server = start()?;
    // What an operator can remove.
    let ballast = mount.seen().join("ballast");
    File::create(&ballast)?.write_all(&vec![1; BALLAST_BYTES]).context("filling the disk")?;
    let mut live = quiet_stream(&server)?;

    let press = Press::start(server.address(), vec![Journal::default(); PUBLISHERS], EVENT_BYTES);
    wait_for_end(&press, Duration::from_secs(30))?;
    let pressed = press.finish()?;
    let mut findings = Findings::default();
    findings.all("publishers refused once it is full", pressed.errors.len(), PUBLISHERS);
    // Retrying finds the corners that are left.
    let mut refused = 0;
    wait_for(Duration::from_secs(10), || {
        refused = refusals(&server, r#""reason":"log_full""#, EVENT_BYTES)?;
        Ok(refused == REFUSED_AGAIN)
    })?;
    findings.all("refused with 503, the disk is full", refused, REFUSED_AGAIN);
    let ready = get(&server, "/readyz")?;
    findings.is_so("not ready, log_full", ready.starts_with("HTTP/1.1 503 ") && ready.contains("log_full"));
    findings.is_so("metrics go on", server.metrics()?.sum("sse_events_published_total") > 1.0);
    let newest = pressed.journals.iter().flat_map(|journal| &journal.acked).max_by_key(|(_, id)| sequence(id));
    let (_, newest) = newest.context("nothing was acknowledged")?;
    let is_kept = replay_to(server.address(), "earliest", newest);
    let verdict = is_kept.map(|replayed| judge(&pressed.journals, &own(replayed), false))?;
    findings.none("missing in a replay while it is full", verdict.lost + verdict.gaps);
    live.read_for(Duration::from_millis(300))?;
    findings.all("live streams stay", live.following(), 1);

    server.kill();
    let server = start()?;
    starts_full(&server, "after a crash", &pressed.journals, newest, &mut findings)?;
    server.stop()?;
    let server = start()?;
    starts_full(&server, "after a stop", &pressed.journals, newest, &mut findings)?;

    std::fs::remove_file(&ballast).context("making room")?;
    let healed = wait_for(HEALS_WITHIN, || Ok(get(&server, "/readyz")?.starts_with("HTTP/1.1 200 ")))?;
    findings.at_most("ready again, with nobody publishing", seconds_or_over(healed, HEALS_WITHIN), 5.0, "s");
    // Few enough that the disk does not fill up again.
    let press = Press::start(server.address(), pressed.journals, EVENT_BYTES);
    wait_for_acks(&press, 100)?;
    let again = press.finish()?;
    findings.none("refused with room again", again.errors.len() as u64);
    server.kill();
    let server = start()?;
    let verdict = judge(&again.journals, &own(replay(server.address(), "earliest")?), false);
    let bad = verdict.lost + verdict.repeated + verdict.reordered + verdict.foreign + verdict.gaps;
    findings.none("lost, repeated or damaged after a restart", bad);
    findings.at_least("acknowledged in all", verdict.kept as f64, 500.0, "");
    server.stop()?;
    Ok(findings)
}

/// A server that was started on the full disk reads, and takes nothing.
fn starts_full(server: &Server, when: &str, told: &[Journal], newest: &str, findings: &mut Findings) -> Result<()> {
    let ready = get(server, "/readyz")?;
    let is_honest = ready.starts_with("HTTP/1.1 503 ") && ready.contains("log_full");
    findings.is_so(&format!("started {when}: not ready, log_full"), is_honest);
    let verdict = judge(told, &own(replay_to(server.address(), "earliest", newest)?), false);
    findings.none(&format!("started {when}: missing in a replay"), verdict.lost + verdict.gaps);
    let refused = refusals(server, r#""reason":"log_full""#, EVENT_BYTES)?;
    findings.all(&format!("started {when}: refused, log_full"), refused, REFUSED_AGAIN);
    Ok(())
}

/// Without what was published to find out whether it is full.
fn own(replayed: Vec<super::answer::Event>) -> Vec<super::answer::Event> {
    replayed.into_iter().filter(|event| !event.data.starts_with('x')).collect()
}
