//! The weight's gradient by minimal filtering.
//!
//! Chunks of the batch are transformed to values by all threads; then each point is a matrix product over
//! tiles, and adds to its own sums. Nothing is summed in an order that depends on threads.

use std::marker::PhantomData;

use super::transform::{Winograd, square};
use super::{Source, Tiling, Values, stage};
use crate::conv::Conv2d;
use crate::gemm::vector::{self, Kernel, Vector};
use crate::gemm::{scratch, tile};
use crate::par::{self, Shared};
use crate::real::Element;
use crate::simd;

/// Numbers in the values of a chunk of tiles, about.
const CHUNK: usize = 1 << 21;

/// Bytes of a panel of outputs between two visits to the sums: they stay in the first-level cache, while all input
/// channels pass by.
const NEAR: usize = 1 << 14;

/// Writes w.
pub fn grad_weight<T: Element, F: Winograd<M, K, A>, const M: usize, const K: usize, const A: usize>(
    s: &Conv2d,
    x: &[T],
    y: &[T],
    w: &mut [T],
) {
    let [oh, ow] = s.output();
    if s.batch * w.len() == 0 {
        return w.fill(T::ZERO);
    }
    let level = simd::level();
    let (rows, width) = vector::tile::<T>(level);
    let channels = [s.in_channels, s.out_channels].map(|c| c.next_multiple_of(width));
    let tiling = Tiling::new(s.batch, [oh, ow], M);
    // Blocks of a chunk, tiles of it.
    let blocks = (CHUNK / (A * A * (channels[0] + channels[1]) * tiling.tiles())).clamp(1, tiling.blocks());
    let tiles = blocks * tiling.tiles();
    let values = channels.map(|c| Values::new(tiles, c));
    let sums = Values::new(s.in_channels.next_multiple_of(rows), channels[1]);
    let size = A * A * (values[0].point + values[1].point + sums.point);
    scratch::with(size, |memory: &mut [T]| {
        let (from, rest) = memory.split_at_mut(A * A * values[0].point);
        let (to, sum) = rest.split_at_mut(A * A * values[1].point);
        sum.fill(T::ZERO);
        let shared = [Shared::new(from), Shared::new(to), Shared::new(sum)];
        let job = |what| {
            let job =
                Job::<T, F, M, K, A> { s, x, y, tiling, values, sums, shared, what, family: PhantomData };
            // SAFETY: level is what the machine has; jobs of a kind are disjoint.
            unsafe { vector::dispatch(level, job) }
        };
        for chunk in 0..tiling.blocks().div_ceil(blocks) {
            let first = chunk * blocks;
            let count = blocks.min(tiling.blocks() - first);
            let rows = (count * tiling.block).min(tiling.rows - first * tiling.block);
            // Tiles of both operands of a block.
            let pixels = tiling.block * (M + (A - M)) * (tiling.grid[1] * M + A - M) * width;
            par::run(2 * count, |i| {
                scratch::with(pixels, |pixels: &mut [T]| {
                    let (block, place) = (first + i / 2, i / 2 * tiling.tiles());
                    job(if i % 2 == 0 {
                        What::Inputs(block, place, pixels.as_mut_ptr())
                    } else {
                        What::Outputs(block, place, pixels.as_mut_ptr())
                    });
                });
            });
            par::run(A * A, |point| job(What::Multiply(point, rows * tiling.grid[1])));
        }
        let w = Shared::new(w);
        par::run(s.out_channels.div_ceil(width / 2), |slab| {
            let room = s.in_channels * K * K * width / 2;
            scratch::with(room, |taps: &mut [T]| job(What::Collect(slab, taps.as_mut_ptr(), w)));
        });
    });
}

struct Job<'a, T, F, const M: usize, const K: usize, const A: usize> {
    s: &'a Conv2d,
    x: &'a [T],
    y: &'a [T],
    tiling: Tiling,
    values: [Values; 2],
    sums: Values,
    /// Values of inputs and of outputs, and sums: \[point\]\[source channel\]\[destination channel\].
    shared: [Shared<T>; 3],
    what: What<T>,
    family: PhantomData<F>,
}

