//! T8: why spread neurons train well.
//!
//! For f(x) = sum_k v_k relu(w_k . x), v_k = +-1, and L = 1/(2m) sum_l (y_l - f(x_l))^2, let D be the dn x m matrix of
//! columns [v_k 1(w_k . x_l > 0) x_l]_k, and r_l = (f(x_l) - y_l) / m. Then
//!
//!   dL/dW = D r,   so that |r| <= |dL/dW| / sigma_min(D):
//!
//! where sigma_min is not small, every stationary point has a small loss. It depends on how the neurons lie: for
//! random unit x, P(w_i . x > 0 and w_j . x > 0) = 1/2 - arccos(c_ij) / (2 pi) =: k_ij, and the discrepancy
//!
//!   L2(W)^2 = mean over i, j of k_ij^2 - E k(u, v)^2
//!
//! falls as the energy falls. For uniform u, v: E k^2 = 1/16 + Var(theta) / (4 pi^2), Var(theta) = psi_1(d/2) / 2.
//!
//! Sources: Xie, Liang and Song, Diverse neural network learns true target functions, AISTATS 2017;
//! Lin et al., CVPR 2020. The variance of the angle is computed here from the density sin^(d-2).

use std::f64::consts::PI;

use autograd::{DType, Key, Tensor, parallel_map};

use super::sample::{Mean, dot};
use super::special::trigamma_of_half;
use super::{Check, Relation, Setting};
use crate::thomson::Thomson;

/// A network and its data.
struct Net {
    /// Neurons, n x d.
    w: Tensor,
    /// Their signs, n.
    v: Tensor,
    /// Inputs of length 1, m x d.
    x: Tensor,
    /// Targets, m.
    y: Tensor,
}

impl Net {
    fn random(n: usize, d: usize, m: usize, key: Key) -> Net {
        let normal = |name: &str, shape: &[usize]| Tensor::normal(shape, DType::F64, key.stream(name));
        let signs = normal("v", &[n]);
        Net {
            w: normal("w", &[n, d]),
            v: Tensor::from_fn([n], DType::F64, |k| signs.data::<f64>()[k].signum()),
            x: normal("x", &[m, d]).normalize_rows(0.0),
            y: normal("y", &[m]),
        }
    }

    /// dL/dW by the engine, from the loss as it is defined.
    fn gradient(&self) -> Vec<f64> {
        let w = self.w.requires_grad();
        let hidden = self.x.matmul_nt(&w).relu();
        let residual = &self.y - (hidden * &self.v).sum(1);
        let loss = (&residual * &residual).sum(..) * (0.5 / self.y.numel() as f64);
        loss.backward()[&w].to_vec()
    }

    /// The columns of D, one per input, each of the shape of W, and r.
    fn columns_and_residuals(&self) -> (Vec<Vec<f64>>, Vec<f64>) {
        let (d, m) = (self.w.shape()[1], self.y.numel());
        let (w, v) = (self.w.data::<f64>(), self.v.data::<f64>());
        let of_input = |x: &[f64], y: f64| {
            let (mut column, mut f) = (Vec::with_capacity(w.len()), 0.0);
            for (w, v) in w.chunks_exact(d).zip(v) {
                let active = if dot(w, x) > 0.0 { *v } else { 0.0 };
                column.extend(x.iter().map(|x| active * x));
                f += active * dot(w, x);
            }
            (column, (f - y) / m as f64)
        };
        self.x.data::<f64>().chunks_exact(d).zip(self.y.data::<f64>()).map(|(x, y)| of_input(x, *y)).unzip()
    }
}

/// Runs the checks.
pub(super) fn run(setting: Setting) -> Vec<Check> {
    let mut checks = Vec::new();
    let sizes = setting.pick(vec![(8, 5, 12), (40, 10, 100)], vec![(8, 5, 12), (40, 10, 100), (64, 27, 400)]);
    for (n, d, m) in sizes {
        let net = Net::random(n, d, m, setting.key(&format!("T8 {n} {d}")));
        let (columns, r) = net.columns_and_residuals();
        let case = format!("n = {n}, d = {d}, m = {m}");
        checks.push(gradient(&case, &net.gradient(), &columns, &r));
        checks.push(residual_bound(&case, &net.gradient(), &r, least_singular_value(&columns)));
    }
    for (d, rho) in setting.pick(vec![(5, 0.5), (20, -0.8)], vec![(2, 0.1), (5, 0.5), (20, -0.8), (100, 0.9)])
    {
        let key = setting.key(&format!("T8 active {d}"));
        checks.push(active_together(d, rho, setting.pick(200_000, 2_000_000), key, joint_activity(rho)));
    }
    for (n, d) in setting.pick(vec![(32, 8)], vec![(32, 8), (100, 27)]) {
        let key = setting.key(&format!("T8 discrepancy {d}"));
        checks.push(mean_discrepancy(n, d, setting.pick(4000, 20_000), key));
        let problem =
            Thomson { points: n, dim: d, s: 2.0, seed: setting.seed, restarts: 1, ..Thomson::default() };
        let spread = problem.solve().expect("the options are in range").points;
        let case = format!("n = {n}, d = {d}");
        checks.extend(falls(&case, &problem.start(0), &spread));
        checks.push(spread_is_better(&case, spread, key));
    }
    checks
}

