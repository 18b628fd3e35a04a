//! What is said of some runs: mean, standard deviation, median; and of the difference between two kinds of runs that share
//! their seeds, see [`Paired`].

mod paired;

pub use paired::{Paired, holm};

use serde::Serialize;

/// A sample's size, mean and standard deviation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// How many values there are.
    pub n: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, with n - 1 in the denominator; 0 for a single value.
    pub sd: f64,
}

/// A mean with the ends of its 95 % confidence interval, if the values vary: equal ones say nothing of how sure it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// The lower end.
    pub low: Option<f64>,
    /// The upper end.
    pub high: Option<f64>,
}

impl Interval {
    /// As tables have it, every number times `scale`, with so many digits after the point: "+0.24 [-0.50, +0.98]".
    pub fn text(&self, scale: f64, digits: usize) -> String {
        let number = |v: f64| format!("{:+.digits$}", scale * v);
        let ends = self.low.zip(self.high).map(|(low, high)| format!("{}, {}", number(low), number(high)));
        format!("{} [{}]", number(self.mean), ends.as_deref().unwrap_or("-"))
    }
}

/// Size, mean and standard deviation of some values.
pub fn summary(values: &[f64]) -> Summary {
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    Summary { n, mean, sd: (squares / n.saturating_sub(1).max(1) as f64).sqrt() }
}

/// The median; NaN of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples() {
        assert_eq!(summary(&[1.0, 2.0, 3.0]), Summary { n: 3, mean: 2.0, sd: 1.0 });
        assert_eq!(summary(&[5.0]), Summary { n: 1, mean: 5.0, sd: 0.0 });
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0])), (2.0, 2.5));
        assert!(median(&[]).is_nan());
    }
}
