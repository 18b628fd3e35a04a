//! Batch normalisation (Ioffe and Szegedy 2015): y = gamma (x - mean) / sqrt(var + eps) + beta for each channel.

use super::channels::{Block, Channels, NARROW, Terms};
use crate::MAX_RANK;
use crate::map::{self, Map, Strided};
use crate::real::{Element, Real};

/// The mean and the biased variance of each channel. One pass over memory: each block's squares are taken
/// about its own mean, and the blocks merged as Chan, Golub and LeVeque (1979) do, so a mean far from 0 costs
/// no accuracy. Channels without elements get NaN.
///
/// # Panics
/// If a slice has the wrong length.
pub fn batch_stats<T: Element>(x: &[T], shape: Channels, mean: &mut [T], var: &mut [T]) {
    assert_eq!(x.len(), shape.len(), "batch_stats: x is (n, c, s)");
    assert!(mean.len() == shape.c && var.len() == shape.c, "batch_stats: a mean and a variance a channel");
    let parts = shape.blocks(|block, out| block_moments(x, shape, block, out));
    let mut total = vec![[0.0; 2]; shape.c];
    let mut before = 0.0;
    for (run, parts) in parts.chunks_exact(shape.c.max(1)).enumerate() {
        let here = shape.elements(run);
        let share = here / (before + here);
        for ([m, squares], [part_m, part_squares]) in total.iter_mut().zip(parts) {
            let d = part_m - *m;
            *m += d * share;
            *squares += part_squares + d * d * before * share;
        }
        before += here;
    }
    for ((mean, var), [m, squares]) in mean.iter_mut().zip(var).zip(total) {
        // 0 / 0, where there are no elements, is the NaN promised.
        *mean = T::from_f64(m + 0.0 / before);
        *var = T::from_f64(squares / before);
    }
}

/// The mean of each channel of a block, and the sum of squares about it.
fn block_moments<T: Element>(x: &[T], shape: Channels, block: &Block, out: &mut [[f64; 2]]) {
    let count = (block.items.len() * shape.s) as f64;
    let channels = out.len();
    let mut centre = vec![T::ZERO; channels];
    let mut sum = vec![[T::ZERO]; channels];
    shape.block_sums(&Value, [x], block, &centre, &mut sum);
    centre.iter_mut().zip(&sum).for_each(|(c, [sum])| *c = T::from_f64(sum.to_f64() / count));
    let mut sums = vec![[T::ZERO; 2]; channels];
    shape.block_sums(&Deviation, [x], block, &centre, &mut sums);
    for ((out, c), [d, squares]) in out.iter_mut().zip(&centre).zip(sums) {
        // The centre is the mean up to rounding; d holds what is missing.
        let d = d.to_f64();
        *out = [c.to_f64() + d / count, squares.to_f64() - d * d / count];
    }
}

struct Value;
impl Terms<1, 1> for Value {
    #[inline(always)]
    fn call<R: Real>(&self, [x]: [R; 1], _: R) -> [R; 1] {
        [x]
    }
}

struct Deviation;
impl Terms<1, 2> for Deviation {
    #[inline(always)]
    fn call<R: Real>(&self, [x]: [R; 1], mean: R) -> [R; 2] {
        let d = x - mean;
        [d.clone(), d.clone() * d]
    }
}

/// What batch normalisation does to each channel: y = gamma (x - mean) rstd + beta. One number a channel in
/// each slice.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a, T> {
    /// What is subtracted.
    pub mean: &'a [T],
    /// 1 / sqrt(var + eps).
    pub rstd: &'a [T],
    /// The scale.
    pub gamma: &'a [T],
    /// The shift; not used by the backward pass.
    pub beta: &'a [T],
}

/// y = gamma (x - mean) rstd + beta, and max(y, 0) of that if `relu`.
///
/// # Panics
/// If a slice has the wrong length.
pub fn batch_norm_forward<T: Element>(x: &[T], shape: Channels, by: &Affine<T>, relu: bool, y: &mut [T]) {
    assert!(x.len() == shape.len() && y.len() == shape.len(), "batch_norm_forward: x and y are (n, c, s)");
    assert!(
        [by.mean, by.rstd, by.gamma, by.beta].iter().all(|v| v.len() == shape.c),
        "batch_norm_forward: c numbers"
    );
    let scale: Vec<T> = by.gamma.iter().zip(by.rstd).map(|(&g, &r)| g * r).collect();
    if relu {
        by_channel(&ApplyRelu, [x], [by.mean, &scale, by.beta], shape, y);
    } else {
        by_channel(&Apply, [x], [by.mean, &scale, by.beta], shape, y);
    }
}

struct Apply;
impl Map<4> for Apply {
    #[inline(always)]
    fn call<R: Real>(&self, [x, mean, scale, beta]: [R; 4]) -> R {
        (x - mean) * scale + beta
    }
}

struct ApplyRelu;
impl Map<4> for ApplyRelu {
    #[inline(always)]
    fn call<R: Real>(&self, x: [R; 4]) -> R {
        Apply.call(x).relu()
    }
}

/// Which gradients [`batch_norm_backward`] writes.
#[derive(Debug)]
pub struct Wanted<'a, T> {
    /// With respect to x, as long as x.
    pub dx: Option<&'a mut [T]>,
    /// With respect to gamma, one a channel.
    pub dgamma: Option<&'a mut [T]>,
    /// With respect to beta, one a channel.
    pub dbeta: Option<&'a mut [T]>,
}

