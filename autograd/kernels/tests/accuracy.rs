//! Rounding errors of everything that sums, at lengths that rise: they may grow like the logarithm of the length.

use kernels::Element;
use kernels::conv::Conv2d;
use kernels::norm::{self, Affine, Channels, Gradients, Mask};
use kernels::pool::{self, Pool2d};
use kernels::{reduce, softmax};

#[path = "properties/common.rs"]
#[allow(dead_code)]
mod common;
use common::*;

/// A sum in f64 of numbers of any type, with the rounding errors of its additions added at the end (Ogita, Rump and Oishi
/// 2005, Sum2): far more accurate than what it is compared with.
#[derive(Clone, Copy, Default)]
struct Exact {
    sum: f64,
    lost: f64,
    size: f64,
}

impl Exact {
    fn add(&mut self, v: f64) {
        let sum = self.sum + v;
        let share = sum - self.sum;
        self.lost += (self.sum - (sum - share)) + (v - share);
        self.sum = sum;
        self.size += v.abs();
    }

    /// Adds a product without rounding it.
    fn add_product(&mut self, x: f64, y: f64) {
        self.add(x * y);
        self.lost += x.mul_add(y, -(x * y));
    }

    fn of(terms: impl IntoIterator<Item = f64>) -> Exact {
        let mut sum = Exact::default();
        terms.into_iter().for_each(|v| sum.add(v));
        sum
    }

    fn dot<T: Element>(x: &[T], y: &[T]) -> Exact {
        let mut sum = Exact::default();
        x.iter().zip(y).for_each(|(x, y)| sum.add_product(x.to_f64(), y.to_f64()));
        sum
    }

    fn value(&self) -> f64 {
        self.sum + self.lost
    }
}

/// The largest error of some results, in roundings of the sum of the absolute values of the terms.
#[derive(Clone, Copy, Default)]
struct Worst(f64);

impl Worst {
    fn see<T: Element>(&mut self, found: T, exact: f64, size: f64) {
        let error = (found.to_f64() - exact).abs() / (size * unit::<T>()).max(f64::MIN_POSITIVE);
        self.0 = if error <= self.0 { self.0 } else { error };
    }

    fn of<T: Element>(found: T, exact: &Exact) -> f64 {
        let mut worst = Worst::default();
        worst.see(found, exact.value(), exact.size);
        worst.0
    }
}

const KINDS: [&str; 3] = ["0.1", "alternating signs", "noise"];

fn data<T: Element>(kind: &str, n: usize) -> Vec<T> {
    match kind {
        "0.1" => vec![T::from_f64(0.1); n],
        "alternating signs" => (0..n).map(|i| T::from_f64(if i % 2 == 0 { 0.1 } else { -0.7 })).collect(),
        _ => noise(n, 7, 1.0),
    }
}

