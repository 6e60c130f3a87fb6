//! `sse-server log`: what the command line says of a data directory.

use std::path::PathBuf;

use clap::{Arg, ArgMatches, Command as Clap};

/// `sse-server log ACTION DIR`, for a directory that no server uses just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogArgs {
    /// What to do.
    pub action: LogAction,
    /// The data directory.
    pub dir: PathBuf,
}

/// What is done with a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogAction {
    /// Tell what it holds.
    Inspect,
    /// Read all of it and tell what is damaged.
    Verify,
    /// Write its events to standard output.
    Export,
    /// Make one of an export on standard input.
    Import,
}

const ACTIONS: [(LogAction, &str, &str); 4] = [
    (LogAction::Inspect, "inspect", "Tell what a log holds, as JSON"),
    (LogAction::Verify, "verify", "Read all of a log and list what is damaged; exit 1 if anything is"),
    (LogAction::Export, "export", "Write a log's events to standard output, a line of JSON each"),
    (LogAction::Import, "import", "Make a log of an export on standard input, in an empty directory"),
];

/// The command with its actions.
pub(super) fn command() -> Clap {
    let dir =
        || Arg::new("dir").value_name("DIR").required(true).help("The data directory; no server may use it meanwhile");
    let actions = ACTIONS.map(|(_, name, about)| Clap::new(name).about(about).arg(dir()));
    Clap::new("log")
        .about("Look at a data directory, check it, copy it out and in")
        .subcommand_required(true)
        .subcommands(actions)
}

pub(super) fn read(matches: &ArgMatches) -> Option<LogArgs> {
    let (name, of_action) = matches.subcommand()?;
    let (action, ..) = ACTIONS.into_iter().find(|(_, known, _)| *known == name)?;
    Some(LogArgs { action, dir: of_action.get_one::<String>("dir")?.into() })
}
