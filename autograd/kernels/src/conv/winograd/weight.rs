//! The weight's gradient by minimal filtering.
//!
//! Each point is a matrix product over tiles. The batch is cut into parts with separate sums, by sizes alone; a part's
//! tiles are transformed to values a chunk at a time, and then each point adds to the sums. If there are enough parts
//! for all threads, each thread computes whole parts, so that values and sums remain in its own caches; else all
//! threads compute one part after another. No order of summation depends on the number of threads. If the numbers are
//! outside the range of minimal filtering, the direct algorithm computes everything again.

use std::marker::PhantomData;
use std::ops::Range;

use super::range::{Largest, in_range};
use super::transform::{Winograd, square};
use super::{Source, Tiling, Values, stage};
use crate::cascade::Slices;
use crate::conv::{Conv2d, weight};
use crate::gemm::vector::{self, TileKernel, Vector};
use crate::gemm::{scratch, tile};
use crate::par::{self, Shared};
use crate::real::Element;
use crate::simd;

/// Numbers in the values of a chunk of tiles, about: a second-level cache.
const CHUNK: usize = 1 << 18;

/// Bytes of the sums of all parts of the batch, about, their number at most, and the number of tiles from which on
/// separate sums pay.
const SUMS: usize = 1 << 23;
const PARTS: usize = 16;
const WORTH: usize = 128;

/// Tiles whose products are summed in place: only large images have many such terms.
const TERM: usize = 2048;

/// Bytes of a panel of outputs between two visits to the sums: the panel remains in the first-level cache for all input
/// channels.
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
    let lanes = width / 2;
    let channels = [s.in_channels, s.out_channels];
    let tiling = Tiling::new(s.batch, [oh, ow], M);
    let sums = Values::new(s.in_channels.next_multiple_of(rows), s.out_channels);
    let sums_len = A * A * sums.point;
    // Blocks whose values are in memory together.
    let together = CHUNK / (A * A * (channels[0] + channels[1]) * tiling.tiles());
    let together = together.clamp(1, tiling.blocks());
    let values = channels.map(|c| Values::new(together * tiling.tiles(), c));
    let [from_len, to_len] = values.map(|v| A * A * v.point);
    // Tiles of an operand of a block.
    let pixels = tiling.block * A * (tiling.grid[1] * M + A - M) * lanes;
    let largest = [Largest::default(), Largest::default()];
    let job = |shared, what| {
        let largest = &largest;
        let job = Job::<T, F, M, K, A> {
            s,
            x,
            y,
            tiling,
            values,
            sums,
            shared,
            what,
            largest,
            family: PhantomData,
        };
        // SAFETY: level is what the machine has; jobs of a kind are disjoint.
        unsafe { vector::dispatch(level, job) }
    };
    let tiles = |blocks: Range<usize>| {
        ((blocks.end * tiling.block).min(tiling.rows) - blocks.start * tiling.block) * tiling.grid[1]
    };
    // Registers of channels.
    let slabs = channels.map(|c| c.div_ceil(lanes));
    let parts = (SUMS / (sums_len * size_of::<T>())).clamp(1, PARTS);
    let parts =
        (1 << parts.ilog2()).min(tiling.blocks()).min(tiling.blocks() * tiling.tiles() / WORTH).max(1);
    scratch::with(parts * sums_len, |sum: &mut [T]| {
        // The sums of a part of the batch.
        let add = |part: usize, sum: &mut [T]| {
            let part = part * tiling.blocks() / parts..(part + 1) * tiling.blocks() / parts;
            let blocks = together * TERM.div_ceil(together * tiling.tiles());
            let room = Slices::<T>::room(sums_len, part.len().div_ceil(blocks));
            scratch::with(from_len + to_len + room, |memory: &mut [T]| {
                let (from, memory) = memory.split_at_mut(from_len);
                let (to, others) = memory.split_at_mut(to_len);
                let mut sums = Slices::new(sum, others);
                for first in part.clone().step_by(together) {
                    let shared = [&mut *from, &mut *to, &mut *sums.first].map(Shared::new);
                    let count = together.min(part.end - first);
                    par::run(count * (slabs[0] + slabs[1]), |i| {
                        let (block, slab) = (i / (slabs[0] + slabs[1]), i % (slabs[0] + slabs[1]));
                        let (operand, all, slab) = match slab.checked_sub(slabs[0]) {
                            None => (Operand::Inputs, channels[0], slab),
                            Some(slab) => (Operand::Outputs, channels[1], slab),
                        };
                        let channels = slab * lanes..all.min((slab + 1) * lanes);
                        scratch::with(pixels, |pixels: &mut [T]| {
                            let (place, pixels) = (block * tiling.tiles(), pixels.as_mut_ptr());
                            job(shared, What::Transform(operand, channels, first + block, place, pixels));
                        });
                    });
                    let tiles = tiles(first..first + count);
                    par::run(A * A, |point| job(shared, What::Multiply(point, tiles)));
                    if (first + together - part.start).is_multiple_of(blocks) {
                        sums.carry();
                    }
                }
                sums.finish();
            });
        };
        if parts.is_multiple_of(par::threads()) || parts > 2 * par::threads() {
            par::chunks(sum, sums_len, add);
        } else {
            sum.chunks_mut(sums_len).enumerate().for_each(|(part, sum)| add(part, sum));
        }
        let (sum, others) = sum.split_at_mut(sums_len);
        par::chunks(sum, sums.point, |point, sum| {
            for other in others.chunks_exact(sums_len) {
                for (sum, v) in sum.iter_mut().zip(&other[point * sums.point..]) {
                    *sum = *sum + *v;
                }
            }
        });
        let shared = [Shared::new(&mut []), Shared::new(&mut []), Shared::new(sum)];
        let w = Shared::new(&mut *w);
        par::run(s.out_channels.div_ceil(lanes), |slab| {
            let room = s.in_channels * K * K * lanes;
            scratch::with(room, |taps: &mut [T]| job(shared, What::Collect(slab, taps.as_mut_ptr(), w)));
        });
    });
    let [largest_x, largest_y] = largest.each_ref().map(|largest| largest.get(lanes));
    let finite = in_range::<T>(largest_x.most, largest_y.most, tiling.rows * tiling.grid[1]);
    if !(finite && largest_x.alike() && largest_y.alike()) {
        weight::grad_weight(s, x, y, w);
    }
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
    /// The largest magnitude of an input and of an output.
    largest: &'a [Largest; 2],
    family: PhantomData<F>,
}

