//! h2spec: what a server of HTTP/2 has to do, case by case, in plain text and over TLS. And what clients do with one.

mod clients;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::loadtest::Folder;
use crate::loadtest::subject::Subject;
use crate::{program, workspace};

/// The h2spec whose cases are named here.
const VERSION: &str = "v2.2.1+incompatible";
/// How long a case waits for what should come.
const CASE_SECONDS: &str = "2";
/// What cases ask for: it is answered at once, and the body read if there may be one.
const ANSWERED: &str = "/publish";
/// An answer that does not end, for those that the first one overtook: h2spec sends two frames, and wants to see nothing of
/// an answer to the first.
const FOLLOWED: &str = "/events/h2spec";
/// How often a case is tried again that may have been overtaken. One that the server gets wrong fails each time.
const TRIES: usize = 4;
/// All cases, so that none is left out in silence.
const CASES: usize = 145;

/// A case that does not hold, and why that is as it should be.
struct Exception {
    case: &'static str,
    is_tls: bool,
    why: &'static str,
}

const EXCEPTIONS: &[Exception] = &[Exception {
    case: "http2/3.5/2",
    is_tls: false,
    why: "a listener without TLS speaks HTTP/1.1 too: another beginning than HTTP/2's is answered so, with 400, and closed on",
}];

/// One case: its section with its number there, and what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Case {
    id: String,
    title: String,
    holds: bool,
}

impl Case {
    /// Whether they are the same. Alone a case has another number.
    fn is(&self, other: &Self) -> bool {
        let section = |case: &Self| case.id.rsplit_once('/').map(|(section, _)| section.to_owned());
        section(self) == section(other) && self.title == other.title
    }
}

/// Runs all cases, and fails if one does not hold that is no exception, or one holds that is.
pub fn run() -> Result<()> {
    let h2spec = installed()?;
    workspace::build(&[("sse-server", "sse-server")])?;
    let folder = Folder::take("h2spec")?;
    let mut faults = 0;
    for is_tls in [false, true] {
        let server =
            if is_tls { Subject::server_with_tls(folder.path(), &[])? } else { Subject::server(folder.path(), &[])? };
        clients::run(&server, is_tls, folder.path())?;
        faults += judge(&h2spec, &server, is_tls, folder.path())?;
        server.stop()?;
    }
    ensure!(faults == 0, "{faults} cases of h2spec are not as they should be");
    Ok(())
}

/// Runs all cases against one server; how many are not as they should be.
fn judge(h2spec: &Path, server: &Subject, is_tls: bool, dir: &Path) -> Result<usize> {
    let over = if is_tls { "over TLS" } else { "in plain text" };
    let cases = run_cases(h2spec, server, is_tls, ANSWERED, &[], dir)?;
    ensure!(cases.len() == CASES, "h2spec ran {} cases of {CASES}", cases.len());
    let mut failed: Vec<Case> = cases.into_iter().filter(|case| !case.holds).collect();
    for path in [FOLLOWED, ANSWERED].into_iter().cycle().take(TRIES) {
        if failed.is_empty() {
            break;
        }
        let again: Vec<&str> = failed.iter().map(|case| case.id.as_str()).collect();
        let again = run_cases(h2spec, server, is_tls, path, &again, dir)?;
        failed.retain(|case| !again.iter().any(|other| other.is(case) && other.holds));
    }
    println!("{over}: {} of {CASES} cases hold", CASES - failed.len());
    let exceptions: Vec<&Exception> = EXCEPTIONS.iter().filter(|exception| exception.is_tls == is_tls).collect();
    let mut faults = 0;
    for case in &failed {
        let exception = exceptions.iter().find(|exception| exception.case == case.id);
        println!("  {} {}: {}", case.id, case.title, exception.map_or("DOES NOT HOLD", |exception| exception.why));
        faults += usize::from(exception.is_none());
    }
    for exception in exceptions.iter().filter(|exception| !failed.iter().any(|case| case.id == exception.case)) {
        println!("  {} holds, and is no exception any more", exception.case);
        faults += 1;
    }
    Ok(faults)
}

