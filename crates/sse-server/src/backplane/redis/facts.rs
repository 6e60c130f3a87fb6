//! What an operator should know of a Redis that is to keep events.

use ::redis::{Pipeline, Value};

use super::super::engine::{EngineError, Opened};
use super::link::Link;
use super::reply;

/// Asks how it is set up. Hosted ones often do not tell.
pub(super) async fn ask(link: &Link) -> Result<Opened, EngineError> {
    let mut batch = Pipeline::new();
    for setting in ["appendonly", "appendfsync", "maxmemory-policy", "maxmemory"] {
        batch.cmd("CONFIG").arg("GET").arg(setting);
    }
    let answers = link.ask_all(&batch).await?;
    let told: Vec<Option<String>> = answers.iter().map(reply::setting).collect();
    let warnings = match answers.iter().any(|answer| matches!(answer, Value::ServerError(_))) {
        true => {
            vec!["Redis does not tell its settings: see to it that it appends to a file and evicts no keys.".to_owned()]
        }
        false => warnings([&told[0], &told[1], &told[2], &told[3]].map(|told| told.as_deref().unwrap_or_default())),
    };
    Ok(Opened { version: format!("Redis {}", link.version), entry_bytes_max: link.entry_bytes_max, warnings })
}

fn warnings([appendonly, appendfsync, policy, maxmemory]: [&str; 4]) -> Vec<String> {
    let mut warnings = Vec::new();
    match (appendonly, appendfsync) {
        ("no", _) => warnings.push(
            "Redis does not append to a file (appendonly no): when it restarts, events since its last snapshot are lost."
                .to_owned(),
        ),
        (_, "always") => (),
        (_, "everysec") => warnings.push(
            "Redis syncs its file every second (appendfsync everysec): a loss of power loses about the last second of events."
                .to_owned(),
        ),
        _ => warnings.push(
            "Redis leaves it to the system when to sync its file (appendfsync no): a loss of power loses about half a minute of \
             events."
                .to_owned(),
        ),
    }
    if maxmemory != "0" && policy.starts_with("allkeys-") {
        warnings.push(format!(
            "Redis evicts any key when its memory is full (maxmemory-policy {policy}), the events with all others: noeviction keeps \
             them."
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_lost_is_said() {
        let named = |settings| warnings(settings).join(" ");
        assert_eq!(named(["yes", "always", "noeviction", "0"]), "");
        assert_eq!(named(["yes", "always", "allkeys-lru", "0"]), "", "nothing is evicted without a limit");
        assert!(named(["yes", "always", "allkeys-lru", "100"]).contains("maxmemory-policy allkeys-lru"));
        assert!(named(["no", "always", "noeviction", "0"]).contains("appendonly no"));
        assert!(named(["yes", "everysec", "noeviction", "0"]).contains("everysec"));
        assert!(named(["yes", "no", "noeviction", "0"]).contains("appendfsync no"));
    }
}
