//! Normalisation against its definitions in f64, and gradients against central differences.

use super::*;
use crate::par;
use crate::real::Element;

/// Numbers in -1..1 without a pattern.
fn numbers(n: usize, seed: u64) -> Vec<f64> {
    let unit = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as f64 / (1u64 << 53) as f64;
    (0..n as u64).map(|i| 2.0 * unit(((i + 1) * (seed + 1)) ^ (i << 7)) - 1.0).collect()
}

fn cast<T: Element>(x: &[f64]) -> Vec<T> {
    x.iter().map(|&v| T::from_f64(v)).collect()
}

fn close<T: Element>(got: &[T], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (g, w) in got.iter().zip(want) {
        assert!((g.to_f64() - w).abs() <= tolerance * w.abs().max(1.0), "{g:?}, truly {w}");
    }
}

fn shapes() -> impl Iterator<Item = Channels> {
    let shapes: [[usize; 3]; 12] = [
        [1, 1, 1],
        [7, 3, 1],
        [300, 5, 4],
        [40, 700, 1],
        [3, 2, 63],
        [3, 2, 64],
        [9, 3, 67],
        [9, 8, 67],
        [40, 10, 1000],
        [2, 2, 40_000],
        [70, 3, 1024],
        [2000, 2, 9],
    ];
    shapes.into_iter().map(|[n, c, s]| Channels { n, c, s })
}

/// The indices of the elements of a channel.
fn members(shape: Channels, channel: usize) -> impl Iterator<Item = usize> {
    (0..shape.n).flat_map(move |n| (0..shape.s).map(move |s| (n * shape.c + channel) * shape.s + s))
}

/// Mean and biased variance of each channel, in two passes.
fn moments(x: &[f64], shape: Channels) -> (Vec<f64>, Vec<f64>) {
    let count = (shape.n * shape.s) as f64;
    let mean: Vec<f64> = (0..shape.c).map(|c| members(shape, c).map(|i| x[i]).sum::<f64>() / count).collect();
    let var = (0..shape.c).map(|c| members(shape, c).map(|i| (x[i] - mean[c]).powi(2)).sum::<f64>() / count);
    let var = var.collect();
    (mean, var)
}

fn statistics<T: Element>(tolerance: f64) {
    for shape in shapes() {
        for shift in [0.0, 1e4] {
            let x: Vec<T> = cast(&numbers(shape.len(), 1).iter().map(|v| v + shift).collect::<Vec<_>>());
            let (mut mean, mut var) = (vec![T::NAN; shape.c], vec![T::NAN; shape.c]);
            batch_stats(&x, shape, &mut mean, &mut var);
            let exact: Vec<f64> = x.iter().map(|v| v.to_f64()).collect();
            let (true_mean, true_var) = moments(&exact, shape);
            close(&mean, &true_mean, tolerance);
            close(&var, &true_var, tolerance);
        }
    }
}

#[test]
fn statistics_agree_with_their_definition_also_far_from_zero() {
    statistics::<f32>(1e-6);
    statistics::<f64>(1e-12); // the definition itself rounds at 1e4
}

#[test]
fn a_first_item_unlike_the_others_costs_no_accuracy() {
    for (c, s) in [(2, 100), (3, 7), (9, 64)] {
        let shape = Channels { n: 300, c, s };
        let noise = numbers(shape.len(), 4);
        // The first block's sample is at 0, all else at 1e4.
        let x: Vec<f64> =
            noise.iter().enumerate().map(|(i, v)| v + if i / (c * s) < 6 { 0.0 } else { 1e4 }).collect();
        let x = cast::<f32>(&x);
        let (mean, var) = moments(&x.iter().map(|&v| f64::from(v)).collect::<Vec<_>>(), shape);
        let (mut got_mean, mut got_var) = (vec![0.0f32; c], vec![0.0; c]);
        batch_stats(&x, shape, &mut got_mean, &mut got_var);
        for k in 0..c {
            assert!((f64::from(got_mean[k]) / mean[k] - 1.0).abs() < 1e-6, "{} {}", got_mean[k], mean[k]);
            assert!((f64::from(got_var[k]) / var[k] - 1.0).abs() < 1e-5, "{} {}", got_var[k], var[k]);
        }
    }
}

#[test]
fn channels_without_elements_have_no_statistics() {
    let shape = Channels { n: 0, c: 2, s: 3 };
    let (mut mean, mut var) = ([0.0f32; 2], [0.0; 2]);
    batch_stats(&[], shape, &mut mean, &mut var);
    assert!(mean.iter().chain(&var).all(|v| v.is_nan()));
}

struct Case {
    x: Vec<f64>,
    g: Vec<f64>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
    residual: Vec<f64>,
}

