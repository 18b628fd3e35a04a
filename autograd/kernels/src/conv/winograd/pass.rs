//! The forward map and the input's gradient by minimal filtering, fused block by block. An image with a block of
//! numbers outside the range of minimal filtering is done directly instead.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::range::{Largest, Magnitudes, in_range};
use super::transform::{Winograd, square};
use super::{Source, Tiling, Values, stage};
use crate::conv::{Conv2d, correlate};
use crate::gemm::vector::{self, TileKernel, Vector};
use crate::gemm::{scratch, tile};
use crate::par::{self, Shared};
use crate::real::Element;
use crate::simd;

/// Destination channels whose products are held at a time: the more, the less often a block's values are read.
const HELD: usize = 64;

/// A correlation with a K x K kernel, or its adjoint, which is one too.
struct Pass {
    batch: usize,
    /// Channels of the source and of the destination.
    channels: [usize; 2],
    source: [usize; 2],
    output: [usize; 2],
    padding: [usize; 2],
    /// Whether the kernel is turned around and its channels swapped.
    adjoint: bool,
}

/// Writes y.
pub fn forward<T: Element, F: Winograd<M, K, A>, const M: usize, const K: usize, const A: usize>(
    s: &Conv2d,
    x: &[T],
    w: &[T],
    y: &mut [T],
) {
    let channels = [s.in_channels, s.out_channels];
    let pass = Pass {
        batch: s.batch,
        channels,
        source: s.input,
        output: s.output(),
        padding: s.padding,
        adjoint: false,
    };
    pass.run::<T, F, M, K, A>(x, w, y, |batch, x, y| {
        correlate::forward(&Conv2d { batch, ..*s }, x, w, y);
    });
}

/// Writes x; the padding must be less than the kernel.
pub fn grad_input<T: Element, F: Winograd<M, K, A>, const M: usize, const K: usize, const A: usize>(
    s: &Conv2d,
    y: &[T],
    w: &[T],
    x: &mut [T],
) {
    let channels = [s.out_channels, s.in_channels];
    let padding = s.padding.map(|p| K - 1 - p);
    let pass = Pass { batch: s.batch, channels, source: s.output(), output: s.input, padding, adjoint: true };
    pass.run::<T, F, M, K, A>(y, w, x, |batch, y, x| {
        correlate::grad_input(&Conv2d { batch, ..*s }, y, w, x);
    });
}

impl Pass {
    /// Writes y. `direct` does some images in the plain way: their number, their part of x and of y.
    fn run<T: Element, F: Winograd<M, K, A>, const M: usize, const K: usize, const A: usize>(
        &self,
        x: &[T],
        w: &[T],
        y: &mut [T],
        direct: impl Fn(usize, &[T], &mut [T]),
    ) {
        if y.is_empty() {
            return;
        }
        let unfit: Vec<_> = (0..self.batch).map(|_| AtomicBool::new(false)).collect();
        let level = simd::level();
        let (rows, width) = vector::tile::<T>(level);
        let [depth, channels] = self.channels;
        let tiling = Tiling::new(self.batch, self.output, M);
        // Weights, [point][panel][source channel][destination channel].
        let point = (channels.next_multiple_of(width) * depth).next_multiple_of(16) + 16;
        scratch::with(A * A * point, |weights: &mut [T]| {
            let (shared, largest) = (Shared::new(weights), Largest::default());
            par::run(channels.div_ceil(width / 2), |slab| {
                let job = Weights::<T, F, M, K, A> {
                    pass: self,
                    w,
                    to: shared,
                    point,
                    slab,
                    largest: &largest,
                    family: PhantomData,
                };
                // SAFETY: level is what the machine has; slabs are disjoint.
                unsafe { vector::dispatch(level, job) }
            });
            let tiles = tiling.tiles().next_multiple_of(rows);
            let values = Values::new(tiles, depth.next_multiple_of(width));
            let panels = (HELD / width).clamp(1, channels.div_ceil(width));
            let products = Values::new(tiles, panels * width);
            // Rows and columns of pixels of a block, with a border around every image's part.
            let most = tiling.block * M + tiling.block.min(self.batch + 1) * (A - M);
            let pixels = most * (tiling.grid[1] * M + A - M);
            let sizes = [A * A * values.point, A * A * products.point, pixels * width];
            let (y, largest_weight) = (Shared::new(&mut *y), largest.get(width / 2).most);
            par::run(tiling.blocks(), |i| {
                scratch::with(sizes.iter().sum(), |memory: &mut [T]| {
                    let (from, rest) = memory.split_at_mut(sizes[0]);
                    let (to, pixels) = rest.split_at_mut(sizes[1]);
                    let (bands, weights) = (tiling, &weights[..]);
                    let memory = [from.as_mut_ptr(), to.as_mut_ptr(), pixels.as_mut_ptr()];
                    let block = Block::<T, F, M, K, A> {
                        pass: self,
                        tiling: bands,
                        i,
                        x,
                        weights,
                        largest_weight,
                        unfit: &unfit,
                        point,
                        values,
                        products,
                        panels,
                        memory,
                        y,
                        family: PhantomData,
                    };
                    // SAFETY: level is what the machine has; blocks are disjoint parts of y.
                    unsafe { vector::dispatch(level, block) }
                });
            });
        });
        let [x_len, y_len] = [x.len() / self.batch, y.len() / self.batch];
        let unfit: Vec<bool> = unfit.into_iter().map(AtomicBool::into_inner).collect();
        let mut first = 0;
        for images in unfit.chunk_by(|a, b| a == b) {
            let (count, end) = (images.len(), first + images.len());
            if images[0] {
                direct(count, &x[first * x_len..end * x_len], &mut y[first * y_len..end * y_len]);
            }
            first = end;
        }
    }
}

