//! A8 and A9: a data directory that is not a log's, and one that another process uses.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::bench::{Bench, wait_for};
use super::crash::clear;
use super::finding::Findings;
use super::history::{judge, replay};
use super::press::{Journal, Press};
use super::server::Server;

const REFUSED_WITHIN: f64 = 5.0;
const GOES_ON_WITHIN: Duration = Duration::from_secs(10);

type Mutation = fn(&Path) -> std::io::Result<()>;

const MUTATIONS: [(&str, Mutation); 9] = [
    ("no manifest", |dir| fs::remove_file(dir.join("sse-log.json"))),
    ("an empty manifest", |dir| fs::write(dir.join("sse-log.json"), "")),
    ("a newer format", |dir| fs::write(dir.join("sse-log.json"), r#"{"format":2,"state":"ready"}"#)),
    ("an older format", |dir| fs::write(dir.join("sse-log.json"), r#"{"format":0,"state":"ready"}"#)),
    ("no database", |dir| fs::remove_file(dir.join("log.sqlite"))),
    ("an empty database", |dir| fs::write(dir.join("log.sqlite"), "")),
    ("a database of something else", |dir| fs::write(dir.join("log.sqlite"), vec![7; 9_000])),
    ("a foreign file", |dir| fs::write(dir.join("notes.txt"), "mine")),
    ("a directory in it", |dir| fs::create_dir(dir.join("photos"))),
];

/// What does not look like this log is refused and left as it is: never begun anew, never deleted.
pub fn is_refused(bench: &Bench) -> Result<Findings> {
    let (whole, dir) = (bench.file("whole"), bench.file("data"));
    clear(&whole)?;
    let server = Server::start(bench, &[&data_dir(&whole)])?;
    Press::run(server.address(), vec![Journal::default(); 2], 200, Duration::from_millis(100))?;
    server.stop()?;
    let mut findings = Findings::default();
    let (mut refused, mut unchanged, mut slowest) = (0, 0, Duration::ZERO);
    let mut said = Vec::new();
    for (what, mutate) in MUTATIONS {
        clear(&dir)?;
        copy(&whole, &dir)?;
        mutate(&dir).context(what)?;
        let before = contents(&dir)?;
        match Server::refused(bench, |command| command, &[&data_dir(&dir)]) {
            Ok(refusal) => {
                refused += usize::from(refusal.is_clear());
                slowest = slowest.max(refusal.took);
                said.push(format!("{what}: {}", refusal.said));
            }
            Err(error) => said.push(format!("{what}: {error:#}")),
        }
        unchanged += usize::from(contents(&dir)? == before);
    }
    findings.all("exit code 1 and one line on stderr", refused, MUTATIONS.len());
    findings.at_most("the slowest after", slowest.as_secs_f64(), REFUSED_WITHIN, "s");
    findings.all("directory as it was", unchanged, MUTATIONS.len());
    findings.note("said", said);
    Ok(findings)
}

/// The second server on a directory ends; the first goes on, and loses nothing.
pub fn is_in_use(bench: &Bench) -> Result<Findings> {
    let dir = bench.file("data");
    clear(&dir)?;
    let first = Server::start(bench, &[&data_dir(&dir)])?;
    let press = Press::start(first.address(), vec![Journal::default(); 2], 200);
    let refusal = Server::refused(bench, |command| command, &[&data_dir(&dir)])?;
    let before = press.acked();
    let goes_on = wait_for(GOES_ON_WITHIN, || Ok(press.acked() >= before + 10))?;
    let pressed = press.finish()?;
    let verdict = judge(&pressed.journals, &replay(first.address(), "earliest")?, false);
    let mut findings = Findings::default();
    findings.is_so("the second: exit code 1, one line", refusal.is_clear());
    findings.at_most("the second ends after", refusal.took.as_secs_f64(), REFUSED_WITHIN, "s");
    findings.none("the first: publishers refused", pressed.errors.len() as u64);
    findings.none("the first: lost or repeated", verdict.lost + verdict.repeated + verdict.foreign);
    findings.is_so("the first goes on", goes_on.is_some());
    findings.note("said", refusal.said);
    first.stop()?;
    Ok(findings)
}

fn data_dir(dir: &Path) -> String {
    format!("--data-dir={}", dir.display())
}

/// Copies a directory of files.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for file in fs::read_dir(from).context("copying a data directory")? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name())).context("copying a data directory")?;
    }
    Ok(())
}

/// Everything in a directory, to compare.
fn contents(dir: &Path) -> Result<BTreeMap<String, Option<Vec<u8>>>> {
    let mut contents = BTreeMap::new();
    for file in fs::read_dir(dir).context("reading a data directory")? {
        let path = file?.path();
        let bytes = if path.is_file() { Some(fs::read(&path)?) } else { None };
        contents.insert(path.display().to_string(), bytes);
    }
    Ok(contents)
}
