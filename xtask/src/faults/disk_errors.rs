//! A4 and A10: the disk fails while the server runs. Nothing is acknowledged from then on, and what was is kept.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::asking::Asking;
use super::bench::Bench;
use super::crash::{clear, wait_for_acks, wait_for_end};
use super::crowd::Crowd;
use super::finding::Findings;
use super::history::{judge, replay, replay_to, sequence};
use super::mount::Mount;
use super::press::{Journal, Press, Pressed};
use super::server::Server;
use super::tracer::{self, Tracer};

const PUBLISHERS: usize = 8;
const STOPS_WITHIN: Duration = Duration::from_secs(10);
pub const REFUSED_AGAIN: usize = 50;

/// Whether what is on the disk can be read after the fault; if not, a reader is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Files {
    Stay,
    Go,
}

/// A sync fails once, at the first, second or a later call, of the write-ahead log or of the main file.
pub fn syncs_fail(bench: &Bench) -> Result<Findings> {
    tracer::check()?;
    let mut findings = Findings::default();
    let calls: &[u32] = bench.pick(&[1, 2, 9], &[1, 2, 3, 4, 5, 9, 20, 50, 100, 200]);
    for call in calls {
        let inject = format!("inject={}:error=EIO:when={call}", tracer::SYNCS);
        let dir = bench.file("data");
        clear(&dir)?;
        let fails = |server: &Server| Tracer::of_log_thread(bench, server, &["-e", &inject]).map(Some);
        fails_for_good(bench, &mut findings, &format!("sync {call}"), Server::start, &dir, fails)?;
    }
    let dir = bench.file("data");
    clear(&dir)?;
    let main = dir.join("log.sqlite").display().to_string();
    let inject = format!("inject={}:error=EIO:when=1", tracer::SYNCS);
    let fails = |server: &Server| Tracer::of_log_thread(bench, server, &["-P", &main, "-e", &inject]).map(Some);
    fails_for_good(bench, &mut findings, "checkpoint", Server::start, &dir, fails)?;
    Ok(findings)
}

/// The directory cannot be written to at the start; it becomes so, is unmounted, or is removed while the server runs.
pub fn directory_goes(bench: &Bench) -> Result<Findings> {
    tracer::check()?;
    let mut findings = Findings::default();
    let read_only = Mount::create(bench, "size=16m,ro")?;
    let refusal = Server::refused(bench, |command| read_only.enter(&command), &[&data_dir(read_only.dir())])?;
    findings.is_so("read-only at the start: exit 1, one line", refusal.is_clear());
    findings.at_most("read-only at the start: refused after", refusal.took.as_secs_f64(), 5.0, "s");
    findings.note("read-only at the start", refusal.said);
    drop(read_only);

    // A file that is open for writing keeps a disk from becoming read-only; so the calls say what such a disk would.
    let dir = bench.file("data");
    clear(&dir)?;
    let inject = ["-e", "inject=pwrite64,ftruncate:error=EROFS"];
    let fails = |server: &Server| Tracer::of_log_thread(bench, server, &inject).map(Some);
    fails_for_good(bench, &mut findings, "read-only", Server::start, &dir, fails)?;

    let mount = Mount::create(bench, "size=256m")?;
    let start = |bench: &Bench, args: &[&str]| Server::start_as(bench, |command| mount.enter(&command), args);
    stops(bench, &mut findings, "unmounted", start, mount.dir(), Files::Go, |_| mount.unmount().map(|()| None))?;

    let dir = bench.file("data");
    clear(&dir)?;
    stops(bench, &mut findings, "removed", Server::start, &dir, Files::Go, |_| clear(&dir).map(|()| None))?;
    Ok(findings)
}

fn data_dir(dir: &Path) -> String {
    format!("--data-dir={}", dir.display())
}

