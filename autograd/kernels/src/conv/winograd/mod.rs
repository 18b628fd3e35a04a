//! 3 x 3 and 5 x 5 convolution with stride 1 by Winograd's minimal filtering: fewer multiplications, a little rounding.
//!
//! A block of tiles is transformed to values at A x A points, each point is a matrix product over channels, and
//! the results are transformed back while they are still in the second-level cache. Tiles of several channels
//! fill a register, so images are transposed to pixels of channels and back on the way, 16 channels at a time.
//!
//! A tile's outputs are sums and differences of values that depend on all its inputs. If an input is not finite, or
//! much larger than the others, or if values could overflow, [`range`] detects it and the direct algorithm is used.

use std::ops::Range;

use crate::gemm::vector::Vector;
use crate::real::Element;
use transform::{Linear, square};

pub mod pass;
mod range;
mod stage;
pub mod transform;
pub mod weight;

/// Tiles of a block, and blocks to cut a small batch into.
const TILES: usize = 32;
const PIECES: usize = 8;

/// Where and of what sizes tiles are.
#[derive(Clone, Copy)]
struct Tiling {
    /// Rows and columns of tiles of an image.
    grid: [usize; 2],
    /// Rows of tiles of the batch, and of a block.
    rows: usize,
    block: usize,
}

impl Tiling {
    fn new(batch: usize, output: [usize; 2], side: usize) -> Self {
        let grid = output.map(|n| n.div_ceil(side));
        let rows = batch * grid[0];
        let block = TILES.div_ceil(grid[1]).min(rows.div_ceil(PIECES)).max(1);
        Tiling { grid, rows, block }
    }

    fn blocks(&self) -> usize {
        self.rows.div_ceil(self.block)
    }

    /// Tiles in a full block.
    fn tiles(&self) -> usize {
        self.block * self.grid[1]
    }

    /// The rows of tiles of block `i`, image by image: (image, first row, rows, tiles before them).
    fn bands(&self, i: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> + use<> {
        let ([down, across], first) = (self.grid, i * self.block);
        let end = (first + self.block).min(self.rows);
        let mut row = first;
        std::iter::from_fn(move || {
            let (image, top) = (row / down, row % down);
            let rows = (down - top).min(end - row);
            let band = (image, top, rows, (row - first) * across);
            row += rows;
            (rows > 0).then_some(band)
        })
    }
}

/// How values lie: \[point\]\[tile\]\[channel\], with strides that spread points and tiles over the cache.
#[derive(Clone, Copy)]
struct Values {
    /// Numbers from one tile to the next, and from one point to the next.
    tile: usize,
    point: usize,
}

impl Values {
    fn new(tiles: usize, channels: usize) -> Self {
        // Odd numbers of 64-byte lines.
        let odd = |n: usize| (n.div_ceil(16) | 1) * 16;
        let tile = odd(channels);
        Values { tile, point: odd(tiles * tile) }
    }
}

/// Images to transform to values.
struct Source<'a, T> {
    x: &'a [T],
    /// Channels of an image, and those to transform.
    all: usize,
    channels: Range<usize>,
    image: [usize; 2],
    padding: [usize; 2],
}

impl<T: Element> Source<'_, T> {
    /// Transforms block `i`: tiles of I x I pixels, M apart, to values at A x A points. Returns the largest magnitudes of
    /// some of the pixels each.
    #[inline(always)]
    unsafe fn values<F: Linear<I, A>, V: Vector<T>, const M: usize, const I: usize, const A: usize>(
        &self,
        tiling: Tiling,
        i: usize,
        pixels: *mut T,
        values: Values,
        to: *mut T,
    ) -> V {
        let ([h, w], across, lanes) = (self.image, tiling.grid[1], V::LANES);
        let cols = across * M + I - M;
        // SAFETY: the caller's promise.
        let mut most = unsafe { V::splat(T::ZERO) };
        for first in self.channels.clone().step_by(lanes) {
            for (image, top, rows, before) in tiling.bands(i) {
                // SAFETY: there is room for the pixels and values of a block.
                unsafe {
                    let row = (top * M) as isize - self.padding[0] as isize;
                    let from = &self.x[(image * self.all + first) * h * w..];
                    let count = lanes.min(self.channels.end - first);
                    let rows_of = (row, rows * M + I - M);
                    let columns = (self.padding[1], cols);
                    stage::spread::<T, V>(from, count, self.image, rows_of, columns, pixels, &mut most);
                    for t in 0..rows * across {
                        let from = pixels.add((t / across * cols + t % across) * M * lanes);
                        let to = to.add((before + t) * values.tile + first);
                        let point = values.point;
                        square::<F, T, V, I, A>(
                            from,
                            [(cols * lanes) as isize, lanes as isize],
                            to,
                            [A * point, point],
                            [A, A],
                        );
                    }
                }
            }
        }
        most
    }
}
