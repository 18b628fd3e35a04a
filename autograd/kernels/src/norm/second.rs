//! The gradients of batch normalisation's gradient.

use super::batch::Affine;
use super::channels::{Channels, Input, Terms};
use crate::par::{self, Shared};
use crate::real::{Element, Real};

/// Gradients of sum(u . dx) for dx = gamma rstd (g - average g - h average (g h)), h = (x - mean) rstd, the first
/// gradient of batch normalisation, where mean and rstd depend on x.
///
/// With the averages a of g h, b of u h and s = average (u g) - average u average g - a b:
///
/// - dg = gamma rstd (u - average u - h b): the map from g to dx is its own adjoint;
/// - dgamma = n rstd s;
/// - dx = -gamma rstd^2 (b (g - average g) + a (u - average u) + (s - 2 a b) h).
///
/// `by.beta` is not used.
///
/// # Panics
/// If a slice has the wrong length.
#[allow(clippy::too_many_arguments)]
pub fn batch_norm_second<T: Element>(
    x: &[T],
    g: &[T],
    u: &[T],
    shape: Channels,
    by: &Affine<T>,
    dx: &mut [T],
    dg: &mut [T],
    dgamma: &mut [T],
) {
    let sizes = [x.len(), g.len(), u.len(), dx.len(), dg.len()];
    assert_eq!(sizes, [shape.len(); 5], "batch_norm_second: tensors are (n, c, s)");
    by.check(shape);
    assert_eq!(dgamma.len(), shape.c, "batch_norm_second: one number a channel");
    let inputs = [x, g, u].map(Input::new);
    let [dx, dg, dgamma] = [dx, dg, dgamma].map(Shared::new);
    let mean = |c: usize| [by.mean[c]];
    let finish = |c: usize, sums: [f64; 5]| {
        let (numbers, d) = numbers(shape, by, c, sums);
        // SAFETY: one number per channel, and each channel comes once.
        unsafe { *dgamma.at(c) = d }
        numbers
    };
    if shape.one_by_one() {
        return par::run(shape.c, |c| {
            let total = shape.total(|run| {
                let mut part = [[T::ZERO; 5]];
                // SAFETY: the slices have the tensor's size, and the inputs are not written.
                unsafe { shape.block_sums(&Sums, inputs, &shape.block(run, c..c + 1), &[mean(c)], &mut part) }
                part[0].map(T::to_f64)
            });
            let numbers = [finish(c, total)];
            for run in (0..shape.runs()).rev() {
                // SAFETY: each block comes once.
                unsafe { shape.block_map(&Map, inputs, &shape.block(run, c..c + 1), &numbers, [dx, dg]) }
            }
        });
    }
    let parts = shape.blocks(|block, parts| {
        let means: Vec<[T; 1]> = block.channels.clone().map(mean).collect();
        let mut values = vec![[T::ZERO; 5]; parts.len()];
        // SAFETY: as above.
        unsafe { shape.block_sums(&Sums, inputs, block, &means, &mut values) }
        parts.iter_mut().zip(values).for_each(|(part, sums)| *part = sums.map(T::to_f64));
    });
    let total = |c: usize| shape.total(|run| parts[run * shape.c + c]);
    let numbers: Vec<Numbers<T>> = (0..shape.c).map(|c| finish(c, total(c))).collect();
    shape.each_block(|block, _| {
        // SAFETY: each block comes once.
        unsafe { shape.block_map(&Map, inputs, block, &numbers[block.channels.clone()], [dx, dg]) }
    });
}

/// Mean of x, averages of g and u; gamma rstd and b rstd, for dg; the factors of g, u and x - mean in dx.
type Numbers<T> = [T; 8];

/// The numbers of a channel from its sums, and dgamma.
fn numbers<T: Element>(shape: Channels, by: &Affine<T>, c: usize, sums: [f64; 5]) -> (Numbers<T>, T) {
    let count = (shape.n * shape.s) as f64;
    let (gamma, r) = (by.gamma[c].to_f64(), by.rstd[c].to_f64());
    let [g, u, gx, ux, ug] = sums.map(|v| v / count);
    let (a, b) = (gx * r, ux * r);
    let s = ug - u * g - a * b;
    let k = -gamma * r * r;
    let numbers = [by.mean[c].to_f64(), g, u, gamma * r, b * r, k * b, k * a, k * (s - 2.0 * a * b) * r];
    (numbers.map(T::from_f64), T::from_f64(count * r * s))
}

/// g, u, g (x - mean), u (x - mean), u g.
struct Sums;
impl Terms<3, 1, 5> for Sums {
    #[inline(always)]
    fn call<R: Real>(&self, [x, g, u]: [R; 3], [mean]: [R; 1]) -> [R; 5] {
        let d = x - mean;
        [g.clone(), u.clone(), g.clone() * d.clone(), u.clone() * d, u * g]
    }
}

/// dx and dg.
struct Map;
impl Terms<3, 8, 2> for Map {
    #[inline(always)]
    fn call<R: Real>(&self, [x, g, u]: [R; 3], channel: [R; 8]) -> [R; 2] {
        let [mean, mean_g, mean_u, scale, slope, of_g, of_u, of_x] = channel;
        let (d, g, u) = (x - mean, g - mean_g, u - mean_u);
        [g * of_g + u.clone() * of_u + d.clone() * of_x, (u - d * slope) * scale]
    }
}
