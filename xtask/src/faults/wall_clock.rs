//! B2 and B3: the wall clock of a server jumps, by hours and by years.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::bench::Bench;
use super::crash::clear;
use super::crowd::Crowd;
use super::disk_errors::get;
use super::finding::Findings;
use super::history::{judge, replay, sequence};
use super::press::{Journal, Press, TOPICS, origin};
use super::server::Server;
use crate::program;

const SHIM: &str = include_str!("wall_clock.c");
const PUBLISHERS: usize = 4;
const FOLLOWERS: usize = 20;
const HOUR: i64 = 3_600;
const TEN_YEARS: i64 = 10 * 365 * 24 * HOUR;
/// What is written every 200 ms must not stay away so long, however the clock jumps.
const SILENCE_MAX: Duration = Duration::from_millis(1_500);

/// A wall clock that a row sets.
struct WallClock {
    shim: PathBuf,
    off_by: PathBuf,
}

impl WallClock {
    fn create(bench: &Bench) -> Result<Self> {
        let (source, shim, off_by) = (bench.file("clock.c"), bench.file("clock.so"), bench.file("clock.seconds"));
        std::fs::write(&source, SHIM).context("writing the shim")?;
        program::run(Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&shim).arg(&source))?;
        let clock = Self { shim, off_by };
        clock.set(0)?;
        Ok(clock)
    }

    /// Puts it off by so many seconds, at once.
    fn set(&self, seconds: i64) -> Result<()> {
        // Renamed into place: the server reads it at any moment.
        let new = self.off_by.with_extension("new");
        std::fs::write(&new, seconds.to_string()).context("setting the clock")?;
        std::fs::rename(&new, &self.off_by).context("setting the clock")
    }

    fn start(&self, bench: &Bench, flags: &[&str]) -> Result<Server> {
        let with_clock = |mut command: Command| {
            command.env("LD_PRELOAD", &self.shim).env("WALL_CLOCK_OFF_BY", &self.off_by);
            command
        };
        Server::start_as(bench, with_clock, flags)
    }
}

/// Back by an hour and by ten years, and to where it was.
pub fn goes_back(bench: &Bench) -> Result<Findings> {
    jump(bench, &[-HOUR, -TEN_YEARS, 0], -HOUR)
}

/// Forward by ten years, and back.
pub fn goes_forward(bench: &Bench) -> Result<Findings> {
    jump(bench, &[TEN_YEARS, 0, TEN_YEARS, HOUR], 0)
}

/// Publishes and follows while the clock jumps, and starts again at `restart_at`.
fn jump(bench: &Bench, jumps: &[i64], restart_at: i64) -> Result<Findings> {
    let clock = WallClock::create(bench)?;
    let dir = bench.file("data");
    clear(&dir)?;
    let data_dir = format!("--data-dir={}", dir.display());
    let flags = [&*data_dir, "--heartbeat-interval=200ms", "--ring-age-max=1h", "--log-format=json"];
    let server = clock.start(bench, &flags)?;
    let mut crowd = Crowd::new(server.address())?;
    let topics: Vec<String> = TOPICS.iter().map(|topic| format!("topic={topic}")).collect();
    for _ in 0..FOLLOWERS {
        crowd.follow(&format!("/events?{}", topics.join("&")), None)?;
    }
    crowd.read_until(Duration::from_secs(10), |crowd| crowd.following() == FOLLOWERS)?;
    let press = Press::start(server.address(), vec![Journal::default(); PUBLISHERS], 200);
    let mut quiet = Crowd::new(server.address())?;
    quiet.follow("/events/quiet", None)?;
    let (mut longest, mut heard) = (Duration::ZERO, Instant::now());
    for &seconds in jumps {
        clock.set(seconds)?;
        // A line of the log tells what the server takes for the time.
        quiet.follow("/events/quiet", None)?;
        let until = Instant::now() + Duration::from_secs_f64(bench.pick(1.0, 10.0));
        let mut heartbeats = 0;
        while Instant::now() < until {
            crowd.turn(Duration::from_millis(5))?;
            quiet.turn(Duration::from_millis(5))?;
            let now: usize = quiet.members().iter().map(|member| member.answer.heartbeats).sum();
            if now > heartbeats {
                (heartbeats, heard) = (now, Instant::now());
            }
            longest = longest.max(heard.elapsed());
        }
    }
    let pressed = press.finish()?;
    let acked: usize = pressed.journals.iter().map(|journal| journal.acked.len()).sum();
    let has_all = |crowd: &Crowd| crowd.members().iter().all(|member| member.answer.events.len() >= acked);
    crowd.read_until(Duration::from_secs(10), has_all)?;
    let mut findings = Findings::default();
    findings.none("publishers refused", pressed.errors.len() as u64);
    findings.at_least("acknowledged", acked as f64, 500.0, "");
    findings.all("streams stay", crowd.following() + quiet.following(), FOLLOWERS + 1 + jumps.len());
    let is_whole = |events: &[super::answer::Event]| {
        let ids_rise = events.windows(2).all(|pair| sequence(&pair[0].id) < sequence(&pair[1].id));
        ids_rise && events.len() == acked && events.iter().all(|event| origin(&event.data).is_some())
    };
    let whole = crowd.members().iter().filter(|member| is_whole(&member.answer.events)).count();
    findings.all("followers that got everything, ids rising", whole, FOLLOWERS);
    findings.at_most("the longest silence of a quiet stream", longest.as_secs_f64(), SILENCE_MAX.as_secs_f64(), "s");
    findings.is_so("ready", get(&server, "/readyz")?.starts_with("HTTP/1.1 200 "));
    let lines = server.log_lines()?.join("\n");
    let year = |seconds: i64| format!("\"timestamp\":\"{}-", 1970 + (unix_seconds() + seconds) / 31_556_952);
    let seen = jumps.iter().filter(|seconds| lines.contains(&year(**seconds))).count();
    findings.all("jumps that the server's log shows", seen, jumps.len());

    let before = judge(&pressed.journals, &replay(server.address(), "earliest")?, false);
    findings.none("lost to retention, or told as lost", before.lost + before.gaps + before.reordered);
    server.kill();
    clock.set(restart_at)?;
    let server = clock.start(bench, &flags)?;
    let again = Press::run(server.address(), pressed.journals, 200, Duration::from_millis(300))?;
    let after = judge(&again.journals, &replay(server.address(), "earliest")?, false);
    let bad = after.lost + after.gaps + after.reordered + after.repeated + after.foreign;
    findings.none("lost, repeated or out of order after a restart", bad);
    findings.at_least("acknowledged after it", after.kept as f64 - before.kept as f64, 10.0, "");
    server.stop()?;
    Ok(findings)
}

fn unix_seconds() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_secs().cast_signed()
}
