//! The weight's gradient: a matrix product whose sum runs over the places of all images.
//!
//! Rows are (tap, source channel), columns destination channels. The left operand needs no packing at all: a row is an
//! image shifted by a tap, and places at which the tap reads only padding are left out. Padded copies are read only
//! where the rows of a tile have different taps. The right operand is y, transposed so that channels lie side by side.
//! A piece of work owns a block of rows small enough for its sums to fit in the second-level cache; where that gives
//! too few pieces, the batch is cut too, and the parts are added in order.

use std::ops::Range;

use super::Conv2d;
use super::padded::Padded;
use crate::cascade::{Cascade, Slices};
use crate::gemm::pack::{self, Source};
use crate::gemm::vector::{self, TileKernel, Vector};
use crate::gemm::{scratch, tile};
use crate::par;
use crate::real::Element;
use crate::simd;

/// Pieces of work wanted, numbers in the sums of one, and places summed between two visits to them.
const PIECES: usize = 16;
const SUMS: usize = 1 << 16;
const PLACES: usize = 512;
/// The least number of products that are added in order: few enough for small rounding errors, enough that the overhead
/// is negligible.
const TERMS: usize = 128;

/// How the work is cut: by sizes alone.
struct Cut {
    s: Conv2d,
    taps: Vec<Tap>,
    padded: Padded,
    /// Source and destination channels of a group.
    channels: [usize; 2],
    /// Source channels per piece, and the number of pieces.
    chunk: usize,
    chunks: usize,
    /// Rows and columns of places.
    output: [usize; 2],
    /// Images and rows of places per block, and the number of blocks.
    images: usize,
    rows: usize,
    blocks: usize,
    /// Parts of the batch.
    slices: usize,
}

/// A tap: where it lies, relative to the first place, in x and in a padded image; and the rows and columns of places
/// from which it lies in x.
struct Tap {
    x: [isize; 2],
    padded: usize,
    seen: [Range<usize>; 2],
}

impl Cut {
    fn new(s: &Conv2d, height: usize) -> Self {
        let ([oh, ow], [kh, kw]) = (s.output(), s.kernel);
        let at = |d: usize, u: usize| (s.dilation[d] * u) as isize - s.padding[d] as isize;
        let taps: Vec<_> = (0..kh * kw).map(|t| [at(0, t / kw), at(1, t % kw)]).collect();
        let channels = [s.in_channels / s.groups, s.out_channels / s.groups];
        let chunk = SUMS / (taps.len() * channels[1].next_multiple_of(32));
        let chunk = chunk.next_multiple_of(height).clamp(1, channels[0]);
        let chunks = channels[0].div_ceil(chunk);
        let (images, rows) = ((PLACES / (oh * ow)).clamp(1, s.batch), PLACES.div_ceil(ow).min(oh));
        let blocks = s.batch.div_ceil(images) * oh.div_ceil(rows);
        let slices = PIECES.div_ceil(s.groups * chunks).min(blocks);
        let padded = Padded::new(s.input, s.stride, &taps, ow);
        let seen = |d: usize, tap: isize| {
            let places =
                |distance: isize| (distance.max(0) as usize).div_ceil(s.stride[d]).min(s.output()[d]);
            places(-tap)..places(s.input[d] as isize - tap)
        };
        let taps = taps
            .iter()
            .map(|&t| Tap { x: t, padded: padded.tap(t), seen: [seen(0, t[0]), seen(1, t[1])] })
            .collect();
        Cut { s: *s, taps, padded, channels, chunk, chunks, output: [oh, ow], images, rows, blocks, slices }
    }

    /// The blocks of a part of the batch.
    fn blocks_of(&self, slice: usize) -> Range<usize> {
        self.blocks * slice / self.slices..self.blocks * (slice + 1) / self.slices
    }

    /// The most places in a block.
    fn places(&self) -> usize {
        self.images * self.rows * self.output[1]
    }
}

