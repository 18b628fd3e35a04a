//! Batch, row and unit-length normalisation, forward and backward, against their formulas.

use kernels::Element;
use kernels::norm::*;
use proptest::prelude::*;

use crate::common::*;

/// x is (n, c, s), uniform on offset - 1..offset + 1.
#[derive(Clone, Debug)]
struct BatchNorm {
    n: usize,
    c: usize,
    s: usize,
    offset: f64,
    relu: bool,
    residual: bool,
    seed: u64,
}

fn batch_norms() -> impl Strategy<Value = BatchNorm> {
    // Channels of 64 elements and more are summed in rows, others side by side.
    let inner = prop_oneof![1..20usize, 1..80usize, 1..400usize];
    let offset = prop::sample::select(vec![0.0, 1.0, 1000.0]);
    (1..7usize, 1..20usize, inner, offset, any::<(bool, bool)>(), 0..1000u64).prop_map(
        |(n, c, s, offset, (relu, residual), seed)| BatchNorm { n, c, s, offset, relu, residual, seed },
    )
}

/// The kernel takes differences from a centre within the values of a channel. The mean of N of them is off by at most
/// gamma(N + 1) range, the mean of their squares by gamma(N + 3) range^2; both are corrected by the mean difference
/// and rounded.
fn batch_norm_property<T: Element>(case: &BatchNorm) -> TestResult {
    const EPS: f64 = 1e-5;
    let &BatchNorm { n, c, s, relu, seed, .. } = case;
    let (shape, count) = (Channels { n, c, s }, n * s);
    let x: Vec<T> =
        noise::<f64>(shape.len(), seed, 1.0).iter().map(|v| T::from_f64(v + case.offset)).collect();
    let [weight, beta, g, r] =
        [(c, 1), (c, 2), (shape.len(), 3), (shape.len(), 4)].map(|(len, i)| noise::<T>(len, seed + i, 1.0));
    let residual = case.residual.then_some(&r[..]);
    let [fx, fg, fr] = [&x, &g, &r].map(|v| to_f64(v));
    let channel = |i: usize| i / s % c;
    let of = |ch: usize| (0..shape.len()).filter(move |&i| channel(i) == ch);
    let average = |ch: usize, f: &dyn Fn(usize) -> f64| of(ch).map(f).sum::<f64>() / count as f64;
    // About a value of the channel, so that the definition itself keeps its digits.
    let mean_of = |ch: usize| fx[ch * s] + average(ch, &|i| fx[i] - fx[ch * s]);
    let range = |ch: usize| {
        let (low, high) =
            of(ch).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), i| (l.min(fx[i]), h.max(fx[i])));
        high - low + unit::<T>() * low.abs().max(high.abs())
    };
    at_every_level(|| {
        let [mut mean, mut var, mut rstd] = [(); 3].map(|()| vec![T::NAN; c]);
        let mut y = vec![T::NAN; shape.len()];
        let statistics = Statistics { mean: &mut mean, var: &mut var, rstd: &mut rstd };
        batch_norm_train(&x, shape, &weight, &beta, EPS, Then { residual, relu }, statistics, &mut y);
        check("mean", &mean, |ch| {
            let mean = mean_of(ch);
            (mean, gamma::<T>(count + 2) * range(ch) + 2.0 * unit::<T>() * mean.abs())
        })?;
        check("variance", &var, |ch| {
            let mean = mean_of(ch);
            let var = average(ch, &|i| (fx[i] - mean).powi(2));
            (var, gamma::<T>(count + 6) * range(ch).powi(2))
        })?;
        // Sum, root, quotient, and eps itself are rounded.
        check("rstd", &rstd, |ch| {
            let rstd = 1.0 / (var[ch].to_f64() + EPS).sqrt();
            (rstd, gamma::<T>(4) * rstd)
        })?;
        let [mean, rstd, scale, shift] = [&mean, &rstd, &weight, &beta].map(|v| to_f64(v));
        check("y", &y, |i| {
            let ch = channel(i);
            let added = if case.residual { fr[i] } else { 0.0 };
            let scaled = (fx[i] - mean[ch]) * rstd[ch] * scale[ch];
            let y = scaled + shift[ch] + added;
            let size = scaled.abs() + shift[ch].abs() + added.abs();
            (if relu { y.max(0.0) } else { y }, gamma::<T>(5) * size)
        })?;

        // The gradient of y counts where the kernel's own y is positive.
        let fg: Vec<f64> =
            fg.iter().zip(&y).map(|(&g, &y)| if relu && y <= T::ZERO { 0.0 } else { g }).collect();
        let mask = match (relu, case.residual) {
            (false, _) => Mask::None,
            (true, false) => Mask::Again,
            (true, true) => Mask::Output(&y),
        };
        let [mean_t, rstd_t] = [&mean, &rstd].map(|v| v.iter().map(|&v| T::from_f64(v)).collect::<Vec<T>>());
        let by = Affine { mean: &mean_t, rstd: &rstd_t, gamma: &weight, beta: &beta };
        let [mut dgamma, mut dbeta] = [(); 2].map(|()| vec![T::NAN; c]);
        let mut dx = vec![T::NAN; shape.len()];
        batch_norm_backward(&x, mask, Gradients::Input(&g, &mut dx), shape, &by, &mut dgamma, &mut dbeta);
        let h = |i: usize| (fx[i] - mean[channel(i)]) * rstd[channel(i)];
        let sums =
            |f: &dyn Fn(usize) -> f64| -> Vec<Terms> { (0..c).map(|ch| of(ch).map(f).collect()).collect() };
        let (by_beta, by_gamma) = (sums(&|i| fg[i]), sums(&|i| fg[i] * h(i)));
        check_sums("dbeta", &dbeta, &by_beta, count + 2)?;
        check_sums("dgamma", &dgamma, &by_gamma, count + 4)?;
        check("dx", &dx, |i| {
            let (ch, count) = (channel(i), count as f64);
            let factor = scale[ch] * rstd[ch];
            let (a, b) = (by_beta[ch], by_gamma[ch]);
            let value = factor * (fg[i] - a.value / count - h(i) * b.value / count);
            let size = factor.abs() * (fg[i].abs() + a.size / count + h(i).abs() * b.size / count);
            (value, gamma::<T>(n * s + 12) * size)
        })
    })
}

