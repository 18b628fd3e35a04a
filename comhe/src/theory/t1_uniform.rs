//! T1: the energy of the uniform distribution, where Gaussian-initialised layers start.
//!
//! For u, v independent and uniform on the unit sphere of R^d, n = d - 1 and 0 < s < n:
//!
//!   E |u - v|^-s = 2^(n-s-1) Gamma((n+1)/2) Gamma((n-s)/2) / (sqrt(pi) Gamma(n - s/2))
//!   E log(1/|u - v|) = -log 2 + (psi(n) - psi(n/2)) / 2
//!
//! from the density of the cosine, (1 - t^2)^((d-3)/2). The direction of a Gaussian vector is uniform. In half-space
//! the N antipodal pairs have energy f(2), all others the same mean.
//!
//! Source: Brauchart, Hardin and Saff, The next-order term for optimal Riesz and logarithmic energy asymptotics on
//! the sphere, 2012 (the continuous energy of the uniform measure).

use std::f64::consts::{LN_2, PI};

use autograd::{DType, Key, Tensor, parallel_map};

use super::sample::Mean;
use super::special::{digamma, ln_gamma};
use super::{Check, Setting};
use crate::energy::Energy;

/// The mean energy of uniform points of the unit sphere of R^`d`, s < d - 1.
pub(super) fn uniform_energy(d: usize, s: f64) -> f64 {
    let n = (d - 1) as f64;
    assert!((0.0..n).contains(&s), "s = {s} has a mean energy for d > s + 1 alone");
    if s == 0.0 {
        return -LN_2 + 0.5 * (digamma(n) - digamma(0.5 * n));
    }
    let gammas = ln_gamma(0.5 * (n + 1.0)) + ln_gamma(0.5 * (n - s)) - ln_gamma(n - 0.5 * s);
    ((n - s - 1.0) * LN_2 + gammas - 0.5 * PI.ln()).exp()
}

/// The same in half-space, for N neurons.
fn half_space_energy(d: usize, s: f64, n: usize) -> f64 {
    let (n, antipodal) = (n as f64, if s == 0.0 { -LN_2 } else { 0.5f64.powf(s) });
    (antipodal + (2.0 * n - 2.0) * uniform_energy(d, s)) / (2.0 * n - 1.0)
}

/// Layers of N = 64 neurons; their mean energy has the variance of a mean over pairs.
const NEURONS: usize = 64;

/// Runs the checks.
pub(super) fn run(setting: Setting) -> Vec<Check> {
    let mut cases = vec![(27, 0.0), (27, 1.0), (27, 2.0), (3, 0.0), (8, 1.0), (144, 2.0)];
    if setting.full {
        cases.extend([(2, 0.0), (5, 0.5), (16, 3.0), (576, 0.0), (576, 1.0), (576, 2.0)]);
    }
    let layers = setting.pick(4000, 40_000);
    let mut checks = Vec::new();
    for (d, s) in cases {
        let normal = |key| Tensor::normal([NEURONS, d], DType::F64, key);
        let key = setting.key(&format!("T1 {d} {s}"));
        checks.push(check(d, s, false, layers, key, &normal, uniform_energy(d, s)));
        if d == 27 {
            checks.push(check(d, s, true, layers, key, &normal, half_space_energy(d, s, NEURONS)));
        }
    }
    checks
}

/// Mean energies of layers that `draw` makes, against what is expected.
fn check(
    d: usize,
    s: f64,
    half_space: bool,
    layers: u64,
    key: Key,
    draw: &(dyn Fn(Key) -> Tensor + Sync),
    expected: f64,
) -> Check {
    let energy = Energy { s, half_space, eps: 0.0, ..Energy::default() };
    let of = |i: usize| energy.of(&draw(key.step(i as u64))).expect("normal rows are not zero").item();
    let mean = Mean::of(&parallel_map(layers as usize, of));
    let space = if half_space { ", half-space" } else { "" };
    Check::mean("T1", format!("mean energy of normal layers, d = {d}, s = {s}{space}"), mean, expected, 1e-3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_by_hand() {
        for (d, s, want) in
            [(27, 1.0, 0.71779), (27, 2.0, 25.0 / 48.0), (27, 0.0, -0.33677), (3, 1.0, 1.0), (5, 2.0, 0.75)]
        {
            assert!((uniform_energy(d, s) - want).abs() < 1e-5, "d {d} s {s}: {}", uniform_energy(d, s));
        }
        // On the circle the logarithmic energy is 0, and on the sphere of space 1/2 - log 2.
        assert!(uniform_energy(2, 0.0).abs() < 1e-14);
        assert!((uniform_energy(3, 0.0) - 0.5 + LN_2).abs() < 1e-14);
    }

    #[test]
    fn layers_that_are_not_uniform_or_a_wrong_formula_fail() {
        let key = Setting { seed: 1, full: false }.key("control");
        let normal = |key| Tensor::normal([NEURONS, 27], DType::F64, key);
        let right = uniform_energy(27, 2.0);
        assert!(check(27, 2.0, false, 2000, key, &normal, right).pass);
        assert!(
            !check(27, 2.0, false, 2000, key, &normal, uniform_energy(26, 2.0)).pass,
            "another dimension"
        );
        assert!(!check(27, 2.0, true, 2000, key, &normal, right).pass, "no antipodes in the formula");
        // Neurons that are not centred, and neurons uniform in a cube.
        let leaning = |key| normal(key) + 0.2;
        assert!(!check(27, 2.0, false, 2000, key, &leaning, right).pass);
        let sparse = |key| Tensor::uniform([NEURONS, 27], DType::F64, key).powi(3);
        assert!(!check(27, 2.0, false, 2000, key, &sparse, right).pass);
        // Too few layers for a decision.
        let coarse = check(3, 0.0, false, 5, key, &|key| Tensor::normal([2, 3], DType::F64, key), 0.0);
        assert!(!coarse.pass && coarse.stderr > 1e-3);
    }
}
