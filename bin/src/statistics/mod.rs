//! Statistics of runs: mean, standard deviation, median, and paired differences between runs that share their seeds
//! ([`Paired`]).

mod paired;

pub use paired::{Paired, holm};

use serde::Serialize;

/// Size, mean and standard deviation of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Number of values.
    pub n: usize,
    /// Mean.
    pub mean: f64,
    /// Standard deviation with the denominator n - 1; 0 for a single value.
    pub sd: f64,
}

/// A mean with its 95 % confidence interval, which has no ends if all values are equal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Mean.
    pub mean: f64,
    /// Lower end.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

impl Interval {
    /// The mean of values with its 95 % interval by Student's t, which has no ends for fewer than two values.
    pub fn of(values: &[f64]) -> Interval {
        let alone = || Interval { mean: summary(values).mean, low: None, high: None };
        Paired::new(values, &vec![0.0; values.len()]).map_or_else(alone, |values| values.student())
    }

    /// A difference as a cell of a table: "+0.24 [-0.50, +0.98]".
    pub fn text(&self, measure: Measure) -> String {
        self.with(|v| measure.signed(v))
    }

    /// A mean as a cell of a table: "77.92 [76.10, 79.74]".
    pub fn unsigned(&self, measure: Measure) -> String {
        self.with(|v| measure.text(v))
    }

    fn with(&self, number: impl Fn(f64) -> String) -> String {
        let ends = self.low.zip(self.high).map(|(low, high)| format!("{}, {}", number(low), number(high)));
        format!("{} [{}]", number(self.mean), ends.as_deref().unwrap_or("-"))
    }
}

/// The measure by which runs are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Accuracy on classes, in [0, 1]; larger is better. Shown in percent.
    Accuracy,
    /// Loss on real targets; smaller is better.
    Loss,
}

impl Measure {
    /// A value as a cell of a table: "77.92" for the accuracy 0.7792, "0.655090" or "5.00e-12" for a loss.
    pub fn text(self, value: f64) -> String {
        match self {
            Measure::Accuracy => decimal(100.0 * value, 2),
            Measure::Loss => fixed(value, 6),
        }
    }

    /// The same with a sign.
    pub fn signed(self, value: f64) -> String {
        let text = self.text(value);
        if text.starts_with('-') || value.is_nan() { text } else { format!("+{text}") }
    }
}

/// A number with this many decimal places; in exponent notation where they would all be 0, and from 1e9 on.
pub fn fixed(value: f64, decimals: usize) -> String {
    let near = value == 0.0
        || !value.is_finite()
        || (0.5 * 0.1f64.powi(decimals as i32)..1e9).contains(&value.abs());
    if near { decimal(value, decimals) } else { format!("{value:.2e}") }
}

/// A number with this many decimal places; what rounds to 0 has no sign.
fn decimal(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(digits) if !digits.contains(|c: char| c.is_ascii_alphanumeric() && c != '0') => digits.into(),
        _ => text,
    }
}

/// A number with its noun in the singular or plural: "1 run", "2 runs", "3 classes".
pub fn count(n: usize, noun: &str) -> String {
    let ending = match noun {
        _ if n == 1 => "",
        // With the sound of a k.
        "epoch" => "s",
        _ if noun.ends_with('s') || noun.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{n} {noun}{ending}")
}

/// Size, mean and standard deviation of values.
pub fn summary(values: &[f64]) -> Summary {
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    Summary { n, mean, sd: (squares / n.saturating_sub(1).max(1) as f64).sqrt() }
}

/// The median; NaN for an empty slice.
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

    #[test]
    fn a_mean_has_the_interval_of_its_values() {
        // Student's t of two degrees of freedom: 4.302653 sd / sqrt(3), sd = 0.1.
        let text = |values: &[f64]| Interval::of(values).unsigned(Measure::Accuracy);
        assert_eq!(text(&[0.6, 0.7, 0.8]), "70.00 [45.16, 94.84]");
        assert_eq!((text(&[0.6]), text(&[0.6, 0.6])), ("60.00 [-]".into(), "60.00 [-]".into()));
    }

    #[test]
    fn cells_are_short() {
        let texts = [0.0, 0.65509, 5e-12, -1e300, 2.9e36, 123456.0].map(|v| Measure::Loss.text(v));
        assert_eq!(texts, ["0.000000", "0.655090", "5.00e-12", "-1.00e300", "2.90e36", "123456.000000"]);
        assert_eq!([0.7792, 0.0, 1e-17].map(|v| Measure::Accuracy.text(v)), ["77.92", "0.00", "0.00"]);
        let signed = [0.5, 0.0, -0.0, -5e-12, f64::NAN].map(|v| Measure::Loss.signed(v));
        assert_eq!(signed, ["+0.500000", "+0.000000", "+0.000000", "-5.00e-12", "NaN"]);
        let signed = [-1e-5, -1e-3, f64::NEG_INFINITY].map(|v| Measure::Accuracy.signed(v));
        assert_eq!(signed, ["+0.00", "-0.10", "-inf"]);
        assert_eq!(
            [count(2, "epoch"), count(2, "batch"), count(1, "class")],
            ["2 epochs", "2 batches", "1 class"]
        );
    }
}
