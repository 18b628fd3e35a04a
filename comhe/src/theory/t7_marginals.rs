//! T7: one-dimensional projections determine the distribution.
//!
//! A distribution is determined by its projections to lines (Cramer and Wold 1936). Of a uniform sample of the unit
//! sphere of R^d each has the density proportional to (1 - t^2)^((d-3)/2), so that Kolmogorov's and Smirnov's test
//! along random directions distinguishes uniform neurons from others. Its statistic falls as the energy is minimised:
//! spread neurons are more even than random ones.
//!
//! Sources: Lin et al., CVPR 2020; Cuesta-Albertos, Cuevas and Fraiman, On projection-based tests for
//! directional and compositional data, Statistics and Computing 19, 2009. Small samples: Stephens, J. Royal Stat.
//! Soc. B 32, 1970.

use autograd::{DType, Key, Tensor, parallel_map};

use super::sample::{Mean, dot};
use super::special::{coordinate_cdf, kolmogorov_tail};
use super::{Check, Relation, Setting};
use crate::thomson::Thomson;

/// The level of the test.
const LEVEL: f64 = 0.05;

/// Runs the checks.
pub(super) fn run(setting: Setting) -> Vec<Check> {
    let sizes =
        setting.pick(vec![(50, 3), (64, 10)], vec![(100, 2), (50, 3), (64, 10), (200, 27), (100, 100)]);
    let samples = setting.pick(4000, 20_000);
    let mut checks = Vec::new();
    for (n, d) in sizes {
        let key = setting.key(&format!("T7 {n} {d}"));
        let uniform = |key| Tensor::normal([n, d], DType::F64, key);
        // Some neurons around one direction, the others uniform.
        let clustered = |key| {
            let normal = uniform(key);
            let shift = Tensor::from_fn([n, d], DType::F64, |i| if i < n * d / 2 { 1.0 } else { 0.0 });
            normal + shift
        };
        let case = format!("N = {n}, d = {d}");
        checks.push(rejections(format!("uniform neurons rejected, {case}"), samples, key, &uniform, d));
        checks.push(power(format!("clustered neurons rejected, {case}"), samples / 10, key, &clustered, d));
    }
    for (points, dim) in setting.pick(vec![(50, 3)], vec![(50, 3), (100, 10)]) {
        let problem = Thomson { points, dim, s: 2.0, seed: setting.seed, restarts: 1, ..Thomson::default() };
        let minimised = problem.solve().expect("the options are in range").points;
        let key = setting.key("T7 falls");
        let case = format!("N = {points}, d = {dim}");
        checks.push(falls(case, &problem.start(0), &minimised, setting.pick(1000, 10_000), key));
    }
    checks
}

/// sqrt(N) D_N of the neurons' directions along a random direction, with Stephens' correction for small N.
fn statistic(w: &Tensor, key: Key) -> f64 {
    let [n, d] = [w.shape()[0], w.shape()[1]];
    let mut direction = vec![0.0; d];
    key.fill_normal(&mut direction);
    let length = dot(&direction, &direction).sqrt();
    let mut along: Vec<f64> = w
        .data::<f64>()
        .chunks_exact(d)
        .map(|w| coordinate_cdf(d, dot(w, &direction) / (dot(w, w).sqrt() * length)))
        .collect();
    along.sort_by(f64::total_cmp);
    let n = n as f64;
    let distance = along
        .iter()
        .enumerate()
        .map(|(i, f)| (f - i as f64 / n).max((i + 1) as f64 / n - f))
        .fold(0.0, f64::max);
    (n.sqrt() + 0.12 + 0.11 / n.sqrt()) * distance
}

/// Of independent samples, one random direction each, the share that the test rejects.
fn rejected(samples: u64, key: Key, draw: &(dyn Fn(Key) -> Tensor + Sync)) -> Mean {
    let reject = |i: usize| {
        let i = i as u64;
        kolmogorov_tail(statistic(&draw(key.step(i)), key.stream("direction").step(i))) < LEVEL
    };
    Mean::share(parallel_map(samples as usize, reject))
}

