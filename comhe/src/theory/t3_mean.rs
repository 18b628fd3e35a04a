//! T3: what random projections preserve in the mean.
//!
//! For P in R^{k x d} of independent entries with mean 0 and variance 1/k: E <Px, Py> = <x, y>. For Gaussian entries
//! more is exact, for every k >= 1: the angle is unbiased,
//!
//!   E theta(Px, Py) = theta(x, y),
//!
//! since it is pi times the chance that a random hyperplane separates Px from Py, and g'P is again Gaussian. The
//! cosine is shrunk:
//!
//!   E cos(Px, Py) = rho (2/k) [Gamma((k+1)/2) / Gamma(k/2)]^2 2F1(1/2, 1/2; (k+2)/2; rho^2)
//!
//! which is the mean of the sample correlation (Hotelling, New light on the correlation coefficient and its
//! transforms, 1953, for k degrees of freedom). The exactness of the angle is not in the paper (Lin et al., CVPR 2020),
//! which has the inner product.

use autograd::parallel_map;

use super::sample::{Mean, Projected, pair, project};
use super::special::{hypergeometric, ln_gamma};
use super::{Check, Setting};
use crate::projection::{Distribution, Projections};

/// The mean cosine after a Gaussian projection to dimension k.
fn mean_cosine(k: usize, rho: f64) -> f64 {
    let k = k as f64;
    let ratio = (ln_gamma(0.5 * (k + 1.0)) - ln_gamma(0.5 * k)).exp();
    rho * (2.0 / k) * ratio * ratio * hypergeometric(0.5, 0.5, 0.5 * (k + 2.0), rho * rho)
}

/// Runs the checks.
pub(super) fn run(setting: Setting) -> Vec<Check> {
    let samples = setting.pick(400_000, 4_000_000);
    let ks = setting.pick(vec![1, 5, 30], vec![1, 2, 5, 10, 30, 80]);
    let rhos = setting.pick(vec![0.6, -0.9], vec![0.0, 0.3, 0.6, 0.95, -0.9]);
    let cases: Vec<(usize, f64)> = ks.iter().flat_map(|&k| rhos.iter().map(move |&rho| (k, rho))).collect();
    let gaussian = parallel_map(cases.len(), |i| {
        let (k, rho) = cases[i];
        let found = draw(setting, Distribution::Gaussian, k, rho, samples);
        of_gaussian(k, rho, &found, rho)
    });
    let any = parallel_map(Distribution::ALL.len(), |i| {
        let distribution = Distribution::ALL[i];
        let found = draw(setting, distribution, 6, 0.6, samples / 4);
        inner_product(&format!("{distribution}, k = 6, rho = 0.6"), &found, 0.6)
    });
    gaussian.into_iter().flatten().chain(any).collect()
}

/// A pair of dimension 16 under projections.
fn draw(setting: Setting, distribution: Distribution, k: usize, rho: f64, samples: usize) -> Vec<Projected> {
    let both = pair(16, rho, setting.key(&format!("T3 {rho}")));
    project(
        &both,
        Projections { k, c: 2000, distribution, seed: setting.seed, ..Projections::default() },
        samples,
    )
}

fn inner_product(case: &str, found: &[Projected], rho: f64) -> Check {
    let mean = Mean::of(&found.iter().map(|p| p.xy).collect::<Vec<_>>());
    Check::mean("T3", format!("mean of <Px, Py>, {case}"), mean, rho, 0.02)
}

/// Inner product, angle and cosine of Gaussian projections.
fn of_gaussian(k: usize, rho: f64, found: &[Projected], expected: f64) -> [Check; 3] {
    let case = format!("gaussian, k = {k}, rho = {rho}");
    let cosines: Vec<f64> = found.iter().map(|p| p.cosine()).collect();
    let angles: Vec<f64> = cosines.iter().map(|c| c.acos()).collect();
    [
        inner_product(&case, found, expected),
        Check::mean("T3", format!("mean angle, {case}"), Mean::of(&angles), expected.acos(), 0.02),
        Check::mean("T3", format!("mean cosine, {case}"), Mean::of(&cosines), mean_cosine(k, expected), 0.01),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTING: Setting = Setting { seed: 3, full: false };

    #[test]
    fn the_shrunk_cosine() {
        assert!((mean_cosine(5, 0.6) - 0.55868).abs() < 5e-6);
        // In one dimension only the sign is left: 2 / pi arcsin rho. In many dimensions nothing shrinks.
        let sign = 0.6f64.asin() * std::f64::consts::FRAC_2_PI;
        assert!((mean_cosine(1, 0.6) - sign).abs() < 1e-13);
        assert!((mean_cosine(1_000_000, 0.6) - 0.6).abs() < 1e-6);
        assert!((mean_cosine(7, 1.0) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn other_pairs_variances_and_distributions_fail() {
        let found = draw(SETTING, Distribution::Gaussian, 5, 0.6, 50_000);
        assert!(of_gaussian(5, 0.6, &found, 0.6).iter().all(|c| c.pass));
        assert!(of_gaussian(5, 0.6, &found, 0.55).iter().all(|c| !c.pass), "another pair");
        // A wrong variance changes the inner product, and not the angle.
        let scaled: Vec<Projected> =
            found.iter().map(|p| Projected { xx: 1.1 * p.xx, yy: 1.1 * p.yy, xy: 1.1 * p.xy }).collect();
        let passes = of_gaussian(5, 0.6, &scaled, 0.6).map(|c| c.pass);
        assert_eq!(passes, [false, true, true]);
        // The cosine is not unbiased.
        let mean = Mean::of(&found.iter().map(|p| p.cosine()).collect::<Vec<_>>());
        assert!(!Check::mean("T3", String::new(), mean, 0.6, 0.02).pass);
        // Signs alone, k = 1, on vectors along few axes: the angle is not kept.
        let both = [vec![1.0, 0.0, 0.0], vec![0.6, 0.8, 0.0]];
        let signs = Projections {
            k: 1,
            c: 1000,
            distribution: Distribution::Rademacher,
            seed: 1,
            ..Projections::default()
        };
        let [product, angle, _] = of_gaussian(1, 0.6, &project(&both, signs, 50_000), 0.6);
        assert!(product.pass && !angle.pass);
    }
}
