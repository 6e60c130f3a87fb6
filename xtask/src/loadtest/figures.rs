//! The figures of a loadtest that are told, kept and compared, over repeated runs.

use std::fmt::{self, Display, Formatter};

use serde_json::{Value, json};

use crate::chart::number;

/// The middle of several values, the least and the greatest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub greatest: f64,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, greatest) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Self { median, least, greatest })
    }
}

/// One figure, less of which is better.
#[derive(Debug)]
pub struct Figure {
    pub key: &'static str,
    pub what: &'static str,
    pub unit: &'static str,
    /// Whether a rise of it fails a comparison: the slowest of all says more about the machine than about the server.
    pub is_judged: bool,
    /// So much more is never a regression, in its unit: clocks tick, and memory comes in pages.
    pub floor: f64,
    of: fn(&Value) -> Option<f64>,
}

#[rustfmt::skip]
pub const FIGURES: [Figure; 11] = [
    Figure { key: "cpu_us_per_delivery", what: "server CPU per delivery", unit: "us", is_judged: true, floor: 0.2, of: |report| report["server"]["cpu_us_per_delivery"].as_f64() },
    Figure { key: "cpu_us_per_opening", what: "server CPU for opening a stream", unit: "us", is_judged: true, floor: 10.0, of: |report| report["server"]["cpu_us_per_opening"].as_f64() },
    Figure { key: "idle_kib", what: "server memory per idle stream", unit: "KiB", is_judged: true, floor: 0.5, of: |report| Some(report["server"]["rss_bytes_per_idle_stream"].as_f64()? / 1024.0) },
    Figure { key: "kernel_kib", what: "kernel memory per stream, both ends", unit: "KiB", is_judged: false, floor: 2.0, of: |report| Some(report["server"]["kernel_bytes_per_stream"].as_f64()? / 1024.0) },
    Figure { key: "p50_ms", what: "publish to subscriber, p50", unit: "ms", is_judged: true, floor: 0.5, of: |report| report["delivery"]["latency"]["p50_ms"].as_f64() },
    Figure { key: "p99_ms", what: "publish to subscriber, p99", unit: "ms", is_judged: true, floor: 2.0, of: |report| report["delivery"]["latency"]["p99_ms"].as_f64() },
    Figure { key: "p999_ms", what: "publish to subscriber, p99.9", unit: "ms", is_judged: false, floor: 5.0, of: |report| report["delivery"]["latency"]["p999_ms"].as_f64() },
    Figure { key: "max_ms", what: "publish to subscriber, slowest", unit: "ms", is_judged: false, floor: 10.0, of: |report| report["delivery"]["latency"]["max_ms"].as_f64() },
    Figure { key: "last_ms", what: "publish to the last subscriber, p50", unit: "ms", is_judged: true, floor: 1.0, of: |report| report["delivery"]["last_subscriber"]["p50_ms"].as_f64() },
    Figure { key: "wire_bytes", what: "bytes on the wire per delivery", unit: "B", is_judged: true, floor: 8.0, of: wire_bytes },
    Figure { key: "loadgen_us_per_delivery", what: "load generator's CPU per delivery", unit: "us", is_judged: false, floor: 0.5, of: |report| report["loadgen"]["cpu_us_per_delivery"].as_f64() },
];

fn wire_bytes(report: &Value) -> Option<f64> {
    let delivery = &report["delivery"];
    Some(delivery["bytes"].as_f64()? / delivery["delivered"].as_f64().filter(|count| *count > 0.0)?)
}

/// The figures of some runs.
#[derive(Debug)]
pub struct Figures {
    /// In the order of [`FIGURES`], and of the runs within.
    values: Vec<Vec<f64>>,
}

impl Figures {
    pub fn of(reports: &[Value]) -> Self {
        Self { values: FIGURES.iter().map(|figure| reports.iter().filter_map(figure.of).collect()).collect() }
    }

    /// Those that a report has kept.
    pub fn kept_in(report: &Value) -> Self {
        let kept = |figure: &Figure| {
            let values = report["figures"][figure.key]["runs"].as_array();
            values.map(|values| values.iter().filter_map(Value::as_f64).collect()).unwrap_or_default()
        };
        Self { values: FIGURES.iter().map(kept).collect() }
    }

    /// What is known, with how many runs it is of.
    pub fn known(&self) -> impl Iterator<Item = (&'static Figure, Spread, usize)> {
        let known =
            |(figure, values): (&'static Figure, &Vec<f64>)| Some((figure, Spread::of(values.clone())?, values.len()));
        FIGURES.iter().zip(&self.values).filter_map(known)
    }

    pub fn find(&self, key: &str) -> Option<(Spread, usize)> {
        self.known().find_map(|(figure, spread, runs)| (figure.key == key).then_some((spread, runs)))
    }

    pub fn to_json(&self) -> Value {
        let one = |(figure, values): (&Figure, &Vec<f64>)| {
            let Some(Spread { median, least, greatest }) = Spread::of(values.clone()) else { return Value::Null };
            json!({"what": figure.what, "unit": figure.unit, "median": median, "min": least, "max": greatest, "runs": values})
        };
        FIGURES
            .iter()
            .zip(&self.values)
            .map(|pair| (pair.0.key.to_owned(), one(pair)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

impl Display for Figures {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<40}{:>10}{:>10}{:>10}", "figure, over the runs", "median", "least", "greatest")?;
        for (figure, Spread { median, least, greatest }, _) in self.known() {
            let name = format!("{}, {}", figure.what, figure.unit);
            writeln!(f, "{name:<40}{:>10}{:>10}{:>10}", number(median), number(least), number(greatest))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_taken_kept_and_read_back() {
        let report =
            |cost: f64| json!({"server": {"cpu_us_per_delivery": cost}, "delivery": {"bytes": 500, "delivered": 2}});
        let figures = Figures::of(&[report(3.0), report(1.0), report(2.0)]);
        let (spread, runs) = figures.find("cpu_us_per_delivery").unwrap();
        assert_eq!((spread, runs), (Spread { median: 2.0, least: 1.0, greatest: 3.0 }, 3));
        assert_eq!(figures.find("wire_bytes").unwrap().0.median, 250.0);
        assert_eq!(figures.find("p99_ms"), None, "what was not measured is not 0");
        let kept = Figures::kept_in(&json!({"figures": figures.to_json()}));
        assert_eq!(kept.values, figures.values);
        assert!(figures.to_string().contains("server CPU per delivery, us                      2         1         3"));
    }

    #[test]
    fn the_median_stands_for_the_runs() {
        assert_eq!(Spread::of(vec![1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
