//! The comparison as a table, and where this server is not ahead.

use std::fmt::{self, Display, Formatter};

use super::figures::{Figures, Run};
use super::peer::Peer;
use crate::loadtest::figures::Spread;

/// One figure, less of which is better.
struct Row {
    what: &'static str,
    unit: &'static str,
    /// Under which of the loads it is taken.
    load: usize,
    figure: fn(&Run) -> f64,
}

const ROWS: [Row; 11] = [
    Row { what: "CPU per delivery, 1,000", unit: "us", load: 0, figure: |run| run.cost },
    Row { what: "CPU per delivery, 10,000", unit: "us", load: 1, figure: |run| run.cost },
    Row { what: "CPU per delivery, bursts", unit: "us", load: 2, figure: |run| run.cost },
    Row { what: "last subscriber, 1,000", unit: "ms", load: 0, figure: |run| run.last },
    Row { what: "last subscriber, 10,000", unit: "ms", load: 1, figure: |run| run.last },
    Row { what: "last subscriber, bursts", unit: "ms", load: 2, figure: |run| run.last },
    Row { what: "p99 latency, 1,000", unit: "ms", load: 0, figure: |run| run.p99 },
    Row { what: "memory per idle stream", unit: "KiB", load: 1, figure: |run| run.resident / 1024.0 },
    Row { what: "kernel's, both ends", unit: "KiB", load: 1, figure: |run| run.kernel / 1024.0 },
    Row { what: "CPU for opening a stream", unit: "us", load: 1, figure: |run| run.opening },
    Row { what: "connecting to the answer", unit: "ms", load: 1, figure: |run| run.answer },
];

/// The comparison.
#[derive(Debug)]
pub struct Table<'a> {
    figures: &'a Figures,
}

impl<'a> Table<'a> {
    pub fn of(figures: &'a Figures) -> Self {
        Self { figures }
    }

    fn spread(&self, row: &Row, name: &str) -> Option<Spread> {
        self.figures.spread(name, row.load, row.figure)
    }

    /// What is compared, its unit, and everyone who was measured.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, &'static str, Vec<(&'static str, Spread)>)> {
        let figures =
            |row: &Row| self.figures.names().filter_map(|name| Some((name, self.spread(row, name)?))).collect();
        ROWS.iter().map(move |row| (row.what, row.unit, figures(row)))
    }

    /// How much each peer did not deliver as it should, and how many of its runs came to nothing.
    pub fn faults_as_html(&self) -> String {
        let row = |name: &str| {
            vec![name.to_owned(), self.figures.faults(name).to_string(), self.figures.failures(name).to_string()]
        };
        let rows: Vec<Vec<String>> = self.figures.names().map(row).collect();
        crate::page::table(&["lost, repeated, turned round or refused", "events", "failed runs"], &rows)
    }

    /// Each figure in which a peer has less than this server, by the medians. The bare loop is no peer but the floor.
    pub fn behind(&self) -> Vec<String> {
        let mut behind = Vec::new();
        for row in &ROWS {
            let Some(ours) = self.spread(row, Peer::Server.name()) else { continue };
            for name in self.figures.names().filter(|name| *name != Peer::BareLoop.name()) {
                let Some(theirs) = self.spread(row, name) else { continue };
                if theirs.median < ours.median {
                    let (what, unit) = (row.what, row.unit);
                    behind.push(format!("{what}: {name} {:.2} {unit}, this server {:.2}", theirs.median, ours.median));
                }
            }
        }
        behind
    }
}

impl Display for Table<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.figures.names().collect();
        writeln!(f, "| medians (least to greatest) | {} |", names.join(" | "))?;
        writeln!(f, "| --- |{}", " --- |".repeat(names.len()))?;
        for row in &ROWS {
            write!(f, "| {}, {} |", row.what, row.unit)?;
            for name in &names {
                match self.spread(row, name) {
                    Some(Spread { median, least, greatest }) => {
                        write!(f, " {} ({} to {}) |", digits(median), digits(least), digits(greatest))?;
                    }
                    None => write!(f, " - |")?,
                }
            }
            writeln!(f)?;
        }
        write!(f, "| events lost, repeated, turned round, refused |")?;
        names.iter().try_for_each(|name| write!(f, " {} |", self.figures.faults(name)))?;
        write!(f, "\n| runs that failed |")?;
        names.iter().try_for_each(|name| write!(f, " {} |", self.figures.failures(name)))?;
        match &self.behind()[..] {
            [] => write!(f, "\n\nThis server is ahead of every peer on each figure."),
            behind => write!(f, "\n\nNot ahead in:\n- {}", behind.join("\n- ")),
        }
    }
}

/// Two digits behind the point only where they say something.
fn digits(value: f64) -> String {
    if value.abs() < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") }
}

#[cfg(test)]
mod tests {
    use super::super::page;
    use super::*;

    fn figures(ours: f64, theirs: f64) -> Figures {
        let mut figures = Figures::default();
        figures.add("sse-server", 0, Ok(Run { cost: ours, ..Run::default() }));
        figures.add("bare loop", 0, Ok(Run { cost: 0.1, ..Run::default() }));
        figures.add("nchan", 0, Ok(Run { cost: theirs, faults: 3, ..Run::default() }));
        figures
    }

    #[test]
    fn a_peer_that_is_ahead_is_named() {
        let behind = figures(3.0, 2.5);
        let table = Table::of(&behind);
        assert_eq!(table.behind(), ["CPU per delivery, 1,000: nchan 2.50 us, this server 3.00"]);
        let text = table.to_string();
        assert!(text.contains("Not ahead in:\n- CPU per delivery, 1,000"), "{text}");
        assert!(text.contains("refused | 0 | 0 | 3 |"), "{text}");
        assert!(text.contains("| CPU per delivery, 10,000, us | - | - | - |"), "{text}");
        let page = page::of(&table, 2, &serde_json::Value::Null, "peers");
        for shown in ["in 1 of the comparisons", "CPU per delivery, 1,000", "<td>nchan</td><td class=\"n\">3</td>"] {
            assert!(page.contains(shown), "{shown}: {page}");
        }
        assert_eq!(page.matches("<svg").count(), 1, "what was not measured has no chart");
        let ahead = figures(2.0, 2.5);
        assert!(Table::of(&ahead).behind().is_empty(), "the bare loop is no peer");
        assert!(Table::of(&ahead).to_string().contains("ahead of every peer"));
    }
}
