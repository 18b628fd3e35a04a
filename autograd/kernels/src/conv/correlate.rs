//! The forward map and, with the same loops, the input's gradient: an implicit matrix product.
//!
//! Rows are destination channels, the sum runs over source channels and taps, columns are places. The matrix
//! of all windows never exists: where rows of places are whole registers, these are loaded from a padded copy of a few
//! images; else panels of it, 256 steps of the sum by two registers of places, are gathered from there into the first-level
//! cache just before they are used.
//!
//! Places are taken row by row, through all images of a piece, and rows of taps are the outermost part of the sum: what
//! the rows of a panel see of the padding above and below the image is then one end of the sum, and is left out.

use std::ops::Range;

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

/// y\[k, i, j\] = sum over c and taps (u, v) of weight(k, c, u, v) x\[c, step (i, j) + (u, v)\], 0 outside of x.
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
    /// Rows and columns of taps, from the place of the window: in rising or falling order.
    taps: [Vec<isize>; 2],
    /// Numbers in a channel of y, and where places lie in it: at offset + row i + column j.
    plane: usize,
    offset: usize,
    row: usize,
    column: usize,
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

        let packed = depth.div_ceil(slab) * panels * slab * height;
        scratch::with(self.groups * packed, |weights: &mut [T]| {
            par::chunks(weights, slab * height, |i, panel| {
                let (first, from) = (i % panels * height, i / panels % depth.div_ceil(slab) * slab);
                let group = i * slab * height / packed;
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

/// Some rows of places of one group of some images.
struct Piece<'a, T> {
    of: &'a Correlation,
    /// The images, from the piece's first channel on.
    x: &'a [T],
    padded: Padded,
    /// Where the taps of the first place lie.
    taps: &'a [usize],
    /// For each slab, panels of R channels: for each step of the sum, their weights side by side.
    weights: &'a [T],
    /// Steps of a slab.
    slab: usize,
    windows: &'a mut [T],
    gathered: &'a mut [T],
    result: &'a mut [T],
    images: usize,
    /// Rows of places: the first of them in y, and their number.
    first: usize,
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
        self.fill();
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
    /// Pads the images.
    #[inline(always)]
    fn fill(&mut self) {
        let (sources, [h, w], plane) = (self.of.channels[0], self.of.source, self.padded.plane(self.rows));
        for n in 0..self.images {
            for c in 0..sources {
                let from = &self.x[(n * self.of.groups * sources + c) * h * w..][..h * w];
                let to = &mut self.windows[(n * sources + c) * plane..];
                self.padded.fill(from, self.first, self.rows, to);
            }
        }
    }

    /// The runs of `len` places from `place` on.
    #[inline(always)]
    fn runs(&self, mut place: usize, len: usize, runs: &mut [Run; 32]) -> usize {
        let ([_, gw], [sources, rows]) = (self.of.grid, self.of.channels);
        let (image, image_y) =
            (sources * self.padded.plane(self.rows), self.of.groups * rows * self.of.plane);
        let (mut count, mut panel) = (0, 0);
        while panel < len {
            let (i, n, j) = (place / gw / self.images, place / gw % self.images, place % gw);
            let side = (gw - j).min(len - panel);
            let (window, y) =
                (n * image + i * self.padded.down() + j, n * image_y + i * self.of.row + j * self.of.column);
            runs[count] = Run { panel, len: side, window, y };
            (count, panel, place) = (count + 1, panel + side, place + side);
        }
        count
    }

    /// The steps of the sum in which these `len` places from `place` on see more than padding above or below the image.
    fn steps(&self, place: usize, len: usize) -> Range<usize> {
        let [us, vs] = [0, 1].map(|d| self.of.taps[d].len());
        let line = self.of.grid[1] * self.images;
        let top = ((self.first + place / line) * self.of.step[0]) as isize;
        let bottom = ((self.first + (place + len - 1) / line) * self.of.step[0]) as isize;
        let sees = |&u: &usize| {
            let tap = self.of.taps[0][u];
            bottom + tap >= 0 && top + tap < self.of.source[0] as isize
        };
        let Some(first) = (0..us).find(sees) else { return 0..0 };
        let last = (0..us).rfind(sees).unwrap_or(first);
        let row = self.of.channels[0] * vs;
        first * row..(last + 1) * row
    }

    /// Copies what `steps` steps of the sum, from step `from` on, see at these places.
    #[inline(always)]
    unsafe fn gather<V: Vector<T>, const W: usize>(&mut self, runs: &[Run], from: usize, steps: usize) {
        let (sources, vs, width) = (self.of.channels[0], self.of.taps[1].len().max(1), W * V::LANES);
        let plane = self.padded.plane(self.rows);
        let (mut u, mut c, mut v) = (from / vs / sources.max(1), from / vs % sources.max(1), from % vs);
        // SAFETY: the caller's promise.
        unsafe {
            let mut to = self.gathered.as_mut_ptr();
            let end = to.add(steps * width);
            while to < end {
                let mut channel = self.windows.as_ptr().add(c * plane);
                let taps = &self.taps[u * vs..][..vs];
                while c < sources && to < end {
                    while v < vs && to < end {
                        let window = channel.add(taps[v]);
                        for run in runs {
                            let mut at = 0;
                            while at < run.len {
                                // What a register holds beyond the run is overwritten by the next run or step.
                                V::load(window.add(run.window + at)).store(to.add(run.panel + at));
                                at += V::LANES;
                            }
                        }
                        (v, to) = (v + 1, to.add(width));
                    }
                    if v == vs {
                        (c, v, channel) = (c + 1, 0, channel.wrapping_add(plane));
                    }
                }
                (u, c) = (u + 1, 0);
            }
        }
    }

    /// The sums of all destination channels at `len` places from `place` on.
    #[inline(always)]
    unsafe fn panel<V: Vector<T>, const R: usize, const W: usize>(&mut self, place: usize, len: usize) {
        let (panels, width) = (self.of.channels[1].div_ceil(R), W * V::LANES);
        let seen = self.steps(place, len);
        let mut runs = [Run::default(); 32];
        let count = self.runs(place, len, &mut runs);
        let runs = &runs[..count];
        let registers = registers::<T, V, W>(runs, len);
        // A sum of nothing is still written.
        let mut from = seen.start;
        loop {
            let (within, steps) = (from % self.slab, (self.slab - from % self.slab).min(seen.end - from));
            if registers.is_none() {
                // SAFETY: the slices have room for a register beyond the last run.
                unsafe { self.gather::<V, W>(runs, from, steps) }
            }
            let a = self.weights.as_ptr().wrapping_add(((from - within) * panels + within) * R);
            for i in 0..panels {
                // SAFETY: weights hold the slab of this panel, result this tile.
                unsafe {
                    let mut sum = tile::zero::<T, V, R, W>();
                    let a = a.wrapping_add(i * self.slab * R);
                    let result = self.result.as_mut_ptr().add(i * R * width);
                    match &registers {
                        Some(registers) => self.accumulate(&mut sum, from, steps, a, registers),
                        None => {
                            let b = self.gathered.as_ptr();
                            tile::accumulate(&mut sum, steps, tile::rows(a, 1), R, b, width);
                        }
                    }
                    if from > seen.start {
                        tile::add(&mut sum, result, width);
                    }
                    tile::store(&sum, result, width);
                }
            }
            from += steps;
            if from == seen.end {
                break;
            }
        }
        // SAFETY: result holds the sums of these runs.
        unsafe { self.write::<V, W>(runs, len) }
    }

    /// Adds `steps` steps of the sum, from step `from` on, with the places where they lie in the windows.
    #[inline(always)]
    unsafe fn accumulate<V: Vector<T>, const R: usize, const W: usize>(
        &self,
        sum: &mut [[V; W]; R],
        from: usize,
        steps: usize,
        mut a: *const T,
        registers: &[usize; W],
    ) {
        let (sources, vs) = (self.of.channels[0], self.of.taps[1].len());
        let plane = self.padded.plane(self.rows);
        let mut at = from;
        while at < from + steps {
            let (u, c) = (at / vs / sources, at / vs % sources);
            let channels = (sources - c).min((from + steps - at) / vs);
            for v in 0..vs {
                // SAFETY: the caller's promise.
                unsafe {
                    let mut b = [self.windows.as_ptr().add(c * plane + self.taps[u * vs + v]); W];
                    for j in 0..W {
                        b[j] = b[j].add(registers[j]);
                    }
                    tile::accumulate_apart(sum, channels, tile::rows(a.add(v * R), 1), [0, vs * R], b, plane);
                }
            }
            (at, a) = (at + channels * vs, a.wrapping_add(channels * vs * R));
        }
    }

    /// Writes the results of these runs, `len` places, to y.
    #[inline(always)]
    unsafe fn write<V: Vector<T>, const W: usize>(&mut self, runs: &[Run], len: usize) {
        // Most runs are a few times 8 numbers.
        const FEW: usize = 8;
        let (width, column) = (W * V::LANES, self.of.column);
        let whole = column == 1 && len == width && runs.iter().all(|run| run.y == runs[0].y + run.panel);
        for k in 0..self.of.channels[1] {
            // SAFETY: the places of this piece in channel k of y; other pieces write other places.
            unsafe {
                let (from, to) = (self.result.as_ptr().add(k * width), self.y.add(k * self.of.plane));
                if whole {
                    for j in 0..W {
                        V::load(from.add(j * V::LANES)).store(to.add(runs[0].y + j * V::LANES));
                    }
                    continue;
                }
                for run in runs {
                    let (from, to) = (from.add(run.panel), to.add(run.y));
                    let mut j = 0;
                    while column == 1 && j + FEW <= run.len {
                        to.add(j).cast::<[T; FEW]>().write(from.add(j).cast::<[T; FEW]>().read());
                        j += FEW;
                    }
                    while j < run.len {
                        *to.add(j * column) = *from.add(j);
                        j += 1;
                    }
                }
            }
        }
    }
}

/// Where the registers of a panel of `len` places lie in the windows, if every one has a run to itself or a part of one.
#[inline(always)]
fn registers<T, V: Vector<T>, const W: usize>(runs: &[Run], len: usize) -> Option<[usize; W]> {
    let mut registers = [0; W];
    if len < W * V::LANES {
        return None;
    }
    for run in runs {
        if !run.len.is_multiple_of(V::LANES) {
            return None;
        }
        for j in 0..run.len / V::LANES {
            registers[run.panel / V::LANES + j] = run.window + j * V::LANES;
        }
    }
    Some(registers)
}
