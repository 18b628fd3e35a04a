//! Sums over each channel of (N, C, S) tensors, in one pass over memory.

use std::ops::Range;

use crate::arrays::{each, numbered};
use crate::cascade::cascade;
use crate::par::{self, Shared};
use crate::real::{Arithmetic, Element, Num, Real};
use crate::reduce::fold::{Same, add_lanes, row_sum, tree};
use crate::simd::{self, Kernel};

/// The sizes of a tensor viewed as (items, channels, inner elements): NCHW has inner = H W, a matrix of
/// features inner = 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channels {
    /// Items (N).
    pub n: usize,
    /// Channels (C).
    pub c: usize,
    /// Elements of a channel in one item (H W).
    pub s: usize,
}

/// Inner sizes below this are summed column by column, all channels side by side; the others in long rows.
pub(super) const NARROW: usize = 64;
/// Columns side by side.
pub(super) const WIDTH: usize = 512;
/// Elements of each input in one block: they remain in the second-level cache for a second pass.
const BLOCK: usize = 1 << 14;
/// Bytes that are prefetched. Rows of a channel are far apart, and the hardware prefetcher does not predict the next
/// one.
const AHEAD: usize = 4096;
/// Running sums side by side in a long row: two of them fill half the registers of AVX2.
const LANES: usize = 32;
/// Additions to a lane before it is added to the others.
const FEW: usize = 16;

/// K functions of N inputs and of C numbers of the channel: to be summed over each channel, or written.
pub(super) trait Terms<const N: usize, const C: usize, const K: usize>: Sync {
    /// The values for one element.
    fn call<R: Real>(&self, x: [R; N], channel: [R; C]) -> [R; K];
}

/// An input of the tensor's shape. Its memory may be that of an output too: every element is then read before
/// it is written, by the thread that writes it.
#[derive(Clone, Copy)]
pub(super) struct Input<T>(*const T);

// SAFETY: an Input only passes a pointer on; every read is in an unsafe block with its own SAFETY comment.
unsafe impl<T: Sync> Send for Input<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Input<T> {}

impl<T> Input<T> {
    /// Reads `slice`.
    pub fn new(slice: &[T]) -> Self {
        Input(slice.as_ptr())
    }

    /// Reads what an output holds.
    pub fn of(slice: &mut [T]) -> Self {
        Input(slice.as_mut_ptr())
    }

    /// Prefetches the `count` elements from index `start` on, which need not exist.
    #[inline(always)]
    pub fn prefetch(self, start: usize, count: usize) {
        simd::prefetch(self.0.wrapping_add(start), count);
    }

    /// The elements from index `start` on.
    ///
    /// # Safety
    /// `start` must lie in the slice.
    #[inline(always)]
    pub unsafe fn at(self, start: usize) -> *const T {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(start) }
    }
}

/// Some channels of some items.
pub(super) struct Block {
    pub items: Range<usize>,
    pub channels: Range<usize>,
}

