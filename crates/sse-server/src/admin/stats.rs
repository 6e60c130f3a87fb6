//! `/api/stats`: how the server does, and how it did in the last minutes.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::Response;
use serde::Serialize;

use super::rights::Rights;
use crate::app::App;
use crate::history::{SECONDS_MAX, Second};
use crate::http::{Problem, ReplyBody, json, query_pairs};

/// Seconds that `per_second` is the mean of.
const RATE_SECONDS: usize = 5;

#[derive(Serialize)]
struct Stats {
    version: &'static str,
    /// When these were, in seconds since 1970.
    now: u64,
    uptime_seconds: u64,
    draining: bool,
    connections: Connections,
    streams: usize,
    topics: usize,
    totals: Totals,
    per_second: Rates,
    evictions: ByReason,
    gaps: ByReason,
    rejected_connections: ByReason,
    rejected_publishes: ByReason,
    kicks: u64,
    /// What whoever asks may do here.
    rights: Rights,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<History>,
}

#[derive(Serialize)]
struct Connections {
    open: usize,
    max: usize,
}

#[derive(Serialize)]
struct Totals {
    events: u64,
    deliveries: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Rates {
    events: f64,
    deliveries: f64,
    bytes: f64,
}

type ByReason = BTreeMap<String, u64>;

/// One number for each second, the oldest first.
#[derive(Serialize)]
struct History {
    connections: Vec<usize>,
    events: Vec<u64>,
    deliveries: Vec<u64>,
}

/// # Errors
/// 400 for a query that is none.
pub(super) fn show(app: &App, query: &str) -> Result<Response<ReplyBody>, Problem> {
    let seconds = seconds(query)?;
    let metrics = app.metrics.as_ref().map(|metrics| metrics.render()).unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let totals = app.signals.totals();
    Ok(json(&Stats {
        version: env!("CARGO_PKG_VERSION"),
        now: now.as_secs(),
        uptime_seconds: app.started_at.elapsed().as_secs(),
        draining: app.is_draining(),
        connections: Connections { open: app.connections.open(), max: app.config().connections_max.get() },
        streams: totals.streams(),
        topics: app.hub.topics(),
        totals: Totals {
            events: sum(&metrics, "sse_events_published_total"),
            deliveries: totals.delivered(),
            bytes: totals.sent(),
        },
        per_second: Rates::of(&app.history.last(RATE_SECONDS)),
        evictions: by_reason(&metrics, "sse_evictions_total"),
        gaps: by_reason(&metrics, "sse_gaps_total"),
        rejected_connections: by_reason(&metrics, "sse_connections_rejected_total"),
        rejected_publishes: by_reason(&metrics, "sse_publish_rejected_total"),
        kicks: sum(&metrics, "sse_kicks_total"),
        rights: Rights::of(app),
        history: (seconds > 0).then(|| History::of(&app.history.last(seconds))),
    }))
}

fn seconds(query: &str) -> Result<usize, Problem> {
    let mut seconds = 0;
    for (name, value) in query_pairs(query)? {
        match (&*name, value.parse::<usize>()) {
            ("seconds", Ok(wanted)) => seconds = wanted.min(SECONDS_MAX),
            _ => return Err(Problem::bad("query", "the query takes seconds=N, of how many of the last to tell")),
        }
    }
    Ok(seconds)
}

impl Rates {
    fn of(seconds: &[Second]) -> Self {
        let mean = |of: fn(&Second) -> u64| {
            let sum: u64 = seconds.iter().map(of).sum();
            (sum as f64 / seconds.len().max(1) as f64 * 10.0).round() / 10.0
        };
        Self {
            events: mean(|second| second.events),
            deliveries: mean(|second| second.deliveries),
            bytes: mean(|second| second.bytes),
        }
    }
}

impl History {
    fn of(seconds: &[Second]) -> Self {
        Self {
            connections: seconds.iter().map(|second| second.connections).collect(),
            events: seconds.iter().map(|second| second.events).collect(),
            deliveries: seconds.iter().map(|second| second.deliveries).collect(),
        }
    }
}

/// The series of a counter in what a scraper would see: a recorder does not tell of its counters otherwise.
fn series<'a>(metrics: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, u64)> {
    metrics.lines().filter_map(move |line| {
        let (series, value) = line.rsplit_once(' ')?;
        let labels = series.strip_prefix(name)?;
        (labels.is_empty() || labels.starts_with('{')).then_some(())?;
        Some((labels, value.parse().ok()?))
    })
}

fn sum(metrics: &str, name: &str) -> u64 {
    series(metrics, name).map(|(_, value)| value).sum()
}

fn by_reason(metrics: &str, name: &str) -> ByReason {
    let reason = |labels: &str| Some(labels.split_once("reason=\"")?.1.split('"').next()?.to_owned());
    let happened = series(metrics, name).filter(|(_, value)| *value > 0);
    happened.filter_map(|(labels, value)| Some((reason(labels)?, value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_as_scrapers_see_them() {
        let metrics = "# TYPE a_total counter\na_total{reason=\"x\"} 2\na_total{by=\"q\",reason=\"y\"} 3\na_total{reason=\"z\"} 0\na_total_more 9\nb 1\n";
        assert_eq!(by_reason(metrics, "a_total"), ByReason::from([("x".to_owned(), 2), ("y".to_owned(), 3)]));
        assert_eq!((sum(metrics, "a_total"), sum(metrics, "b"), sum(metrics, "c")), (5, 1, 0));
    }
}