/// Writes w.
pub fn grad_weight<T: Element>(s: &Conv2d, x: &[T], y: &[T], w: &mut [T]) {
    if s.batch * w.len() == 0 {
        return w.fill(T::ZERO);
    }
    let level = simd::level();
    let (height, width) = vector::tile::<T>(level);
    let cut = Cut::new(s, height);
    let ([sources, columns], taps) = (cut.channels, cut.taps.len());
    let panels = columns.div_ceil(width);
    let sums = (cut.chunk * taps).next_multiple_of(height) * panels * width;
    scratch::with(s.groups * cut.chunks * cut.slices * sums, |parts: &mut [T]| {
        par::chunks(parts, sums, |i, sums| {
            let (slice, chunk, group) =
                (i % cut.slices, i / cut.slices % cut.chunks, i / cut.slices / cut.chunks);
            let from = chunk * cut.chunk;
            let chunk = cut.chunk.min(sources - from);
            // Rows of one tile with different taps do not lie in x for the same places.
            let copied = !chunk.is_multiple_of(height);
            let windows = if copied { cut.images * chunk * cut.padded.plane(cut.rows) } else { 0 };
            let packed = cut.places() * panels * width;
            let room = Slices::<T>::room(sums.len(), cut.blocks_of(slice).len());
            scratch::with(windows + packed + room, |memory: &mut [T]| {
                let (windows, memory) = memory.split_at_mut(windows);
                let (packed, others) = memory.split_at_mut(packed);
                let piece = Piece {
                    cut: &cut,
                    x,
                    y,
                    group,
                    from,
                    chunk,
                    slice,
                    copied,
                    windows,
                    packed,
                    sums: Slices::new(sums, others),
                    next: None,
                };
                // SAFETY: level is what the machine has.
                unsafe { vector::dispatch(level, piece) }
            });
        });
        // A destination channel's weights are a column of the tiles, in every chunk.
        let parts = &*parts;
        par::chunks(w, sources * taps, |k, w| {
            let (group, k) = (k / columns, k % columns);
            let column = k / width * height * width + k % width;
            for (chunk, w) in w.chunks_mut(cut.chunk * taps).enumerate() {
                let parts = &parts[(group * cut.chunks + chunk) * cut.slices * sums..];
                let chunk = w.len() / taps;
                let (mut tile, mut row) = (column, 0);
                for tap in 0..taps {
                    for c in 0..chunk {
                        let first = &parts[tile + row * width..];
                        w[c * taps + tap] =
                            (1..cut.slices).fold(first[0], |sum, slice| sum + first[slice * sums]);
                        row += 1;
                        if row == height {
                            (tile, row) = (tile + panels * height * width, 0);
                        }
                    }
                }
            }
        });
    });
}

/// The sums of some source channels over some blocks of places, as register tiles.
struct Piece<'a, T> {
    cut: &'a Cut,
    x: &'a [T],
    y: &'a [T],
    group: usize,
    /// The first source channel and their number.
    from: usize,
    chunk: usize,
    slice: usize,
    /// Whether the left operand is padded copies, not the images themselves.
    copied: bool,
    windows: &'a mut [T],
    packed: &'a mut [T],
    sums: Slices<'a, T>,
    /// The block after the current one, which is prefetched.
    next: Option<Block>,
}

/// Images and rows of places that are summed at a time.
#[derive(Clone, Copy)]
struct Block {
    image: usize,
    images: usize,
    row: usize,
    rows: usize,
}

/// R rows of the left operand.
struct Rows<T, const R: usize> {
    /// What they hold for the first of the block's places from which any of their taps lies in x.
    at: [*const T; R],
    /// Numbers from one image, one row of places and one place to the next.
    image: usize,
    line: usize,
    step: usize,
    /// These places: rows and columns of the block.
    down: Range<usize>,
    across: Range<usize>,
}

