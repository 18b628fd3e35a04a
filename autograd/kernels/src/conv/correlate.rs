//! The forward map and, with the same loops, the input's gradient: an implicit matrix product, cut into pieces.
//!
//! Rows are destination channels, the sum runs over source channels and taps, columns are places. Weights are packed for
//! all pieces; each piece is some rows of places of some images.

use super::Conv2d;
use super::padded::Padded;
use super::piece::Piece;
use crate::gemm::{DEPTH, scratch, vector};
use crate::par::{self, Shared};
use crate::real::Element;
use crate::simd;

/// Pieces of work to cut a small batch into, and places that make a piece worthwhile.
const PIECES: usize = 16;
const PLACES: usize = 128;
/// Numbers of a padded window that fit in the second-level cache.
const CACHED: usize = 1 << 17;

/// y\[k, i, j\] = sum over c and taps of weight(k, c, tap) x\[c, step (i, j) + tap\], 0 outside of x.
pub struct Correlation {
    pub batch: usize,
    pub groups: usize,
    /// Channels of x and of y in a group.
    pub channels: [usize; 2],
    /// Rows and columns of x.
    pub source: [usize; 2],
    /// Rows and columns of places.
    pub grid: [usize; 2],
    pub step: [usize; 2],
    /// Rows and columns of taps: in rising or falling order.
    pub taps: [Vec<Tap>; 2],
    /// Numbers in w from a group, a channel of y and a channel of x to the next.
    pub weights: [usize; 3],
    /// Numbers in a channel of y, and where places lie in it: at offset + row i + column j.
    pub plane: usize,
    pub offset: usize,
    pub row: usize,
    pub column: usize,
}

/// A row or a column of taps.
pub struct Tap {
    /// Where it lies, from the place of the window.
    pub at: isize,
    /// Numbers in w from the first of the kernel to it.
    pub weight: usize,
}

/// Writes y.
pub fn forward<T: Element>(s: &Conv2d, x: &[T], w: &[T], y: &mut [T]) {
    let [oh, ow] = s.output();
    let (cg, [kh, kw]) = (s.in_channels / s.groups, s.kernel);
    let kg = s.out_channels / s.groups;
    let taps = [0, 1].map(|d| {
        let tap =
            |u| Tap { at: (s.dilation[d] * u) as isize - s.padding[d] as isize, weight: u * [kw, 1][d] };
        (0..s.kernel[d]).map(tap).collect()
    });
    let c = Correlation {
        batch: s.batch,
        groups: s.groups,
        channels: [cg, kg],
        source: s.input,
        grid: [oh, ow],
        step: s.stride,
        taps,
        weights: [kg * cg * kh * kw, cg * kh * kw, kh * kw],
        plane: oh * ow,
        offset: 0,
        row: ow,
        column: 1,
    };
    c.run(x, w, y);
}

/// Writes x. Its rows and columns fall into stride x stride classes; each class sees only the taps that hit it,
/// and is a correlation of y with step 1.
pub fn grad_input<T: Element>(s: &Conv2d, y: &[T], w: &[T], x: &mut [T]) {
    let [h, width] = s.input;
    let (cg, kg, [kh, kw]) = (s.in_channels / s.groups, s.out_channels / s.groups, s.kernel);
    for class in 0..s.stride[0] * s.stride[1] {
        let remainder = [class / s.stride[1], class % s.stride[1]];
        let grid = [0, 1].map(|d| s.input[d].saturating_sub(remainder[d]).div_ceil(s.stride[d]));
        // The row of y that kernel row u brings to this class's first row, if any; columns likewise.
        let taps = [0, 1].map(|d| {
            let hit = |u| {
                let distance = (remainder[d] + s.padding[d]) as isize - (s.dilation[d] * u) as isize;
                let at = distance / s.stride[d] as isize;
                (distance % s.stride[d] as isize == 0).then_some(Tap { at, weight: u * [kw, 1][d] })
            };
            (0..s.kernel[d]).filter_map(hit).collect()
        });
        let c = Correlation {
            batch: s.batch,
            groups: s.groups,
            channels: [kg, cg],
            source: s.output(),
            grid,
            step: [1, 1],
            taps,
            weights: [kg * cg * kh * kw, kh * kw, cg * kh * kw],
            plane: h * width,
            offset: remainder[0] * width + remainder[1],
            row: s.stride[0] * width,
            column: s.stride[1],
        };
        c.run(y, w, x);
    }
}

