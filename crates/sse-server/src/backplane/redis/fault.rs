//! What Redis' errors mean to us.

use ::redis::{RedisError, ServerError};

use super::super::engine::EngineError;
use super::super::slot::{Fate, Fault};

impl From<RedisError> for Fault {
    fn from(error: RedisError) -> Self {
        match error.code() {
            Some(code) => of_code(code, error.detail().unwrap_or_default()),
            None => Self::away(error.to_string()),
        }
    }
}

impl From<ServerError> for Fault {
    fn from(error: ServerError) -> Self {
        of_code(error.code(), error.details().unwrap_or_default())
    }
}

/// The stream has an id that is none of ours, above which it cannot count.
pub(super) fn foreign_id() -> Fault {
    Fault::not_now("the stream counts on from an id of somebody else")
}

pub(super) fn is_foreign_id(fault: &Fault) -> bool {
    let EngineError::Unavailable(text) = &fault.error else { return false };
    text.contains("smaller than the target stream top item")
        || text.contains("exhausted the last possible ID")
        // What `XADD` says where there is no next id.
        || text.contains("Elements are too large to be stored")
        || text.contains("id of somebody else")
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
        "OOM" | "MISCONF" | "LOADING" | "BUSY" | "TRYAGAIN" | "NOREPLICAS" => Fault::not_now(text),
        "ERR" if detail.starts_with("unknown command") || detail.contains("DB index is out of range") => {
            Fault::refused(text)
        }
        "ERR" if !detail.contains("max number of clients") => Fault::not_now(text),
        // READONLY, MOVED, ASK, CLUSTERDOWN, MASTERDOWN, NOSCRIPT, and what later versions say: a new connection finds out.
        _ => Fault::away(text),
    }
}
