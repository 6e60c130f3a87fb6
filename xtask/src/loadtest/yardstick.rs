//! The same load on the server and on a bare loop of `send` calls, in pairs, so that a machine's mood hits both.

use std::fmt::{self, Display, Formatter};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// One pair of runs: CPU microseconds per delivered event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    pub server: f64,
    pub bare: f64,
}

impl Pair {
    /// From the reports of both runs.
    pub fn of(server: &Value, bare: &Value) -> Result<Self> {
        let cost = |report: &Value| report["server"]["cpu_us_per_delivery"].as_f64().filter(|cost| *cost > 0.0);
        let server = cost(server).context("the server's CPU per delivery is not known")?;
        let bare = cost(bare).context("the bare loop's CPU per delivery is not known")?;
        Ok(Self { server, bare })
    }

    pub fn ratio(self) -> f64 {
        self.server / self.bare
    }
}

impl Display for Pair {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "server {:.2} us, bare loop {:.2} us, ratio {:.3}", self.server, self.bare, self.ratio())
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

    /// The middle of the ratios, the least and the greatest.
    fn spread(&self) -> (f64, f64, f64) {
        let mut ratios: Vec<f64> = self.pairs.iter().map(|pair| pair.ratio()).collect();
        ratios.sort_by(f64::total_cmp);
        let middle = ratios.len() / 2;
        let median = if ratios.len() % 2 == 1 { ratios[middle] } else { (ratios[middle - 1] + ratios[middle]) / 2.0 };
        (median, ratios[0], ratios[ratios.len() - 1])
    }

    pub fn to_json(&self) -> Value {
        let (median, least, greatest) = self.spread();
        let pair = |pair: &Pair| json!({"server_us": pair.server, "bare_us": pair.bare, "ratio": pair.ratio()});
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
        let (median, least, greatest) = self.spread();
        let count = self.pairs.len();
        write!(
            f,
            "CPU per delivery against the bare loop: {median:.3} (median of {count}, {least:.3} to {greatest:.3})"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yardstick(ratios: &[f64]) -> Yardstick {
        Yardstick::new(ratios.iter().map(|ratio| Pair { server: ratio * 2.0, bare: 2.0 }).collect()).unwrap()
    }

    #[test]
    fn the_median_stands_for_the_pairs() {
        assert_eq!(yardstick(&[3.0, 1.0, 2.0]).spread(), (2.0, 1.0, 3.0));
        assert_eq!(yardstick(&[3.0, 1.0]).spread(), (2.0, 1.0, 3.0));
        assert!(Yardstick::new(Vec::new()).is_err());
        assert_eq!(yardstick(&[1.5]).to_json()["pairs"][0]["ratio"], 1.5);
    }

    #[test]
    fn a_report_without_figures_is_refused() {
        let report = json!({"server": {"cpu_us_per_delivery": 3.0}});
        assert_eq!(Pair::of(&report, &report).unwrap().ratio(), 1.0);
        assert!(Pair::of(&json!({"server": null}), &report).is_err());
        assert!(Pair::of(&report, &json!({"server": {"cpu_us_per_delivery": 0.0}})).is_err());
    }
}