fn case(shape: Channels) -> Case {
    let gamma = numbers(shape.c, 3).iter().map(|v| v + 1.5).collect();
    let [x, g, residual] = [1, 2, 5].map(|seed| numbers(shape.len(), seed));
    Case { x, g, gamma, beta: numbers(shape.c, 4), residual }
}

/// What follows batch norm in a test.
#[derive(Clone, Copy, Debug)]
struct Rest {
    add: bool,
    relu: bool,
}

const RESTS: [Rest; 4] = [
    Rest { add: false, relu: false },
    Rest { add: false, relu: true },
    Rest { add: true, relu: false },
    Rest { add: true, relu: true },
];

/// Batch norm by its definition.
fn forward(case: &Case, shape: Channels, eps: f64, rest: Rest) -> Vec<f64> {
    let (mean, var) = moments(&case.x, shape);
    let mut y = vec![0.0; shape.len()];
    for c in 0..shape.c {
        for i in members(shape, c) {
            y[i] = (case.x[i] - mean[c]) / (var[c] + eps).sqrt() * case.gamma[c] + case.beta[c];
            if rest.add {
                y[i] += case.residual[i];
            }
            if rest.relu {
                y[i] = y[i].max(0.0);
            }
        }
    }
    y
}

/// y, dx, dgamma, dbeta and, if there is one, the residual's gradient, from the kernels.
fn kernels<T: Element>(case: &Case, shape: Channels, eps: f64, rest: Rest) -> Vec<Vec<T>> {
    let [x, mut g, gamma, beta] = [&case.x, &case.g, &case.gamma, &case.beta].map(|v| cast::<T>(v));
    let residual: Vec<T> = cast(&case.residual);
    let then = Then { residual: rest.add.then_some(&residual[..]), relu: rest.relu };
    let nan = || vec![T::NAN; shape.c];
    let (mut mean, mut var, mut rstd, mut y) = (nan(), nan(), nan(), vec![T::NAN; x.len()]);
    let statistics = Statistics { mean: &mut mean, var: &mut var, rstd: &mut rstd };
    batch_norm_train(&x, shape, &gamma, &beta, eps, then, statistics, &mut y);
    let by = Affine { mean: &mean, rstd: &rstd, gamma: &gamma, beta: &beta };
    let mut apart = vec![T::NAN; x.len()];
    batch_norm_forward(&x, shape, &by, then, &mut apart);
    assert!(apart == y, "{shape:?} {rest:?}");
    let masks = match rest {
        Rest { relu: false, .. } => vec![Mask::None],
        Rest { add: false, .. } => vec![Mask::Again, Mask::Output(&y)],
        _ => vec![Mask::Output(&y)],
    };
    let (mut dx, mut dgamma, mut dbeta) = (vec![T::NAN; x.len()], nan(), nan());
    for mask in masks {
        let mut run = |gradients: Gradients<T>| {
            (dgamma, dbeta) = (nan(), nan());
            batch_norm_backward(&x, mask, gradients, shape, &by, &mut dgamma, &mut dbeta);
            (dgamma.clone(), dbeta.clone())
        };
        let sums = run(Gradients::Input(&g, &mut dx));
        assert!(sums == run(Gradients::Sums(&g)));
        let mut place = g.clone();
        assert!(sums == run(Gradients::InPlace(&mut place)));
        assert!(place == dx, "{shape:?} {rest:?}");
    }
    if rest.add && rest.relu {
        let mut same = vec![T::NAN; x.len()];
        let both = Gradients::Both(&mut g, &mut same);
        batch_norm_backward(&x, Mask::Output(&y), both, shape, &by, &mut dgamma, &mut dbeta);
        assert!(same == dx, "{shape:?} {rest:?}");
    }
    let mut all = vec![y, dx, dgamma, dbeta];
    if rest.add {
        all.push(g);
    }
    all
}

#[test]
fn batch_norm_agrees_with_its_definition() {
    for shape in shapes() {
        for rest in RESTS {
            let case = case(shape);
            let want = forward(&case, shape, 1e-3, rest);
            close(&kernels::<f64>(&case, shape, 1e-3, rest)[0], &want, 1e-12);
            close(&kernels::<f32>(&case, shape, 1e-3, rest)[0], &want, 1e-5);
        }
    }
}