/// Transforms the weights of one register of destination channels.
struct Weights<'a, T, F, const M: usize, const K: usize, const A: usize> {
    pass: &'a Pass,
    w: &'a [T],
    to: Shared<T>,
    point: usize,
    slab: usize,
    /// The largest magnitude of all weights.
    largest: &'a Largest,
    family: PhantomData<F>,
}

impl<T: Element, F: Winograd<M, K, A>, const M: usize, const K: usize, const A: usize> TileKernel<T>
    for Weights<'_, T, F, M, K, A>
{
    #[inline(always)]
    unsafe fn run<V: Vector<T>, const R: usize>(self) {
        let [depth, channels] = self.pass.channels;
        let (lanes, first) = (V::LANES, self.slab * V::LANES);
        let count = lanes.min(channels - first);
        // From one destination channel to the next, and one source channel to the next.
        let area = K * K;
        let (line, step) = if self.pass.adjoint { (area, channels * area) } else { (depth * area, area) };
        let panel = self.slab / 2;
        let width = if channels - panel * 2 * lanes <= lanes { lanes } else { 2 * lanes };
        let mut taps = [T::ZERO; 32 * 16];
        // SAFETY: inherited.
        let mut most = unsafe { V::splat(T::ZERO) };
        for c in 0..depth {
            let from = &self.w[first * line + c * step..];
            // SAFETY: whole registers of taps are read where w holds them all, and there is room for 32.
            unsafe {
                for t in (0..area).step_by(lanes) {
                    if count == lanes && lanes > 4 && (lanes - 1) * line + t + lanes <= from.len() {
                        V::transpose(from.as_ptr().add(t), line, taps.as_mut_ptr().add(t * lanes), lanes);
                        continue;
                    }
                    for t in t..area.min(t + lanes) {
                        for k in 0..count {
                            taps[t * lanes + k] = from[k * line + t];
                        }
                    }
                }
                for t in 0..area {
                    most = most.max_abs(V::load(taps.as_ptr().add(t * lanes)));
                }
                let to = self.to.at((panel * 2 * depth + c * (width / lanes) + self.slab % 2) * lanes);
                let (start, sign) = if self.pass.adjoint { (area - 1, -1) } else { (0, 1) };
                let row = sign * (K * lanes) as isize;
                square::<F, T, V, K, A>(
                    taps.as_ptr().add(start * lanes),
                    [row, sign * lanes as isize],
                    to,
                    [A * self.point, self.point],
                    [A, A],
                );
            }
        }
        self.largest.see(most);
    }
}

/// Transforms, multiplies and transforms back one block of tiles.
struct Block<'a, T, F, const M: usize, const K: usize, const A: usize> {
    pass: &'a Pass,
    tiling: Tiling,
    i: usize,
    x: &'a [T],
    weights: &'a [T],
    /// The largest magnitude of a weight.
    largest_weight: f64,
    /// Images to compute directly.
    unfit: &'a [AtomicBool],
    point: usize,
    values: Values,
    products: Values,
    /// Panels of destination channels whose products there is room for.
    panels: usize,
    /// Room for values, products and pixels.
    memory: [*mut T; 3],
    y: Shared<T>,
    family: PhantomData<F>,
}

