//! A straight line through a series of samples, by least squares.

/// The line through some points, and how sure its slope is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slope {
    /// The average of the values.
    pub mean: f64,
    /// Change of the value per second.
    pub per_second: f64,
    /// The standard error of that.
    pub error: f64,
    /// Seconds between the first point and the last.
    pub seconds: f64,
}

impl Slope {
    /// Through points of (seconds, value); `None` for fewer than three, or when all have the same time.
    pub fn through(points: &[(f64, f64)]) -> Option<Self> {
        let count = points.len() as f64;
        let mean = |part: fn(&(f64, f64)) -> f64| points.iter().map(part).sum::<f64>() / count;
        let (time, value) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = points.iter().map(|point| (point.0 - time).powi(2)).sum();
        if points.len() < 3 || spread <= 0.0 {
            return None;
        }
        let along: f64 = points.iter().map(|point| (point.0 - time) * (point.1 - value)).sum();
        let per_second = along / spread;
        let rest = |point: &(f64, f64)| (point.1 - value - per_second * (point.0 - time)).powi(2);
        let error = (points.iter().map(rest).sum::<f64>() / (count - 2.0) / spread).sqrt();
        let seconds = points[points.len() - 1].0 - points[0].0;
        Some(Self { mean: value, per_second, error, seconds })
    }

    /// How much the line rises from the first point to the last.
    pub fn growth(self) -> f64 {
        self.per_second * self.seconds
    }

    /// Whether the values rose by more than `allowed`, and not by chance.
    pub fn rises_beyond(self, allowed: f64) -> bool {
        self.growth() > allowed && self.per_second > 3.0 * self.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_found_exactly() {
        let points: Vec<(f64, f64)> = (0..10).map(|n| (f64::from(n), 5.0 + 2.0 * f64::from(n))).collect();
        let slope = Slope::through(&points).unwrap();
        assert!((slope.per_second - 2.0).abs() < 1e-9 && slope.error < 1e-9, "{slope:?}");
        assert!((slope.growth() - 18.0).abs() < 1e-9 && (slope.mean - 14.0).abs() < 1e-9, "{slope:?}");
        assert!(slope.rises_beyond(17.0) && !slope.rises_beyond(19.0));
    }

    #[test]
    fn noise_is_no_growth() {
        // Up and down by 100, with no trend to speak of.
        let points: Vec<(f64, f64)> = (0..40).map(|n| (f64::from(n), f64::from(n % 2) * 100.0)).collect();
        let slope = Slope::through(&points).unwrap();
        assert!(!slope.rises_beyond(0.5), "{slope:?}");
        let falling: Vec<(f64, f64)> = (0..40).map(|n| (f64::from(n), -f64::from(n))).collect();
        assert!(!Slope::through(&falling).unwrap().rises_beyond(0.0));
    }

    #[test]
    fn too_few_points_have_no_line() {
        assert_eq!(Slope::through(&[(0.0, 1.0), (1.0, 2.0)]), None);
        assert_eq!(Slope::through(&[(1.0, 1.0), (1.0, 2.0), (1.0, 3.0)]), None);
    }
}
