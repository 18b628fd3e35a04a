//! Softmax, log-softmax and cross-entropy against their definitions, gradients against the Jacobian.

use kernels::Element;
use kernels::softmax::*;
use proptest::prelude::*;

use crate::common::*;

/// Logits (rows, classes), uniform on -scale..scale.
#[derive(Clone, Debug)]
struct Case {
    rows: usize,
    classes: usize,
    scale: f64,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let classes = prop_oneof![1..12usize, 1..70usize, 1..250usize];
    let scale = prop::sample::select(vec![1.0, 0.0, 30.0, 1000.0]);
    (0..9usize, classes, scale, 0..1000u64).prop_map(|(rows, classes, scale, seed)| Case {
        rows,
        classes,
        scale,
        seed,
    })
}

/// One row by definition in f64: the log-probabilities and their tolerances. With t = max x - x, the sum of n
/// exponentials is at least 1 and has a relative error of at most (1.4 n + 3) u (as that of logsumexp), its logarithm
/// 2 u ln n more; both differences are rounded.
fn log_softmax(x: &[f64], u: f64) -> Vec<(f64, f64)> {
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = x.iter().map(|v| (v - max).exp()).sum::<f64>().ln();
    let element = |v: &f64| {
        let (t, y) = (max - v, v - max - log_sum);
        (y, u * (2.0 * x.len() as f64 + 6.0 + t + y.abs()))
    };
    x.iter().map(element).collect()
}

fn softmax_property<T: Element>(case: &Case) -> TestResult {
    let &Case { rows, classes, scale, seed } = case;
    let u = unit::<T>() + unit::<f64>();
    let x: Vec<T> = noise(rows * classes, seed, scale);
    let g: Vec<T> = noise(rows * classes, seed + 1, 1.0);
    let log: Vec<(f64, f64)> = to_f64(&x).chunks(classes).flat_map(|x| log_softmax(x, u)).collect();
    // An absolute error of the logarithm is a relative one of the probability; the exponential adds 2.2 u, the
    // division by the sum 2 u. Probabilities may underflow.
    let probability = |i: usize| {
        let (y, tolerance) = log[i];
        (y.exp(), y.exp() * (tolerance + 5.0 * u) + 2.0 * tiny::<T>())
    };
    // sum over j of g_j dy_j / dx_i, from the y that the kernel wrote
    let backward = |y: &[T], jacobian: &dyn Fn(f64, f64, bool) -> f64| -> Vec<Terms> {
        let (y, g) = (to_f64(y), to_f64(&g));
        let term = |i: usize, j: usize| g[j] * jacobian(y[i], y[j], i == j);
        (0..y.len())
            .map(|i| (i / classes * classes..(i / classes + 1) * classes).map(|j| term(i, j)).collect())
            .collect()
    };
    at_every_level(|| {
        let (mut y, mut dx) = (vec![T::NAN; x.len()], vec![T::NAN; x.len()]);
        softmax_forward(&x, classes, &mut y);
        check("softmax", &y, probability)?;
        softmax_backward(&y, &g, classes, &mut dx);
        // y_i (g_i - sum g y): the terms of the kernel are as large as those of the sum with |g_i| y_i once more.
        let terms = backward(&y, &|yi, yj, same| yj * (f64::from(same) - yi));
        let wider = |i: usize| terms[i].size + 2.0 * (g[i].to_f64() * y[i].to_f64()).abs();
        let underflow = 3.0 * classes as f64 * tiny::<T>();
        check("softmax backward", &dx, |i| (terms[i].value, gamma::<T>(classes + 3) * wider(i) + underflow))?;
        log_softmax_forward(&x, classes, &mut y);
        check("log-softmax", &y, |i| log[i])?;
        log_softmax_backward(&y, &g, classes, &mut dx);
        // g_i - e^y_i sum g; the exponential has 2.2 roundings.
        let terms = backward(&y, &|yi, _, same| f64::from(same) - yi.exp());
        let wider = |i: usize| terms[i].size + 2.0 * g[i].to_f64().abs();
        check("log-softmax backward", &dx, |i| {
            (terms[i].value, gamma::<T>(classes + 6) * wider(i) + underflow)
        })
    })
}

fn cross_entropy_property<T: Element>(case: &Case, smoothing: f64, weighted: bool) -> TestResult {
    let &Case { rows, classes, scale, seed } = case;
    let u = unit::<T>() + unit::<f64>();
    let x: Vec<T> = noise(rows * classes, seed, scale);
    let g: Vec<T> = noise(rows, seed + 1, 1.0);
    let labels = indices(rows, seed + 2, classes);
    let weights: Vec<T> = noise::<T>(classes, seed + 3, 0.5).iter().map(|&w| w + T::ONE).collect();
    let smoothing = T::from_f64(smoothing);
    let targets = Targets { labels: &labels, classes, smoothing, weights: weighted.then_some(&weights) };
    let weight = |c: usize| if weighted { weights[c].to_f64() } else { 1.0 };
    let target = |row: usize, c: usize| {
        let (s, label) = (smoothing.to_f64(), labels[row] as usize);
        (1.0 - s) * weight(label) * f64::from(c == label) + s * weight(c) / classes as f64
    };
    let log: Vec<(f64, f64)> = to_f64(&x).chunks(classes).flat_map(|x| log_softmax(x, u)).collect();
    // A target has up to 4 roundings, a loss `classes` products and their sum, and that of both parts.
    let loss = |row: usize| {
        let terms = (0..classes).map(|c| (target(row, c), log[row * classes + c]));
        let value = terms.clone().map(|(t, (y, _))| -t * y).sum();
        let tolerance = |(t, (y, tolerance)): (f64, (f64, f64))| {
            t * (tolerance + gamma::<T>(classes + 6) * (y.abs() + tolerance))
        };
        (value, terms.map(tolerance).sum())
    };
    at_every_level(|| {
        let (mut y, mut losses) = (vec![T::NAN; x.len()], vec![T::NAN; rows]);
        cross_entropy_forward(&x, &targets, &mut y, &mut losses);
        check("log-probabilities", &y, |i| log[i])?;
        check("cross-entropy", &losses, loss)?;
        let total: Terms = labels.iter().map(|&l| weight(l as usize)).collect();
        check_sums("total weight", &[targets.total()], &[total], rows + 1)?;
        // g (e^y sum t - t)
        let mut dx = vec![T::NAN; x.len()];
        cross_entropy_backward(&y, &targets, &g, &mut dx);
        let gradient = |i: usize| {
            let (row, p) = (i / classes, y[i].to_f64().exp());
            let (g, t) = (g[row].to_f64(), target(row, i % classes));
            let sum: f64 = (0..classes).map(|c| target(row, c)).sum();
            let size = g.abs() * (p * sum + t);
            (g * (p * sum - t), gamma::<T>(classes + 10) * size + 4.0 * tiny::<T>())
        };
        check("cross-entropy backward", &dx, gradient)
    })
}

proptest! {
    #![proptest_config(config(150))]

    #[test]
    fn softmax_is_the_share_of_each_exponential(case in cases()) {
        softmax_property::<f32>(&case)?;
        softmax_property::<f64>(&case)?;
    }

    #[test]
    fn cross_entropy_is_a_sum_over_targets(
        case in cases(),
        smoothing in prop::sample::select(vec![0.0, 0.1, 0.5, 1.0]),
        weighted in any::<bool>(),
    ) {
        cross_entropy_property::<f32>(&case, smoothing, weighted)?;
        cross_entropy_property::<f64>(&case, smoothing, weighted)?;
    }
}