/// The relative distance of the engine's gradient from D r.
fn gradient(case: &str, g: &[f64], columns: &[Vec<f64>], r: &[f64]) -> Check {
    let mut sum = vec![0.0; g.len()];
    for (column, r) in columns.iter().zip(r) {
        sum.iter_mut().zip(column).for_each(|(s, c)| *s += c * r);
    }
    let difference: Vec<f64> = g.iter().zip(&sum).map(|(g, s)| g - s).collect();
    let relative = (dot(&difference, &difference) / dot(g, g)).sqrt();
    Check::equal("T8", format!("|dL/dW - D r| / |dL/dW|, {case}"), relative, 0.0, 1e-13)
}

/// |r| sigma_min(D) / |dL/dW|, which is at most 1.
fn residual_bound(case: &str, g: &[f64], r: &[f64], sigma: f64) -> Check {
    let ratio = (dot(r, r) / dot(g, g)).sqrt() * sigma;
    let case = format!("|r| sigma_min(D) / |dL/dW|, {case}, sigma_min = {sigma:.3}");
    Check::bound("T8", case, ratio, Relation::AtMost, 1.0, 1e-9)
}

/// The least singular value of the matrix with these columns: the Gram matrix G has the least eigenvalue
/// 1 / lambda_max(G^-1), and lambda_max(A) = lim tr(A^p)^(1/p), here for p = 2^40, by squaring. G is shifted by a
/// trace's rounding, which is taken off again, so that a singular one gives 0.
fn least_singular_value(columns: &[Vec<f64>]) -> f64 {
    let m = columns.len();
    let d = Tensor::new(&columns.concat(), [m, columns[0].len()]);
    let gram = d.matmul_nt(&d);
    let shift = 1e-13 * gram.trace().item();
    let mut power = (gram + Tensor::eye(m, DType::F64) * shift).inverse();
    let mut log = 0.0; // of lambda_max(G^-1): what was taken out of its powers so far
    let mut p = 1.0;
    for _ in 0..40 {
        let trace = power.trace().item();
        log += trace.ln() / p;
        power *= 1.0 / trace;
        power = power.matmul(&power);
        p *= 2.0;
    }
    ((-log).exp() - shift).max(0.0).sqrt()
}

/// k for two neurons with cosine c.
fn joint_activity(c: f64) -> f64 {
    0.5 - c.acos() / (2.0 * PI)
}

/// The frequency at which two neurons with cosine rho are both active on random inputs.
fn active_together(d: usize, rho: f64, samples: usize, key: Key, expected: f64) -> Check {
    let [a, b] = super::sample::pair(d, rho, key);
    let x = Tensor::normal([samples, d], DType::F64, key.stream("inputs"));
    let both = x.data::<f64>().chunks_exact(d).map(|x| dot(&a, x) > 0.0 && dot(&b, x) > 0.0);
    let case = format!("two neurons active, d = {d}, cosine {rho}");
    Check::mean("T8", case, Mean::share(both), expected, 0.01)
}

/// L2(W)^2.
fn discrepancy(w: &Tensor) -> f64 {
    let u = w.normalize_rows(0.0);
    let squares =
        u.matmul_nt(&u).to_vec::<f64>().into_iter().map(|c| joint_activity(c.clamp(-1.0, 1.0)).powi(2));
    let n = u.shape()[0];
    squares.sum::<f64>() / (n * n) as f64 - mean_square(u.shape()[1])
}

/// E k(u, v)^2 of uniform u, v in R^d.
fn mean_square(d: usize) -> f64 {
    1.0 / 16.0 + 0.5 * trigamma_of_half(d) / (4.0 * PI * PI)
}

/// The discrepancy of uniform neurons: only the n of n^2 pairs with i = j are not uniform, and have k = 1/2.
fn mean_discrepancy(n: usize, d: usize, layers: u64, key: Key) -> Check {
    let of = |i| discrepancy(&Tensor::normal([n, d], DType::F64, key.step(i as u64)));
    let mean = Mean::of(&parallel_map(layers as usize, of));
    let expected = (0.25 - mean_square(d)) / n as f64;
    Check::mean(
        "T8",
        format!("discrepancy of uniform neurons, n = {n}, d = {d}"),
        mean,
        expected,
        0.1 * expected,
    )
}

