//! Whether a loadtest is worse than an earlier one, beyond what repeated runs differ anyway.

use std::fmt::{self, Display, Formatter};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::figures::{Figure, Figures, Spread};
use crate::chart::number;

/// With so many runs on both sides their spread is taken for the noise.
const RUNS_ENOUGH: usize = 3;
/// How much above the worst earlier run the best new one must be, where the spread is known.
const MARGIN: f64 = 1.05;
/// The same where it is not: single runs on a shared machine differ by a third.
const MARGIN_UNKNOWN: f64 = 1.5;

/// One figure, then and now.
#[derive(Debug)]
pub struct Change {
    figure: &'static Figure,
    before: Spread,
    now: Spread,
    pub is_regression: bool,
}

/// All figures that both have.
#[derive(Debug)]
pub struct Comparison {
    pub changes: Vec<Change>,
}

impl Comparison {
    /// # Errors
    /// When the two are not of the same load or machine, or have no figure in common: then nothing can be said.
    pub fn of(before: &Value, now: &Value) -> Result<Self> {
        for what in
            ["subscribers", "slow_readers", "topics", "topics_per_subscriber", "rate", "burst", "event_bytes", "churn"]
        {
            let (before, now) = (&before["load"][what], &now["load"][what]);
            ensure!(before == now, "the earlier report is of another load: {what} was {before}, and is {now}");
        }
        for what in ["processor", "cores"] {
            let (before, now) = (&before["machine"][what], &now["machine"][what]);
            ensure!(before == now, "the earlier report is of another machine: {what} was {before}, and is {now}");
        }
        let (before, now) = (Figures::kept_in(before), Figures::kept_in(now));
        let change = |(figure, now, runs): (&'static Figure, Spread, usize)| {
            let (before, runs_before) = before.find(figure.key)?;
            let is_regression = figure.is_judged && is_worse(figure, before, now, runs.min(runs_before));
            Some(Change { figure, before, now, is_regression })
        };
        let changes: Vec<Change> = now.known().filter_map(change).collect();
        ensure!(!changes.is_empty(), "the earlier report has no figures");
        Ok(Self { changes })
    }

    pub fn regressions(&self) -> usize {
        self.changes.iter().filter(|change| change.is_regression).count()
    }
}

fn is_worse(figure: &Figure, before: Spread, now: Spread, runs: usize) -> bool {
    let margin = if runs >= RUNS_ENOUGH { MARGIN } else { MARGIN_UNKNOWN };
    now.least > before.greatest * margin && now.median - before.median > figure.floor
}

impl Display for Comparison {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<40}{:>22}{:>22}", "figure", "before", "now")?;
        for Change { figure, before, now, is_regression } in &self.changes {
            let shown = |spread: &Spread| {
                format!("{} ({}..{})", number(spread.median), number(spread.least), number(spread.greatest))
            };
            let name = format!("{}, {}", figure.what, figure.unit);
            let verdict = if *is_regression { "  REGRESSION" } else { "" };
            writeln!(f, "{name:<40}{:>22}{:>22}{verdict}", shown(before), shown(now))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(costs: &[f64], slowest: &[f64]) -> Value {
        json!({
            "load": {"subscribers": 10}, "machine": {"cores": 2},
            "figures": {"cpu_us_per_delivery": {"runs": costs}, "max_ms": {"runs": slowest}},
        })
    }

    fn regressions(before: &[f64], now: &[f64]) -> usize {
        Comparison::of(&report(before, &[1.0]), &report(now, &[1.0])).unwrap().regressions()
    }

    #[test]
    fn what_is_worse_than_the_noise_is_a_regression() {
        assert_eq!(regressions(&[3.0, 3.2, 3.4], &[3.9, 4.0, 4.1]), 1);
        assert_eq!(regressions(&[3.0, 3.2, 3.4], &[3.4, 4.0, 4.1]), 0, "one of them was as good");
        assert_eq!(regressions(&[3.0, 3.2, 4.5], &[3.9, 4.0, 4.1]), 0, "it was as bad before");
        assert_eq!(regressions(&[3.0], &[4.0]), 0, "of single runs little is known");
        assert_eq!(regressions(&[3.0], &[5.0]), 1);
        assert_eq!(regressions(&[0.1, 0.1, 0.1], &[0.2, 0.2, 0.2]), 0, "below what the clock tells");
        let text = Comparison::of(&report(&[3.0], &[1.0]), &report(&[5.0], &[90.0])).unwrap().to_string();
        assert_eq!(text.matches("REGRESSION").count(), 1, "the slowest of all is not judged: {text}");
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let whole = report(&[3.0], &[1.0]);
        let mut other = whole.clone();
        other["load"]["subscribers"] = json!(11);
        assert!(Comparison::of(&whole, &other).unwrap_err().to_string().contains("another load: subscribers was 10"));
        let mut other = whole.clone();
        other["machine"]["cores"] = json!(8);
        assert!(Comparison::of(&other, &whole).unwrap_err().to_string().contains("another machine"));
        let mut other = whole.clone();
        other["figures"] = json!({});
        assert!(Comparison::of(&other, &whole).is_err());
    }
}
