//! Elementwise functions of (N, C, S) tensors with parameters per channel.

use super::channels::{Block, Channels, Input, NARROW, Terms, columns, of};
use crate::arrays::{each, numbered};
use crate::par::Shared;
use crate::real::{Arithmetic, Element};
use crate::simd::{self, Kernel};

/// Elements computed together.
const LANES: usize = 32;

impl Channels {
    /// Writes the values of `terms` for every element of a block. `numbers` holds the parameters of each channel of the
    /// block.
    ///
    /// # Safety
    /// Inputs and outputs must have the tensor's size, and the block's elements of the outputs must not be accessed
    /// elsewhere.
    pub(super) unsafe fn block_map<T: Element, const N: usize, const C: usize, const K: usize>(
        self,
        terms: &impl Terms<N, C, K>,
        x: [Input<T>; N],
        block: &Block,
        numbers: &[[T; C]],
        out: [Shared<T>; K],
    ) {
        simd::dispatch(Map { shape: self, terms, x, block, numbers, out });
    }
}

struct Map<'a, F, T, const N: usize, const C: usize, const K: usize> {
    shape: Channels,
    terms: &'a F,
    x: [Input<T>; N],
    block: &'a Block,
    numbers: &'a [[T; C]],
    out: [Shared<T>; K],
}

impl<F: Terms<N, C, K>, T: Element, const N: usize, const C: usize, const K: usize> Kernel
    for Map<'_, F, T, N, C, K>
{
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Map { shape: Channels { c, s, .. }, terms, x, block, numbers, out } = self;
        let start = |item: usize| (item * c + block.channels.start) * s;
        let width = if s >= NARROW { s } else { block.channels.len() * s };
        let ahead = self.shape.ahead::<T>(width);
        if s >= NARROW {
            let numbers = numbers[0];
            for item in block.items.clone() {
                // SAFETY: a row of the tensor, by the promise of `block_map`.
                unsafe {
                    let (x, out) = (each(x, |x| x.at(start(item))), each(out, |out| out.at(start(item))));
                    row::<F, T, A, N, C, K>(terms, x, |_| numbers, s, out, ahead);
                }
            }
            return;
        }
        let columns = columns(numbers, s);
        for item in block.items.clone() {
            // SAFETY: as above.
            unsafe {
                let (x, out) = (each(x, |x| x.at(start(item))), each(out, |out| out.at(start(item))));
                let numbers = |j: usize| numbered(|k| columns[k][j]);
                row::<F, T, A, N, C, K>(terms, x, numbers, width, out, ahead);
            }
        }
    }
}

/// One row. Several values are computed before any is written, since an output may share the memory of an input.
///
/// # Safety
/// All pointers must be valid for `len` elements. The elements `ahead` of them are prefetched and need not exist.
#[inline(always)]
unsafe fn row<
    F: Terms<N, C, K>,
    T: Element,
    A: Arithmetic,
    const N: usize,
    const C: usize,
    const K: usize,
>(
    terms: &F,
    x: [*const T; N],
    numbers: impl Fn(usize) -> [T; C],
    len: usize,
    out: [*mut T; K],
    ahead: usize,
) {
    let whole = len / LANES * LANES;
    // SAFETY: the caller's promise.
    unsafe {
        for first in (0..whole).step_by(LANES) {
            x.iter().for_each(|x| simd::prefetch(x.wrapping_add(ahead + first), LANES));
            out.iter().for_each(|out| simd::prefetch(out.wrapping_add(ahead + first), LANES));
            let mut values = [[T::ZERO; LANES]; K];
            for l in 0..LANES {
                let v = of::<T, A, N, C, K>(terms, each(x, |x| *x.add(first + l)), numbers(first + l));
                for (values, v) in values.iter_mut().zip(v) {
                    values[l] = v;
                }
            }
            for k in 0..K {
                out[k].add(first).cast::<[T; LANES]>().write(values[k]);
            }
        }
        for i in whole..len {
            let v = of::<T, A, N, C, K>(terms, each(x, |x| *x.add(i)), numbers(i));
            for k in 0..K {
                *out[k].add(i) = v[k];
            }
        }
    }
}