/// Runs these cases, or all if none is named.
fn run_cases(
    h2spec: &Path,
    server: &Subject,
    is_tls: bool,
    path: &str,
    cases: &[&str],
    dir: &Path,
) -> Result<Vec<Case>> {
    let address = server.follow_url.split('/').nth(2).unwrap_or_default();
    let (host, port) = address.rsplit_once(':').context("the server has no port")?;
    let report = dir.join("report.xml");
    let mut command = Command::new(h2spec);
    command.args(cases).args(["--host", host, "--port", port, "--timeout", CASE_SECONDS, "--path", path]);
    command.arg("--junit-report").arg(&report).stdout(Stdio::null());
    if is_tls {
        command.args(["--tls", "--insecure"]);
    }
    // It exits with 1 when a case does not hold, as the report says too.
    command.status().with_context(|| format!("running {}", program::shown(&command)))?;
    let text = fs::read_to_string(&report).context("reading h2spec's report")?;
    Ok(parse(&text))
}

/// The cases of a JUnit report. Those that were not run stand in none of its suites.
fn parse(report: &str) -> Vec<Case> {
    let attribute = |line: &str, name: &str| -> Option<String> {
        let value = line.split_once(&format!(" {name}=\""))?.1.split_once('"')?.0;
        Some(value.to_owned())
    };
    let (mut cases, mut section, mut number) = (Vec::<Case>::new(), String::new(), 0);
    for line in report.lines().map(str::trim_start) {
        if line.starts_with("<testsuite ") {
            (section, number) = (attribute(line, "package").unwrap_or_default(), 0);
        } else if line.starts_with("<testcase ") {
            number += 1;
            let title = attribute(line, "classname").unwrap_or_default();
            cases.push(Case { id: format!("{section}/{number}"), title, holds: !line.contains("<skipped") });
        }
        if (line.starts_with("<failure") || line.starts_with("<error") || line.starts_with("<skipped"))
            && let Some(case) = cases.last_mut()
        {
            case.holds = false;
        }
    }
    cases
}

/// h2spec in `target/tools`, built by Go.
fn installed() -> Result<PathBuf> {
    let folder = workspace::target().join("tools/bin");
    let h2spec = folder.join("h2spec");
    if !h2spec.exists() {
        let mut go = Command::new("go");
        go.args(["install", &format!("github.com/summerwind/h2spec/cmd/h2spec@{VERSION}")]).env("GOBIN", &folder);
        // Outside of any module of its own.
        go.current_dir(std::env::temp_dir());
        program::run(&mut go).context("building h2spec, which takes Go")?;
    }
    Ok(h2spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_numbered_in_their_section() {
        let report = r#"<?xml version="1.0" encoding="UTF-8"?>
            <testsuites>
              <testsuite name="1. None" package="generic/1" tests="0"></testsuite>
              <testsuite name="3.5. Preface" package="http2/3.5" id="3.5" tests="2">
                <testcase package="http2/3.5" classname="Sends one" time="0.0002"></testcase>
                <testcase package="http2/3.5" classname="Sends another" time="0.0003">
                  <error>Connection closed
            Error: it looked like an answer</error>
                </testcase>
              </testsuite>
              <testsuite name="4" package="hpack/4" tests="1">
                <testcase package="hpack/4" classname="Sends a third" time="0.0003">
                  <failure>Nothing came</failure>
                </testcase>
              </testsuite>
            </testsuites>"#;
        let cases = parse(report);
        let cases: Vec<(&str, bool)> = cases.iter().map(|case| (case.id.as_str(), case.holds)).collect();
        assert_eq!(cases, [("http2/3.5/1", true), ("http2/3.5/2", false), ("hpack/4/1", false)]);
    }
}