impl Channels {
    /// Elements of the tensor.
    pub fn len(self) -> usize {
        self.n * self.c * self.s
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether one thread computes both the sums and the results of a channel: its elements are then still in the cache
    /// for the second pass. It does not if there are too few channels to share, or if runs are short, which are
    /// processed many channels at a time.
    pub(super) fn one_by_one(self) -> bool {
        self.s >= NARROW && self.c >= 8
    }

    fn channels_a_block(self) -> usize {
        if self.s < NARROW { WIDTH / self.s } else { 1 }
    }

    fn items_a_block(self) -> usize {
        (BLOCK / (self.channels_a_block().min(self.c) * self.s)).clamp(1, self.n.max(1))
    }

    /// Elements of a channel in one run.
    pub(super) fn elements(self, run: usize) -> f64 {
        let items = self.items_a_block();
        (items.min(self.n - run * items) * self.s) as f64
    }

    /// How many elements ahead, in whole items, a block with rows of `width` elements prefetches.
    pub(super) fn ahead<T>(self, width: usize) -> usize {
        (AHEAD / size_of::<T>()).div_ceil(width.max(1)) * self.c * self.s
    }

    /// Into how many runs of items the blocks cut the tensor.
    pub(super) fn runs(self) -> usize {
        self.n.div_ceil(self.items_a_block())
    }

    /// Run number `run` of some channels.
    pub(super) fn block(self, run: usize, channels: Range<usize>) -> Block {
        let items = self.items_a_block();
        Block { items: run * items..((run + 1) * items).min(self.n), channels }
    }

    /// Calls `kernel` for all blocks, with the number of the run.
    pub(super) fn each_block(self, kernel: impl Fn(&Block, usize) + Sync) {
        if self.is_empty() {
            return;
        }
        let together = self.channels_a_block();
        let groups = self.c.div_ceil(together);
        par::run(self.runs() * groups, |i| {
            let (run, first) = (i / groups, i % groups * together);
            kernel(&self.block(run, first..(first + together).min(self.c)), run);
        });
    }

    /// The results of `kernel` for each block, K numbers per channel: (runs, channels).
    pub(super) fn blocks<const K: usize>(
        self,
        kernel: impl Fn(&Block, &mut [[f64; K]]) + Sync,
    ) -> Vec<[f64; K]> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut parts = vec![[0.0; K]; self.runs() * self.c];
        let shared = Shared::new(&mut parts);
        self.each_block(|block, run| {
            // SAFETY: each block comes once, and owns the parts of its channels in its run.
            let out = unsafe { shared.slice(run * self.c + block.channels.start, block.channels.len()) };
            kernel(block, out);
        });
        parts
    }

    /// The sums of `part` over all runs.
    pub(super) fn total<const K: usize>(self, part: impl Fn(usize) -> [f64; K]) -> [f64; K] {
        let [total] =
            cascade!(self.runs(), [[0.0; K]], |run, total| add_lanes(total, &[part(run)]), add_lanes);
        total
    }

    /// For each channel of a block, the sums of `terms` over its elements. `numbers` holds the parameters of each
    /// channel of the block.
    ///
    /// # Safety
    /// The inputs must have the tensor's size, and their elements of this block must not be written meanwhile.
    pub(super) unsafe fn block_sums<T: Element, const N: usize, const C: usize, const K: usize>(
        self,
        terms: &impl Terms<N, C, K>,
        x: [Input<T>; N],
        block: &Block,
        numbers: &[[T; C]],
        out: &mut [[T; K]],
    ) {
        let shape = self;
        if self.s < NARROW {
            simd::dispatch(Narrow { shape, terms, x, block, numbers, out });
        } else {
            simd::dispatch(Long { shape, terms, x, block, numbers, out });
        }
    }
}

/// The values of `terms` for one element.
#[inline(always)]
pub(super) fn of<T: Element, A: Arithmetic, const N: usize, const C: usize, const K: usize>(
    terms: &impl Terms<N, C, K>,
    x: [T; N],
    channel: [T; C],
) -> [T; K] {
    each(terms.call(each(x, Num::<T, A>::new), each(channel, Num::new)), |v| v.0)
}

/// Rows of one channel, each in LANES running sums.
struct Long<'a, F, T, const N: usize, const C: usize, const K: usize> {
    shape: Channels,
    terms: &'a F,
    x: [Input<T>; N],
    block: &'a Block,
    numbers: &'a [[T; C]],
    out: &'a mut [[T; K]],
}

