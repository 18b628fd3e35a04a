//! Batch normalisation (Ioffe and Szegedy 2015): y = gamma (x - mean) / sqrt(var + eps) + beta for each channel,
//! with the optional steps that follow it in the same pass: adding another tensor (a residual), and max(y, 0).

use super::channels::{Block, Channels, Input, Terms, WIDTH};
use super::moments::{FAR, SAMPLE, Scaled};
use crate::cascade::cascade;
use crate::par::{self, Shared};
use crate::real::{Element, Real};
use crate::reduce::fold::safe;

/// Mean and sum of squared deviations of some elements, which can be merged with those of others.
#[derive(Clone, Copy, Default)]
struct Moments {
    mean: f64,
    squares: f64,
    count: f64,
}

impl Moments {
    /// Merges `count` more elements, by the method of Chan, Golub and LeVeque (1979).
    fn merge(&mut self, other: &Moments) {
        if other.count == 0.0 {
            return;
        }
        let share = other.count / (self.count + other.count);
        let d = other.mean - self.mean;
        self.mean += d * share;
        self.squares += other.squares + d * d * self.count * share;
        self.count += other.count;
    }

    /// The moments of all runs of a channel.
    fn of_runs(shape: Channels, part: impl Fn(usize) -> [f64; 2]) -> Moments {
        cascade!(
            shape.runs(),
            Moments::default(),
            |run, sum| {
                let [mean, squares] = part(run);
                sum.merge(&Moments { mean, squares, count: shape.elements(run) });
            },
            Moments::merge
        )
    }

    /// 1 / sqrt(var + eps) of channel `c` of `x`. Squares neither overflow nor underflow.
    fn rstd<T: Element>(&self, x: &[T], shape: Channels, c: usize, eps: f64) -> T {
        let var = T::from_f64(self.squares / self.count + eps);
        if safe(var) {
            return Real::rsqrt(var);
        }
        let items = (0..shape.n).flat_map(|n| &x[(n * shape.c + c) * shape.s..][..shape.s]);
        let Scaled { scale, moments, .. } = Scaled::new(items.map(|x| x.to_f64()));
        T::from_f64(moments.rstd(eps.sqrt() / scale) / scale)
    }

    /// Mean and biased variance. Without elements, 0 / 0 is the documented NaN.
    fn statistics<T: Element>(&self) -> [T; 2] {
        [T::from_f64(self.mean + 0.0 / self.count), T::from_f64(self.squares / self.count)]
    }
}

/// The mean and the biased variance of each channel. One pass over memory: each block's squares are taken
/// about its own mean, and the blocks merged, so a mean far from 0 costs no accuracy. Channels without elements
/// get NaN.
///
/// # Panics
/// If a slice has the wrong length.
pub fn batch_stats<T: Element>(x: &[T], shape: Channels, mean: &mut [T], var: &mut [T]) {
    assert_eq!(x.len(), shape.len(), "batch_stats: x is (n, c, s)");
    assert!(mean.len() == shape.c && var.len() == shape.c, "batch_stats: a mean and a variance a channel");
    for ((mean, var), m) in mean.iter_mut().zip(var).zip(all_moments(x, shape)) {
        [*mean, *var] = m.statistics();
    }
}

/// The moments of each channel. `x` must have the tensor's size.
fn all_moments<T: Element>(x: &[T], shape: Channels) -> Vec<Moments> {
    assert_eq!(x.len(), shape.len(), "batch norm: x is (n, c, s)");
    // SAFETY: x has the tensor's size, and is not written.
    let parts = shape.blocks(|block, out| unsafe { block_moments(Input::new(x), shape, block, out) });
    (0..shape.c).map(|c| Moments::of_runs(shape, |run| parts[run * shape.c + c])).collect()
}

