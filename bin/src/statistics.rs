//! Means, standard deviations, and confidence intervals of a mean by Student's t.

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

/// A mean with the ends of its 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// Size, mean and standard deviation of some values.
pub fn summary(values: &[f64]) -> Summary {
    let n = values.len();
    let mean = values.iter().sum::<f64>() / n as f64;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    Summary { n, mean, sd: (squares / n.saturating_sub(1).max(1) as f64).sqrt() }
}

/// The 95 % confidence interval of the mean of a - b over pairs, by Student's t; None for fewer than two pairs.
pub fn paired_difference(a: &[f64], b: &[f64]) -> Option<Interval> {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let Summary { n, mean, sd } = summary(&differences);
    (n >= 2).then(|| {
        let half = t_quantile(n - 1) * sd / (n as f64).sqrt();
        Interval { mean, low: mean - half, high: mean + half }
    })
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

/// The t with P(|T| <= t) = 0.95 for Student's distribution, by bisection.
fn t_quantile(freedom: usize) -> f64 {
    let (mut low, mut high) = (1.0, 13.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if t_within(middle, freedom) < 0.95 { low = middle } else { high = middle }
    }
    (low + high) / 2.0
}

/// P(|T| <= t) for Student's distribution with n degrees of freedom, by its finite series in theta = arctan(t / sqrt n)
/// (Abramowitz and Stegun 26.7.3 and 26.7.4).
pub fn t_within(t: f64, n: usize) -> f64 {
    let (sin, cos) = (t / (n as f64).sqrt()).atan().sin_cos();
    // 1 + cos^2 1/2 + cos^4 1/2 3/4 + ..., or cos + cos^3 2/3 + ...
    let odd = n % 2;
    let (mut term, mut sum) = if odd == 1 { (cos, cos) } else { (1.0, 1.0) };
    for k in (2 + odd..n - 1).step_by(2) {
        term *= cos * cos * (k - 1) as f64 / k as f64;
        sum += term;
    }
    match n {
        1 => 2.0 / std::f64::consts::PI * sin.atan2(cos),
        _ if odd == 1 => 2.0 / std::f64::consts::PI * (sin.atan2(cos) + sin * sum),
        _ => sin * sum,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (n, t) in [
            (1, 12.706205),
            (2, 4.302653),
            (3, 3.182446),
            (4, 2.776445),
            (5, 2.570582),
            (9, 2.262157),
            (30, 2.042272),
        ] {
            assert!((t_quantile(n) - t).abs() < 1e-6, "{n}: {}, not {t}", t_quantile(n));
        }
    }

    #[test]
    fn samples() {
        assert_eq!(summary(&[1.0, 2.0, 3.0]), Summary { n: 3, mean: 2.0, sd: 1.0 });
        assert_eq!(summary(&[5.0]), Summary { n: 1, mean: 5.0, sd: 0.0 });
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0])), (2.0, 2.5));
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn pairs_share_what_varies_between_them() {
        let interval = paired_difference(&[10.0, 20.0, 30.0], &[9.0, 18.0, 27.0]).unwrap();
        // Differences 1, 2, 3: mean 2, standard error 1 / sqrt 3, t of 2 degrees of freedom.
        let half = 4.302653 / 3f64.sqrt();
        assert!(
            (interval.mean - 2.0).abs() < 1e-12 && (interval.high - 2.0 - half).abs() < 1e-6,
            "{interval:?}"
        );
        assert_eq!(paired_difference(&[1.0], &[0.0]), None);
    }
}
