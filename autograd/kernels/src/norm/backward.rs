//! The reverse pass of batch normalisation.

use super::batch::{Affine, Apply};
use super::channels::{Channels, Input, Terms};
use crate::par::{self, Shared};
use crate::real::{Element, Real};

/// Where the forward pass took max(y, 0), so that the gradient is 0 where y is not positive.
#[derive(Clone, Copy, Debug)]
pub enum Mask<'a, T> {
    /// Nowhere.
    None,
    /// Everywhere, and y is recomputed: there was no residual.
    Again,
    /// Everywhere, and this is y.
    Output(&'a [T]),
}

/// The gradient of y, and where gradients are written.
#[derive(Debug)]
pub enum Gradients<'a, T> {
    /// With respect to x, from this gradient of y.
    Input(&'a [T], &'a mut [T]),
    /// With respect to x, over the gradient of y.
    InPlace(&'a mut [T]),
    /// With respect to the residual, over the gradient of y, and with respect to x. Only with the mask of an
    /// output: without a mask, the residual's gradient is that of y.
    Both(&'a mut [T], &'a mut [T]),
    /// None; only the sums are computed.
    Sums(&'a [T]),
}

/// Gradients of [`super::batch_norm_train`], whose mean and variance depend on x, for the gradient g of its output:
/// with h = (x - mean) rstd and averages over the channel,
/// dbeta = sum g, dgamma = sum g h, dx = gamma rstd (g - average g - h average (g h)), and g itself for a residual.
/// Where `mask` says that y was not positive, g counts as 0.
///
/// # Panics
/// If a slice has the wrong length, or if the residual's gradient is requested without the mask of an output.
pub fn batch_norm_backward<T: Element>(
    x: &[T],
    mask: Mask<T>,
    gradients: Gradients<T>,
    shape: Channels,
    by: &Affine<T>,
    dgamma: &mut [T],
    dbeta: &mut [T],
) {
    let len = shape.len();
    assert_eq!(x.len(), len, "batch_norm_backward: x is (n, c, s)");
    by.check(shape);
    assert!(dgamma.len() == shape.c && dbeta.len() == shape.c, "batch_norm_backward: one number a channel");
    let (g, sizes, dx, dr) = match gradients {
        Gradients::Input(g, dx) => (Input::new(g), [g.len(), dx.len()], Some(Shared::new(dx)), None),
        Gradients::InPlace(g) => (Input::of(g), [g.len(), len], Some(Shared::new(g)), None),
        Gradients::Both(g, dx) => {
            (Input::of(g), [g.len(), dx.len()], Some(Shared::new(dx)), Some(Shared::new(g)))
        }
        Gradients::Sums(g) => (Input::new(g), [g.len(), len], None, None),
    };
    assert_eq!(sizes, [len; 2], "batch_norm_backward: gradients are (n, c, s)");
    let x = Input::new(x);
    let work = Work { shape, by, dgamma: Shared::new(dgamma), dbeta: Shared::new(dbeta) };
    let one = dx.map(|dx| [dx]);
    // SAFETY: all slices have the tensor's size, and those that are written are borrowed exclusively.
    unsafe {
        match (mask, dr) {
            (Mask::None, None) => work.run(&Sums, &Map, [x, g], one),
            (Mask::Again, None) => work.run(&Again(Sums), &Again(Map), [x, g], one),
            (Mask::Output(y), dr) => {
                assert_eq!(y.len(), len, "batch_norm_backward: y is (n, c, s)");
                let inputs = [x, g, Input::new(y)];
                match (dx, dr) {
                    (Some(dx), Some(dr)) => work.run(&Masked(Sums), &Masked(Both), inputs, Some([dx, dr])),
                    _ => work.run(&Masked(Sums), &Masked(Map), inputs, one),
                }
            }
            (_, Some(_)) => panic!("batch_norm_backward: the residual's gradient needs the output"),
        }
    }
}

struct Work<'a, T> {
    shape: Channels,
    by: &'a Affine<'a, T>,
    dgamma: Shared<T>,
    dbeta: Shared<T>,
}

/// Mean, scale and shift of a channel, and the average of g and its slope along x - mean.
type Numbers<T> = [T; 5];