impl Correlation {
    fn run<T: Element>(&self, x: &[T], w: &[T], y: &mut [T]) {
        let ([sources, rows], [gh, gw]) = (self.channels, self.grid);
        if self.batch * rows * gh * gw == 0 {
            return;
        }
        let level = simd::level();
        let (height, width) = vector::tile::<T>(level);
        let [us, vs] = [0, 1].map(|d| self.taps[d].len());
        let (depth, panels) = (sources * us * vs, rows.div_ceil(height));
        let slab = slab(sources, vs).min(depth.max(1));
        let taps: Vec<_> =
            self.taps[0].iter().flat_map(|u| self.taps[1].iter().map(|v| [u.at, v.at])).collect();
        let padded = Padded::new(self.source, self.step, &taps, gw);
        let taps: Vec<_> = taps.iter().map(|&tap| padded.tap(tap)).collect();

        // A piece is a few small images, whose rows of the same height fill a panel, or a part of a large one.
        let images = (PLACES / (gh * gw)).max(width / gw).clamp(1, self.batch);
        let bands = self.batch.div_ceil(images) * self.groups;
        let shared = if bands >= PIECES { 1 } else { PIECES.div_ceil(bands).min((gh * gw).div_ceil(PLACES)) };
        let fitting = (CACHED / (images * sources * padded.line()).max(1) / self.step[0])
            .max(PLACES.div_ceil(images * gw));
        let band = gh.div_ceil(shared).min(fitting);
        let split = gh.div_ceil(band);

        let slabs = depth.div_ceil(slab);
        let packed = slabs * panels * slab * height;
        scratch::with(self.groups * packed, |weights: &mut [T]| {
            self.pack(w, weights, height, slab);
            let y = Shared::new(y);
            par::run(bands * split, |i| {
                let (group, first) = (i / split % self.groups, i / split / self.groups * images);
                let row = i % split * band;
                let (images, gh) = (images.min(self.batch - first), band.min(gh - row));
                let plane = padded.plane(gh);
                // Runs are copied by whole registers: room for one more after each end.
                let sizes = [images * sources * plane + width, (slab + 1) * width, panels * height * width];
                scratch::with(sizes.iter().sum(), |memory: &mut [T]| {
                    let (windows, rest) = memory.split_at_mut(sizes[0]);
                    let (gathered, result) = rest.split_at_mut(sizes[1]);
                    let piece = Piece {
                        of: self,
                        x: &x[(first * self.groups + group) * sources * self.source[0] * self.source[1]..],
                        padded,
                        taps: &taps,
                        weights: &weights[group * packed..],
                        slab,
                        windows,
                        gathered,
                        result,
                        images,
                        first: row,
                        rows: gh,
                        // SAFETY: within y.
                        y: unsafe {
                            y.at((first * self.groups + group) * rows * self.plane
                                + self.offset
                                + row * self.row)
                        },
                    };
                    // SAFETY: level is what the machine has.
                    unsafe { vector::dispatch(level, piece) }
                });
            });
        });
    }

    /// Weights in the order of their use: slabs of the sum, in each panels of `height` channels of y, in each the
    /// steps, whose weights lie side by side.
    fn pack<T: Element>(&self, w: &[T], packed: &mut [T], height: usize, slab: usize) {
        /// Distance in source channels between the one that is read and the one that is prefetched.
        const AHEAD: usize = 8;
        let ([sources, rows], [groups, ks, cs]) = (self.channels, self.weights);
        let (panels, vs) = (rows.div_ceil(height), self.taps[1].len());
        let size = packed.len() / self.groups;
        let packed = Shared::new(packed);
        par::run(self.groups * panels, |i| {
            let (group, panel) = (i / panels, i % panels);
            let (first, lines) = (panel * height, height.min(rows - panel * height));
            for c in 0..sources {
                let w = &w[group * groups + first * ks + c * cs..];
                if cs > ks {
                    simd::prefetch(w.as_ptr().wrapping_add(AHEAD * cs), lines * ks);
                }
                for (u, row) in self.taps[0].iter().enumerate() {
                    let step = (u * sources + c) * vs;
                    let at = ((step / slab * panels + panel) * slab + step % slab) * height;
                    // SAFETY: a slab has whole rows of taps; panels are disjoint.
                    let to = unsafe { packed.slice(group * size + at, vs * height) };
                    for (column, to) in self.taps[1].iter().zip(to.chunks_exact_mut(height)) {
                        let w = &w[row.weight + column.weight..];
                        for (k, to) in to[..lines].iter_mut().enumerate() {
                            *to = w[k * ks];
                        }
                        to[lines..].fill(T::ZERO);
                    }
                }
            }
        });
    }
}

/// Steps of the sum between two visits to the result, for rows of `taps` taps of `sources` channels: about [`DEPTH`],
/// some rows of taps or some channels of one.
fn slab(sources: usize, taps: usize) -> usize {
    let row = (sources * taps).max(1);
    if row <= DEPTH {
        return DEPTH / row * row;
    }
    sources.div_ceil(sources.div_ceil(DEPTH.div_ceil(taps))) * taps
}