/// The test accepts uniform neurons: the rejection rate is its level.
fn rejections(
    case: String,
    samples: u64,
    key: Key,
    draw: &(dyn Fn(Key) -> Tensor + Sync),
    d: usize,
) -> Check {
    assert!(draw(key).shape()[1] == d);
    Check::mean("T7", case, rejected(samples, key, draw), LEVEL, 0.02)
}

/// The test rejects neurons that are not uniform. It always does so only for large N; 0.9 is the threshold chosen for
/// these clusters. In the plane they exceed it from about N = 60 on: of 25, 50, 75 and 100 neurons 0.42, 0.84, 0.97 and
/// 0.999 of the samples are rejected.
fn power(case: String, samples: u64, key: Key, draw: &(dyn Fn(Key) -> Tensor + Sync), d: usize) -> Check {
    // 20 directions per sample, each at the level LEVEL / 20 (Bonferroni).
    const DIRECTIONS: u64 = 20;
    assert!(draw(key).shape()[1] == d);
    let reject = |i: usize| {
        let i = i as u64;
        let w = draw(key.step(i));
        (0..DIRECTIONS).any(|j| {
            let direction = key.stream("direction").step(i * DIRECTIONS + j);
            kolmogorov_tail(statistic(&w, direction)) < LEVEL / DIRECTIONS as f64
        })
    };
    Check::mean_bound(
        "T7",
        case,
        Mean::share(parallel_map(samples as usize, reject)),
        Relation::AtLeast,
        0.9,
        0.05,
    )
}

/// The mean statistic of minimised neurons against that of the neurons before, along the same directions.
fn falls(case: String, before: &Tensor, after: &Tensor, directions: u64, key: Key) -> Check {
    let along = |w: &Tensor| parallel_map(directions as usize, |i| statistic(w, key.step(i as u64)));
    let (before, after) = (Mean::of(&along(before)), Mean::of(&along(after)));
    let case = format!("mean statistic after minimising, against before, {case}");
    Check::mean_bound("T7", case, after, Relation::AtMost, 0.9 * before.value, 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statistic_by_hand() {
        // On the circle, d = 2: two points at right angles to each other have coordinates cos a and -sin a, which
        // the distribution function 1 - arccos(t) / pi maps to 1 - a / pi and 1 / 2 - a / pi.
        let w = Tensor::from([[1.0, 0.0], [0.0, 2.0]]);
        let key = Key::new(1);
        let mut g = vec![0.0f64; 2];
        key.fill_normal(&mut g);
        let norm: f64 = (g[0] * g[0] + g[1] * g[1]).sqrt();
        let mut f: Vec<f64> = g.iter().map(|g| 1.0 - (g / norm).acos() / std::f64::consts::PI).collect();
        f.sort_by(f64::total_cmp);
        let d = f[0].max(0.5 - f[0]).max(f[1] - 0.5).max(1.0 - f[1]);
        let correction = 2f64.sqrt() + 0.12 + 0.11 / 2f64.sqrt();
        assert!((statistic(&w, key) - correction * d).abs() < 1e-12);
    }

    #[test]
    fn clusters_are_no_uniform_sample_and_uniform_ones_no_clusters() {
        let key = Setting { seed: 7, full: false }.key("control");
        let uniform = |key| Tensor::normal([64, 10], DType::F64, key);
        let leaning = |key| uniform(key) + 0.5;
        let name = || String::new();
        assert!(rejections(name(), 3000, key, &uniform, 10).pass);
        assert!(!rejections(name(), 3000, key, &leaning, 10).pass);
        assert!(!power(name(), 50, key, &uniform, 10).pass);
        assert!(power(name(), 50, key, &leaning, 10).pass);
        // Nothing falls where nothing was minimised.
        let (a, b) = (uniform(key), uniform(key.step(1)));
        assert!(!falls(name(), &a, &b, 200, key).pass && !falls(name(), &a, &leaning(key), 200, key).pass);
    }
}
