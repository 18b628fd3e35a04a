//! The forward map and, with the same loops, the input's gradient: an implicit matrix product.
//!
//! Rows are destination channels, the sum runs over source channels and taps, columns are places. The matrix
//! of all windows never exists: panels of it, 256 steps of the sum by two registers of places, are gathered
//! from a padded copy of a few images into the first-level cache just before they are used.

use super::Conv2d;
use super::padded::Padded;
use crate::gemm::vector::{self, Kernel, Vector};
use crate::gemm::{DEPTH, scratch, tile};
use crate::par::{self, Shared};
use crate::real::Element;
use crate::simd;

/// Pieces of work to cut a small batch into, and places that make a piece worthwhile.
const PIECES: usize = 16;
const PLACES: usize = 128;
/// Numbers of a padded window that stay in the second-level cache.
const CACHED: usize = 1 << 17;

/// y\[k, i, j\] = sum over c and taps t of weight(k, c, t) x\[c, step (i, j) + t\], 0 outside of x.
struct Correlation {
    batch: usize,
    groups: usize,
    /// Channels of x and of y in a group.
    channels: [usize; 2],
    /// Rows and columns of x.
    source: [usize; 2],
    /// Rows and columns of places.
    grid: [usize; 2],
    step: [usize; 2],
    taps: Vec<[isize; 2]>,
    /// Numbers in a channel of y, and where places lie in it: at offset + row i + column j.
    plane: usize,
    offset: usize,
    row: usize,
    column: usize,
}

/// Writes y.
pub fn forward<T: Element>(s: &Conv2d, x: &[T], w: &[T], y: &mut [T]) {
    let [oh, ow] = s.output();
    let (cg, [kh, kw]) = (s.in_channels / s.groups, s.kernel);
    let at = |d: usize, u: usize| (s.dilation[d] * u) as isize - s.padding[d] as isize;
    let c = Correlation {
        batch: s.batch,
        groups: s.groups,
        channels: [cg, s.out_channels / s.groups],
        source: s.input,
        grid: [oh, ow],
        step: s.stride,
        taps: (0..kh * kw).map(|t| [at(0, t / kw), at(1, t % kw)]).collect(),
        plane: oh * ow,
        offset: 0,
        row: ow,
        column: 1,
    };
    c.run(x, &|k, c, t| w[(k * cg + c) * kh * kw + t], y);
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
        let (taps, which): (Vec<_>, Vec<_>) =
            (0..kh * kw).filter_map(|t| Some(([hit(0, t / kw)?, hit(1, t % kw)?], t))).unzip();
        let c = Correlation {
            batch: s.batch,
            groups: s.groups,
            channels: [kg, cg],
            source: s.output(),
            grid,
            step: [1, 1],
            taps,
            plane: h * width,
            offset: remainder[0] * width + remainder[1],
            row: s.stride[0] * width,
            column: s.stride[1],
        };
        c.run(y, &|c, k, t| w[((c / cg * kg + k) * cg + c % cg) * kh * kw + which[t]], x);
    }
}

