//! What was measured of each peer, over the rounds.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use super::LOADS;
use crate::loadtest::figures::Spread;

/// What is taken from one run.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Run {
    /// CPU microseconds per delivered event.
    pub cost: f64,
    /// Milliseconds from the intended time of publishing to the last subscriber, the median over the events.
    pub last: f64,
    /// The same to any subscriber, at the 99th percentile.
    pub p99: f64,
    /// Resident bytes that came with each idle stream.
    pub resident: f64,
    /// Bytes of the kernel's that came with each, both ends together.
    pub kernel: f64,
    /// CPU microseconds for opening a stream.
    pub opening: f64,
    /// Milliseconds from connecting to the head of the answer, the median.
    pub answer: f64,
    /// Events that did not come, came again, out of order or damaged; and publishes that failed.
    pub faults: u64,
}

impl Run {
    pub fn of(report: &Value) -> Option<Self> {
        let (server, delivery, published) = (&report["server"], &report["delivery"], &report["publishing"]);
        let count =
            |from: &Value, names: &[&str]| names.iter().map(|name| from[name].as_u64().unwrap_or(0)).sum::<u64>();
        let refused = published["sent"].as_u64()?.saturating_sub(published["confirmed"].as_u64()?);
        Some(Self {
            cost: server["cpu_us_per_delivery"].as_f64()?,
            last: delivery["last_subscriber"]["p50_ms"].as_f64()?,
            p99: delivery["latency"]["p99_ms"].as_f64()?,
            resident: server["rss_bytes_per_idle_stream"].as_f64()?,
            kernel: server["kernel_bytes_per_stream"].as_f64()?,
            opening: server["cpu_us_per_opening"].as_f64()?,
            answer: report["streams"]["opening"]["p50_ms"].as_f64()?,
            faults: refused
                + count(published, &["unsent"])
                + count(delivery, &["lost", "repeated", "reordered", "damaged", "closed_early", "malformed"]),
        })
    }

    fn to_json(self) -> Value {
        json!({
            "cpu_us_per_delivery": self.cost,
            "last_subscriber_p50_ms": self.last,
            "latency_p99_ms": self.p99,
            "rss_bytes_per_idle_stream": self.resident,
            "kernel_bytes_per_stream": self.kernel,
            "cpu_us_per_opening": self.opening,
            "opening_p50_ms": self.answer,
            "faults": self.faults,
        })
    }
}

/// All runs of one peer.
#[derive(Debug, Default)]
struct Measured {
    name: &'static str,
    /// By load.
    runs: BTreeMap<usize, Vec<Run>>,
    /// Why runs came to nothing.
    failures: Vec<String>,
}

/// All runs, in the order in which the peers came.
#[derive(Debug, Default)]
pub struct Figures {
    peers: Vec<Measured>,
}

impl Figures {
    pub fn add(&mut self, name: &'static str, load: usize, run: Result<Run>) {
        let at = self.peers.iter().position(|peer| peer.name == name).unwrap_or_else(|| {
            self.peers.push(Measured { name, ..Measured::default() });
            self.peers.len() - 1
        });
        match run {
            Ok(run) => self.peers[at].runs.entry(load).or_default().push(run),
            Err(error) => self.peers[at].failures.push(format!("{}: {error:#}", LOADS[load].name)),
        }
    }

    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.peers.iter().map(|peer| peer.name)
    }

    /// One figure of a peer under a load, if it was ever measured.
    pub fn spread(&self, name: &str, load: usize, figure: fn(&Run) -> f64) -> Option<Spread> {
        let runs = self.peers.iter().find(|peer| peer.name == name)?.runs.get(&load)?;
        Spread::of(runs.iter().map(figure).collect())
    }

    /// What went wrong with a peer in all its runs.
    pub fn faults(&self, name: &str) -> u64 {
        let runs = self.peers.iter().filter(|peer| peer.name == name).flat_map(|peer| peer.runs.values().flatten());
        runs.map(|run| run.faults).sum()
    }

    pub fn failures(&self, name: &str) -> usize {
        self.peers.iter().filter(|peer| peer.name == name).map(|peer| peer.failures.len()).sum()
    }

    /// Whether a peer was measured under every load and delivered everything.
    pub fn is_whole(&self, name: &str) -> bool {
        let has_all = self.peers.iter().any(|peer| peer.name == name && peer.runs.len() == LOADS.len());
        has_all && self.faults(name) == 0 && self.failures(name) == 0
    }

    pub fn to_json(&self) -> Value {
        let loads = |peer: &Measured| -> Value {
            let load = |(at, runs): (&usize, &Vec<Run>)| {
                (LOADS[*at].name.to_owned(), runs.iter().map(|run| run.to_json()).collect())
            };
            Value::Object(peer.runs.iter().map(load).collect())
        };
        let peers =
            self.peers.iter().map(|peer| json!({"name": peer.name, "runs": loads(peer), "failures": peer.failures}));
        peers.collect()
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    fn report(lost: u64) -> Value {
        json!({
            "server": {"cpu_us_per_delivery": 3.0, "rss_bytes_per_idle_stream": 1.0, "kernel_bytes_per_stream": 2.0,
                "cpu_us_per_opening": 4.0},
            "delivery": {"last_subscriber": {"p50_ms": 5.0}, "latency": {"p99_ms": 6.0}, "lost": lost, "repeated": 1},
            "publishing": {"sent": 10, "confirmed": 8, "unsent": 3},
            "streams": {"opening": {"p50_ms": 7.0}},
        })
    }

    #[test]
    fn what_a_peer_loses_is_counted() {
        let run = Run::of(&report(4)).unwrap();
        assert_eq!((run.cost, run.answer, run.faults), (3.0, 7.0, 4 + 1 + 2 + 3));
        let mut without = report(0);
        without["server"] = Value::Null;
        assert_eq!(Run::of(&without), None, "no figures are no figures of 0");
    }

    #[test]
    fn a_peer_that_fails_or_loses_is_not_whole() {
        let mut figures = Figures::default();
        let whole = Run { cost: 1.0, ..Run::default() };
        for load in 0..LOADS.len() {
            figures.add("good", load, Ok(whole));
            figures.add("lossy", load, Ok(Run { faults: 1, ..whole }));
            figures.add("dead", load, if load == 1 { (|| bail!("it died"))() } else { Ok(whole) });
        }
        figures.add("missing", 0, Ok(whole));
        assert_eq!(
            ["good", "lossy", "dead", "missing"].map(|name| figures.is_whole(name)),
            [true, false, false, false]
        );
        assert_eq!(figures.to_json()[2]["failures"][0], format!("{}: it died", LOADS[1].name));
    }
}