/// A piece of work.
enum What<T> {
    /// Transforms the inputs of a block, to the tiles of the chunk from a place on, with room for pixels.
    Inputs(usize, usize, *mut T),
    /// The same for the outputs.
    Outputs(usize, usize, *mut T),
    /// Multiplies the values of one point, of so many tiles.
    Multiply(usize, usize),
    /// Transforms the sums of one register of destination channels to weights, with room for their taps.
    Collect(usize, *mut T, Shared<T>),
}

impl<T: Element, F: Winograd<M, K, A>, const M: usize, const K: usize, const A: usize> Kernel<T>
    for Job<'_, T, F, M, K, A>
{
    #[inline(always)]
    unsafe fn run<V: Vector<T>, const R: usize>(self) {
        let s = self.s;
        // SAFETY: the memory has the sizes given in `grad_weight`.
        unsafe {
            match self.what {
                What::Inputs(block, place, pixels) => {
                    let source = Source {
                        x: self.x,
                        channels: s.in_channels,
                        all: s.in_channels,
                        image: s.input,
                        padding: s.padding,
                    };
                    let to = self.shared[0].at(place * self.values[0].tile);
                    source.values::<F, V, M, A, A>(self.tiling, block, pixels, self.values[0], to);
                }
                What::Outputs(block, place, pixels) => {
                    let source = Source {
                        x: self.y,
                        channels: s.out_channels,
                        all: s.out_channels,
                        image: s.output(),
                        padding: [0, 0],
                    };
                    let to = self.shared[1].at(place * self.values[1].tile);
                    source.values::<F, V, M, M, A>(self.tiling, block, pixels, self.values[1], to);
                }
                What::Multiply(point, tiles) => self.multiply::<V, R>(point, tiles),
                What::Collect(slab, taps, w) => self.collect::<V>(slab, taps, w),
            }
        }
    }
}

impl<T: Element, F: Winograd<M, K, A>, const M: usize, const K: usize, const A: usize>
    Job<'_, T, F, M, K, A>
{
    #[inline(always)]
    unsafe fn multiply<V: Vector<T>, const R: usize>(&self, point: usize, tiles: usize) {
        let (wide, channels) = (2 * V::LANES, self.s.out_channels);
        let step = [self.values[0].tile, self.values[1].tile, self.sums.tile];
        let near = NEAR / (wide * size_of::<T>());
        for from in (0..tiles).step_by(near) {
            let depth = near.min(tiles - from);
            for panel in 0..channels.div_ceil(wide) {
                for c in (0..self.s.in_channels).step_by(R) {
                    // SAFETY: the memory has room for whole register tiles.
                    unsafe {
                        let a = self.shared[0].at(point * self.values[0].point + from * step[0] + c);
                        let b =
                            self.shared[1].at(point * self.values[1].point + from * step[1] + panel * wide);
                        let to = self.shared[2].at(point * self.sums.point + c * step[2] + panel * wide);
                        if channels - panel * wide <= V::LANES {
                            product::<T, V, R, 1>(depth, a, b, to, step);
                        } else {
                            product::<T, V, R, 2>(depth, a, b, to, step);
                        }
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn collect<V: Vector<T>>(&self, slab: usize, taps: *mut T, w: Shared<T>) {
        let (lanes, sources, point) = (V::LANES, self.s.in_channels, self.sums.point);
        let first = slab * lanes;
        // SAFETY: the sums hold these channels, taps and w their weights.
        unsafe {
            for c in 0..sources {
                let from = self.shared[2].at(c * self.sums.tile + first);
                let to = taps.add(c * K * K * lanes);
                square::<F, T, V, A, K>(
                    from,
                    [(A * point) as isize, point as isize],
                    to,
                    [K * lanes, lanes],
                    [K, K],
                );
            }
            let count = lanes.min(self.s.out_channels - first);
            let weights = sources * K * K;
            stage::collect::<T, V>(taps, count, weights, w.at(first * weights), weights);
        }
    }
}

/// Adds a register tile: the left operand's rows are neighbours, steps of the sum and rows of c are `step` apart.
#[inline(always)]
unsafe fn product<T: Element, V: Vector<T>, const R: usize, const W: usize>(
    depth: usize,
    a: *const T,
    b: *const T,
    c: *mut T,
    step: [usize; 3],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sum = tile::zero::<T, V, R, W>();
        tile::accumulate(&mut sum, depth, tile::rows(a, 1), step[0], b, step[1]);
        tile::add(&mut sum, c, step[2]);
        tile::store(&sum, c, step[2]);
    }
}