impl<F: Terms<N, C, K>, T: Element, const N: usize, const C: usize, const K: usize> Kernel
    for Long<'_, F, T, N, C, K>
{
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Long { shape, terms, x, block, numbers, out } = self;
        let Channels { c, s, .. } = shape;
        let numbers = numbers[0];
        let (blocks, ahead) = (s / LANES, shape.ahead::<T>(s));
        // A term of the sum: FEW additions to each lane, of a part of an item or of several items.
        let (together, parts) = ((FEW / blocks).max(1), blocks.div_ceil(FEW));
        let start = |item: usize| (item * c + block.channels.start) * s;
        let value = |x| of::<T, A, N, C, K>(terms, x, numbers);
        let count = block.items.len().div_ceil(together) * parts;
        let sums = cascade!(
            count,
            [[T::ZERO; LANES]; K],
            |i, sums| {
                let (top, first) = (block.items.start + i / parts * together, i % parts * FEW);
                let mut few = [[T::ZERO; LANES]; K];
                for item in top..(top + together).min(block.items.end) {
                    for b in first..(first + FEW).min(blocks) {
                        let at = start(item) + b * LANES;
                        x.iter().for_each(|x| x.prefetch(at + ahead, LANES));
                        // SAFETY: lanes of a row of the tensor, by the promise of `block_sums`. After the copy the
                        // compiler knows that they do not alias the sums.
                        let x = each(x, |x| unsafe { x.at(at).cast::<[T; LANES]>().read() });
                        for l in 0..LANES {
                            let v = value(numbered(|i| x[i][l]));
                            for k in 0..K {
                                few[k][l] = few[k][l] + v[k];
                            }
                        }
                    }
                    let tail = if first + FEW < blocks { s } else { blocks * LANES };
                    for i in tail..s {
                        // SAFETY: an element of such a row.
                        let v = value(each(x, |x| unsafe { *x.at(start(item) + i) }));
                        for k in 0..K {
                            few[k][i - tail] = few[k][i - tail] + v[k];
                        }
                    }
                }
                add_lanes(sums, &few);
            },
            add_lanes
        );
        out[0] = each(sums, |sums| tree(sums, |a, b| a + b));
    }
}

/// The numbers of each channel, written out for each of its inner elements, as often as there is room.
#[inline(always)]
pub(super) fn columns<T: Element, const C: usize>(numbers: &[[T; C]], s: usize) -> [[T; WIDTH]; C] {
    let mut columns = [[T::ZERO; WIDTH]; C];
    for (k, columns) in columns.iter_mut().enumerate() {
        for (columns, numbers) in columns.chunks_exact_mut(s).zip(numbers.iter().cycle()) {
            columns.fill(numbers[k]);
        }
    }
    columns
}

/// Channels side by side, each of their inner elements in a separate column.
struct Narrow<'a, F, T, const N: usize, const C: usize, const K: usize> {
    shape: Channels,
    terms: &'a F,
    x: [Input<T>; N],
    block: &'a Block,
    numbers: &'a [[T; C]],
    out: &'a mut [[T; K]],
}

impl<F: Terms<N, C, K>, T: Element, const N: usize, const C: usize, const K: usize> Kernel
    for Narrow<'_, F, T, N, C, K>
{
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Narrow { shape: Channels { c, s, .. }, terms, x, block, numbers, out } = self;
        let width = block.channels.len() * s;
        // Items without gaps between them lie side by side in a row: few rows, and short sums.
        let together = if block.channels.len() == c { WIDTH / width } else { 1 };
        let columns = columns(numbers, s);
        let mut sums = [[T::ZERO; WIDTH]; K];
        for first in block.items.clone().step_by(together) {
            // SAFETY: a row of the tensor, by the promise of `block_sums`.
            let x = each(x, |x| unsafe { x.at((first * c + block.channels.start) * s) });
            for j in 0..width * together.min(block.items.end - first) {
                // SAFETY: element j of the row.
                let x = each(x, |x| unsafe { *x.add(j) });
                let v = of::<T, A, N, C, K>(terms, x, numbered(|k| columns[k][j]));
                for k in 0..K {
                    sums[k][j] = sums[k][j] + v[k];
                }
            }
        }
        for (channel, out) in out.iter_mut().enumerate() {
            for k in 0..K {
                let sum_of = |i: usize| row_sum::<T, A, 1>(&Same, [&sums[k][i * width + channel * s..][..s]]);
                let add = |a: &mut T, b: &T| *a = *a + *b;
                out[k] = if together == 1 {
                    sum_of(0)
                } else {
                    cascade!(together, T::ZERO, |i, sum| *sum = *sum + sum_of(i), add)
                };
            }
        }
    }
}
