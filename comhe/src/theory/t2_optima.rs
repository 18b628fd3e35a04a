//! T2: the least energies, reached by minimising from random starts.
//!
//! N <= d + 1: the regular simplex, mean energy (2N / (N - 1))^(-s/2). Half-space, N <= d: the orthonormal frame.
//! On the sphere of R^3 with s = 1: Thomson's energies. Sources: see [`crate::thomson::least_energy`].
//!
//! The published training log shows the classifier of 100 classes, weight 10, s = 2, ending at 4.953: the
//! simplex, 10 (200 / 99)^-1 = 4.95.

use autograd::parallel_map;

use super::{Check, Setting};
use crate::thomson::{THOMSON, Thomson, least_energy};

/// Relative.
const TOLERANCE: f64 = 1e-8;

/// Runs the checks.
pub(super) fn run(setting: Setting) -> Vec<Check> {
    let seed = setting.seed;
    let thomson = THOMSON.map(|(points, _)| Thomson { points, seed, ..Thomson::default() });
    let mut problems = thomson.to_vec();
    let sizes =
        setting.pick(vec![(9, 8), (28, 27)], vec![(9, 8), (28, 27), (64, 72), (128, 144), (100, 256)]);
    for s in [0.0, 1.0, 2.0] {
        for &(points, dim) in &sizes {
            for half_space in [false, true] {
                let points = if half_space { points.min(dim) } else { points };
                problems.push(Thomson { points, dim, s, half_space, seed, restarts: 1 });
            }
        }
    }
    if setting.full {
        for s in [0.0, 0.5, 2.0, 4.0] {
            problems.push(Thomson { points: 12, dim: 3, s, half_space: false, seed, restarts: 10 });
            problems.push(Thomson { points: 6, dim: 3, s, half_space: true, seed, restarts: 10 });
            problems.push(Thomson { points: 10, dim: 5, s, half_space: false, seed, restarts: 10 });
        }
    }
    let mut checks = parallel_map(problems.len(), |i| check(&problems[i], &solve));
    let head = least_energy(100, 256, 2.0, false).expect("a simplex");
    checks.push(Check::equal(
        "T2",
        "published head, 100 classes, weight 10".into(),
        4.953,
        10.0 * head,
        0.005,
    ));
    checks
}

fn solve(problem: &Thomson) -> f64 {
    problem.solve().expect("the options are in range").energy
}

/// The energy that a solver reaches, a sum over unordered pairs, against the optimum.
fn check(problem: &Thomson, solver: &(dyn Fn(&Thomson) -> f64 + Sync)) -> Check {
    let Thomson { points, dim, s, half_space, .. } = *problem;
    let known = least_energy(points, dim, s, half_space).expect("a case whose optimum is known");
    let all = if half_space { 2 * points } else { points };
    let expected = known * (all * (all - 1) / 2) as f64;
    let space = if half_space { ", half-space" } else { "" };
    let case = format!("least energy, N = {points}, d = {dim}, s = {s}{space}");
    Check::equal("T2", case, solver(problem), expected, TOLERANCE * expected.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::{Energy, Reduce};

    #[test]
    fn points_that_are_not_minimised_fail_and_so_does_another_energy() {
        let problem = Thomson { points: 9, dim: 8, s: 2.0, ..Thomson::default() };
        assert!(check(&problem, &solve).pass);
        let energy = |eps| Energy { eps, reduce: Reduce::Sum, ..Energy::default() };
        let unmoved = |p: &Thomson| energy(0.0).of(&p.start(0)).unwrap().item() / 2.0;
        assert!(!check(&problem, &unmoved).pass);
        // The optimal points under the published eps have another energy.
        let with_eps = |p: &Thomson| energy(1e-4).of(&p.solve().unwrap().points).unwrap().item() / 2.0;
        assert!(!check(&problem, &with_eps).pass);
        assert!(!check(&problem, &|p| solve(&Thomson { s: 2.001, ..*p })).pass);
        // Three charges are at their best in the plane, four are not.
        let flat = |p: &Thomson| solve(&Thomson { dim: 2, ..*p });
        assert!(check(&Thomson { points: 3, ..Thomson::default() }, &flat).pass);
        assert!(!check(&Thomson { points: 4, ..Thomson::default() }, &flat).pass);
    }
}
