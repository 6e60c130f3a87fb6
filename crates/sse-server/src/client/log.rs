//! `sse-server log`: a data directory in an operator's hands.

use std::io::{BufRead, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, bail};
use sse_hub::{ClosedLog, ExportHead, ExportedEvent};

use crate::config::{LogAction, LogArgs};

/// Does what the arguments say, from `input` to `output`.
pub(super) fn run(args: &LogArgs, input: impl BufRead, output: impl Write) -> anyhow::Result<()> {
    let mut output = BufWriter::new(output);
    match args.action {
        LogAction::Inspect => inspect(&args.dir, &mut output)?,
        LogAction::Verify => verify(&args.dir, &mut output)?,
        LogAction::Export => export(&args.dir, &mut output)?,
        LogAction::Import => import(&args.dir, input)?,
    }
    output.flush().context("writing")
}

fn inspect(dir: &Path, output: &mut impl Write) -> anyhow::Result<()> {
    let summary = ClosedLog::open(dir)?.summary()?;
    serde_json::to_writer_pretty(&mut *output, &summary).context("writing")?;
    writeln!(output).context("writing")
}

fn verify(dir: &Path, output: &mut impl Write) -> anyhow::Result<()> {
    let log = ClosedLog::open(dir)?;
    let mut problems = Vec::new();
    if log.verify(|problem| problems.push(problem.to_owned()))? {
        return writeln!(output, "the log is sound: {} events", log.summary()?.events).context("writing");
    }
    for problem in &problems {
        writeln!(output, "{problem}").context("writing")?;
    }
    output.flush().context("writing")?;
    bail!("the log in {} has {} problems", dir.display(), problems.len())
}

fn export(dir: &Path, output: &mut impl Write) -> anyhow::Result<()> {
    let log = ClosedLog::open(dir)?;
    write_line(output, &log.head()?)?;
    let unreadable = log.export(|event| write_line(output, &event))??;
    if unreadable > 0 {
        output.flush().context("writing")?;
        bail!("{unreadable} events cannot be read and are not in the export");
    }
    Ok(())
}

fn write_line(output: &mut impl Write, line: &impl serde::Serialize) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *output, line).context("writing")?;
    writeln!(output).context("writing")
}

/// A line of an import that cannot be taken.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BadLine(String);

impl From<String> for BadLine {
    fn from(problem: String) -> Self {
        Self(problem)
    }
}

fn import(dir: &Path, input: impl BufRead) -> anyhow::Result<()> {
    let mut lines = input.lines().enumerate();
    let Some((_, head)) = lines.next() else { bail!("standard input is empty: an export is expected") };
    let head: ExportHead = serde_json::from_str(&head.context("reading")?).context("line 1 is not an export's head")?;
    let event = |(index, line): (usize, std::io::Result<String>)| {
        let at_line = |problem: String| BadLine(format!("line {}: {problem}", index + 1));
        let line = line.map_err(|error| at_line(error.to_string()))?;
        serde_json::from_str::<ExportedEvent>(&line).map_err(|error| at_line(error.to_string()))
    };
    let events = ClosedLog::import::<BadLine>(dir, &head, lines.map(event))??;
    tracing::debug!(events, "imported");
    Ok(())
}