/// A sum over `x`: its error.
type Case<T> = (&'static str, fn(&[T]) -> f64);

fn sum_of<T: Element>(x: &[T], dims: &[usize], axes: &[bool]) -> f64 {
    let inner: usize = dims.iter().zip(axes).filter(|(_, reduced)| !**reduced).map(|(n, _)| n).product();
    let mut out = vec![T::NAN; inner];
    reduce::sum(&x[..dims.iter().product()], dims, axes, &mut out);
    let mut worst = Worst::default();
    for (j, &out) in out.iter().enumerate() {
        let exact = Exact::of(x[..dims.iter().product()].iter().skip(j).step_by(inner).map(|v| v.to_f64()));
        worst.see(out, exact.value(), exact.size);
    }
    worst.0
}

fn running_sums<T: Element>(x: &[T], inner: usize, reverse: bool) -> f64 {
    let len = x.len() / inner;
    let mut out = vec![T::NAN; len * inner];
    reduce::cumsum(&x[..len * inner], 1, len, inner, reverse, &mut out);
    let (mut worst, mut sums) = (Worst::default(), vec![Exact::default(); inner]);
    for i in 0..len {
        let row = if reverse { len - 1 - i } else { i };
        for (j, sum) in sums.iter_mut().enumerate() {
            sum.add(x[row * inner + j].to_f64());
            worst.see(out[row * inner + j], sum.value(), sum.size);
        }
    }
    worst.0
}

/// Height and width of an image of about n elements.
fn image(n: usize) -> [usize; 2] {
    let side = n.isqrt();
    [side, n / side]
}

fn pooled<T: Element>(x: &[T], adaptive: bool) -> f64 {
    let [h, w] = image(x.len());
    let (x, mut out) = (&x[..h * w], [T::NAN]);
    if adaptive {
        pool::adaptive_average(x, 1, [h, w], [1, 1], &mut out);
    } else {
        let p = Pool2d { planes: 1, input: [h, w], kernel: [h, w], stride: [1, 1], padding: [0, 0] };
        p.average(x, true, &mut out);
    }
    let exact = Exact::of(x.iter().map(|v| v.to_f64()));
    let count = (h * w) as f64;
    let mut worst = Worst::default();
    worst.see(out[0], exact.value() / count, exact.size / count);
    worst.0
}

/// n windows over a single element, or over overlapping parts of a row.
fn pooled_adjoint<T: Element>(g: &[T], adaptive: bool) -> f64 {
    let mut worst = Worst::default();
    if adaptive {
        let [h, w] = image(g.len());
        let mut out = [T::NAN];
        pool::adaptive_average_adjoint(&g[..h * w], 1, [1, 1], [h, w], &mut out);
        return Worst::of(out[0], &Exact::of(g[..h * w].iter().map(|v| v.to_f64())));
    }
    let n = g.len();
    let p = Pool2d { planes: 1, input: [1, 2 * n - 1], kernel: [1, n], stride: [1, 1], padding: [0, 0] };
    let mut out = vec![T::NAN; p.input_len()];
    p.average_adjoint(g, true, &mut out);
    let exact = Exact::of(g.iter().map(|v| (*v / T::from_f64(n as f64)).to_f64()));
    worst.see(out[n - 1], exact.value(), exact.size);
    worst.0
}

fn softmax_sums<T: Element>(x: &[T]) -> f64 {
    let mut y = vec![T::NAN; x.len()];
    softmax::softmax_forward(x, x.len(), &mut y);
    let mut log = vec![T::NAN; x.len()];
    softmax::log_softmax_forward(x, x.len(), &mut log);
    let exact = Exact::of(x.iter().map(|v| v.to_f64().exp())).value();
    let mut worst = Worst::default();
    for i in [0, 1, x.len() - 1] {
        let p = x[i].to_f64().exp() / exact;
        worst.see(y[i], p, p);
        worst.see(log[i], p.ln(), p.ln().abs());
    }
    worst.0
}

fn softmax_gradients<T: Element>(g: &[T]) -> f64 {
    let (n, mut worst) = (g.len(), Worst::default());
    // Rows of probabilities, and their logarithms.
    let squares: Vec<f64> = noise::<T>(n, 3, 1.0).iter().map(|v| v.to_f64().powi(2)).collect();
    let whole: f64 = squares.iter().sum();
    let y: Vec<T> = squares.iter().map(|v| T::from_f64(v / whole)).collect();
    let mut dx = vec![T::NAN; n];
    softmax::softmax_backward(&y, g, n, &mut dx);
    let exact = Exact::dot(&y, g);
    for i in [0, 1, n - 1] {
        let (y, g) = (y[i].to_f64(), g[i].to_f64());
        worst.see(dx[i], y * (g - exact.value()), y * (g.abs() + exact.size));
    }
    let logits: Vec<f64> = noise::<T>(n, 4, 1.0).iter().map(|v| v.to_f64()).collect();
    let whole = logits.iter().map(|v| v.exp()).sum::<f64>().ln();
    let log: Vec<T> = logits.iter().map(|v| T::from_f64(v - whole)).collect();
    softmax::log_softmax_backward(&log, g, n, &mut dx);
    let exact = Exact::of(g.iter().map(|v| v.to_f64()));
    for i in [0, 1, n - 1] {
        let (e, g) = (log[i].to_f64().exp(), g[i].to_f64());
        worst.see(dx[i], g - e * exact.value(), g.abs() + e * exact.size);
    }
    worst.0
}

fn smoothed_loss<T: Element>(x: &[T]) -> f64 {
    let n = x.len();
    let targets = softmax::Targets { labels: &[1], classes: n, smoothing: T::from_f64(0.5), weights: None };
    let (mut log, mut loss) = (vec![T::NAN; n], [T::NAN]);
    softmax::cross_entropy_forward(x, &targets, &mut log, &mut loss);
    let sum = Exact::of(x.iter().map(|v| v.to_f64().exp())).value().ln();
    let own = 0.5 * (sum - x[1].to_f64());
    let all = Exact::of(x.iter().map(|v| sum - v.to_f64()));
    let all = 0.5 * all.value() / n as f64;
    let mut worst = Worst::default();
    worst.see(loss[0], own + all, own + all);
    worst.0
}

/// Mean and variance, relative to the standard deviation and to the variance.
fn channel_statistics<T: Element>(x: &[T], shape: Channels) -> f64 {
    let x = &x[..shape.len()];
    let (mut mean, mut var) = (vec![T::NAN; shape.c], vec![T::NAN; shape.c]);
    norm::batch_stats(x, shape, &mut mean, &mut var);
    let count = (shape.n * shape.s) as f64;
    let mut worst = Worst::default();
    for c in 0..shape.c {
        let channel = (0..shape.n).flat_map(|n| &x[(n * shape.c + c) * shape.s..][..shape.s]);
        let sum = Exact::of(channel.clone().map(|v| v.to_f64()));
        let centre = sum.value() / count;
        let squares = Exact::of(channel.map(|v| (v.to_f64() - centre).powi(2)));
        worst.see(mean[c], centre, sum.size / count);
        worst.see(var[c], squares.value() / count, (sum.size / count).powi(2).max(squares.size / count));
    }
    worst.0
}

fn channel_gradients<T: Element>(g: &[T], shape: Channels) -> f64 {
    let g = &g[..shape.len()];
    let x: Vec<T> = noise(g.len(), 5, 1.0);
    let constant = |v: f64| vec![T::from_f64(v); shape.c];
    let (mean, rstd, gamma, beta) = (constant(0.25), constant(1.0), constant(1.0), constant(0.0));
    let by = Affine { mean: &mean, rstd: &rstd, gamma: &gamma, beta: &beta };
    let [mut dgamma, mut dbeta] = [constant(f64::NAN), constant(f64::NAN)];
    norm::batch_norm_backward(&x, Mask::None, Gradients::Sums(g), shape, &by, &mut dgamma, &mut dbeta);
    let mut worst = Worst::default();
    for c in 0..shape.c {
        let places = (0..shape.n).flat_map(|n| (n * shape.c + c) * shape.s..(n * shape.c + c + 1) * shape.s);
        let sum = Exact::of(places.clone().map(|i| g[i].to_f64()));
        let mut products = Exact::default();
        places.for_each(|i| products.add_product(g[i].to_f64(), (x[i] - T::from_f64(0.25)).to_f64()));
        worst.see(dbeta[c], sum.value(), sum.size);
        worst.see(dgamma[c], products.value(), products.size);
    }
    worst.0
}

fn layer_norm<T: Element>(x: &[T]) -> f64 {
    let (n, mut worst) = (x.len(), Worst::default());
    let (mut mean, mut rstd, mut y) = ([T::NAN], [T::NAN], vec![T::NAN; n]);
    norm::row_norm_forward(x, n, T::from_f64(1e-3), &mut mean, &mut rstd, &mut y);
    let centre = Exact::of(x.iter().map(|v| v.to_f64())).value() / n as f64;
    let var = Exact::of(x.iter().map(|v| (v.to_f64() - centre).powi(2))).value() / n as f64;
    let scale = 1.0 / (var + T::from_f64(1e-3).to_f64()).sqrt();
    for i in [0, 1, n - 1] {
        // Relative to the largest, since numbers near the mean cancel.
        worst.see(y[i], (x[i].to_f64() - centre) * scale, 1.0);
    }
    let mut dx = vec![T::NAN; n];
    let g: Vec<T> = data("0.1", n);
    norm::row_norm_backward(x, n, &[T::ONE], &g, &mut dx);
    let (sum, slope) = (Exact::of(g.iter().map(|v| v.to_f64())), Exact::dot(&g, x));
    for i in [0, 1, n - 1] {
        let (g, x) = (g[i].to_f64(), x[i].to_f64());
        let want = g - sum.value() / n as f64 - x * slope.value() / n as f64;
        worst.see(dx[i], want, g.abs() + (sum.size + x.abs() * slope.size) / n as f64);
    }
    worst.0
}

fn unit_rows<T: Element>(w: &[T]) -> f64 {
    let (n, mut worst) = (w.len(), Worst::default());
    let (mut u, mut length) = (vec![T::NAN; n], [T::NAN]);
    norm::unit_rows_forward(w, n, 0.0, &mut u, &mut length);
    let exact = Exact::dot(w, w).value().sqrt();
    worst.see(length[0], exact, exact);
    let (mut dw, g) = (vec![T::NAN; n], data::<T>("0.1", n));
    norm::unit_rows_backward(w, n, &[T::ONE], &g, &mut dw);
    let along = Exact::dot(w, &g);
    for i in [0, 1, n - 1] {
        let (g, w) = (g[i].to_f64(), w[i].to_f64());
        worst.see(dw[i], g - w * along.value(), g.abs() + w.abs() * along.size);
    }
    worst.0
}

/// The gradient of a kernel's taps over one large image, or a batch of images, of few channels.
fn weight_gradient<T: Element>(x: &[T], channels: usize, side: usize, kernel: usize) -> f64 {
    let pixels = (x.len() / channels).max(kernel * kernel);
    let (batch, input) = match side {
        0 => (1, image(pixels)),
        // One long row.
        1 => (1, [kernel, pixels / kernel]),
        _ => ((pixels / (side * side)).max(1), [side; 2]),
    };
    let s = Conv2d {
        batch,
        groups: 1,
        in_channels: channels,
        out_channels: channels,
        input,
        kernel: [kernel; 2],
        stride: [1, 1],
        padding: [0, 0],
        dilation: [1, 1],
    };
    let area = input[0] * input[1];
    let len = batch * channels * area;
    let x: Vec<T> = x.iter().copied().cycle().take(len).collect();
    let [oh, ow] = s.output();
    let y: Vec<T> = data("0.1", batch * channels * oh * ow);
    let mut w = vec![T::NAN; channels * channels * kernel * kernel];
    s.grad_weight(&x, &y, &mut w);
    let mut worst = Worst::default();
    for (c, u, v) in [(0, 0, 0), (channels - 1, kernel - 1, 0)] {
        let mut exact = Exact::default();
        for n in 0..batch {
            for (i, j) in (0..oh).flat_map(|i| (0..ow).map(move |j| (i, j))) {
                let at = (n * channels + c) * area + (i + u) * input[1] + j + v;
                exact.add_product(x[at].to_f64(), y[0].to_f64());
            }
        }
        worst.see(w[(c * kernel + u) * kernel + v], exact.value(), exact.size);
    }
    worst.0
}

fn cases<T: Element>() -> Vec<Case<T>> {
    vec![
        ("sum of all", |x| sum_of(x, &[x.len()], &[true])),
        ("sum of 3 columns", |x| sum_of(x, &[x.len() / 3, 3], &[true, false])),
        ("sum of 700 columns", |x| sum_of(x, &[x.len() / 700, 700], &[true, false])),
        ("dot", |x| Worst::of(reduce::dot(x, x), &Exact::dot(x, x))),
        ("norm", |x| {
            let mut out = [T::NAN];
            reduce::norm(x, &[x.len()], &[true], &mut out);
            let exact = Exact::dot(x, x).value().sqrt();
            let mut worst = Worst::default();
            worst.see(out[0], exact, exact);
            worst.0
        }),
        ("norm of huge numbers", |x| {
            let huge = T::from_f64(if size_of::<T>() == 4 { 2f64.powi(100) } else { 2f64.powi(900) });
            let (x, mut out) = (x.iter().map(|v| *v * huge).collect::<Vec<_>>(), [T::NAN]);
            reduce::norm(&x, &[x.len()], &[true], &mut out);
            let x: Vec<T> = x.iter().map(|v| *v / huge).collect();
            let exact = Exact::dot(&x, &x).value().sqrt();
            let mut worst = Worst::default();
            worst.see(out[0] / huge, exact, exact);
            worst.0
        }),
        ("logsumexp", |x| {
            let mut out = [T::NAN];
            reduce::logsumexp(x, &[x.len()], &[true], &mut out);
            let exact = Exact::of(x.iter().map(|v| v.to_f64().exp())).value().ln();
            let mut worst = Worst::default();
            worst.see(out[0], exact, exact.max(1.0));
            worst.0
        }),
        ("cumsum", |x| running_sums(x, 1, false)),
        ("cumsum from the end", |x| running_sums(x, 1, true)),
        ("cumsum of 41 columns", |x| running_sums(x, 41, false)),
        ("adaptive average", |x| pooled(x, true)),
        ("average of a window", |x| pooled(x, false)),
        ("adjoint of adaptive average", |x| pooled_adjoint(x, true)),
        ("adjoint of overlapping windows", |x| pooled_adjoint(&x[..x.len().min(3000)], false)),
        ("softmax", softmax_sums),
        ("softmax's gradient", softmax_gradients),
        ("smoothed cross-entropy", smoothed_loss),
        ("statistics of an image", |x| channel_statistics(x, Channels { n: 1, c: 1, s: x.len() })),
        ("statistics of a feature", |x| channel_statistics(x, Channels { n: x.len(), c: 1, s: 1 })),
        ("statistics of 5 channels", |x| channel_statistics(x, Channels { n: x.len() / 35, c: 5, s: 7 })),
        ("gradients of an image", |x| channel_gradients(x, Channels { n: 1, c: 1, s: x.len() })),
        ("gradients of a feature", |x| channel_gradients(x, Channels { n: x.len(), c: 1, s: 1 })),
        ("gradients of 9 channels", |x| channel_gradients(x, Channels { n: x.len() / 900, c: 9, s: 100 })),
        ("layer norm", layer_norm),
        ("unit rows", unit_rows),
        ("weight gradient of an image", |x| weight_gradient(x, 1, 0, 3)),
        ("weight gradient of long rows", |x| weight_gradient(x, 1, 1, 3)),
        ("weight gradient of 14 channels", |x| weight_gradient(x, 14, 0, 3)),
        ("weight gradient of a batch", |x| weight_gradient(x, 14, 8, 3)),
        ("weight gradient of a 1 x 1 kernel", |x| weight_gradient(x, 3, 5, 1)),
    ]
}

/// The roundings that a sum of n terms may be off by: 20, and 4 for each factor of 16.
fn allowed(n: usize) -> f64 {
    20.0 + (n as f64).log2()
}

fn measure<T: Element>(lengths: &[usize], failed: &mut Vec<String>) {
    for kind in KINDS {
        for &n in lengths {
            let x: Vec<T> = data(kind, n);
            for (name, error) in cases::<T>() {
                let error = error(&x);
                if error.is_nan() || error > allowed(n) {
                    failed.push(format!("{name}, {} of {n} {kind}: off by {error:.0} roundings", T::NAME));
                }
            }
        }
    }
}

fn all_are_accurate(lengths: &[usize]) {
    let mut failed = vec![];
    at_every_level(|| {
        measure::<f32>(lengths, &mut failed);
        measure::<f64>(lengths, &mut failed);
        Ok(())
    })
    .unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn errors_of_sums_grow_like_the_logarithm_of_the_length() {
    all_are_accurate(&[1000, 30_000, 1_000_000]);
}

#[test]
#[ignore = "slow"]
fn errors_of_long_sums_grow_like_the_logarithm_of_the_length() {
    all_are_accurate(&[100_000_000]);
}