/// A piece of work.
enum What<T> {
    /// Transforms some channels of an operand of a block, to tiles of the values from a place on, with room for pixels.
    Transform(Operand, Range<usize>, usize, usize, *mut T),
    /// Multiplies the values of a point, of so many tiles.
    Multiply(usize, usize),
    /// Transforms the sums of one register of destination channels to weights, with room for their taps.
    Collect(usize, *mut T, Shared<T>),
}

/// The images that tiles are of.
#[derive(Clone, Copy)]
enum Operand {
    Inputs,
    Outputs,
}

impl<T: Element, F: Winograd<M, K, A>, const M: usize, const K: usize, const A: usize> TileKernel<T>
    for Job<'_, T, F, M, K, A>
{
    #[inline(always)]
    unsafe fn run<V: Vector<T>, const R: usize>(self) {
        let s = self.s;
        // SAFETY: the memory has the sizes given in `grad_weight`.
        unsafe {
            match self.what {
                What::Transform(Operand::Inputs, channels, block, place, pixels) => {
                    let source = Source {
                        x: self.x,
                        all: s.in_channels,
                        channels,
                        image: s.input,
                        padding: s.padding,
                    };
                    let to = self.shared[0].at(place * self.values[0].tile);
                    let most = source.values::<F, V, M, A, A>(self.tiling, block, pixels, self.values[0], to);
                    self.largest[0].see(most);
                }
                What::Transform(Operand::Outputs, channels, block, place, pixels) => {
                    let source = Source {
                        x: self.y,
                        all: s.out_channels,
                        channels,
                        image: s.output(),
                        padding: [0, 0],
                    };
                    let to = self.shared[1].at(place * self.values[1].tile);
                    let most = source.values::<F, V, M, M, A>(self.tiling, block, pixels, self.values[1], to);
                    self.largest[1].see(most);
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
        tile::accumulate(&mut sum, depth, tile::rows(a, 1), [0, step[0]], b, step[1]);
        tile::add(&mut sum, c, step[2]);
        tile::store(&sum, c, step[2]);
    }
}
