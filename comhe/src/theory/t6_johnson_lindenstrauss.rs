//! T6: the lemma of Johnson and Lindenstrauss.
//!
//! For k >= 4 ln N / (e^2/2 - e^3/3) a Gaussian projection to R^k keeps all squared distances of N points to a factor
//! 1 +- e with probability at least 1/N.
//!
//! Source: Dasgupta and Gupta, An elementary proof of a theorem of Johnson and Lindenstrauss, 2003, theorem 2.1. The
//! frequency that is measured is far higher: the union over N^2/2 pairs leaves 1 - (N-1)/N of the chance.

use autograd::{DType, Tensor, parallel_map};

use super::sample::Mean;
use super::{Check, Relation, Setting};
use crate::projection::Projections;

/// The dimension that the lemma requires.
fn dimension(n: usize, e: f64) -> usize {
    (4.0 * (n as f64).ln() / (e * e / 2.0 - e.powi(3) / 3.0)).ceil() as usize
}

/// Runs the checks.
pub(super) fn run(setting: Setting) -> Vec<Check> {
    let grid = setting.pick(
        vec![(10, 300, 0.5), (30, 300, 0.5)],
        vec![(10, 1000, 0.5), (30, 1000, 0.5), (100, 1000, 0.5), (30, 1000, 0.3), (30, 1000, 0.8)],
    );
    let trials = setting.pick(400, 2000);
    let mut checks = Vec::new();
    for (n, d, e) in grid {
        let points = Tensor::normal([n, d], DType::F64, setting.key(&format!("T6 {n}")));
        checks.push(check(&points, dimension(n, e), e, trials, setting.seed));
        checks.push(least_dimension(&points, e, trials, setting.seed));
    }
    checks
}

/// Row by row the squared distances of all pairs.
fn squared_distances(x: &Tensor) -> Vec<f64> {
    let n = x.shape()[0];
    let gram = x.matmul_nt(x);
    let g = |i: usize, j: usize| gram.data::<f64>()[i * n + j];
    (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| g(i, i) + g(j, j) - 2.0 * g(i, j)).collect()
}

/// How often all distances are kept.
fn frequency(points: &Tensor, k: usize, e: f64, trials: u64, seed: u64) -> Mean {
    let before = squared_distances(points);
    let gaussian = Projections { k, c: 1, seed, ..Projections::default() };
    let kept = |draw: usize| {
        let p = gaussian.draw("T6", draw as u64, points.shape()[1], DType::F64).expect("k is at least 1");
        let after = squared_distances(&points.matmul_nt(&p.reshape([k, points.shape()[1]])));
        after.iter().zip(&before).all(|(after, before)| (after / before - 1.0).abs() <= e)
    };
    Mean::share(parallel_map(trials as usize, kept))
}

fn check(points: &Tensor, k: usize, e: f64, trials: u64, seed: u64) -> Check {
    let n = points.shape()[0];
    let case = format!("all distances kept, N = {n}, e = {e}, k = {k}");
    let least = 1.0 / n as f64;
    Check::mean_bound(
        "T6",
        case,
        frequency(points, k, e, trials, seed),
        Relation::AtLeast,
        least,
        0.5 * least,
    )
}

/// How loose the lemma is: the least k, by halves, that keeps all distances with frequency 1/N or more.
fn least_dimension(points: &Tensor, e: f64, trials: u64, seed: u64) -> Check {
    let n = points.shape()[0];
    let asked = dimension(n, e);
    let (mut below, mut enough) = (0, asked);
    while enough - below > asked / 16 + 1 {
        let k = (below + enough) / 2;
        let holds = frequency(points, k, e, trials / 2, seed).value >= 1.0 / n as f64;
        (below, enough) = if holds { (below, k) } else { (k, enough) };
    }
    let case = format!("k that suffices for 1/N, N = {n}, e = {e}");
    Check::bound("T6", case, enough as f64, Relation::AtMost, asked as f64, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dimension_of_the_lemma() {
        assert_eq!(dimension(30, 0.5), 164); // 4 * 3.4012 / (1/12) = 163.3
    }

    #[test]
    fn too_few_dimensions_fail() {
        let points = Tensor::normal([10, 100], DType::F64, Setting { seed: 6, full: false }.key("control"));
        assert!(check(&points, dimension(10, 0.5), 0.5, 60, 1).pass);
        assert!(!check(&points, 4, 0.5, 200, 1).pass);
        // Distances are those of the points, not of their squares or halves.
        assert_eq!(squared_distances(&Tensor::from([[0.0, 0.0], [3.0, 4.0]])), [25.0]);
    }
}