/// The mean of each channel of a block, and the sum of squares about it.
///
/// Squares are taken about the mean of a few elements. If that is far from the mean of all, so that the result would be
/// a difference of two large numbers, they are taken again about the mean of all.
///
/// # Safety
/// As [`Channels::block_sums`].
unsafe fn block_moments<T: Element>(x: Input<T>, shape: Channels, block: &Block, out: &mut [[f64; 2]]) {
    let count = (block.items.len() * shape.s) as f64;
    let (mut centre, mut sums) = ([[T::ZERO]; WIDTH], [[T::ZERO; 2]; WIDTH]);
    let (centre, sums) = (&mut centre[..out.len()], &mut sums[..out.len()]);
    let mut sum = [[T::ZERO]; WIDTH];
    let sum = &mut sum[..out.len()];
    let few = SAMPLE.div_ceil(shape.s).min(block.items.len());
    let sample =
        Block { items: block.items.start..block.items.start + few, channels: block.channels.clone() };
    // SAFETY: the caller's promise.
    unsafe { shape.block_sums(&Value, [x], &sample, centre, sum) }
    let elements = (few * shape.s) as f64;
    centre.iter_mut().zip(sum).for_each(|(c, [sum])| *c = [T::from_f64(sum.to_f64() / elements)]);
    for last in [false, true] {
        // SAFETY: the caller's promise.
        unsafe { shape.block_sums(&Deviation, [x], block, centre, sums) }
        let mut again = false;
        for ((out, [c]), [d, squares]) in out.iter_mut().zip(&mut *centre).zip(&*sums) {
            let (d, squares) = (d.to_f64() / count, squares.to_f64());
            *out = [c.to_f64() + d, squares - d * d * count];
            // NaN does not need a second pass.
            again |= squares > FAR * out[1];
            *c = T::from_f64(out[0]);
        }
        if last || !again {
            return;
        }
    }
}

struct Value;
impl Terms<1, 1, 1> for Value {
    #[inline(always)]
    fn call<R: Real>(&self, [x]: [R; 1], _: [R; 1]) -> [R; 1] {
        [x]
    }
}

struct Deviation;
impl Terms<1, 1, 2> for Deviation {
    #[inline(always)]
    fn call<R: Real>(&self, [x]: [R; 1], [mean]: [R; 1]) -> [R; 2] {
        let d = x - mean;
        [d.clone(), d.clone() * d]
    }
}

/// What batch normalisation does to each channel: y = gamma (x - mean) rstd + beta. Each slice has one number per
/// channel.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a, T> {
    /// What is subtracted.
    pub mean: &'a [T],
    /// 1 / sqrt(var + eps).
    pub rstd: &'a [T],
    /// The scale.
    pub gamma: &'a [T],
    /// The shift.
    pub beta: &'a [T],
}

impl<T: Element> Affine<'_, T> {
    pub(super) fn check(&self, shape: Channels) {
        let numbers = [self.mean, self.rstd, self.gamma, self.beta];
        assert!(numbers.iter().all(|v| v.len() == shape.c), "batch norm: {} numbers, one a channel", shape.c);
    }

    /// Mean, scale and shift of a channel.
    pub(super) fn of(&self, c: usize) -> [T; 3] {
        [self.mean[c], self.gamma[c] * self.rstd[c], self.beta[c]]
    }
}

/// The optional steps that follow in the same pass.
#[derive(Clone, Copy, Debug)]
pub struct Then<'a, T> {
    /// Is added to the result.
    pub residual: Option<&'a [T]>,
    /// Whether max(y, 0) is taken last.
    pub relu: bool,
}

/// y = gamma (x - mean) rstd + beta, and then the rest.
///
/// # Panics
/// If a slice has the wrong length.
pub fn batch_norm_forward<T: Element>(x: &[T], shape: Channels, by: &Affine<T>, then: Then<T>, y: &mut [T]) {
    check_forward(x, shape, &then, y);
    by.check(shape);
    let y = Shared::new(y);
    shape.each_block(|block, _| {
        let mut numbers = [[T::ZERO; 3]; WIDTH];
        let numbers = &mut numbers[..block.channels.len()];
        numbers.iter_mut().zip(block.channels.clone()).for_each(|(v, c)| *v = by.of(c));
        // SAFETY: the slices have the tensor's size, and each block comes once.
        unsafe { apply(x, shape, block, numbers, then, y) }
    });
}

/// The batch statistics of [`batch_norm_train`]: each slice has one number per channel.
#[derive(Debug)]
pub struct Statistics<'a, T> {
    /// The mean.
    pub mean: &'a mut [T],
    /// The biased variance.
    pub var: &'a mut [T],
    /// 1 / sqrt(var + eps).
    pub rstd: &'a mut [T],
}

