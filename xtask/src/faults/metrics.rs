//! The server's `/metrics`, as far as the rows ask.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// How long the admin listener may take to answer before it counts as not answering.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// One scrape.
#[derive(Debug)]
pub struct Metrics(String);

impl Metrics {
    pub fn scrape(admin: SocketAddr) -> Result<Self> {
        let mut socket =
            TcpStream::connect_timeout(&admin, ANSWER_WITHIN).context("connecting to the admin listener")?;
        socket.set_read_timeout(Some(ANSWER_WITHIN))?;
        socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).context("reading the metrics")?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "the admin listener answered {:?}", answer.lines().next());
        Ok(Self(answer))
    }

    /// The sum of a metric over all its labels; 0 if it has not been counted yet.
    pub fn sum(&self, name: &str) -> f64 {
        self.sum_where(name, "")
    }

    /// The sum over those whose labels contain `label`, as in `reason="lagged"`.
    pub fn sum_where(&self, name: &str, label: &str) -> f64 {
        let value = |line: &str| {
            let rest = line.strip_prefix(name)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            (labels.is_empty() || labels.starts_with('{')).then_some(())?;
            labels.contains(label).then(|| value.parse::<f64>().ok())?
        };
        self.0.lines().filter_map(value).sum()
    }

    /// How many values there are: each a series.
    pub fn series(&self) -> usize {
        self.body().filter(|line| !line.starts_with('#') && !line.is_empty()).count()
    }

    /// Lines in which one of these words stands.
    pub fn lines_with(&self, words: &[&str]) -> u64 {
        self.body().filter(|line| words.iter().any(|word| line.contains(word))).count() as u64
    }

    fn body(&self) -> impl Iterator<Item = &str> {
        self.0.split_once("\r\n\r\n").map_or(&*self.0, |(_, body)| body).lines()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_by_name_and_label() {
        let text = "# TYPE a counter\na{reason=\"x\"} 2\na{reason=\"y\"} 3\na_total 9\nb 1.5\n";
        let metrics = Metrics(text.to_owned());
        assert!((metrics.sum("a") - 5.0).abs() < 1e-9);
        assert!((metrics.sum_where("a", "reason=\"y\"") - 3.0).abs() < 1e-9);
        assert!((metrics.sum("b") - 1.5).abs() < 1e-9);
        assert!(metrics.sum("c").abs() < 1e-9);
        assert_eq!((metrics.series(), metrics.lines_with(&["reason"]), metrics.lines_with(&["zzz"])), (4, 2, 0));
    }
}