#[test]
fn batch_norm_gradients_agree_with_central_differences() {
    let h = 1e-5;
    for (n, c, s) in [(5, 3, 4), (3, 2, 70), (2, 9, 65), (2, 1, 1)] {
        for rest in RESTS {
            let shape = Channels { n, c, s };
            let mut case = case(shape);
            let got = kernels::<f64>(&case, shape, 1e-3, rest);
            let rounded = kernels::<f32>(&case, shape, 1e-3, rest);
            let difference = |case: &mut Case, pick: fn(&mut Case) -> &mut Vec<f64>, i: usize| {
                let mut loss = [0.0; 2];
                for (loss, h) in loss.iter_mut().zip([h, -2.0 * h]) {
                    pick(case)[i] += h;
                    *loss = forward(case, shape, 1e-3, rest).iter().zip(&case.g).map(|(y, g)| y * g).sum();
                }
                pick(case)[i] += h;
                (loss[0] - loss[1]) / (2.0 * h)
            };
            let picks: [fn(&mut Case) -> &mut Vec<f64>; 4] =
                [|c| &mut c.x, |c| &mut c.gamma, |c| &mut c.beta, |c| &mut c.residual];
            for (k, pick) in picks.into_iter().enumerate().take(got.len() - 1) {
                let want: Vec<f64> = (0..got[k + 1].len()).map(|i| difference(&mut case, pick, i)).collect();
                close(&got[k + 1], &want, 1e-7);
                close(&rounded[k + 1], &want, 1e-4);
            }
        }
    }
}

fn second_gradients_agree<T: Element>(tolerance: f64) {
    let h = 1e-5;
    for (n, c, s) in [(5, 3, 4), (2, 9, 65), (4, 2, 64)] {
        let shape = Channels { n, c, s };
        let mut case = case(shape);
        let u = numbers(shape.len(), 9);
        // sum(u . dx) and its terms, with the statistics of the given x.
        let statistics = |case: &Case| {
            let (mean, var) = moments(&case.x, shape);
            (mean, var.iter().map(|v| 1.0 / (v + 1e-3).sqrt()).collect::<Vec<f64>>())
        };
        let loss = |case: &Case| {
            let (mean, rstd) = statistics(case);
            let by = Affine { mean: &mean, rstd: &rstd, gamma: &case.gamma, beta: &case.beta };
            let (mut dx, mut other) = (vec![f64::NAN; shape.len()], [vec![0.0; c], vec![0.0; c]]);
            let [dgamma, dbeta] = &mut other;
            let gradients = Gradients::Input(&case.g, &mut dx);
            batch_norm_backward(&case.x, Mask::None, gradients, shape, &by, dgamma, dbeta);
            dx.iter().zip(&u).map(|(dx, u)| dx * u).sum::<f64>()
        };
        let (mean, rstd) = statistics(&case);
        let [x, g, gamma, beta] = [&case.x, &case.g, &case.gamma, &case.beta].map(|v| cast::<T>(v));
        let (mean, rstd) = (cast::<T>(&mean), cast::<T>(&rstd));
        let by = Affine { mean: &mean, rstd: &rstd, gamma: &gamma, beta: &beta };
        let nan = |len| vec![T::NAN; len];
        let [mut dx, mut dg, mut dgamma] = [nan(shape.len()), nan(shape.len()), nan(c)];
        batch_norm_second(&x, &g, &cast::<T>(&u), shape, &by, &mut dx, &mut dg, &mut dgamma);
        let picks: [fn(&mut Case) -> &mut Vec<f64>; 3] = [|c| &mut c.x, |c| &mut c.g, |c| &mut c.gamma];
        for (got, pick) in [dx, dg, dgamma].iter().zip(picks) {
            let want: Vec<f64> = (0..got.len())
                .map(|i| {
                    pick(&mut case)[i] += h;
                    let up = loss(&case);
                    pick(&mut case)[i] -= 2.0 * h;
                    let down = loss(&case);
                    pick(&mut case)[i] += h;
                    (up - down) / (2.0 * h)
                })
                .collect();
            close(got, &want, tolerance);
        }
    }
}

#[test]
fn second_gradients_agree_with_central_differences() {
    second_gradients_agree::<f64>(1e-6);
    second_gradients_agree::<f32>(1e-3);
}

#[test]
fn large_batches_have_the_gradients_of_the_formula() {
    let shape = Channels { n: 70, c: 3, s: 300 };
    let case = case(shape);
    let all = kernels::<f64>(&case, shape, 1e-3, RESTS[0]);
    let [_, dx, dgamma, dbeta] = &all[..] else { unreachable!("no residual") };
    let (mean, var) = moments(&case.x, shape);
    for c in 0..shape.c {
        let rstd = 1.0 / (var[c] + 1e-3).sqrt();
        let count = (shape.n * shape.s) as f64;
        let h = |i: usize| (case.x[i] - mean[c]) * rstd;
        let b: f64 = members(shape, c).map(|i| case.g[i]).sum();
        let a: f64 = members(shape, c).map(|i| case.g[i] * h(i)).sum();
        close(&[dgamma[c], dbeta[c]], &[a, b], 1e-12);
        for i in members(shape, c) {
            let want = case.gamma[c] * rstd * (case.g[i] - b / count - h(i) * a / count);
            close(&[dx[i]], &[want], 1e-12);
        }
    }
}

