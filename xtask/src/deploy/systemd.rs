//! The units: whether systemd reads them, how much their sandbox leaves open, and whether the server gets by with that.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::Yard;
use crate::faults::crowd::Crowd;
use crate::faults::finding::Findings;
use crate::faults::publisher::Publisher;
use crate::faults::server::Server;
use crate::program;

const UNITS: [&str; 2] = ["sse-server.service", "sse-server.socket"];
/// What a unit that upgrades has more.
const UPGRADES: &str = "sse-server.service.d/upgrades.conf";
/// What `systemd-analyze security` may find at most, in tenths: 100 is a service without any protection.
const EXPOSURE_MAX: &str = "15";
const INSTALLED: &str = "/usr/bin/sse-server";
const WAIT: std::time::Duration = std::time::Duration::from_secs(20);

pub fn check(yard: &Yard, findings: &mut Findings) -> Result<()> {
    let units = UNITS.map(|unit| yard.dir.join(unit));
    for (unit, copy) in UNITS.iter().zip(&units) {
        let text = fs::read_to_string(Yard::deployed("systemd").join(unit))?;
        // Verifying looks for the program too.
        fs::write(copy, text.replace(INSTALLED, &yard.server.to_string_lossy()))?;
    }
    // Beside the unit's copy, systemd reads it with that.
    let beside = yard.dir.join("sse-server.service.d");
    fs::create_dir_all(&beside)?;
    let text = fs::read_to_string(Yard::deployed("systemd").join(UPGRADES))?;
    fs::write(yard.dir.join(UPGRADES), text.replace(INSTALLED, &yard.server.to_string_lossy()))?;
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&units).output()?;
    print!("{}", String::from_utf8_lossy(&verified.stderr));
    findings.is_so("systemd reads the units, without a word", verified.status.success() && verified.stderr.is_empty());
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX]).arg(&units[0]);
    findings.is_so("its sandbox is closed to 1.5 of 10", security.output()?.status.success());
    let (allowed, called) = (allowed()?, called(yard)?);
    ensure!(called.len() > 30, "strace saw {} calls, which is not all", called.len());
    let refused: Vec<&String> = called.difference(&allowed).collect();
    if !refused.is_empty() {
        println!("not allowed: {refused:?}");
    }
    findings.none("system calls of the server that the unit refuses", refused.len() as u64);
    Ok(())
}

/// The system calls of the unit's filter.
fn allowed() -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(Yard::deployed("systemd").join(UNITS[0]))?;
    let mut allowed = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("SystemCallFilter=")) {
        match line.strip_prefix('~') {
            None => allowed.extend(calls_of(line)?),
            Some(refused) => {
                let refused = calls_of(refused)?;
                allowed.retain(|call| !refused.contains(call));
            }
        }
    }
    Ok(allowed)
}

/// The calls of a set, and of the sets in it.
fn calls_of(set: &str) -> Result<BTreeSet<String>> {
    let text = program::read(Command::new("systemd-analyze").args(["--no-pager", "syscall-filter", set]))?;
    let mut calls = BTreeSet::new();
    for member in text.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if member.starts_with('@') {
            calls.extend(calls_of(member)?);
        } else {
            calls.insert(member.to_owned());
        }
    }
    Ok(calls)
}

/// What the server calls from its start to its end: with a log, streams, publishers, somebody who resumes, and metrics.
fn called(yard: &Yard) -> Result<BTreeSet<String>> {
    let (bench, trace) = (yard.bench(), yard.dir.join("strace"));
    let data_dir = format!("--data-dir={}", yard.dir.join("data").display());
    // strace leaves the server the child of this program. It is not root, for whom SQLite calls more.
    let output = trace.to_str().context("the folder's name is no text")?;
    let traced = ["strace", "-D", "-f", "-qq", "-o", output, "unshare", "--user"];
    let server = yard.start(&bench, &traced, &[&data_dir])?;
    work(&server)?;
    let exit = server.terminate()?.exits_within(WAIT)?;
    ensure!(exit.is_some_and(|exit| exit.is_success), "the traced server does not end well");
    Ok(calls_in(&fs::read_to_string(&trace).context("reading what was called")?))
}

fn work(server: &Server) -> Result<()> {
    let mut crowd = Crowd::new(server.address())?;
    for _ in 0..20 {
        crowd.follow("/events/a", None)?;
    }
    ensure!(crowd.read_until(WAIT, |crowd| crowd.following() == 20)?, "not all streams were opened");
    let ids = Publisher::connect(server.address())?.publish_numbers("a", 0..50, 200, 0.0)?;
    crowd.follow("/events?topic=a&topic=b", Some(&ids[0]))?;
    let has_all = |crowd: &Crowd| crowd.members().iter().all(|member| member.answer.data().count() >= 49);
    ensure!(crowd.read_until(WAIT, has_all)?, "not all got all events");
    server.metrics().map(drop)
}

/// `1234 read(3, ..`, and `1234 <... read resumed>`, which has begun elsewhere.
fn calls_in(trace: &str) -> BTreeSet<String> {
    // What runs before the server is another program.
    let trace = trace.rfind(" execve(").map_or(trace, |begin| &trace[begin..]);
    let call = |line: &str| {
        let (_, rest) = line.split_once(' ')?;
        let (name, _) = rest.trim_start().split_once('(')?;
        let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        (is_name && !name.is_empty()).then(|| name.to_owned())
    };
    trace.lines().filter_map(call).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_from_a_trace() {
        let trace = "12 unshare(CLONE_NEWUSER) = 0\n12 execve(\"server\") = 0\n12 read(3, \"a(\", 4) = 4\n12 <... futex resumed>) = 0\n13  clock_nanosleep(CLOCK_REALTIME <unfinished ...>\n\
                     12 --- SIGTERM {si_signo=SIGTERM} ---\n12 +++ exited with 0 +++\n";
        assert_eq!(calls_in(trace), BTreeSet::from(["execve", "read", "clock_nanosleep"].map(str::to_owned)));
    }
}