/// [`batch_stats`] and, with these statistics, [`batch_norm_forward`].
///
/// # Panics
/// If a slice has the wrong length.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_train<T: Element>(
    x: &[T],
    shape: Channels,
    gamma: &[T],
    beta: &[T],
    eps: f64,
    then: Then<T>,
    statistics: Statistics<T>,
    y: &mut [T],
) {
    let Statistics { mean, var, rstd } = statistics;
    check_forward(x, shape, &then, y);
    Affine { mean, rstd, gamma, beta }.check(shape);
    assert_eq!(var.len(), shape.c, "batch norm: a variance a channel");
    if !shape.one_by_one() {
        for (c, m) in all_moments(x, shape).into_iter().enumerate() {
            [mean[c], var[c]] = m.statistics();
            rstd[c] = m.rstd(x, shape, c, eps);
        }
        return batch_norm_forward(x, shape, &Affine { mean, rstd, gamma, beta }, then, y);
    }
    let [mean, var, rstd, y] = [mean, var, rstd, y].map(Shared::new);
    par::run(shape.c, |c| {
        let moments = Moments::of_runs(shape, |run| {
            let mut part = [[0.0; 2]];
            // SAFETY: x has the tensor's size, and is not written.
            unsafe { block_moments(Input::new(x), shape, &shape.block(run, c..c + 1), &mut part) }
            part[0]
        });
        let [m, v] = moments.statistics();
        let r = moments.rstd(x, shape, c, eps);
        // SAFETY: one number per channel, and each channel comes once.
        unsafe { (*mean.at(c), *var.at(c), *rstd.at(c)) = (m, v, r) }
        // What was read last is the most likely to be still in the cache.
        for run in (0..shape.runs()).rev() {
            let numbers = [[m, gamma[c] * r, beta[c]]];
            // SAFETY: the slices have the tensor's size, and each block comes once.
            unsafe { apply(x, shape, &shape.block(run, c..c + 1), &numbers, then, y) }
        }
    });
}

fn check_forward<T>(x: &[T], shape: Channels, then: &Then<T>, y: &[T]) {
    assert!(x.len() == shape.len() && y.len() == shape.len(), "batch norm: x and y are (n, c, s)");
    assert!(then.residual.is_none_or(|r| r.len() == shape.len()), "batch norm: the residual is (n, c, s)");
}

/// # Safety
/// As [`Channels::block_map`].
unsafe fn apply<T: Element>(
    x: &[T],
    shape: Channels,
    block: &Block,
    numbers: &[[T; 3]],
    then: Then<T>,
    y: Shared<T>,
) {
    let x = Input::new(x);
    // SAFETY: the caller's promise.
    unsafe {
        match (then.residual.map(Input::new), then.relu) {
            (None, false) => shape.block_map(&Apply::<false>, [x], block, numbers, [y]),
            (None, true) => shape.block_map(&Apply::<true>, [x], block, numbers, [y]),
            (Some(r), false) => shape.block_map(&ApplyAdd::<false>, [x, r], block, numbers, [y]),
            (Some(r), true) => shape.block_map(&ApplyAdd::<true>, [x, r], block, numbers, [y]),
        }
    }
}

/// (x - mean) scale + shift, cut off at 0 or not.
pub(super) struct Apply<const RELU: bool>;
impl<const RELU: bool> Terms<1, 3, 1> for Apply<RELU> {
    #[inline(always)]
    fn call<R: Real>(&self, [x]: [R; 1], [mean, scale, shift]: [R; 3]) -> [R; 1] {
        let y = (x - mean) * scale + shift;
        [if RELU { y.relu() } else { y }]
    }
}

/// The same with a residual.
struct ApplyAdd<const RELU: bool>;
impl<const RELU: bool> Terms<2, 3, 1> for ApplyAdd<RELU> {
    #[inline(always)]
    fn call<R: Real>(&self, [x, residual]: [R; 2], channel: [R; 3]) -> [R; 1] {
        let [y] = Apply::<false>.call([x], channel);
        let y = y + residual;
        [if RELU { y.relu() } else { y }]
    }
}
