//! What a row measured, and whether that is within its gate.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::bench::Quota;

/// One figure beside its gate.
#[derive(Debug)]
pub struct Finding {
    pub what: String,
    pub gate: String,
    pub measured: String,
    pub holds: bool,
}

/// Everything that one row found.
#[derive(Debug, Default)]
pub struct Findings {
    findings: Vec<Finding>,
    /// What helps to understand the figures; judged by nobody.
    notes: Map<String, Value>,
}

/// Below this a p99 has not changed, whatever the ratio says.
const SAME_P99_MS: f64 = 2.0;

impl Findings {
    /// Holds if no more than `max` was measured.
    pub fn at_most(&mut self, what: &str, measured: f64, max: f64, unit: &str) {
        let gate = format!("<= {}", amount(max, unit));
        self.add(what, gate, amount(measured, unit), measured <= max);
    }

    /// Holds if at least `min` was measured.
    pub fn at_least(&mut self, what: &str, measured: f64, min: f64, unit: &str) {
        let gate = format!(">= {}", amount(min, unit));
        self.add(what, gate, amount(measured, unit), measured >= min);
    }

    /// Holds if all of them did.
    pub fn all(&mut self, what: &str, good: usize, of: usize) {
        self.add(what, format!("all {of}"), format!("{good}"), good == of);
    }

    /// Holds if there was none.
    pub fn none(&mut self, what: &str, count: u64) {
        self.add(what, "0".to_owned(), format!("{count}"), count == 0);
    }

    /// Holds if it is so.
    pub fn is_so(&mut self, what: &str, holds: bool) {
        self.add(what, "yes".to_owned(), if holds { "yes" } else { "no" }.to_owned(), holds);
    }

    /// Holds if the p99 with the fault is at most `ratio_max` times the one without, or hardly more.
    pub fn pairs(&mut self, what: &str, pairs: &Pairs, ratio_max: f64) {
        let (ratio, more_ms) = (pairs.ratio(), pairs.more_ms());
        let gate = format!("<= {ratio_max}x or < {SAME_P99_MS} ms more");
        let measured = format!("{ratio:.2}x, {more_ms:+.2} ms ({} pairs)", pairs.0.len());
        self.add(what, gate, measured, pairs.hold(ratio_max));
        self.note(what, pairs.0.iter().map(|pair| json!({"without_ms": pair.0, "with_ms": pair.1})).collect::<Value>());
    }

    /// Holds if all that was to be done was, or some of it until the time was up: then the figure says how much.
    pub fn amount(&mut self, what: &str, done: usize, quota: &Quota) {
        let is_late = quota.is_late() && done < quota.wanted;
        let measured = format!("{done}{}", if is_late { ", then time was up" } else { "" });
        let holds = done >= quota.wanted || (is_late && done > 0);
        self.add(what, format!(">= {}", quota.wanted), measured, holds);
    }

    /// Keeps a figure for the evidence.
    pub fn note(&mut self, name: &str, value: impl Into<Value>) {
        self.notes.insert(name.to_owned(), value.into());
    }

    /// What was found by what fills them in; if that breaks off, they do not hold.
    pub fn of(fill: impl FnOnce(&mut Self) -> Result<()>) -> Self {
        let mut findings = Self::default();
        if let Err(error) = fill(&mut findings) {
            findings.add("runs to its end", "yes".to_owned(), format!("{error:#}"), false);
        }
        findings
    }

    pub fn hold(&self) -> bool {
        !self.findings.is_empty() && self.findings.iter().all(|finding| finding.holds)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter()
    }

    /// Prints each finding, beside the name of what was judged.
    pub fn print(&self, part: &str) {
        for finding in &self.findings {
            let verdict = if finding.holds { "holds" } else { "DOES NOT HOLD" };
            println!("{part:<16} {:<58} {:<26} {:<34} {verdict}", finding.what, finding.gate, finding.measured);
        }
    }

    /// What stands above them in a table.
    pub fn print_heading(part: &str) {
        println!("\n{part:<16} {:<58} {:<26} {:<34}", "", "gate", "measured");
    }

    pub fn to_json(&self) -> Value {
        let finding = |f: &Finding| json!({"what": f.what, "gate": f.gate, "measured": f.measured, "holds": f.holds});
        json!({
            "holds": self.hold(),
            "findings": self.findings.iter().map(finding).collect::<Value>(),
            "notes": self.notes,
        })
    }

