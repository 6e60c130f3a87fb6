//! What Redis' errors mean to us.

use ::redis::{RedisError, ServerError};

use super::super::engine::EngineError;

/// Why a command was not done.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) error: EngineError,
    pub(super) link: Fate,
}

/// What is to become of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    /// It leads nowhere, or to where it should not.
    Gone,
}

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        match error.code() {
            Some(code) => of_code(code, error.detail().unwrap_or_default()),
            None => Self { error: EngineError::Unavailable(error.to_string()), link: Fate::Gone },
        }
    }
}

impl From<ServerError> for Fault {
    fn from(error: ServerError) -> Self {
        of_code(error.code(), error.details().unwrap_or_default())
    }
}

impl Fault {
    pub(super) fn refused(why: impl Into<String>) -> Self {
        Self { error: EngineError::Refused(why.into()), link: Fate::Gone }
    }

    pub(super) fn away(why: impl Into<String>) -> Self {
        Self { error: EngineError::Unavailable(why.into()), link: Fate::Gone }
    }

    /// The stream has an id that is none of ours, above which it cannot count.
    pub(super) fn is_foreign_id(&self) -> bool {
        let text = self.error.to_string();
        text.contains("smaller than the target stream top item") || text.contains("exhausted the last possible ID")
    }
}

impl From<Fault> for EngineError {
    fn from(fault: Fault) -> Self {
        fault.error
    }
}

fn of_code(code: &str, detail: &str) -> Fault {
    // Redis 6 wraps what went wrong inside a script.
    let inner = ["OOM", "MISCONF", "READONLY", "NOREPLICAS"];
    let inner = inner.into_iter().find(|inner| code == "ERR" && detail.contains(&format!("-{inner} ")));
    let text = format!("{code} {detail}").trim_end().to_owned();
    match inner.unwrap_or(code) {
        "NOAUTH" | "WRONGPASS" | "NOPERM" => Fault::refused(text),
        "ERR" if detail.contains("without any password configured") || detail.contains("invalid password") => {
            Fault::refused(text)
        }
        "WRONGTYPE" => {
            Fault { error: EngineError::Refused(format!("one of our keys is in use: {text}")), link: Fate::Kept }
        }
        "OOM" | "MISCONF" | "LOADING" | "BUSY" | "TRYAGAIN" | "NOREPLICAS" => {
            Fault { error: EngineError::Unavailable(text), link: Fate::Kept }
        }
        "ERR" if detail.starts_with("unknown command") => Fault::refused(text),
        "ERR" if !detail.contains("max number of clients") => {
            Fault { error: EngineError::Unavailable(text), link: Fate::Kept }
        }
        // READONLY, MOVED, ASK, CLUSTERDOWN, MASTERDOWN, NOSCRIPT, and what later versions say: a new connection finds out.
        _ => Fault::away(text),
    }
}

/// What was answered is not what was asked for, but the connection is fine.
impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        Self { error, link: Fate::Kept }
    }
}
