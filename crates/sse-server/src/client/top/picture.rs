//! A snapshot as lines of text.

use std::collections::BTreeMap;

use super::super::show::printable;
use super::super::target::Target;
use super::snapshot::{Snapshot, Stats, Subscriber, Topic};

/// Lines above the lists, and those that head them.
const LINES_ABOVE: usize = 4;
const LINES_OF_HEADS: usize = 4;

/// How much is shown, and whether it is for a screen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    topics: usize,
    subscribers: usize,
    is_screen: bool,
}

impl Size {
    /// All there is, as text for programs.
    pub(super) const WHOLE: Self = Self { topics: usize::MAX, subscribers: usize::MAX, is_screen: false };

    /// What fits so many columns and rows: a third of the rows for topics, as a subscriber may take two.
    pub(super) fn of((_, rows): (usize, usize)) -> Self {
        let left = rows.saturating_sub(LINES_ABOVE + LINES_OF_HEADS);
        Self { topics: left / 3, subscribers: left - left / 3, is_screen: true }
    }
}

/// What cannot be told by characters that steer a terminal is spelled out.
pub(super) fn picture(snapshot: &Snapshot, target: &Target, size: Size) -> Vec<String> {
    let head = |text: String| if size.is_screen { format!("\x1b[1m{text}\x1b[0m") } else { text };
    let Snapshot { stats, topics, subscribers } = snapshot;
    let state = if stats.draining { "draining, " } else { "" };
    let version = printable(&stats.version);
    let mut lines = vec![
        head(format!("sse-server {version} at {target}, {state}up {}", span(stats.uptime_seconds))),
        figures(stats),
        reasons(stats),
        String::new(),
        head(format!("{:>9} {:>9} {:>9}  TOPIC", "FOLLOWERS", "EVENTS/S", "KEPT")),
    ];
    lines.extend(topics.iter().take(size.topics).map(topic));
    lines.push(String::new());
    lines.push(head(format!(
        "{:<11} {:>8} {:>9} {:>9}  {:<21}  FOLLOWS",
        "STATE", "BEHIND", "BYTES", "PENDING", "CLIENT"
    )));
    lines.extend(subscribers.iter().flat_map(subscriber).take(size.subscribers));
    lines
}

fn figures(stats: &Stats) -> String {
    let rates = &stats.per_second;
    format!(
        "connections {} of {}  streams {}  topics {}  events/s {:.1}  deliveries/s {:.1}  bytes/s {}",
        stats.connections.open,
        stats.connections.max,
        stats.streams,
        stats.topics,
        rates.events,
        rates.deliveries,
        bytes(rates.bytes)
    )
}

fn reasons(stats: &Stats) -> String {
    let one = |what: &str, reasons: &BTreeMap<String, u64>| {
        let all: Vec<String> = reasons.iter().map(|(reason, count)| format!("{} {count}", printable(reason))).collect();
        format!("{what}: {}", if all.is_empty() { "none".to_owned() } else { all.join(", ") })
    };
    let all = [
        one("evictions", &stats.evictions),
        one("gaps", &stats.gaps),
        one("connections refused", &stats.rejected_connections),
        one("publishes refused", &stats.rejected_publishes),
    ];
    all.join("  ")
}

fn topic(topic: &Topic) -> String {
    let Topic { topic, followers, frames, events_per_second } = topic;
    format!("{followers:>9} {events_per_second:>9.1} {frames:>9}  {}", printable(topic))
}

/// One line, and a second that says why it is behind.
fn subscriber(subscriber: &Subscriber) -> Vec<String> {
    let Subscriber { topics, remote_addr, lag_events, lag_bytes, pending_bytes, state, why } = subscriber;
    let line = format!(
        "{:<11} {lag_events:>8} {:>9} {:>9}  {:<21}  {}",
        printable(state),
        bytes(*lag_bytes as f64),
        bytes(*pending_bytes as f64),
        printable(remote_addr),
        printable(topics)
    );
    std::iter::once(line).chain(why.as_ref().map(|why| format!("            {}", printable(why)))).collect()
}

fn bytes(count: f64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    match units.into_iter().find(|(_, size)| count >= *size) {
        Some((unit, size)) => format!("{:.1} {unit}", count / size),
        None => format!("{count:.0} B"),
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::top::snapshot::{Connections, Rates};

    fn snapshot(count: usize) -> Snapshot {
        let name = "a\x1b[2Jb";
        let topic = || Topic { topic: name.into(), followers: 3, frames: 9, events_per_second: 1.25 };
        let subscriber = || Subscriber {
            topics: name.into(),
            remote_addr: "127.0.0.1:7".into(),
            lag_events: 57,
            lag_bytes: 9120,
            pending_bytes: 311,
            state: "blocked".into(),
            why: Some("its socket is full".into()),
        };
        Snapshot {
            stats: Stats {
                version: "1".into(),
                uptime_seconds: 3700,
                draining: false,
                connections: Connections { open: 2, max: 9 },
                streams: 2,
                topics: 1,
                per_second: Rates { events: 1.0, deliveries: 2.0, bytes: 1500.0 },
                evictions: BTreeMap::from([("lagged".into(), 4)]),
                gaps: BTreeMap::new(),
                rejected_connections: BTreeMap::new(),
                rejected_publishes: BTreeMap::new(),
            },
            topics: (0..count).map(|_| topic()).collect(),
            subscribers: (0..count).map(|_| subscriber()).collect(),
        }
    }

    #[test]
    fn all_of_it_is_told_and_nobody_steers_the_terminal() {
        let target = Target::parse("127.0.0.1:8081").unwrap();
        let text = picture(&snapshot(1), &target, Size::WHOLE).join("\n");
        assert!(!text.contains('\x1b'), "{text}");
        for part in ["up 1 h 1 min", "lagged 4", "gaps: none", "1.5 kB", "a\\u{1b}[2Jb", "9.1 kB", "its socket is full"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_screen_is_never_too_small() {
        let target = Target::parse("127.0.0.1:8081").unwrap();
        for rows in 0..60 {
            let lines = picture(&snapshot(50), &target, Size::of((80, rows))).len();
            assert!(lines <= rows.max(LINES_ABOVE + LINES_OF_HEADS), "{lines} lines for {rows} rows");
        }
    }
}
