//! The comparison as a page.

use serde_json::Value;

use super::peer::Peer;
use super::table::Table;
use crate::chart::{Bar, bars, escape, number};
use crate::loadtest::figures::Spread;
use crate::page::{charts, machine, page};

/// The page of a comparison of `rounds` rounds on this machine, which `command` made.
pub fn of(table: &Table<'_>, rounds: u32, on: &Value, command: &str) -> String {
    let behind = table.behind();
    let verdict = match behind.len() {
        0 => "This server is ahead of every peer on each figure.".to_owned(),
        count => format!("This server is ahead of every peer but in {count} of the comparisons below."),
    };
    let list: String = behind.iter().map(|line| format!("<li>{}</li>", escape(line))).collect();
    let drawn: Vec<String> = table.rows().map(|(what, unit, figures)| drawn(what, unit, figures)).collect();
    let body = format!(
        "<h1>This server beside others</h1>\n<p class=\"verdict\"><strong>{verdict}</strong><br>The same load for all, on \
         the same machine, in turns; shorter bars are better. Medians of {rounds} rounds, with the least and the \
         greatest.</p>\n{}\n<h2>Where it is not ahead</h2><ul>{list}</ul>\n<h2>Events that went wrong</h2>{}\n\
         <h2>Where</h2><p>{}</p>\n<h2>To repeat it</h2><pre>{}</pre>",
        charts(&drawn),
        table.faults_as_html(),
        machine(on),
        escape(command),
    );
    page("Event stream servers compared", &body)
}

fn drawn(what: &str, unit: &str, figures: Vec<(&str, Spread)>) -> String {
    let bar = |(name, spread): (&str, Spread)| Bar {
        name: name.to_owned(),
        value: spread.median,
        shown: format!("{} ({}..{})", number(spread.median), number(spread.least), number(spread.greatest)),
        is_ours: name == Peer::Server.name(),
    };
    bars(what, unit, &figures.into_iter().map(bar).collect::<Vec<_>>())
}
