//! T4: angles under sub-Gaussian projections.
//!
//! For unit x, y with cosine rho, P of independent sub-Gaussian entries, mean 0 and variance 1/k, and e in (0, 1),
//!
//!   (rho - e) / (1 + e) < cos(Px, Py) < (rho + e) / (1 - e)
//!
//! with probability at least 1 - 6 exp(-k e^2 / 8): the inner product and both squared lengths keep to e. Where
//! rho < e the lower bound's denominator is 1 - e, and where rho < -e the upper bound's is 1 + e.
//!
//! Source: Lin et al., CVPR 2020 (angle preservation, sub-Gaussian), which states the probability as
//! (1 - 2 exp(-k e^2 / 8))^2. The union of three events, each with two sides, gives the 6.

use autograd::parallel_map;

use super::sample::{Mean, Projected, pair, project};
use super::{Check, Relation, Setting};
use crate::projection::{Distribution, Projections};

/// The interval of the cosine.
fn interval(rho: f64, e: f64) -> (f64, f64) {
    let divided = |value: f64, least: f64, most: f64| value / if value < 0.0 { least } else { most };
    (divided(rho - e, 1.0 - e, 1.0 + e), divided(rho + e, 1.0 + e, 1.0 - e))
}

/// The probability bound of the theorem.
fn promise(k: usize, e: f64) -> f64 {
    1.0 - 6.0 * (-(k as f64) * e * e / 8.0).exp()
}

/// Runs the checks.
pub(super) fn run(setting: Setting) -> Vec<Check> {
    let independent = Distribution::ALL.into_iter().filter(|d| *d != Distribution::Orthonormal);
    // The bound is above 0 from k = 8 ln 6 / e^2 on.
    let grid = setting.pick(
        vec![(80, 0.5, 0.7), (80, 0.5, 0.0), (200, 0.3, 0.7), (40, 0.7, -0.9)],
        vec![
            (80, 0.5, 0.7),
            (80, 0.5, 0.0),
            (160, 0.5, 0.7),
            (200, 0.3, 0.7),
            (200, 0.3, -0.3),
            (400, 0.3, 0.95),
            (40, 0.7, -0.9),
            (30, 0.9, 0.1),
        ],
    );
    let samples = setting.pick(4_000, 40_000);
    let cases: Vec<_> = independent.flat_map(|p| grid.iter().map(move |&case| (p, case))).collect();
    let mut checks = parallel_map(cases.len(), |i| {
        let (distribution, (k, e, rho)) = cases[i];
        let found = draw(setting, distribution, k, rho, samples);
        coverage(&distribution.to_string(), k, e, rho, &found)
    });
    checks.push(least_dimension(setting, 0.5, 0.7, samples));
    checks
}

/// A pair of dimension 64 under projections.
fn draw(setting: Setting, distribution: Distribution, k: usize, rho: f64, samples: usize) -> Vec<Projected> {
    let both = pair(64, rho, setting.key(&format!("T4 {rho}")));
    project(
        &both,
        Projections { k, c: 100, distribution, seed: setting.seed, ..Projections::default() },
        samples,
    )
}

/// The share of the cosines that are inside the interval.
fn share(rho: f64, e: f64, found: &[Projected]) -> Mean {
    let (low, high) = interval(rho, e);
    Mean::share(found.iter().map(|p| low < p.cosine() && p.cosine() < high))
}

fn coverage(name: &str, k: usize, e: f64, rho: f64, found: &[Projected]) -> Check {
    let case = format!("cosine in its interval, {name}, k = {k}, e = {e}, rho = {rho}");
    Check::mean_bound("T4", case, share(rho, e, found), Relation::AtLeast, promise(k, e), 0.02)
}

/// How loose the bound is: the least k whose interval holds 95 % of the cosines, against the k for which the theorem
/// guarantees it.
fn least_dimension(setting: Setting, e: f64, rho: f64, samples: usize) -> Check {
    let promised = (1..).find(|&k| promise(k, e) >= 0.95).expect("the promise tends to 1");
    let holds =
        |k: usize| share(rho, e, &draw(setting, Distribution::Gaussian, k, rho, samples)).value >= 0.95;
    // Coverage grows with k: halve the range.
    let (mut below, mut enough) = (0, promised);
    while enough - below > 1 {
        let k = (below + enough) / 2;
        (below, enough) = if holds(k) { (below, k) } else { (k, enough) };
    }
    let case = format!("least k for 95 %, gaussian, e = {e}, rho = {rho}");
    Check::bound("T4", case, enough as f64, Relation::AtMost, promised as f64, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTING: Setting = Setting { seed: 4, full: false };

    #[test]
    fn intervals() {
        let near = |(a, b): (f64, f64), (c, d): (f64, f64)| (a - c).abs() + (b - d).abs() < 1e-15;
        assert!(near(interval(0.7, 0.5), (0.2 / 1.5, 1.2 / 0.5)));
        assert!(near(interval(0.2, 0.5), (-0.3 / 0.5, 0.7 / 0.5)));
        assert!(near(interval(-0.8, 0.5), (-1.3 / 0.5, -0.3 / 1.5)));
    }

    #[test]
    fn fewer_dimensions_than_claimed_and_other_pairs_fail() {
        // The rows of P are not independent but one repeated: one dimension, which leaves signs.
        let few = draw(SETTING, Distribution::Gaussian, 1, 0.7, 2000);
        assert!(!coverage("control", 120, 0.5, 0.7, &few).pass);
        let right = draw(SETTING, Distribution::Gaussian, 120, 0.7, 2000);
        assert!(coverage("control", 120, 0.5, 0.7, &right).pass);
        assert!(!coverage("control", 120, 0.5, -0.9, &right).pass, "another pair");
        // With far too few samples to tell, a miss in the bound is not hidden by the standard error.
        assert!(!coverage("control", 120, 0.5, -0.9, &right[..10]).pass);
    }
}
