//! Pairs of values that share what varies between pairs: a bootstrap interval and Student's test of their difference.

use autograd::Key;
use autograd::random::below;

use crate::statistics::{Interval, summary, t_within};

/// Bootstrap samples.
const SAMPLES: u64 = 10_000;

/// The mean of a - b over pairs with its 95 % percentile bootstrap interval (Efron 1979): pairs are drawn with
/// replacement, the same ones for every call. None for fewer than two pairs.
pub fn bootstrap(a: &[f64], b: &[f64]) -> Option<Interval> {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let n = differences.len();
    if n < 2 {
        return None;
    }
    let key = Key::new(0).stream("bootstrap");
    let drawn = |i: u64| {
        let mut rng = key.rng(i);
        (0..n).map(|_| differences[below(&mut rng, n)]).sum::<f64>() / n as f64
    };
    let mut means: Vec<f64> = (0..SAMPLES).map(drawn).collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[(share * (SAMPLES - 1) as f64).round() as usize];
    Some(Interval { mean: summary(&differences).mean, low: at(0.025), high: at(0.975) })
}

/// The two-sided p of Student's paired t test that a and b have the same mean; None for fewer than two pairs.
pub fn t_test(a: &[f64], b: &[f64]) -> Option<f64> {
    let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    let s = summary(&differences);
    let error = s.sd / (s.n as f64).sqrt();
    match s.n {
        0 | 1 => None,
        _ if s.mean == 0.0 => Some(1.0),
        n => Some((1.0 - t_within(s.mean.abs() / error, n - 1)).clamp(0.0, 1.0)),
    }
}

/// p values corrected for their number (Holm 1979): the chance of any false alarm is that of one test.
pub fn holm(p: &[Option<f64>]) -> Vec<Option<f64>> {
    let mut order: Vec<(usize, f64)> = p.iter().enumerate().filter_map(|(i, p)| Some((i, (*p)?))).collect();
    order.sort_by(|a, b| a.1.total_cmp(&b.1));
    let (mut corrected, mut least, m) = (vec![None; p.len()], 0f64, order.len());
    for (rank, (i, p)) in order.into_iter().enumerate() {
        least = least.max(((m - rank) as f64 * p).min(1.0));
        corrected[i] = Some(least);
    }
    corrected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_test_is_that_of_scipy() {
        // scipy.stats.ttest_rel: 0.0741799 for differences 1, 2, 3; 0.2879 for 1, -0.5, 2, 0.3.
        let p = t_test(&[1.0, 2.0, 3.0], &[0.0; 3]).unwrap();
        assert!((p - 0.0741799).abs() < 1e-6, "{p}");
        assert_eq!((t_test(&[1.0, 2.0], &[1.0, 2.0]), t_test(&[1.0], &[0.0])), (Some(1.0), None));
        assert_eq!(t_test(&[1.0, 2.0], &[0.0, 1.0]), Some(0.0));
    }

    #[test]
    fn the_interval_is_that_of_the_normal_distribution_for_many_pairs() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 20)).collect();
        let found = bootstrap(&values, &[0.0; 400]).unwrap();
        let half = 1.96 * summary(&values).sd / 20.0;
        assert!((found.mean - 9.5).abs() < 1e-12);
        assert!((found.high - 9.5 - half).abs() < 0.03 && (9.5 - found.low - half).abs() < 0.03, "{found:?}");
        assert_eq!(bootstrap(&[1.0], &[0.0]), None);
    }

    #[test]
    fn corrected_values_keep_their_order() {
        assert_eq!(
            holm(&[Some(0.01), None, Some(0.04), Some(0.03)]),
            [Some(0.03), None, Some(0.06), Some(0.06)]
        );
    }
}