impl<T: Element, F: Winograd<M, K, A>, const M: usize, const K: usize, const A: usize> TileKernel<T>
    for Block<'_, T, F, M, K, A>
{
    #[inline(always)]
    unsafe fn run<V: Vector<T>, const R: usize>(self) {
        // SAFETY: inherited; the memory has the sizes given in `Pass::run`.
        unsafe {
            let source = Source {
                x: self.x,
                all: self.pass.channels[0],
                channels: 0..self.pass.channels[0],
                image: self.pass.source,
                padding: self.pass.padding,
            };
            let most = source.values::<F, V, M, A, A>(
                self.tiling,
                self.i,
                self.memory[2],
                self.values,
                self.memory[0],
            );
            let most = Magnitudes::new(most);
            if !(most.alike() && in_range::<T>(most.most, self.largest_weight, self.pass.channels[0])) {
                self.tiling.bands(self.i).for_each(|(image, ..)| self.unfit[image].store(true, Relaxed));
                return;
            }
            let panels = self.pass.channels[1].div_ceil(2 * V::LANES);
            for first in (0..panels).step_by(self.panels) {
                let together = first..panels.min(first + self.panels);
                self.multiply::<V, R>(together.clone());
                for panel in together {
                    self.outputs::<V>(panel, panel - first);
                }
            }
        }
    }
}

impl<T: Element, F: Winograd<M, K, A>, const M: usize, const K: usize, const A: usize>
    Block<'_, T, F, M, K, A>
{
    /// Products of all points for some panels of destination channels.
    #[inline(always)]
    unsafe fn multiply<V: Vector<T>, const R: usize>(&self, panels: Range<usize>) {
        let ([depth, channels], wide) = (self.pass.channels, 2 * V::LANES);
        let tiles =
            self.tiling.tiles().min((self.tiling.rows - self.i * self.tiling.block) * self.tiling.grid[1]);
        for point in 0..A * A {
            for panel in panels.clone() {
                for t in (0..tiles).step_by(R) {
                    // SAFETY: the memory has room for whole register tiles.
                    unsafe {
                        let a = self.memory[0].add(point * self.values.point + t * self.values.tile);
                        let b = self.weights.as_ptr().add(point * self.point + panel * wide * depth);
                        let place = t * self.products.tile + (panel - panels.start) * wide;
                        let c = self.memory[1].add(point * self.products.point + place);
                        if channels - panel * wide <= V::LANES {
                            product::<T, V, R, 1>(depth, a, self.values.tile, b, c, self.products.tile);
                        } else {
                            product::<T, V, R, 2>(depth, a, self.values.tile, b, c, self.products.tile);
                        }
                    }
                }
            }
        }
    }

    /// Transforms the products of a panel to pixels of y; `place` panels before it are in the memory, too.
    #[inline(always)]
    unsafe fn outputs<V: Vector<T>>(&self, panel: usize, place: usize) {
        let (channels, [oh, ow], pixels, lanes) =
            (self.pass.channels[1], self.pass.output, self.memory[2], V::LANES);
        for half in 0..2 {
            let first = (2 * panel + half) * lanes;
            if first >= channels {
                return;
            }
            for (image, top, rows, before) in self.tiling.bands(self.i) {
                let across = self.tiling.grid[1];
                let height = (rows * M).min(oh - top * M);
                // SAFETY: the tiles are in memory, their pixels in y.
                unsafe {
                    for t in 0..rows * across {
                        let (i, j) = (t / across * M, t % across * M);
                        let column = (2 * place + half) * lanes;
                        let from = self.memory[1].add((before + t) * self.products.tile + column);
                        let point = self.products.point as isize;
                        let to = pixels.add((i * ow + j) * lanes);
                        let size = [M.min(height - i), M.min(ow - j)];
                        square::<F, T, V, A, M>(
                            from,
                            [A as isize * point, point],
                            to,
                            [ow * lanes, lanes],
                            size,
                        );
                    }
                    let to = self.y.at(((image * channels + first) * oh + top * M) * ow);
                    stage::collect::<T, V>(pixels, lanes.min(channels - first), height * ow, to, oh * ow);
                }
            }
        }
    }
}

/// A register tile of a product whose left operand's rows are `lda` apart.
#[inline(always)]
unsafe fn product<T: Element, V: Vector<T>, const R: usize, const W: usize>(
    depth: usize,
    a: *const T,
    lda: usize,
    b: *const T,
    c: *mut T,
    ldc: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sum = tile::zero::<T, V, R, W>();
        tile::accumulate(&mut sum, depth, tile::rows(a, lda), [0, 1], b, W * V::LANES);
        tile::store(&sum, c, ldc);
    }
}
