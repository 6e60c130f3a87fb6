//! How long events took, counted from when the schedule meant them to go out.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Ten minutes: longer waits are counted as this.
const NANOS_MAX: u64 = 600_000_000_000;
/// For so many events a thread keeps when its last subscriber got each (4 bytes each); later ones have no such figure.
const LAST_EVENTS_MAX: usize = 4 << 20;

/// Where a curve of a distribution has its points: closer together towards the slowest.
const CURVE: [f64; 15] = [0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999];

/// A distribution of times.
#[derive(Debug, Clone)]
pub(crate) struct Times {
    histogram: Histogram<u64>,
}

impl Times {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1_000, NANOS_MAX, 3).expect("the bounds are constants that fit");
        Self { histogram }
    }

    pub(crate) fn record(&mut self, nanos: u64) {
        self.histogram.saturating_record(nanos);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("all histograms have the same bounds");
    }

    /// The distribution as a curve, as far as so many times tell of it: from the fastest to one in that many.
    pub(crate) fn curve(&self) -> Vec<QuantilePoint> {
        let count = self.histogram.len();
        let is_told = |quantile: &f64| (1.0 - quantile) * count as f64 >= 1.0;
        let at = |quantile: f64| self.histogram.value_at_quantile(quantile) as f64 / 1e6;
        let points = CURVE.into_iter().filter(is_told).map(|quantile| QuantilePoint { quantile, ms: at(quantile) });
        let slowest = (count > 0)
            .then(|| QuantilePoint { quantile: 1.0 - 1.0 / count as f64, ms: self.histogram.max() as f64 / 1e6 });
        points.chain(slowest).collect()
    }

    pub(crate) fn summary(&self) -> Quantiles {
        let at = |quantile| self.histogram.value_at_quantile(quantile) as f64 / 1e6;
        Quantiles {
            count: self.histogram.len(),
            mean_ms: self.histogram.mean() / 1e6,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: self.histogram.max() as f64 / 1e6,
        }
    }
}

/// One point of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct QuantilePoint {
    /// The share that was faster, 0 to 1.
    pub quantile: f64,
    /// How long that took, in milliseconds.
    pub ms: f64,
}

/// A distribution in a few numbers, in milliseconds; all 0 when nothing was counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many times went in.
    pub count: u64,
    /// The average.
    pub mean_ms: f64,
    /// Half were faster.
    pub p50_ms: f64,
    /// Nine in ten were faster.
    pub p90_ms: f64,
    /// 99 in 100 were faster.
    pub p99_ms: f64,
    /// 999 in 1,000 were faster.
    pub p999_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

/// For each event, when the last of the subscribers got it.
#[derive(Debug, Default)]
pub(crate) struct LastArrivals {
    /// Microseconds after the intended time, by topic and sequence; 0 where nothing came.
    topics: Vec<Vec<u32>>,
    events: usize,
}

impl LastArrivals {
    pub(crate) fn new(topics: u32) -> Self {
        Self { topics: vec![Vec::new(); topics as usize], events: 0 }
    }

    pub(crate) fn record(&mut self, topic: u32, sequence: u32, nanos: u64) {
        let arrivals = &mut self.topics[topic as usize];
        let sequence = sequence as usize;
        // An instant arrival still leaves a mark.
        let micros = u32::try_from(nanos / 1_000).unwrap_or(u32::MAX).max(1);
        if let Some(last) = arrivals.get_mut(sequence) {
            *last = micros.max(*last);
        } else if self.events + (sequence - arrivals.len()) < LAST_EVENTS_MAX {
            self.events += sequence + 1 - arrivals.len();
            arrivals.resize(sequence + 1, 0);
            arrivals[sequence] = micros;
        }
    }

    /// Takes in what another thread saw.
    pub(crate) fn merge(&mut self, other: Self) {
        for (mine, theirs) in self.topics.iter_mut().zip(other.topics) {
            if mine.len() < theirs.len() {
                mine.resize(theirs.len(), 0);
            }
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                *mine = theirs.max(*mine);
            }
        }
    }

    pub(crate) fn times(&self) -> Times {
        let mut times = Times::new();
        for micros in self.topics.iter().flatten().filter(|micros| **micros > 0) {
            times.record(u64::from(*micros) * 1_000);
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_in_milliseconds() {
        let mut times = Times::new();
        for millis in 1..=1_000 {
            times.record(millis * 1_000_000);
        }
        let summary = times.summary();
        assert_eq!(summary.count, 1_000);
        assert!((summary.p50_ms - 500.0).abs() < 1.0, "{summary:?}");
        assert!((summary.p999_ms - 999.0).abs() < 1.0, "{summary:?}");
        assert_eq!(Times::new().summary(), Quantiles::default());
        let curve = times.curve();
        assert!(
            curve.is_sorted_by_key(|point| point.ms) && curve.is_sorted_by_key(|point| point.quantile),
            "{curve:?}"
        );
        assert_eq!(curve.last().unwrap().quantile, 0.999, "a thousand times tell of no more than three nines");
        assert!(Times::new().curve().is_empty());
    }

    #[test]
    fn the_last_arrival_over_all_threads_counts() {
        let mut one = LastArrivals::new(2);
        one.record(1, 3, 5_000_000);
        one.record(1, 3, 2_000_000);
        let mut other = LastArrivals::new(2);
        other.record(1, 3, 9_000_000);
        other.record(0, 0, 1_000_000);
        one.merge(other);
        let summary = one.times().summary();
        assert_eq!(summary.count, 2);
        assert!((summary.max_ms - 9.0).abs() < 0.1, "{summary:?}");
    }

    #[test]
    fn events_beyond_the_bound_are_left_out() {
        let mut last = LastArrivals::new(1);
        last.record(0, u32::MAX - 1, 1);
        last.record(0, 5, 1_000);
        assert_eq!(last.times().summary().count, 1);
    }
}
