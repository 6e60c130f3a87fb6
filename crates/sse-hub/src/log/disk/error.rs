//! What can go wrong with a directory of a log.

use std::io;
use std::path::PathBuf;

use rusqlite::ErrorCode;

use crate::log::LogError;

/// Why a log was not opened. Nothing in its directory was changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenLogError {
    /// Another process has it open.
    #[error("another process uses the log in {}", dir.display())]
    InUse {
        /// Its directory.
        dir: PathBuf,
    },
    /// A file does not belong to a log, or one that does is missing.
    #[error("{}: {problem}", path.display())]
    NotALog {
        /// The file or directory.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// It was written by another version of this software.
    #[error("{}: the log has format {found}, and this version reads {known}", dir.display())]
    Version {
        /// Its directory.
        dir: PathBuf,
        /// The format's number.
        found: i64,
        /// The one that is known.
        known: i64,
    },
    /// The system refused something.
    #[error("{}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The storage cannot be read or written.
    #[error("the log in {}", dir.display())]
    Storage {
        /// Its directory.
        dir: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Whether nothing was written, and a later attempt may succeed.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

pub(super) fn log_error(error: rusqlite::Error) -> LogError {
    if is_full(&error) { LogError::Full(error.into()) } else { LogError::Failed(error.into()) }
}