/// The discrepancy falls with the energy, and remains above 0.
fn falls(case: &str, random: &Tensor, spread: &Tensor) -> [Check; 2] {
    let (before, after) = (discrepancy(random), discrepancy(spread));
    [
        Check::bound(
            "T8",
            format!("discrepancy of least energy, against random, {case}"),
            after,
            Relation::AtMost,
            0.99 * before,
            0.0,
        ),
        Check::bound(
            "T8",
            format!("discrepancy is not negative, {case}"),
            after,
            Relation::AtLeast,
            0.0,
            1e-12,
        ),
    ]
}

/// sigma_min(D) of neurons of least energy, against that of as many neurons around one direction, on the same inputs.
fn spread_is_better(case: &str, spread: Tensor, key: Key) -> Check {
    let [n, d] = [spread.shape()[0], spread.shape()[1]];
    // More inputs than dimensions: neurons that act alike give D a rank of about d.
    let net = Net::random(n, d, 4 * d, key);
    let sigma = |w: Tensor| {
        let net = Net { w, v: net.v.clone(), x: net.x.clone(), y: net.y.clone() };
        least_singular_value(&net.columns_and_residuals().0)
    };
    let clustered = sigma(&net.w * 0.2 + Tensor::full([n, d], 1.0, DType::F64));
    let case = format!("sigma_min(D) of least energy, against clustered, {case}");
    Check::bound("T8", case, sigma(spread), Relation::AtLeast, (1.2 * clustered).max(0.01), 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTING: Setting = Setting { seed: 8, full: false };

    #[test]
    fn a_wrong_gradient_residual_or_singular_value_fails() {
        let net = Net::random(8, 5, 12, SETTING.key("control"));
        let (columns, r) = net.columns_and_residuals();
        let (g, sigma) = (net.gradient(), least_singular_value(&columns));
        assert!(gradient("", &g, &columns, &r).pass && residual_bound("", &g, &r, sigma).pass);
        // Neurons of the other sign, residuals of the other sign or not divided by m.
        let other = Net { v: -&net.v, ..Net::random(8, 5, 12, SETTING.key("control")) };
        assert!(!gradient("", &g, &other.columns_and_residuals().0, &r).pass);
        for factor in [-1.0, 12.0, 1.0 + 1e-12] {
            let wrong: Vec<f64> = r.iter().map(|r| factor * r).collect();
            assert!(!gradient("", &g, &columns, &wrong).pass, "{factor}");
        }
        // Residuals along the last singular direction: the bound is tight there.
        let d = Tensor::new(&columns.concat(), [12, 40]);
        let inverse = d.matmul_nt(&d).inverse();
        let mut last = Tensor::ones([12, 1], DType::F64);
        for _ in 0..2000 {
            last = inverse.matmul(&last);
            last = &last * (1.0 / last.norm(..).item());
        }
        let last_g = last.reshape([1, 12]).matmul(&d).to_vec::<f64>();
        assert!(residual_bound("", &last_g, last.data(), sigma).pass);
        assert!(!residual_bound("", &last_g, last.data(), 1.001 * sigma).pass);
    }

    #[test]
    fn singular_values() {
        let columns = [vec![3.0, 0.0, 0.0], vec![0.0, 0.0, 2.0]];
        assert!((least_singular_value(&columns) - 2.0).abs() < 1e-10);
        // More inputs than weights, and an input on which no neuron is active.
        assert!(least_singular_value(&[vec![1.0], vec![2.0]]) < 1e-6);
        assert!(least_singular_value(&[vec![1.0, 2.0], vec![0.0, 0.0]]) < 1e-6);
    }

    #[test]
    fn activity_and_discrepancy_controls() {
        let key = SETTING.key("control");
        assert!(active_together(5, 0.5, 20_000, key, joint_activity(0.5)).pass);
        assert!(!active_together(5, 0.5, 20_000, key, joint_activity(0.3)).pass);
        assert!(!active_together(5, 0.5, 20_000, key, 0.25).pass, "they are not independent");
        // On the circle the angle is uniform: its variance is pi^2 / 12.
        assert!((mean_square(2) - 1.0 / 16.0 - 1.0 / 48.0).abs() < 1e-15);
        let random = Tensor::normal([32, 8], DType::F64, key);
        let clustered = &random + 1.0;
        assert!(!falls("", &random, &clustered)[0].pass && falls("", &clustered, &random)[0].pass);
        assert!(mean_discrepancy(32, 8, 300, key).pass);
        let problem = Thomson { points: 32, dim: 8, s: 2.0, restarts: 1, ..Thomson::default() };
        assert!(spread_is_better("", problem.solve().unwrap().points, key).pass);
        assert!(!spread_is_better("", clustered * 0.1 + 1.0, key).pass);
    }
}