/// Gradients of training-mode batch normalisation, whose mean and variance depend on x, for the gradient `g` of
/// its output: with h = (x - mean) rstd and averages over the channel,
/// dbeta = sum g, dgamma = sum g h, dx = gamma rstd (g - average g - h average (g h)).
///
/// If the forward pass had `relu`, `y` is its output: where y = 0, g counts as 0.
///
/// # Panics
/// If a slice has the wrong length.
pub fn batch_norm_backward<T: Element>(
    x: &[T],
    y: Option<&[T]>,
    g: &[T],
    shape: Channels,
    by: &Affine<T>,
    wanted: Wanted<T>,
) {
    let Channels { c, .. } = shape;
    assert!(x.len() == shape.len() && g.len() == shape.len(), "batch_norm_backward: x and g are (n, c, s)");
    assert!(y.is_none_or(|y| y.len() == shape.len()), "batch_norm_backward: y is (n, c, s)");
    assert!([by.mean, by.rstd, by.gamma].iter().all(|v| v.len() == c), "batch_norm_backward: c numbers");
    let parts = shape.blocks(|block, out| {
        let mut sums = vec![[T::ZERO; 2]; out.len()];
        let centre = &by.mean[block.channels.clone()];
        match y {
            Some(y) => shape.block_sums(&MaskedGradients, [x, g, y], block, centre, &mut sums),
            None => shape.block_sums(&Gradients, [x, g], block, centre, &mut sums),
        }
        out.iter_mut().zip(sums).for_each(|(out, sums)| *out = sums.map(T::to_f64));
    });
    // The sums of g and of g (x - mean).
    let mut total = vec![[0.0; 2]; c];
    for parts in parts.chunks_exact(c.max(1)) {
        for (total, part) in total.iter_mut().zip(parts) {
            *total = [total[0] + part[0], total[1] + part[1]];
        }
    }
    if let Some(dbeta) = wanted.dbeta {
        assert_eq!(dbeta.len(), c, "batch_norm_backward: dbeta has a number a channel");
        dbeta.iter_mut().zip(&total).for_each(|(d, sums)| *d = T::from_f64(sums[0]));
    }
    if let Some(dgamma) = wanted.dgamma {
        assert_eq!(dgamma.len(), c, "batch_norm_backward: dgamma has a number a channel");
        for ((d, sums), rstd) in dgamma.iter_mut().zip(&total).zip(by.rstd) {
            *d = T::from_f64(sums[1] * rstd.to_f64());
        }
    }
    if let Some(dx) = wanted.dx {
        assert_eq!(dx.len(), shape.len(), "batch_norm_backward: dx is (n, c, s)");
        let count = shape.count();
        let scale: Vec<T> = by.gamma.iter().zip(by.rstd).map(|(&g, &r)| g * r).collect();
        let average: Vec<T> = total.iter().map(|sums| T::from_f64(sums[0] / count)).collect();
        let slope: Vec<T> = total
            .iter()
            .zip(by.rstd)
            .map(|(sums, r)| T::from_f64(sums[1] / count * r.to_f64().powi(2)))
            .collect();
        let per_channel = [by.mean, &scale, &average, &slope];
        match y {
            Some(y) => by_channel(&MaskedInput, [x, g, y], per_channel, shape, dx),
            None => by_channel(&Input, [x, g], per_channel, shape, dx),
        }
    }
}

struct Gradients;
impl Terms<2, 2> for Gradients {
    #[inline(always)]
    fn call<R: Real>(&self, [x, g]: [R; 2], mean: R) -> [R; 2] {
        [g.clone(), g * (x - mean)]
    }
}

struct MaskedGradients;
impl Terms<3, 2> for MaskedGradients {
    #[inline(always)]
    fn call<R: Real>(&self, [x, g, y]: [R; 3], mean: R) -> [R; 2] {
        Gradients.call([x, g * y.step()], mean)
    }
}

struct Input;
impl Map<6> for Input {
    #[inline(always)]
    fn call<R: Real>(&self, [x, g, mean, scale, average, slope]: [R; 6]) -> R {
        (g - average - (x - mean) * slope) * scale
    }
}

struct MaskedInput;
impl Map<7> for MaskedInput {
    #[inline(always)]
    fn call<R: Real>(&self, [x, g, y, mean, scale, average, slope]: [R; 7]) -> R {
        Input.call([x, g * y.step(), mean, scale, average, slope])
    }
}

/// `out = f(x…, c…)` for inputs x of the tensor's shape and inputs c with one number a channel; N is X + C.
fn by_channel<T: Element, const X: usize, const C: usize, const N: usize>(
    f: &impl Map<N>,
    x: [&[T]; X],
    channel: [&[T]; C],
    Channels { n, c, s }: Channels,
    out: &mut [T],
) {
    // Short inner runs: the numbers of the channels are written out, so that rows are c * s long.
    let repeat = if s < NARROW { s } else { 1 };
    let channel = channel.map(|v| v.iter().flat_map(|&v| std::iter::repeat_n(v, repeat)).collect::<Vec<T>>());
    let dims = [n, c * repeat, s / repeat.max(1)];
    let inputs: [Strided<T>; N] = std::array::from_fn(|i| {
        let mut strides = [0; MAX_RANK];
        let data = if i < X {
            strides[..3].copy_from_slice(&[dims[1] * dims[2], dims[2], 1]);
            x[i]
        } else {
            strides[1] = 1;
            &channel[i - X]
        };
        Strided { data, strides }
    });
    map::broadcast(f, inputs, &dims, out);
}
