//! Whether a server that ran for long holds no more than it did after warming up.

use std::fmt::{self, Display, Formatter};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::soak::slope::Slope;

/// One figure of the server over time.
#[derive(Debug)]
struct Trend {
    name: &'static str,
    unit: &'static str,
    /// How many of the sampled unit make one shown.
    scale: f64,
    slope: Slope,
    /// How much it may rise from the end of the warm-up to the end.
    allowed: f64,
}

/// What the soak came to.
#[derive(Debug)]
pub struct Verdict {
    trends: Vec<Trend>,
    samples: usize,
    whole: bool,
}

impl Verdict {
    /// From the load generator's samples, those of the first `warm_up` seconds left out, and whether all loads were
    /// delivered whole.
    ///
    /// `topics` are how many there were, beside their seconds.
    pub fn of(samples: &Value, topics: &[(f64, f64)], warm_up: f64, whole: bool) -> Result<Self> {
        let samples = samples.as_array().context("the report has no samples")?;
        let samples: Vec<&Value> =
            samples.iter().filter(|sample| sample["seconds"].as_f64().is_some_and(|at| at >= warm_up)).collect();
        let through = |name, unit, scale, points: &[(f64, f64)], allowed: fn(f64) -> f64| {
            let slope = Slope::through(points).context("too few samples after the warm-up: soak for longer")?;
            Ok::<_, anyhow::Error>(Trend { name, unit, scale, slope, allowed: allowed(slope.mean) })
        };
        let trend = |name, unit, scale, field: &str, allowed: fn(f64) -> f64| {
            let point = |sample: &&Value| Some((sample["seconds"].as_f64()?, sample["server"][field].as_f64()?));
            through(name, unit, scale, &samples.iter().filter_map(point).collect::<Vec<_>>(), allowed)
        };
        let topics: Vec<(f64, f64)> = topics.iter().copied().filter(|(at, _)| *at >= warm_up).collect();
        let trends = vec![
            // Allocators keep pages; what grows with each visitor or event goes past this in minutes.
            trend("resident memory", "MiB", MIB, "rss_bytes", |mean| (0.02 * mean).max(2.0 * MIB))?,
            // Visitors come and go, and faults bring some dozens more, so the number swings.
            trend("descriptors", "", 1.0, "descriptors", |mean| (0.03 * mean).max(5.0))?,
            trend("threads", "", 1.0, "threads", |_| 0.9)?,
            // Some hundreds come with a fault, and go half a minute later.
            through("topics", "", 1.0, &topics, |mean| (0.5 * mean).max(250.0))?,
        ];
        Ok(Self { trends, samples: samples.len(), whole })
    }

    pub fn holds(&self) -> bool {
        self.whole && self.trends.iter().all(Trend::is_flat)
    }

    pub fn to_json(&self) -> Value {
        json!({
            "holds": self.holds(),
            "whole": self.whole,
            "samples": self.samples,
            "trends": self.trends.iter().map(Trend::to_json).collect::<Vec<_>>(),
        })
    }
}

const MIB: f64 = 1_048_576.0;

impl Trend {
    fn is_flat(&self) -> bool {
        !self.slope.rises_beyond(self.allowed)
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "flat": self.is_flat(),
            "mean": self.slope.mean,
            "per_hour": self.slope.per_second * 3_600.0,
            "per_hour_error": self.slope.error * 3_600.0,
            "growth": self.slope.growth(),
            "allowed": self.allowed,
        })
    }
}

impl Display for Trend {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let shown = |value: f64| value / self.scale;
        let (slope, unit) = (self.slope, self.unit);
        write!(
            f,
            "{:<18}{:>10.2} {unit:<4}{:>+10.2} +- {:<8.2}{:>+10.2}{:>10.2}  {}",
            self.name,
            shown(slope.mean),
            shown(slope.per_second * 3_600.0),
            shown(slope.error * 3_600.0),
            shown(slope.growth()),
            shown(self.allowed),
            if self.is_flat() { "flat" } else { "RISES" }
        )
    }
}

impl Display for Verdict {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<18}{:>15}{:>22}{:>10}{:>10}", "", "mean", "per hour", "growth", "allowed")?;
        for trend in &self.trends {
            writeln!(f, "{trend}")?;
        }
        writeln!(f, "{:<18}{}", "deliveries", if self.whole { "whole" } else { "NOT WHOLE" })?;
        write!(f, "{:<18}{}", "verdict", if self.holds() { "the server holds" } else { "the server does NOT hold" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples each second: memory, descriptors and threads grow by so much per second after a steep first minute.
    fn samples(rss: f64, descriptors: f64, threads: f64) -> Value {
        let sample = |second: i32| {
            let at = f64::from(second);
            let warm = f64::from(second.min(60)) * 1e6;
            json!({"seconds": at, "server": {
                "rss_bytes": 10e6 + warm + rss * at,
                "descriptors": 500.0 + descriptors * at,
                "threads": 4.0 + threads * at,
            }})
        };
        (0..300).map(sample).collect()
    }

    /// Some hundreds that come and go, and so many per second that stay.
    fn topics(growth: f64) -> Vec<(f64, f64)> {
        (0..300).map(f64::from).map(|at| (at, 6.0 + 300.0 * f64::from(at % 60.0 < 20.0) + growth * at)).collect()
    }

    fn holds(samples: &Value, whole: bool) -> bool {
        Verdict::of(samples, &topics(0.0), 60.0, whole).unwrap().holds()
    }

    #[test]
    fn a_flat_server_holds() {
        assert!(holds(&samples(0.0, 0.0, 0.0), true));
        assert!(holds(&samples(-1e4, -0.1, 0.0), true), "what shrinks does not leak");
    }

    #[test]
    fn each_leak_is_found() {
        assert!(!holds(&samples(20_000.0, 0.0, 0.0), true));
        assert!(!holds(&samples(0.0, 0.1, 0.0), true));
        assert!(!holds(&samples(0.0, 0.0, 0.01), true));
        assert!(!Verdict::of(&samples(0.0, 0.0, 0.0), &topics(3.0), 60.0, true).unwrap().holds());
        assert!(!holds(&samples(0.0, 0.0, 0.0), false), "nor may anything be lost");
    }

    #[test]
    fn the_warm_up_does_not_count_and_must_leave_something() {
        assert!(!Verdict::of(&samples(0.0, 0.0, 0.0), &topics(0.0), 0.0, true).unwrap().holds());
        assert!(Verdict::of(&samples(0.0, 0.0, 0.0), &topics(0.0), 298.0, true).is_err());
    }
}