impl Correlation {
    /// `weight` takes a destination channel (over all groups), a source channel of its group and a tap.
    fn run<T: Element>(&self, x: &[T], weight: &(impl Fn(usize, usize, usize) -> T + Sync), y: &mut [T]) {
        let ([sources, rows], [gh, gw]) = (self.channels, self.grid);
        if self.batch * rows * gh * gw == 0 {
            return;
        }
        let level = simd::level();
        let (height, width) = vector::tile::<T>(level);
        let (depth, panels) = (sources * self.taps.len(), rows.div_ceil(height));
        let padded = Padded::new(self.source, self.step, &self.taps, gw);
        let taps: Vec<_> = self.taps.iter().map(|&tap| padded.tap(tap)).collect();

        // A piece is a few small images, or a part of a large one.
        let images = (PLACES / (gh * gw)).clamp(1, self.batch);
        let bands = self.batch.div_ceil(images) * self.groups;
        let shared = if bands >= PIECES { 1 } else { PIECES.div_ceil(bands).min((gh * gw).div_ceil(PLACES)) };
        let fitting = (CACHED / (sources * padded.line()).max(1) / self.step[0]).max(PLACES.div_ceil(gw));
        let band = gh.div_ceil(shared).min(fitting);
        let split = gh.div_ceil(band);

        scratch::with(self.groups * panels * depth * height, |weights: &mut [T]| {
            par::chunks(weights, (depth * height).max(1), |i, panel| {
                let (group, first) = (i / panels, i % panels * height);
                for (r, column) in panel.chunks_exact_mut(height).enumerate() {
                    let (c, t) = (r / self.taps.len(), r % self.taps.len());
                    for (k, v) in column.iter_mut().enumerate() {
                        let k = first + k;
                        *v = if k < rows { weight(group * rows + k, c, t) } else { T::ZERO };
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
                let sizes = [images * sources * plane + width, (DEPTH + 1) * width, panels * height * width];
                scratch::with(sizes.iter().sum(), |memory: &mut [T]| {
                    let (windows, rest) = memory.split_at_mut(sizes[0]);
                    let (gathered, result) = rest.split_at_mut(sizes[1]);
                    for n in 0..images {
                        let from = ((first + n) * self.groups + group) * sources;
                        let size = self.source[0] * self.source[1];
                        for c in 0..sources {
                            let to = &mut windows[(n * sources + c) * plane..];
                            padded.fill(&x[(from + c) * size..][..size], row, gh, to);
                        }
                    }
                    let piece = Piece {
                        of: self,
                        padded,
                        taps: &taps,
                        weights: &weights[group * panels * depth * height..],
                        windows,
                        gathered,
                        result,
                        images,
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

/// Some rows of places of one group of some images.
struct Piece<'a, T> {
    of: &'a Correlation,
    padded: Padded,
    /// Where the taps of the first place lie.
    taps: &'a [usize],
    weights: &'a [T],
    windows: &'a [T],
    gathered: &'a mut [T],
    result: &'a mut [T],
    images: usize,
    rows: usize,
    y: *mut T,
}

/// Places of a panel that lie side by side: from `panel` on, `len` of them, in the windows and in y.
#[derive(Clone, Copy, Default)]
struct Run {
    panel: usize,
    len: usize,
    window: usize,
    y: usize,
}

impl<T: Element> Kernel<T> for Piece<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<T>, const R: usize>(mut self) {
        let places = self.images * self.rows * self.of.grid[1];
        let mut place = 0;
        while place < places {
            // SAFETY: the slices have the sizes given in `Correlation::run`.
            unsafe {
                if places - place <= V::LANES {
                    self.panel::<V, R, 1>(place, places - place);
                } else {
                    self.panel::<V, R, 2>(place, (places - place).min(2 * V::LANES));
                }
            }
            place += 2 * V::LANES;
        }
    }
}

impl<T: Element> Piece<'_, T> {
    /// The runs of `len` places from `place` on.
    #[inline(always)]
    fn runs(&self, mut place: usize, len: usize, runs: &mut [Run; 32]) -> usize {
        let ([_, gw], [sources, rows]) = (self.of.grid, self.of.channels);
        let (image, image_y) =
            (sources * self.padded.plane(self.rows), self.of.groups * rows * self.of.plane);
        let (mut count, mut panel) = (0, 0);
        while panel < len {
            let (n, i, j) = (place / gw / self.rows, place / gw % self.rows, place % gw);
            let side = (gw - j).min(len - panel);
            let (window, y) =
                (n * image + i * self.padded.down() + j, n * image_y + i * self.of.row + j * self.of.column);
            runs[count] = Run { panel, len: side, window, y };
            (count, panel, place) = (count + 1, panel + side, place + side);
        }
        count
    }

    /// Copies what `steps` steps of the sum, from step `from` on, see at these places.
    #[inline(always)]
    unsafe fn gather<V: Vector<T>, const W: usize>(&mut self, runs: &[Run], from: usize, steps: usize) {
        let (taps, width) = (self.taps, W * V::LANES);
        let plane = self.padded.plane(self.rows);
        let whole = runs.len() == 1 && runs[0].len == width;
        let (mut c, mut t) = (from / taps.len().max(1), from % taps.len().max(1));
        for p in 0..steps {
            // SAFETY: the caller's promise.
            unsafe {
                let window = self.windows.as_ptr().add(c * plane + taps[t]);
                let to = self.gathered.as_mut_ptr().add(p * width);
                if whole {
                    for j in 0..W {
                        V::load(window.add(runs[0].window + j * V::LANES)).store(to.add(j * V::LANES));
                    }
                } else {
                    for run in runs {
                        let mut at = 0;
                        while at < run.len {
                            // What a register holds beyond the run is overwritten by the next run or step.
                            V::load(window.add(run.window + at)).store(to.add(run.panel + at));
                            at += V::LANES;
                        }
                    }
                }
            }
            t += 1;
            if t == taps.len() {
                (c, t) = (c + 1, 0);
            }
        }
    }

    #[inline(always)]
    unsafe fn panel<V: Vector<T>, const R: usize, const W: usize>(&mut self, place: usize, len: usize) {
        let (taps, [sources, rows], width) = (&self.of.taps[..], self.of.channels, W * V::LANES);
        let depth = sources * taps.len();
        let mut runs = [Run::default(); 32];
        let count = self.runs(place, len, &mut runs);
        let runs = &runs[..count];
        for from in (0..depth.max(1)).step_by(DEPTH) {
            let steps = DEPTH.min(depth - from);
            // SAFETY: the slices have room for a register beyond the last run.
            unsafe { self.gather::<V, W>(runs, from, steps) }
            for i in 0..rows.div_ceil(R) {
                // SAFETY: weights hold `depth` steps of this panel, result this tile.
                unsafe {
                    let mut sum = tile::zero::<T, V, R, W>();
                    let a = self.weights.as_ptr().add((i * depth + from) * R);
                    let result = self.result.as_mut_ptr().add(i * R * width);
                    tile::accumulate(&mut sum, steps, tile::rows(a, 1), R, self.gathered.as_ptr(), width);
                    if from > 0 {
                        tile::add(&mut sum, result, width);
                    }
                    tile::store(&sum, result, width);
                }
            }
        }
        let side_by_side =
            self.of.column == 1 && len == width && runs[count - 1].y == runs[0].y + runs[count - 1].panel;
        for k in 0..rows {
            // SAFETY: the places of this piece in channel k of y; other pieces write other places.
            unsafe {
                let (from, to) = (self.result.as_ptr().add(k * width), self.y.add(k * self.of.plane));
                if side_by_side {
                    for j in 0..W {
                        V::load(from.add(j * V::LANES)).store(to.add(runs[0].y + j * V::LANES));
                    }
                    continue;
                }
                for run in runs {
                    for j in 0..run.len {
                        *to.add(run.y + j * self.of.column) = *from.add(run.panel + j);
                    }
                }
            }
        }
    }
}
