//! Sums over each channel of (N, C, S) tensors, in one pass over memory.

use std::ops::Range;

use crate::par::{self, Shared};
use crate::real::{Arithmetic, Element, Num, Real};
use crate::reduce::fold::tree;
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
const WIDTH: usize = 512;
/// Elements of each input in one block: they stay in the second-level cache for a second pass.
const BLOCK: usize = 1 << 14;
/// Running sums side by side in a long row.
const LANES: usize = 64;

/// K functions of N inputs and of a number of the channel, whose sums over each channel are wanted.
pub(super) trait Terms<const N: usize, const K: usize>: Sync {
    /// The values for one element.
    fn call<R: Real>(&self, x: [R; N], centre: R) -> [R; K];
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

    /// Elements of each channel.
    pub(super) fn count(self) -> f64 {
        (self.n * self.s) as f64
    }

    fn channels_a_block(self) -> usize {
        if self.s < NARROW { WIDTH / self.s } else { 1 }
    }

    fn items_a_block(self) -> usize {
        (BLOCK / (self.channels_a_block().min(self.c) * self.s)).clamp(1, self.n)
    }

    /// Elements of a channel in one run.
    pub(super) fn elements(self, run: usize) -> f64 {
        let items = self.items_a_block();
        (items.min(self.n - run * items) * self.s) as f64
    }

    /// Into how many runs of items the blocks cut the tensor.
    fn runs(self) -> usize {
        self.n.div_ceil(self.items_a_block())
    }

    /// What `kernel` makes of each block, K numbers for each of its channels: (runs, channels).
    pub(super) fn blocks<const K: usize>(
        self,
        kernel: impl Fn(&Block, &mut [[f64; K]]) + Sync,
    ) -> Vec<[f64; K]> {
        if self.is_empty() {
            return Vec::new();
        }
        let (together, items) = (self.channels_a_block(), self.items_a_block());
        let groups = self.c.div_ceil(together);
        let mut parts = vec![[0.0; K]; self.runs() * self.c];
        let shared = Shared::new(&mut parts);
        par::run(self.runs() * groups, |i| {
            let (run, group) = (i / groups, i % groups);
            let first = group * together;
            let block = Block {
                items: run * items..((run + 1) * items).min(self.n),
                channels: first..(first + together).min(self.c),
            };
            // SAFETY: each pair (run, group) comes once, and owns the parts of its channels in its run.
            let out = unsafe { shared.slice(run * self.c + first, block.channels.len()) };
            kernel(&block, out);
        });
        parts
    }

    /// For each channel of a block, the sums of `terms` over its elements. `centre` has a number for each
    /// channel of the block.
    pub(super) fn block_sums<T: Element, const N: usize, const K: usize>(
        self,
        terms: &impl Terms<N, K>,
        x: [&[T]; N],
        block: &Block,
        centre: &[T],
        out: &mut [[T; K]],
    ) {
        let shape = self;
        if self.s < NARROW {
            simd::dispatch(Narrow { shape, terms, x, block, centre, out });
        } else {
            simd::dispatch(Long { shape, terms, x, block, centre, out });
        }
    }
}

#[inline(always)]
fn of<T: Element, A: Arithmetic, const N: usize, const K: usize>(
    terms: &impl Terms<N, K>,
    x: [T; N],
    centre: T,
) -> [T; K] {
    terms.call(x.map(Num::<T, A>::new), Num::new(centre)).map(|v| v.0)
}

/// Rows of one channel, each in LANES running sums.
struct Long<'a, F, T, const N: usize, const K: usize> {
    shape: Channels,
    terms: &'a F,
    x: [&'a [T]; N],
    block: &'a Block,
    centre: &'a [T],
    out: &'a mut [[T; K]],
}

impl<F: Terms<N, K>, T: Element, const N: usize, const K: usize> Kernel for Long<'_, F, T, N, K> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Long { shape: Channels { c, s, .. }, terms, x, block, centre, out } = self;
        let centre = centre[0];
        let mut sums = [[T::ZERO; LANES]; K];
        for item in block.items.clone() {
            let start = (item * c + block.channels.start) * s;
            let x = x.map(|x| &x[start..start + s]);
            let lanes = x.map(|x| x.as_chunks::<LANES>().0);
            // Sums of a few, then sums of those, against the rounding errors of long runs.
            for first in (0..s / LANES).step_by(16) {
                let mut run = [[T::ZERO; LANES]; K];
                for b in first..(first + 16).min(s / LANES) {
                    let x = lanes.map(|x| &x[b]);
                    for l in 0..LANES {
                        let v = of::<T, A, N, K>(terms, x.map(|x| x[l]), centre);
                        for k in 0..K {
                            run[k][l] = run[k][l] + v[k];
                        }
                    }
                }
                for (sums, run) in sums.iter_mut().zip(&run) {
                    for l in 0..LANES {
                        sums[l] = sums[l] + run[l];
                    }
                }
            }
            let tail = s / LANES * LANES;
            for i in tail..s {
                let v = of::<T, A, N, K>(terms, x.map(|x| x[i]), centre);
                for k in 0..K {
                    sums[k][i - tail] = sums[k][i - tail] + v[k];
                }
            }
        }
        out[0] = sums.map(|sums| tree(sums, |a, b| a + b));
    }
}

/// Channels side by side, each of their inner elements in a column of its own.
struct Narrow<'a, F, T, const N: usize, const K: usize> {
    shape: Channels,
    terms: &'a F,
    x: [&'a [T]; N],
    block: &'a Block,
    centre: &'a [T],
    out: &'a mut [[T; K]],
}

impl<F: Terms<N, K>, T: Element, const N: usize, const K: usize> Kernel for Narrow<'_, F, T, N, K> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Narrow { shape: Channels { c, s, .. }, terms, x, block, centre, out } = self;
        let width = block.channels.len() * s;
        let mut centres = [T::ZERO; WIDTH];
        for (columns, &centre) in centres.chunks_exact_mut(s).zip(centre) {
            columns.fill(centre);
        }
        let mut sums = [[T::ZERO; WIDTH]; K];
        let (columns, sums) = (&centres[..width], sums.each_mut().map(|sums| &mut sums[..width]));
        for item in block.items.clone() {
            let start = (item * c + block.channels.start) * s;
            let x = x.map(|x| &x[start..start + width]);
            for j in 0..width {
                let v = of::<T, A, N, K>(terms, x.map(|x| x[j]), columns[j]);
                for k in 0..K {
                    sums[k][j] = sums[k][j] + v[k];
                }
            }
        }
        for (channel, out) in out.iter_mut().enumerate() {
            for k in 0..K {
                out[k] = sums[k][channel * s..(channel + 1) * s].iter().copied().sum();
            }
        }
    }
}