fn rows<T: Element>(tolerance: f64) {
    for (rows, len) in [(0, 3), (2, 0), (1, 1), (3, 2), (5, 31), (4, 64), (3, 100), (300, 130), (2, 30_000)] {
        let x = numbers(rows * len, 5);
        let g = numbers(rows * len, 6);
        let shape = Channels { n: 1, c: rows, s: len };
        let (true_mean, true_var) = moments(&x, shape);
        let eps = 1e-3;
        let (mut mean, mut rstd) = (vec![T::ZERO; rows], vec![T::ZERO; rows]);
        let (mut y, mut dx) = (vec![T::NAN; x.len()], vec![T::NAN; x.len()]);
        row_norm_forward(&cast::<T>(&x), len, T::from_f64(eps), &mut mean, &mut rstd, &mut y);
        row_norm_backward(&y, len, &rstd, &cast::<T>(&g), &mut dx);
        if len == 0 {
            continue;
        }
        close(&mean, &true_mean, tolerance);
        let (mut want_y, mut want_dx) = (vec![], vec![]);
        for r in 0..rows {
            let row = r * len..(r + 1) * len;
            let true_rstd = 1.0 / (true_var[r] + eps).sqrt();
            close(&rstd[r..=r], &[true_rstd], tolerance);
            let h: Vec<f64> = x[row.clone()].iter().map(|v| (v - true_mean[r]) * true_rstd).collect();
            let g = &g[row];
            let a = g.iter().sum::<f64>() / len as f64;
            let b = g.iter().zip(&h).map(|(g, h)| g * h).sum::<f64>() / len as f64;
            want_dx.extend(g.iter().zip(&h).map(|(g, h)| true_rstd * (g - a - h * b)));
            want_y.extend(h);
        }
        close(&y, &want_y, 10.0 * tolerance);
        close(&dx, &want_dx, 10.0 * tolerance);
    }
}

#[test]
fn row_norm_agrees_with_its_definition() {
    rows::<f32>(2e-6);
    rows::<f64>(1e-13);
}

fn units<T: Element>(tolerance: f64) {
    for (rows, len) in [(0, 3), (2, 0), (1, 1), (3, 2), (5, 31), (4, 64), (300, 130)] {
        for eps in [0.0, 0.1] {
            let (w, g) = (numbers(rows * len, 7), numbers(rows * len, 8));
            let (mut u, mut n, mut dw) = (vec![T::NAN; w.len()], vec![T::NAN; rows], vec![T::NAN; w.len()]);
            unit_rows_forward(&cast::<T>(&w), len, eps, &mut u, &mut n);
            unit_rows_backward(&u, len, &n, &cast::<T>(&g), &mut dw);
            for r in 0..rows {
                let row = r * len..(r + 1) * len;
                let (w, g) = (&w[row.clone()], &g[row.clone()]);
                let length = (w.iter().map(|v| v * v).sum::<f64>() + eps).sqrt();
                close(&n[r..=r], &[length], tolerance);
                close(&u[row.clone()], &w.iter().map(|v| v / length).collect::<Vec<_>>(), tolerance);
                let along: f64 = w.iter().zip(g).map(|(w, g)| w * g).sum();
                let want = w.iter().zip(g).map(|(w, g)| g / length - w * along / length.powi(3));
                close(&dw[row], &want.collect::<Vec<_>>(), 10.0 * tolerance);
            }
        }
    }
}

#[test]
fn unit_rows_agree_with_their_definition() {
    units::<f32>(1e-6);
    units::<f64>(1e-13);
}

#[test]
fn unit_rows_of_extreme_length() {
    let w = [3e-30f32, 4e-30, 3e30, 4e30, 0.0, 0.0];
    let (mut u, mut n, mut dw) = ([0.0; 6], [0.0; 3], [f32::NAN; 6]);
    unit_rows_forward(&w, 2, 0.0, &mut u, &mut n);
    close(&u, &[0.6, 0.8, 0.6, 0.8, 0.0, 0.0], 1e-6);
    unit_rows_backward(&u, 2, &n, &[1e-3; 6], &mut dw);
    assert!(dw.iter().all(|v| v.is_finite()) && dw[4..] == [0.0, 0.0]);
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let _settings = crate::simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
    for [n, c, s] in [[40, 5, 1000], [40, 9, 1000], [900, 70, 3]] {
        let shape = Channels { n, c, s };
        let case = case(shape);
        let results = [1, 2, 7].map(|threads| {
            par::set_threads(threads);
            kernels::<f32>(&case, shape, 1e-3, RESTS[3])
        });
        assert!(results[0] == results[1] && results[0] == results[2]);
    }
}
