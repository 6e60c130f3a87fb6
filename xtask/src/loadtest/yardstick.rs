//! The same load on the server and on a bare loop of `send` calls, in pairs, so that a machine's mood hits both.

use std::fmt::{self, Display, Formatter};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// One pair of runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    server: Run,
    bare: Run,
}

/// What a pair compares of one run.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Run {
    /// CPU microseconds per delivered event.
    cost: f64,
    /// Milliseconds from publishing to the last subscriber, the median over the events.
    last: f64,
}

impl Pair {
    /// From the reports of both runs.
    pub fn of(server: &Value, bare: &Value) -> Result<Self> {
        let server = Run::of(server).context("the server's CPU per delivery is not known")?;
        let bare = Run::of(bare).context("the bare loop's CPU per delivery is not known")?;
        Ok(Self { server, bare })
    }

    fn ratio(self) -> f64 {
        self.server.cost / self.bare.cost
    }
}

impl Run {
    fn of(report: &Value) -> Option<Self> {
        let cost = report["server"]["cpu_us_per_delivery"].as_f64().filter(|cost| *cost > 0.0)?;
        Some(Self { cost, last: report["delivery"]["last_subscriber"]["p50_ms"].as_f64()? })
    }
}

impl Display for Pair {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { server, bare } = self;
        write!(f, "server {:.2} us, bare loop {:.2} us, ratio {:.3}; ", server.cost, bare.cost, self.ratio())?;
        write!(f, "to the last one {:.1} ms, bare loop {:.1} ms", server.last, bare.last)
    }
}

/// All pairs of a loadtest.
#[derive(Debug)]
pub struct Yardstick {
    pairs: Vec<Pair>,
}

impl Yardstick {
    pub fn new(pairs: Vec<Pair>) -> Result<Self> {
        ensure!(!pairs.is_empty(), "there must be at least one pair");
        Ok(Self { pairs })
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
                "bare_us": pair.bare.cost,
                "ratio": pair.ratio(),
                "server_last_ms": pair.server.last,
                "bare_last_ms": pair.bare.last,
            })
        };
        json!({
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
        let count = self.pairs.len();
        writeln!(
            f,
            "CPU per delivery against the bare loop: {median:.3} (median of {count}, {least:.3} to {greatest:.3})"
        )?;
        let (server, ..) = self.spread(|pair| pair.server.last);
        let (bare, ..) = self.spread(|pair| pair.bare.last);
        write!(f, "publish to the last subscriber: {server:.1} ms, bare loop {bare:.1} ms (medians of {count})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yardstick(ratios: &[f64]) -> Yardstick {
        let run = |cost| Run { cost, last: 1.0 };
        Yardstick::new(ratios.iter().map(|ratio| Pair { server: run(ratio * 2.0), bare: run(2.0) }).collect()).unwrap()
    }

    #[test]
    fn the_median_stands_for_the_pairs() {
        assert_eq!(yardstick(&[3.0, 1.0, 2.0]).ratios(), (2.0, 1.0, 3.0));
        assert_eq!(yardstick(&[3.0, 1.0]).ratios(), (2.0, 1.0, 3.0));
        assert!(Yardstick::new(Vec::new()).is_err());
        assert_eq!(yardstick(&[1.5]).to_json()["pairs"][0]["ratio"], 1.5);
    }

    #[test]
    fn a_report_without_figures_is_refused() {
        let last = json!({"last_subscriber": {"p50_ms": 1.0}});
        let report = json!({"server": {"cpu_us_per_delivery": 3.0}, "delivery": last});
        assert_eq!(Pair::of(&report, &report).unwrap().ratio(), 1.0);
        assert!(Pair::of(&json!({"server": null}), &report).is_err());
        assert!(Pair::of(&report, &json!({"server": {"cpu_us_per_delivery": 0.0}, "delivery": last})).is_err());
    }
}
