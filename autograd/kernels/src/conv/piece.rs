//! A piece of a correlation: its images are padded, then each panel of places is multiplied for all destination
//! channels.
//!
//! The matrix of all windows (im2col) is never formed: where rows of places are whole registers, these are loaded from
//! the padded copy; else panels of it, 256 steps of the sum by two registers of places, are gathered from there into
//! the first-level cache just before they are used.
//!
//! Places are taken row by row, through all images of a piece, and rows of taps are the outermost part of the sum: the
//! padding above and below the image is then at one end of the sum for the rows of a panel, and is left out.

use std::ops::Range;

use super::correlate::Correlation;
use super::padded::Padded;
use crate::gemm::tile;
use crate::gemm::vector::{TileKernel, Vector};
use crate::real::Element;

/// Most runs are this long, or a few times.
const FEW: usize = 8;

/// Some rows of places of one group of some images.
pub struct Piece<'a, T> {
    pub of: &'a Correlation,
    /// The images, from the piece's first channel on.
    pub x: &'a [T],
    pub padded: Padded,
    /// Where the taps of the first place lie.
    pub taps: &'a [usize],
    /// For each slab, panels of R channels: for each step of the sum, their weights side by side.
    pub weights: &'a [T],
    /// Steps of a slab.
    pub slab: usize,
    pub windows: &'a mut [T],
    pub gathered: &'a mut [T],
    pub result: &'a mut [T],
    pub images: usize,
    /// Rows of places: the first of them in y, and their number.
    pub first: usize,
    pub rows: usize,
    pub y: *mut T,
}

/// Places of a panel that lie side by side: from `panel` on, `len` of them, in the windows and in y.
#[derive(Clone, Copy, Default)]
struct Run {
    panel: usize,
    len: usize,
    window: usize,
    y: usize,
}

impl<T: Element> TileKernel<T> for Piece<'_, T> {
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

    /// The steps of the sum in which these `len` places from `place` on read more than padding above or below the
    /// image.
    fn steps(&self, place: usize, len: usize) -> Range<usize> {
        let [us, vs] = [0, 1].map(|d| self.of.taps[d].len());
        let line = self.of.grid[1] * self.images;
        let top = ((self.first + place / line) * self.of.step[0]) as isize;
        let bottom = ((self.first + (place + len - 1) / line) * self.of.step[0]) as isize;
        let sees = |&u: &usize| {
            let tap = self.of.taps[0][u].at;
            bottom + tap >= 0 && top + tap < self.of.source[0] as isize
        };
        let Some(first) = (0..us).find(sees) else { return 0..0 };
        let last = (0..us).rfind(sees).unwrap_or(first);
        let row = self.of.channels[0] * vs;
        first * row..(last + 1) * row
    }

    /// Copies the elements that `steps` steps of the sum, from step `from` on, read at these places.
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
                            let (from, to) = (window.add(run.window), to.add(run.panel));
                            if run.len == FEW {
                                to.cast::<[T; FEW]>().write(from.cast::<[T; FEW]>().read());
                                continue;
                            }
                            let mut at = 0;
                            while at < run.len {
                                // What a register holds beyond the run is overwritten by the next run or step.
                                V::load(from.add(at)).store(to.add(at));
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
        let windows = registers::<W>(runs, len, V::LANES, |run| run.window);
        let places = registers::<W>(runs, len, V::LANES, |run| run.y).filter(|_| self.of.column == 1);
        // A sum of no terms is written, too.
        let mut from = seen.start;
        loop {
            let (within, steps) = (from % self.slab, (self.slab - from % self.slab).min(seen.end - from));
            if windows.is_none() {
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
                    match &windows {
                        Some(windows) => self.accumulate(&mut sum, from, steps, a, windows),
                        None => {
                            let b = self.gathered.as_ptr();
                            tile::accumulate(&mut sum, steps, tile::rows(a, 1), [0, R], b, width);
                        }
                    }
                    if from > seen.start {
                        tile::add(&mut sum, result, width);
                    }
                    match &places {
                        Some(places) if from + steps == seen.end => self.store(&sum, i * R, places),
                        _ => tile::store(&sum, result, width),
                    }
                }
            }
            from += steps;
            if from == seen.end {
                break;
            }
        }
        if places.is_none() {
            // SAFETY: result holds the sums of these runs.
            unsafe { self.write(runs, width) }
        }
    }

    /// Adds `steps` steps of the sum, from step `from` on, with the places where they lie in the windows.
    #[inline(always)]
    unsafe fn accumulate<V: Vector<T>, const R: usize, const W: usize>(
        &self,
        sum: &mut [[V; W]; R],
        from: usize,
        steps: usize,
        mut a: *const T,
        windows: &[usize; W],
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
                        b[j] = b[j].add(windows[j]);
                    }
                    tile::accumulate_apart(sum, channels, tile::rows(a.add(v * R), 1), [0, vs * R], b, plane);
                }
            }
            (at, a) = (at + channels * vs, a.wrapping_add(channels * vs * R));
        }
    }

    /// Writes a tile to y: channels from `first` on, as many as there are, at `places` of each. While these lines are
    /// fetched, the next tile's sums are computed.
    #[inline(always)]
    unsafe fn store<V: Vector<T>, const R: usize, const W: usize>(
        &self,
        sum: &[[V; W]; R],
        first: usize,
        places: &[usize; W],
    ) {
        for i in 0..R {
            if first + i < self.of.channels[1] {
                for j in 0..W {
                    // SAFETY: places of this piece in a channel of y; other pieces write other places.
                    unsafe { sum[i][j].store(self.y.add((first + i) * self.of.plane + places[j])) }
                }
            }
        }
    }

    /// Writes the results of these runs, `width` numbers per channel, to y.
    #[inline(always)]
    unsafe fn write(&mut self, runs: &[Run], width: usize) {
        let column = self.of.column;
        for k in 0..self.of.channels[1] {
            // SAFETY: the places of this piece in channel k of y; other pieces write other places.
            unsafe {
                let (from, to) = (self.result.as_ptr().add(k * width), self.y.add(k * self.of.plane));
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

/// Where the registers of a panel of `len` places lie, if the places of each lie side by side.
#[inline(always)]
fn registers<const W: usize>(
    runs: &[Run],
    len: usize,
    lanes: usize,
    at: impl Fn(&Run) -> usize,
) -> Option<[usize; W]> {
    let mut registers = [0; W];
    if len < W * lanes {
        return None;
    }
    for run in runs {
        let begun = run.panel / lanes;
        if !run.panel.is_multiple_of(lanes) && registers[begun] + run.panel - begun * lanes != at(run) {
            return None;
        }
        for j in run.panel.div_ceil(lanes)..(run.panel + run.len).div_ceil(lanes) {
            registers[j] = at(run) + j * lanes - run.panel;
        }
    }
    Some(registers)
}