/// x is (rows, len), uniform on offset - 10^magnitude..offset + 10^magnitude.
#[derive(Clone, Debug)]
struct Rows {
    rows: usize,
    len: usize,
    offset: f64,
    magnitude: i32,
    eps: f64,
    seed: u64,
}

fn rows(magnitudes: std::ops::Range<i32>) -> impl Strategy<Value = Rows> {
    let len = prop_oneof![1..20usize, 1..80usize, 1..1000usize];
    let offset = prop::sample::select(vec![0.0, 1.0, 100.0]);
    (0..7usize, len, offset, magnitudes, prop::sample::select(vec![1e-5, 0.0, 1.0]), 0..1000u64).prop_map(
        |(rows, len, offset, magnitude, eps, seed)| Rows { rows, len, offset, magnitude, eps, seed },
    )
}

fn row_norm_property<T: Element>(case: &Rows) -> TestResult {
    let &Rows { rows, len, offset, seed, .. } = case;
    let scale = 10f64.powi(case.magnitude);
    let x: Vec<T> = noise::<f64>(rows * len, seed, scale).iter().map(|v| T::from_f64(v + offset)).collect();
    let g: Vec<T> = noise(rows * len, seed + 1, 1.0);
    let eps = T::from_f64(case.eps.max(1e-8));
    let [fx, fg] = [&x, &g].map(|v| to_f64(v));
    let average = |row: usize, f: &dyn Fn(usize) -> f64| -> Terms {
        (row * len..(row + 1) * len).map(|i| f(i) / len as f64).collect()
    };
    at_every_level(|| {
        let ([mut mean, mut rstd], mut y) = ([(); 2].map(|()| vec![T::NAN; rows]), vec![T::NAN; x.len()]);
        row_norm_forward(&x, len, eps, &mut mean, &mut rstd, &mut y);
        let means: Vec<Terms> = (0..rows).map(|row| average(row, &|i| fx[i])).collect();
        check_sums("mean", &mean, &means, len + 1)?;
        // About the mean before it is rounded, whose error adds its square to the variance.
        check("rstd", &rstd, |row| {
            let var = average(row, &|i| (fx[i] - means[row].value).powi(2)).value;
            let rstd = 1.0 / (var + eps.to_f64()).sqrt();
            (rstd, gamma::<T>(len + 6) * rstd)
        })?;
        // Each result from those before it.
        let [fm, fs] = [&mean, &rstd].map(|v| to_f64(v));
        check("y", &y, |i| {
            let y = (fx[i] - fm[i / len]) * fs[i / len];
            // The mean is kept as a sum, of which what is returned has lost the rest: two numbers whose distance is at most
            // sqrt 3 standard deviations are subtracted.
            let mean = fm[i / len].abs() * fs[i / len];
            (y, gamma::<T>(3) * (y.abs() + 3f64.sqrt()) + gamma::<T>(1) * mean + tiny::<T>())
        })?;
        let mut dx = vec![T::NAN; x.len()];
        row_norm_backward(&y, len, &rstd, &g, &mut dx);
        let fy = to_f64(&y);
        check("dx", &dx, |i| {
            let row = i / len;
            let (a, b) = (average(row, &|i| fg[i]), average(row, &|i| fg[i] * fy[i]));
            let value = fs[row] * (fg[i] - a.value - fy[i] * b.value);
            let size = fs[row] * (fg[i].abs() + a.size + fy[i].abs() * b.size);
            (value, gamma::<T>(len + 6) * size + tiny::<T>())
        })
    })
}

