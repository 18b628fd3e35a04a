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
/// Numbers of a padded window that stay in the second-level cache.
const CACHED: usize = 1 << 17;

/// y\[k, i, j\] = sum over c and taps (u, v) of weight(k, c, u, v) x\[c, step (i, j) + (u, v)\], 0 outside of x.
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
    /// Rows and columns of taps, from the place of the window: in rising or falling order.
    pub taps: [Vec<isize>; 2],
    /// Numbers in a channel of y, and where places lie in it: at offset + row i + column j.
    pub plane: usize,
    pub offset: usize,
    pub row: usize,
    pub column: usize,
}

/// Writes y.
pub fn forward<T: Element>(s: &Conv2d, x: &[T], w: &[T], y: &mut [T]) {
    let [oh, ow] = s.output();
    let (cg, [kh, kw]) = (s.in_channels / s.groups, s.kernel);
    let at = |d: usize, u: usize| (s.dilation[d] * u) as isize - s.padding[d] as isize;
    let taps = [0, 1].map(|d| (0..s.kernel[d]).map(|u| at(d, u)).collect());
    let c = Correlation {
        batch: s.batch,
        groups: s.groups,
        channels: [cg, s.out_channels / s.groups],
        source: s.input,
        grid: [oh, ow],
        step: s.stride,
        taps,
        plane: oh * ow,
        offset: 0,
        row: ow,
        column: 1,
    };
    let kg = s.out_channels / s.groups;
    c.run(x, &|group, k, c, [u, v]| w[(((group * kg + k) * cg + c) * kh + u) * kw + v], y);
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
        let hit = |d: usize, u: usize| {
            let distance = (remainder[d] + s.padding[d]) as isize - (s.dilation[d] * u) as isize;
            (distance % s.stride[d] as isize == 0).then_some(distance / s.stride[d] as isize)
        };
        let (rows, us): (Vec<_>, Vec<_>) = (0..kh).filter_map(|u| Some((hit(0, u)?, u))).unzip();
        let (columns, vs): (Vec<_>, Vec<_>) = (0..kw).filter_map(|v| Some((hit(1, v)?, v))).unzip();
        let c = Correlation {
            batch: s.batch,
            groups: s.groups,
            channels: [kg, cg],
            source: s.output(),
            grid,
            step: [1, 1],
            taps: [rows, columns],
            plane: h * width,
            offset: remainder[0] * width + remainder[1],
            row: s.stride[0] * width,
            column: s.stride[1],
        };
        c.run(y, &|group, c, k, [u, v]| w[(((group * kg + k) * cg + c) * kh + us[u]) * kw + vs[v]], x);
    }
}

impl Correlation {
    /// `weight` takes a group, a destination channel and a source channel of it, and row and column of a tap.
    fn run<T: Element>(
        &self,
        x: &[T],
        weight: &(impl Fn(usize, usize, usize, [usize; 2]) -> T + Sync),
        y: &mut [T],
    ) {
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
            self.taps[0].iter().flat_map(|&u| self.taps[1].iter().map(move |&v| [u, v])).collect();
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
            par::chunks(weights, slab * height, |i, panel| {
                let (first, from) = (i % panels * height, i / panels % slabs * slab);
                let group = i / panels / slabs;
                let (mut u, mut c, mut v) = (from / vs / sources, from / vs % sources, from % vs);
                for column in panel.chunks_exact_mut(height).take(depth - from) {
                    for (k, to) in (first..).zip(column) {
                        *to = if k < rows { weight(group, k, c, [u, v]) } else { T::ZERO };
                    }
                    v += 1;
                    if v == vs {
                        (c, v) = (c + 1, 0);
                    }
                    if c == sources {
                        (u, c) = (u + 1, 0);
                    }
                }
            });
            let y = Shared::new(y);
            par::run(bands * split, |i| {
                let (group, first) = (i / split % self.groups, i / split / self.groups * images);
                let row = i % split * band;
                let (images, gh) = (images.min(self.batch - first), band.min(gh - row));
                let plane = padded.plane(gh);
                // Runs are copied by whole registers: room for one behind each end.
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
