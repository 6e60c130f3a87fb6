//! The same load on the server and on something else, a bare loop of `send` calls or the server without a log: in pairs, so
//! that a machine's mood hits both.

use std::fmt::{self, Display, Formatter};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// One pair of runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    server: Run,
    other: Run,
}

/// What a pair compares of one run.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Run {
    /// CPU microseconds per delivered event.
    cost: f64,
    /// Milliseconds from publishing to the last subscriber, the median over the events.
    last: f64,
    /// Bytes of each delivered event on its connection.
    bytes: f64,
}

impl Pair {
    /// From the reports of both runs.
    pub fn of(server: &Value, other: &Value) -> Result<Self> {
        let server = Run::of(server).context("the server's CPU per delivery is not known")?;
        let other = Run::of(other).context("the other's CPU per delivery is not known")?;
        Ok(Self { server, other })
    }

    fn ratio(self) -> f64 {
        self.server.cost / self.other.cost
    }
}

impl Run {
    fn of(report: &Value) -> Option<Self> {
        let cost = report["server"]["cpu_us_per_delivery"].as_f64().filter(|cost| *cost > 0.0)?;
        let delivery = &report["delivery"];
        let bytes = delivery["bytes"].as_f64()? / delivery["delivered"].as_f64()?;
        Some(Self { cost, last: delivery["last_subscriber"]["p50_ms"].as_f64()?, bytes })
    }
}

impl Display for Pair {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { server, other } = self;
        write!(f, "server {:.2} us, other {:.2} us, ratio {:.3}; ", server.cost, other.cost, self.ratio())?;
        write!(f, "{:.0} B, other {:.0} B; ", server.bytes, other.bytes)?;
        write!(f, "to the last one {:.1} ms, other {:.1} ms", server.last, other.last)
    }
}

/// All pairs of a loadtest.
#[derive(Debug)]
pub struct Yardstick {
    /// What the server is compared with.
    other: &'static str,
    pairs: Vec<Pair>,
}

impl Yardstick {
    pub fn new(other: &'static str, pairs: Vec<Pair>) -> Result<Self> {
        ensure!(!pairs.is_empty(), "there must be at least one pair");
        Ok(Self { other, pairs })
    }

    /// The middle of a figure over the pairs, the least and the greatest.
    fn spread(&self, figure: impl FnMut(&Pair) -> f64) -> (f64, f64, f64) {
        let mut figures: Vec<f64> = self.pairs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        let median =
            if figures.len() % 2 == 1 { figures[middle] } else { (figures[middle - 1] + figures[middle]) / 2.0 };
        (median, figures[0], figures[figures.len() - 1])
    }

    fn ratios(&self) -> (f64, f64, f64) {
        self.spread(|pair| pair.ratio())
    }

    pub fn to_json(&self) -> Value {
        let (median, least, greatest) = self.ratios();
        let pair = |pair: &Pair| {
            json!({
                "server_us": pair.server.cost,
                "other_us": pair.other.cost,
                "ratio": pair.ratio(),
                "server_last_ms": pair.server.last,
                "other_last_ms": pair.other.last,
                "server_bytes": pair.server.bytes,
                "other_bytes": pair.other.bytes,
            })
        };
        json!({
            "other": self.other,
            "ratio_median": median,
            "ratio_min": least,
            "ratio_max": greatest,
            "pairs": self.pairs.iter().map(pair).collect::<Vec<_>>(),
        })
    }
}

impl Display for Yardstick {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (median, least, greatest) = self.ratios();
        let (count, name) = (self.pairs.len(), self.other);
        writeln!(f, "CPU per delivery against {name}: {median:.3} (median of {count}, {least:.3} to {greatest:.3})")?;
        let (server, ..) = self.spread(|pair| pair.server.last);
        let (other, ..) = self.spread(|pair| pair.other.last);
        write!(f, "publish to the last subscriber: {server:.1} ms, {name} {other:.1} ms (medians of {count})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yardstick(ratios: &[f64]) -> Yardstick {
        let run = |cost| Run { cost, last: 1.0, bytes: 1.0 };
        let pair = |ratio: &f64| Pair { server: run(ratio * 2.0), other: run(2.0) };
        Yardstick::new("the bare loop", ratios.iter().map(pair).collect()).unwrap()
    }

    #[test]
    fn the_median_stands_for_the_pairs() {
        assert_eq!(yardstick(&[3.0, 1.0, 2.0]).ratios(), (2.0, 1.0, 3.0));
        assert_eq!(yardstick(&[3.0, 1.0]).ratios(), (2.0, 1.0, 3.0));
        assert!(Yardstick::new("nothing", Vec::new()).is_err());
        assert_eq!(yardstick(&[1.5]).to_json()["pairs"][0]["ratio"], 1.5);
    }

    #[test]
    fn a_report_without_figures_is_refused() {
        let last = json!({"last_subscriber": {"p50_ms": 1.0}, "bytes": 300, "delivered": 1});
        let report = json!({"server": {"cpu_us_per_delivery": 3.0}, "delivery": last});
        assert_eq!(Pair::of(&report, &report).unwrap().ratio(), 1.0);
        assert!(Pair::of(&json!({"server": null}), &report).is_err());
        assert!(Pair::of(&report, &json!({"server": {"cpu_us_per_delivery": 0.0}, "delivery": last})).is_err());
    }
}
