//! Paired differences. Two runs of one seed share initial weights and data order, so that their difference varies less
//! than either of them.

use autograd::Key;
use autograd::random::Below;
use rand::RngExt;
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::{Interval, Summary, summary};

/// Number of bootstrap samples.
const SAMPLES: u64 = 10_000;

/// The differences of two or more pairs.
pub struct Paired {
    differences: Vec<f64>,
    of: Summary,
}

impl Paired {
    /// The differences a - b; None for fewer than two pairs.
    pub fn new(a: &[f64], b: &[f64]) -> Option<Paired> {
        let differences: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
        let of = summary(&differences);
        (of.n >= 2).then_some(Paired { differences, of })
    }

    /// The mean difference with its 95 % interval by Student's t, which is exact for any number of pairs if the
    /// differences are normally distributed.
    pub fn student(&self) -> Interval {
        let Summary { n, mean, sd } = self.of;
        let half = student(n - 1).inverse_cdf(0.975) * sd / (n as f64).sqrt();
        self.interval(mean - half, mean + half)
    }

    fn interval(&self, low: f64, high: f64) -> Interval {
        let varied = |end: f64| self.varied().then_some(end);
        Interval { mean: self.of.mean, low: varied(low), high: varied(high) }
    }

    /// Whether the differences vary by more than rounding.
    fn varied(&self) -> bool {
        self.of.sd > 1e-9 * self.of.mean.abs()
    }

    /// The mean difference with its 95 % percentile bootstrap interval (Efron 1979). It assumes no distribution, and is too
    /// narrow for fewer than about ten pairs. The pairs are drawn with replacement from a fixed seed.
    pub fn bootstrap(&self) -> Interval {
        let n = self.of.n;
        let key = Key::new(0).stream("bootstrap");
        let drawn = |i: u64| {
            let mut rng = key.rng(i);
            (0..n).map(|_| self.differences[rng.sample(Below(n))]).sum::<f64>() / n as f64
        };
        let mut means: Vec<f64> = (0..SAMPLES).map(drawn).collect();
        means.sort_by(f64::total_cmp);
        let at = |share: f64| means[(share * (SAMPLES - 1) as f64).round() as usize];
        self.interval(at(0.025), at(0.975))
    }

    /// The two-sided p value of Student's paired t test of a mean difference of 0; None if the differences do not vary.
    pub fn p(&self) -> Option<f64> {
        let Summary { n, mean, sd } = self.of;
        let error = sd / (n as f64).sqrt();
        self.varied().then(|| 2.0 * student(n - 1).sf(mean.abs() / error))
    }
}

/// Student's t distribution with one or more degrees of freedom.
fn student(freedom: usize) -> StudentsT {
    StudentsT::new(0.0, 1.0, freedom as f64).expect("a positive number of degrees of freedom")
}

/// p values after Holm's correction for multiple tests (1979), which bounds the family-wise error rate.
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
    use super::super::Measure;
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
            let found = student(n).inverse_cdf(0.975);
            assert!((found - t).abs() < 1e-6, "{n}: {found}, not {t}");
        }
    }

    #[test]
    fn the_test_is_that_of_scipy() {
        // scipy.stats.ttest_rel: 0.0741799 for differences 1, 2, 3.
        let p = |a: &[f64], b: &[f64]| Paired::new(a, b).and_then(|pairs| pairs.p());
        let found = p(&[1.0, 2.0, 3.0], &[0.0; 3]).unwrap();
        assert!((found - 0.0741799).abs() < 1e-6, "{found}");
        assert_eq!((p(&[2.0, 1.0], &[1.0, 2.0]), p(&[1.0], &[0.0])), (Some(1.0), None));
    }

    #[test]
    fn differences_that_do_not_vary_have_neither_p_nor_interval() {
        // Equal, and equal but for rounding.
        for (a, b, text) in [([1.0, 2.0], [1.0, 2.0], "+0.00 [-]"), ([0.3, 0.8], [0.2, 0.7], "+10.00 [-]")] {
            let pairs = Paired::new(&a, &b).unwrap();
            assert_eq!(pairs.p(), None);
            assert_eq!([pairs.student(), pairs.bootstrap()].map(|i| i.text(Measure::Accuracy)), [text; 2]);
        }
        assert_eq!(
            Interval { mean: 0.01, low: Some(-0.005), high: Some(0.02) }.text(Measure::Accuracy),
            "+1.00 [-0.50, +2.00]"
        );
    }

    #[test]
    fn the_interval_of_few_pairs_is_students() {
        let interval = Paired::new(&[10.0, 20.0, 30.0], &[9.0, 18.0, 27.0]).unwrap().student();
        // Differences 1, 2, 3: mean 2, standard error 1 / sqrt 3, t of 2 degrees of freedom.
        let half = 4.302653 / 3f64.sqrt();
        assert!(
            (interval.mean - 2.0).abs() < 1e-12 && (interval.high.unwrap() - 2.0 - half).abs() < 1e-6,
            "{interval:?}"
        );
    }

    #[test]
    fn both_intervals_are_that_of_the_normal_distribution_for_many_pairs() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 20)).collect();
        let pairs = Paired::new(&values, &[0.0; 400]).unwrap();
        let half = 1.96 * summary(&values).sd / 20.0;
        for found in [pairs.bootstrap(), pairs.student()] {
            assert!((found.mean - 9.5).abs() < 1e-12);
            let ends = [found.high.unwrap() - 9.5, 9.5 - found.low.unwrap()];
            assert!(ends.iter().all(|end| (end - half).abs() < 0.03), "{found:?}");
        }
    }

    #[test]
    fn corrected_values_keep_their_order() {
        assert_eq!(
            holm(&[Some(0.01), None, Some(0.04), Some(0.03)]),
            [Some(0.03), None, Some(0.06), Some(0.06)]
        );
    }
}
