//! What is wrong with the settings, where, and what would be right.

use std::fmt::{self, Write};
use std::path::PathBuf;

use thiserror::Error;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The built-in default of this key.
    Default(String),
    /// A key on a line of the configuration file.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key, empty where the line has none.
        key: String,
    },
    /// An environment variable.
    Environment(String),
    /// A flag, with its dashes.
    Flag(String),
    /// The command line as a whole.
    CommandLine,
    /// A socket that the service manager has opened.
    Socket,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default(key) => write!(f, "default of {key}"),
            Self::File { path, line, key } if key.is_empty() => write!(f, "{}:{line}", path.display()),
            Self::File { path, line, key } => write!(f, "{}:{line}: {key}", path.display()),
            Self::Environment(name) | Self::Flag(name) => f.write_str(name),
            Self::CommandLine => f.write_str("command line"),
            Self::Socket => f.write_str("socket of the service manager"),
        }
    }
}

/// One thing that is wrong, on one line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Where it was set.
    pub origin: Origin,
    /// What is wrong and what would be right. Never holds a secret.
    pub problem: String,
}

impl Fault {
    pub(super) fn new(origin: Origin, problem: impl Into<String>) -> Self {
        Self { origin, problem: problem.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values and names of files stand in it, and would otherwise begin lines of their own.
        for c in format!("{}: {}", self.origin, self.problem).chars() {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { f.write_char(c)? }
        }
        Ok(())
    }
}

/// The settings cannot be used. Shows every fault, one per line: file, environment, flags.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}", one_per_line(.faults))]
pub struct ConfigError {
    faults: Vec<Fault>,
}

impl ConfigError {
    /// What the binary exits with on bad settings (`EX_USAGE`).
    pub const EXIT_CODE: u8 = 64;

    pub(super) fn new(mut faults: Vec<Fault>) -> Self {
        faults.sort();
        faults.dedup();
        Self { faults }
    }

    /// Every fault, in the order of the layers.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

fn one_per_line(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}