impl<T: Element> Work<'_, T> {
    /// Sums, then gradients of the shape of x if they are requested.
    ///
    /// # Safety
    /// As [`Channels::block_map`], for all blocks.
    unsafe fn run<const N: usize, const K: usize>(
        &self,
        sums: &impl Terms<N, 5, 2>,
        map: &impl Terms<N, 5, K>,
        inputs: [Input<T>; N],
        out: Option<[Shared<T>; K]>,
    ) {
        let shape = self.shape;
        if shape.one_by_one() {
            return par::run(shape.c, |c| {
                let total = shape.total(|run| {
                    let mut part = [[T::ZERO; 2]];
                    let block = shape.block(run, c..c + 1);
                    // SAFETY: this channel has not been written yet.
                    unsafe { shape.block_sums(sums, inputs, &block, &[self.numbers(c)], &mut part) }
                    part[0].map(T::to_f64)
                });
                let numbers = [self.finish(c, total)];
                let Some(out) = out else { return };
                // What was read last is the most likely to be still in the cache.
                for run in (0..shape.runs()).rev() {
                    let block = shape.block(run, c..c + 1);
                    // SAFETY: each block comes once.
                    unsafe { shape.block_map(map, inputs, &block, &numbers, out) }
                }
            });
        }
        let parts = shape.blocks(|block, parts| {
            let numbers: Vec<Numbers<T>> = block.channels.clone().map(|c| self.numbers(c)).collect();
            let mut values = vec![[T::ZERO; 2]; parts.len()];
            // SAFETY: nothing is written yet.
            unsafe { shape.block_sums(sums, inputs, block, &numbers, &mut values) }
            parts.iter_mut().zip(values).for_each(|(part, sums)| *part = sums.map(T::to_f64));
        });
        let total = |c: usize| shape.total(|run| parts[run * shape.c + c]);
        let numbers: Vec<Numbers<T>> = (0..shape.c).map(|c| self.finish(c, total(c))).collect();
        let Some(out) = out else { return };
        shape.each_block(|block, _| {
            // SAFETY: each block comes once.
            unsafe { shape.block_map(map, inputs, block, &numbers[block.channels.clone()], out) }
        });
    }

    /// What is known before the sums are computed.
    fn numbers(&self, c: usize) -> Numbers<T> {
        let [mean, scale, shift] = self.by.of(c);
        [mean, scale, shift, T::ZERO, T::ZERO]
    }

    /// Writes the gradients that are sums: of g, and of g (x - mean).
    fn finish(&self, c: usize, sums: [f64; 2]) -> Numbers<T> {
        let (rstd, count) = (self.by.rstd[c].to_f64(), (self.shape.n * self.shape.s) as f64);
        // SAFETY: one number per channel, and each channel comes once.
        unsafe {
            *self.dbeta.at(c) = T::from_f64(sums[0]);
            *self.dgamma.at(c) = T::from_f64(sums[1] * rstd);
        }
        let [mean, scale, shift] = self.by.of(c);
        [mean, scale, shift, T::from_f64(sums[0] / count), T::from_f64(sums[1] / count * rstd * rstd)]
    }
}

/// g and g (x - mean).
struct Sums;
impl Terms<2, 5, 2> for Sums {
    #[inline(always)]
    fn call<R: Real>(&self, [x, g]: [R; 2], [mean, ..]: [R; 5]) -> [R; 2] {
        [g.clone(), g * (x - mean)]
    }
}

/// dx.
struct Map;
impl Terms<2, 5, 1> for Map {
    #[inline(always)]
    fn call<R: Real>(&self, [x, g]: [R; 2], [mean, scale, _, average, slope]: [R; 5]) -> [R; 1] {
        [(g - average - (x - mean) * slope) * scale]
    }
}

/// dx and g.
struct Both;
impl Terms<2, 5, 2> for Both {
    #[inline(always)]
    fn call<R: Real>(&self, [x, g]: [R; 2], channel: [R; 5]) -> [R; 2] {
        let [dx] = Map.call([x, g.clone()], channel);
        [dx, g]
    }
}

/// The same of g masked by the sign of the output, recomputed from x.
struct Again<F>(F);
impl<F: Terms<2, 5, K>, const K: usize> Terms<2, 5, K> for Again<F> {
    #[inline(always)]
    fn call<R: Real>(&self, [x, g]: [R; 2], channel: [R; 5]) -> [R; K] {
        let [mean, scale, shift, ..] = channel.clone();
        let [y] = Apply::<false>.call([x.clone()], [mean, scale, shift]);
        self.0.call([x, g * y.step()], channel)
    }
}

/// The same of g masked by the sign of y.
struct Masked<F>(F);
impl<F: Terms<2, 5, K>, const K: usize> Terms<3, 5, K> for Masked<F> {
    #[inline(always)]
    fn call<R: Real>(&self, [x, g, y]: [R; 3], channel: [R; 5]) -> [R; K] {
        self.0.call([x, g * y.step()], channel)
    }
}
