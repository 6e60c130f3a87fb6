//! Running other programs.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

use crate::tally::Tally;

/// Runs `command` to its end, with this terminal as its own.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("running {}", shown(command)))?;
    check(status, command)
}

/// Runs `command`, passes its standard output on line by line and counts the tests it reports.
pub fn run_counted(command: &mut Command) -> Result<Tally> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("running {}", shown(command)))?;
    let tally = pass_on(child.stdout.take().expect("its output is piped"), std::io::stdout());
    check(child.wait()?, command)?;
    tally
}

/// Copies what a program prints to `out`, counting the tests that it reports.
fn pass_on(lines: impl Read, mut out: impl Write) -> Result<Tally> {
    let mut tally = Tally::default();
    for line in BufReader::new(lines).split(b'\n') {
        let line = line.context("reading a program's output")?;
        let line = String::from_utf8_lossy(&line);
        writeln!(out, "{line}").context("passing a program's output on")?;
        tally += Tally::of_line(&line);
    }
    Ok(tally)
}

/// Runs `command` and returns what it printed on standard output.
pub fn read(command: &mut Command) -> Result<String> {
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("running {}", shown(command)))?;
    check(output.status, command)?;
    String::from_utf8(output.stdout).with_context(|| format!("the output of {} is not text", shown(command)))
}

fn check(status: ExitStatus, command: &Command) -> Result<()> {
    if !status.success() {
        bail!("{status}: {}", shown(command));
    }
    Ok(())
}

/// Where `name` is found on the `PATH`.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// The command as one would type it, with the environment it sets.
pub fn shown(command: &Command) -> String {
    let env = command.get_envs().filter_map(|(key, value)| Some(format!("{}={}", text(key), quoted(value?))));
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    env.chain([text(program)]).chain(command.get_args().map(quoted)).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = text(word);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn text(word: &OsStr) -> String {
    word.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_one_types_it() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["test", "-p", "sse-hub", "a b"]).env("RUSTFLAGS", "--cfg loom");
        assert_eq!(shown(&command), "RUSTFLAGS='--cfg loom' cargo test -p sse-hub 'a b'");
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(find("sh").is_some());
        assert_eq!(find("no-such-program-anywhere"), None);
    }

    #[test]
    fn a_failure_names_the_command() {
        let error = run(&mut Command::new("false")).unwrap_err();
        assert_eq!(error.to_string(), "exit status: 1: false");
    }

    #[test]
    fn reported_tests_are_counted() {
        let (said, mut out) = ("noise\n2 passed, 0 failed\n1 passed, 0 failed\n", Vec::new());
        assert_eq!(pass_on(said.as_bytes(), &mut out).unwrap(), Tally { passed: 3, failed: 0 });
        assert_eq!(out, said.as_bytes());
    }
}