fn unit_rows_property<T: Element>(case: &Rows) -> TestResult {
    let &Rows { rows, len, eps, seed, .. } = case;
    let w: Vec<T> = noise(rows * len, seed, 10f64.powi(case.magnitude));
    let g: Vec<T> = noise(rows * len, seed + 1, 1.0);
    let [fw, fg] = [&w, &g].map(|v| to_f64(v));
    let row = |row: usize| row * len..(row + 1) * len;
    at_every_level(|| {
        let ([mut u, mut dw], mut n) = ([(); 2].map(|()| vec![T::NAN; w.len()]), vec![T::NAN; rows]);
        let mut lengths = vec![f64::NAN; rows];
        unit_rows_forward(&w, len, eps, &mut u, &mut n);
        row_lengths(&w, len, eps, &mut lengths);
        // Scaled squares and their sum, its root, and the sum with eps.
        let length = |r: usize| {
            let length = fw[row(r)].iter().fold(eps.sqrt(), |n, v| n.hypot(*v));
            (length, gamma::<T>(len + 10) * length + tiny::<T>())
        };
        check("length", &n, length)?;
        for (r, &found) in lengths.iter().enumerate() {
            let (value, tolerance) = length(r);
            prop_assert!(
                (found - value).abs() <= tolerance,
                "row_lengths: row {r} is {found:e}, expected {value:e}"
            );
        }
        let (fu, lengths_n) = (to_f64(&u), to_f64(&n));
        check("unit rows", &u, |i| {
            let u = fw[i] / lengths_n[i / len];
            (u, gamma::<T>(1) * u.abs() + tiny::<T>())
        })?;
        unit_rows_backward(&u, len, &n, &g, &mut dw);
        check("unit rows backward", &dw, |i| {
            let (r, n) = (i / len, lengths_n[i / len]);
            let along: Terms = row(r).map(|i| fu[i] * fg[i]).collect();
            let size = (fg[i].abs() + fu[i].abs() * along.size) / n;
            ((fg[i] - fu[i] * along.value) / n, gamma::<T>(len + 3) * size + tiny::<T>())
        })
    })
}

proptest! {
    #![proptest_config(config(120))]

    #[test]
    fn batch_norm_follows_its_formulas(case in batch_norms()) {
        batch_norm_property::<f32>(&case)?;
        batch_norm_property::<f64>(&case)?;
    }

    #[test]
    fn row_norm_follows_its_formulas(case in rows(-2..3)) {
        row_norm_property::<f32>(&case)?;
        row_norm_property::<f64>(&case)?;
    }

    #[test]
    fn unit_rows_are_divided_by_their_length(case in rows(-30..31)) {
        unit_rows_property::<f32>(&case)?;
        unit_rows_property::<f64>(&case)?;
    }
}