    fn add(&mut self, what: &str, gate: String, measured: String, holds: bool) {
        self.findings.push(Finding { what: what.to_owned(), gate, measured, holds });
    }
}

/// p99 without the fault and with it, in milliseconds, from runs in turns.
#[derive(Debug, Default)]
pub struct Pairs(Vec<(f64, f64)>);

impl Pairs {
    /// In the short form a first pair that holds is enough; else the median of three is judged, or of five.
    pub fn are_enough(&self, ratio_max: f64, is_long: bool) -> bool {
        let wanted = if is_long { 5 } else { 3 };
        self.0.len() >= wanted || (!is_long && !self.0.is_empty() && self.hold(ratio_max))
    }

    pub fn push(&mut self, without_ms: f64, with_ms: f64) {
        self.0.push((without_ms, with_ms));
    }

    fn hold(&self, ratio_max: f64) -> bool {
        self.ratio() <= ratio_max || self.more_ms() < SAME_P99_MS
    }

    fn ratio(&self) -> f64 {
        median(self.0.iter().map(|(without, with)| with / without.max(1e-3)))
    }

    fn more_ms(&self) -> f64 {
        median(self.0.iter().map(|(without, with)| with - without))
    }
}

/// The middle one, or not a number when there is none.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn amount(value: f64, unit: &str) -> String {
    let digits = if value.fract() == 0.0 || value.abs() >= 1000.0 { 0 } else { 2 };
    format!("{value:.digits$} {unit}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_holds_if_each_figure_does() {
        let mut findings = Findings::default();
        assert!(!findings.hold(), "nothing measured is nothing shown");
        findings.at_most("time", 3.0, 3.0, "s");
        findings.all("streams", 5, 5);
        assert!(findings.hold());
        findings.none("lost", 1);
        assert!(!findings.hold());
        let shown: Vec<&str> = findings.iter().map(|finding| finding.gate.as_str()).collect();
        assert_eq!(shown, ["<= 3 s", "all 5", "0"]);
    }

    #[test]
    fn what_was_not_done_holds_only_when_time_was_up() {
        use std::path::Path;
        use std::time::Duration;

        use crate::faults::bench::Bench;
        let hold = |done: usize, time: Option<Duration>| {
            let bench = Bench::new("A1", Path::new("."), false, &[]).bounded(Some(10), time);
            let mut findings = Findings::default();
            findings.amount("kills", done, &bench.quota(1, 2));
            findings.hold()
        };
        assert!(hold(10, None) && !hold(9, None));
        assert!(hold(9, Some(Duration::ZERO)) && !hold(0, Some(Duration::ZERO)));
        assert!(!hold(9, Some(Duration::from_secs(3_600))));
    }

    #[test]
    fn what_is_not_a_number_does_not_hold() {
        let mut findings = Findings::default();
        findings.at_most("p99", f64::NAN, 3.0, "ms");
        assert!(!findings.hold());
        let mut findings = Findings::default();
        findings.pairs("p99", &Pairs::default(), 1.2);
        assert!(!findings.hold());
    }

    #[test]
    fn pairs_are_judged_by_their_median() {
        let (slow, fine, small) = ((10.0, 30.0), (10.0, 11.0), (0.5, 2.0));
        assert!(!Pairs(vec![slow]).hold(1.2));
        assert!(Pairs(vec![slow, fine, fine]).hold(1.2));
        assert!(!Pairs(vec![slow, slow, fine]).hold(1.2));
        assert!(Pairs(vec![small]).hold(1.2), "four times as much, but by a millisecond and a half");
    }

    #[test]
    fn the_short_form_stops_at_a_pair_that_holds() {
        let (slow, fine) = ((10.0, 30.0), (10.0, 11.0));
        assert!(!Pairs::default().are_enough(1.2, false));
        assert!(Pairs(vec![fine]).are_enough(1.2, false));
        assert!(!Pairs(vec![slow, fine]).are_enough(1.2, false));
        assert!(Pairs(vec![slow, fine, slow]).are_enough(1.2, false));
        assert!(!Pairs(vec![fine; 4]).are_enough(1.2, true));
        assert!(Pairs(vec![fine; 5]).are_enough(1.2, true));
    }
}