/// The fault, then that everything is as it should be, then a restart without the fault.
fn fails_for_good(
    bench: &Bench,
    findings: &mut Findings,
    name: &str,
    start: impl Fn(&Bench, &[&str]) -> Result<Server>,
    dir: &Path,
    fault: impl FnOnce(&Server) -> Result<Option<Tracer>>,
) -> Result<()> {
    let pressed = stops(bench, findings, name, &start, dir, Files::Stay, fault)?;
    let server = start(bench, &[&data_dir(dir), "--durability=fsync"])?;
    let verdict = judge(&pressed.journals, &replay(server.address(), "earliest")?, false);
    let bad = verdict.lost + verdict.repeated + verdict.reordered + verdict.foreign;
    findings.none(&format!("{name}: lost, repeated or reordered after a restart"), bad);
    let again = Press::run(server.address(), pressed.journals, 200, Duration::from_millis(100))?;
    findings.none(&format!("{name}: refused after a restart"), again.errors.len() as u64);
    server.stop()
}

/// Publishing ends with the fault, and the rest goes on.
fn stops(
    bench: &Bench,
    findings: &mut Findings,
    name: &str,
    start: impl Fn(&Bench, &[&str]) -> Result<Server>,
    dir: &Path,
    files: Files,
    fault: impl FnOnce(&Server) -> Result<Option<Tracer>>,
) -> Result<Pressed> {
    // The rings are small, so that replay has to read the log.
    let flags = [&*data_dir(dir), "--durability=fsync", "--ring-frames-max=50", "--lag-frames-max=50"];
    let server = start(bench, &[&flags[..], &["--heartbeat-interval=200ms"]].concat())?;
    let mut live = quiet_stream(&server)?;
    let press = Press::start(server.address(), vec![Journal::default(); PUBLISHERS], 200);
    wait_for_acks(&press, 500)?;
    let tracer = fault(&server).context("bringing the fault about")?;
    // A checkpoint comes after a thousand pages.
    let ended = wait_for_end(&press, STOPS_WITHIN)?;
    ensure!(ended.is_some(), "{name}: publishing goes on after the fault");
    let pressed = press.ended()?;
    findings.none(&format!("{name}: acknowledged after a refusal"), pressed.late);
    findings.all(
        &format!("{name}: refused with 503, the log failed"),
        refusals(&server, r#""reason":"log_failed""#, 1)?,
        REFUSED_AGAIN,
    );
    let ready = get(&server, "/readyz")?;
    let is_red = ready.starts_with("HTTP/1.1 503 ") && ready.contains("log_failed");
    findings.is_so(&format!("{name}: not ready, log_failed"), is_red);
    let newest = pressed.journals.iter().flat_map(|journal| &journal.acked).max_by_key(|(_, id)| sequence(id));
    let (_, newest) = newest.context("nothing was acknowledged")?;
    let verdict = judge(&pressed.journals, &replay_to(server.address(), "earliest", newest)?, false);
    let silent = match files {
        Files::Stay => verdict.lost + verdict.gaps,
        Files::Go if verdict.gaps > 0 => 0,
        Files::Go => verdict.lost,
    };
    findings.none(&format!("{name}: missing in a replay, and not told"), silent);
    live.read_for(Duration::from_millis(300))?;
    findings.all(&format!("{name}: live streams stay"), live.following(), 1);
    drop(tracer.map(Tracer::detach));
    server.kill();
    Ok(pressed)
}

/// A stream of a topic that nobody publishes to; it gets heartbeats.
pub fn quiet_stream(server: &Server) -> Result<Crowd> {
    let mut crowd = Crowd::new(server.address())?;
    crowd.follow("/events/quiet", None)?;
    ensure!(crowd.read_until(Duration::from_secs(10), |crowd| crowd.following() == 1)?, "a stream does not open");
    Ok(crowd)
}

/// How many of some publishes are refused as they should be.
pub fn refusals(server: &Server, reason: &str, bytes: usize) -> Result<usize> {
    let mut asking = Asking::connect(server.address())?;
    let head = format!("POST /events/press-0 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {bytes}\r\n\r\n");
    let request = [head.into_bytes(), vec![b'x'; bytes]].concat();
    let mut refused = 0;
    for _ in 0..REFUSED_AGAIN {
        let answer = asking.answer(&request)?;
        refused += usize::from(answer.starts_with("HTTP/1.1 503 ") && answer.contains(reason));
    }
    Ok(refused)
}

/// An answer of the admin listener.
pub fn get(server: &Server, path: &str) -> Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    Asking::connect(server.admin)?.answer(request.as_bytes())
}