impl<T: Element> TileKernel<T> for Piece<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<T>, const R: usize>(mut self) {
        let Cut { s, output, images, rows, .. } = self.cut;
        let bands = output[0].div_ceil(*rows);
        let block_at = |i: usize| {
            let (image, row) = (i / bands * images, i % bands * rows);
            let (images, rows) = (*images.min(&(s.batch - image)), *rows.min(&(output[0] - row)));
            Block { image, images, row, rows }
        };
        let blocks = self.cut.blocks_of(self.slice);
        for i in blocks.clone() {
            let block = block_at(i);
            if self.copied {
                self.gather(block);
            }
            self.next = (i + 1 < blocks.end).then(|| block_at(i + 1));
            // SAFETY: the slices have the sizes given in `grad_weight`.
            unsafe {
                self.pack::<V>(block);
                let (width, columns) = (2 * V::LANES, self.cut.channels[1]);
                for panel in 0..columns.div_ceil(width) {
                    if columns - panel * width <= V::LANES {
                        self.panel::<V, R, 1>(block, panel);
                    } else {
                        self.panel::<V, R, 2>(block, panel);
                    }
                }
            }
            self.sums.carry();
        }
        self.sums.finish();
    }
}

impl<T: Element> Piece<'_, T> {
    /// Pads the block's images.
    #[inline(always)]
    fn gather(&mut self, b: Block) {
        let (s, padded) = (&self.cut.s, &self.cut.padded);
        let (size, plane) = (s.input[0] * s.input[1], padded.plane(b.rows));
        for n in 0..b.images {
            let first = (b.image + n) * s.in_channels + self.group * self.cut.channels[0] + self.from;
            for c in 0..self.chunk {
                let to = &mut self.windows[(n * self.chunk + c) * plane..];
                padded.fill(&self.x[(first + c) * size..][..size], b.row, b.rows, to);
            }
        }
    }

    /// Prefetches part `i` of `parts` of the next block.
    #[inline(always)]
    fn prefetch(&self, i: usize, parts: usize) {
        let (Some(b), s, [sources, columns]) = (self.next, &self.cut.s, self.cut.channels) else { return };
        let channels = self.chunk + columns;
        for part in b.images * channels * i / parts..b.images * channels * (i + 1) / parts {
            let (n, c) = (b.image + part / channels, part % channels);
            if c < self.chunk {
                let channel = n * s.in_channels + self.group * sources + self.from + c;
                let at = (channel * s.input[0] + b.row * s.stride[0]) * s.input[1];
                simd::prefetch(self.x.as_ptr().wrapping_add(at), b.rows * s.stride[0] * s.input[1]);
            } else {
                let channel = n * s.out_channels + self.group * columns + c - self.chunk;
                let [oh, ow] = self.cut.output;
                simd::prefetch(self.y.as_ptr().wrapping_add((channel * oh + b.row) * ow), b.rows * ow);
            }
        }
    }

    /// Transposes the block's part of y: panels of two registers of channels, place after place.
    #[inline(always)]
    unsafe fn pack<V: Vector<T>>(&mut self, b: Block) {
        let (s, columns, width) = (&self.cut.s, self.cut.channels[1], 2 * V::LANES);
        let [oh, ow] = self.cut.output;
        let places = b.rows * ow;
        for n in 0..b.images {
            let first = ((b.image + n) * s.out_channels + self.group * columns) * oh * ow + b.row * ow;
            let y = Source { at: self.y[first..].as_ptr(), line: oh * ow, depth: 1 };
            for panel in 0..columns.div_ceil(width) {
                let (from, rest) = (y.skip(panel * width, 0), columns - panel * width);
                // SAFETY: y holds these channels and places; there is room for `Cut::places` in every panel.
                unsafe {
                    let to = self.packed.as_mut_ptr().add(panel * self.cut.places() * width);
                    if rest <= V::LANES {
                        pack::right::<T, V, 1>(from, rest, places, to.add(n * places * V::LANES));
                    } else {
                        pack::right::<T, V, 2>(from, rest.min(width), places, to.add(n * places * width));
                    }
                }
            }
        }
    }

    /// Adds the block to the sums of all rows and one panel of channels.
    #[inline(always)]
    unsafe fn panel<V: Vector<T>, const R: usize, const W: usize>(&mut self, b: Block, panel: usize) {
        let Cut { taps, channels, output: [_, ow], .. } = self.cut;
        let (width, tiles) = (W * V::LANES, (self.chunk * taps.len()).div_ceil(R));
        let panels = channels[1].div_ceil(2 * V::LANES);
        // SAFETY: the slices have the sizes given in `grad_weight`.
        unsafe {
            let packed = self.packed.as_ptr().add(panel * self.cut.places() * 2 * V::LANES);
            for i in 0..tiles {
                self.prefetch(panel * tiles + i, panels * tiles);
                let Rows { at, image, line, step, down, across } = self.rows::<R>(b, i * R);
                let right = packed.add(across.start * width);
                let sums = self.sums.first.as_mut_ptr().add((i * panels + panel) * R * 2 * V::LANES);
                let (mut sum, mut terms) = (tile::zero::<T, V, R, W>(), 0);
                let mut total = Cascade::new();
                for n in 0..b.images {
                    for row in down.clone() {
                        let from = n * image + (row - down.start) * line;
                        let to = right.add((n * b.rows + row) * ow * width);
                        let mut column = 0;
                        while column < across.len() {
                            if terms >= TERMS {
                                total.push(sum, tile::plus::<T, V, R, W>);
                                (sum, terms) = (tile::zero::<T, V, R, W>(), 0);
                            }
                            let count = TERMS.min(across.len() - column);
                            let (from, to) = (from + column * step, to.add(column * width));
                            tile::accumulate(&mut sum, count, at, [from, step], to, width);
                            (column, terms) = (column + count, terms + count);
                        }
                    }
                }
                let total = total.total(tile::zero(), tile::plus::<T, V, R, W>);
                tile::plus::<T, V, R, W>(&mut sum, &total);
                tile::add(&mut sum, sums, 2 * V::LANES);
                tile::store(&sum, sums, 2 * V::LANES);
            }
        }
    }

    /// R rows of the left operand from row `first` on. Rows beyond the last repeat it; their sums are not used.
    #[inline(always)]
    fn rows<const R: usize>(&self, b: Block, first: usize) -> Rows<T, R> {
        let Cut { s, taps, channels, padded, .. } = self.cut;
        let depth = self.chunk * taps.len();
        let [down, across] = seen(&taps[first / self.chunk..=(first + R - 1).min(depth - 1) / self.chunk]);
        let down = down.start.max(b.row) - b.row..down.end.clamp(b.row, b.row + b.rows) - b.row;
        let ([h, w], plane) = (s.input, padded.plane(b.rows));
        let channel = b.image * s.in_channels + self.group * channels[0] + self.from;
        let mut at = [self.x.as_ptr(); R];
        for e in 0..R {
            let r = (first + e).min(depth - 1);
            let (tap, c) = (&taps[r / self.chunk], r % self.chunk);
            at[e] = if self.copied {
                let place = down.start * padded.down() + across.start;
                self.windows.as_ptr().wrapping_add(c * plane + tap.padded + place)
            } else {
                let i = ((b.row + down.start) * s.stride[0]) as isize + tap.x[0];
                let j = (across.start * s.stride[1]) as isize + tap.x[1];
                at[e].wrapping_add((channel + c) * h * w).wrapping_offset(i * w as isize + j)
            };
        }
        let [image, line, step] = if self.copied {
            [self.chunk * plane, padded.down(), 1]
        } else {
            [s.in_channels * h * w, s.stride[0] * w, s.stride[1]]
        };
        Rows { at, image, line, step, down, across }
    }
}

/// The rows and columns of places from which at least one of the taps lies in x.
fn seen(taps: &[Tap]) -> [Range<usize>; 2] {
    let mut all = taps[0].seen.clone();
    for tap in taps {
        for d in 0..2 {
            all[d] = all[d].start.min(tap.seen[d].start)..all[d].end.max(tap.seen[d].end);
        }
    }
    all
}
