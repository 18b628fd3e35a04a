//! Convolution of packed signs.

use kernels::binary::{BLOCK, FOUR, Filters, compare};

use super::map::Map;

/// A binary convolution with a replicated border, followed by thresholds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conv {
    /// The filters of each group, in the order kernel position, slice, channel.
    pub groups: Vec<Filters>,
    /// Kernel size, stride, dilation; the same for height and width.
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
    /// Height and width of the windows whose largest sums are taken: 1 or 2.
    pub pool: usize,
    /// What follows the sums; nothing in the last block.
    pub signs: Option<Thresholds>,
}

/// Batch norm and multi-slice sign of integers: (x >= limit) xor flip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Thresholds {
    pub slices: usize,
    /// [slices, filters].
    pub limits: Vec<i32>,
    /// A bit for each filter.
    pub flips: Vec<u64>,
}

/// Where a convolution finds the pixels of a map with its border: row i and column j of a line of nibbles are in the
/// part (i % step, j % step), at i / step * pitch + j / step. Neighbours in the output are thus neighbours in a part.
struct Grid {
    step: usize,
    border: usize,
    rows: usize,
    pitch: usize,
}

impl Grid {
    fn part(&self) -> usize {
        self.rows * self.pitch
    }

    fn line(&self) -> usize {
        self.step * self.step * self.part()
    }

    fn at(&self, i: usize, j: usize) -> usize {
        let Grid { step, pitch, .. } = self;
        (i % step * step + j % step) * self.part() + i / step * pitch + j / step
    }

    /// The lines of a map with a replicated border, and `spare` bytes.
    fn lay_out(&self, x: &Map, spare: usize) -> Vec<u8> {
        let Grid { step, border, rows, pitch } = *self;
        let ([height, width], lines) = (x.size, x.data.len() / x.pixels());
        let mut data = vec![0; lines * self.line() + spare];
        let mut row = vec![0; step * pitch];
        for (line, from) in data.chunks_exact_mut(self.line()).zip(x.data.chunks_exact(x.pixels())) {
            for i in 0..step * rows {
                let from = &from[i.saturating_sub(border).min(height - 1) * width..][..width];
                row[..border].fill(from[0]);
                row[border..][..width].copy_from_slice(from);
                row[border + width..].fill(from[width - 1]);
                let to = self.at(i, 0);
                if step == 1 {
                    line[to..][..pitch].copy_from_slice(&row);
                } else {
                    let (even, odd) = line[to..].split_at_mut(self.part());
                    let pairs = row.as_chunks::<2>().0;
                    even.iter_mut().zip(odd).zip(pairs).for_each(|((a, b), pair)| [*a, *b] = *pair);
                }
            }
        }
        data
    }
}

impl Conv {
    /// The number of filters.
    pub fn filters(&self) -> usize {
        self.groups.iter().map(Filters::count).sum()
    }

    fn grid(&self, size: [usize; 2]) -> Grid {
        let (step, border) = (self.stride * self.pool, self.dilation * (self.kernel - 1) / 2);
        let [rows, pitch] = size.map(|n| (n + 2 * border).div_ceil(step));
        Grid { step, border, rows, pitch }
    }

    /// Height and width of the output.
    fn size(&self, x: &Map) -> [usize; 2] {
        x.size.map(|n| n.div_ceil(self.stride * self.pool))
    }

    /// Calls `each` for every four filters with their number and, for each place of a pooled window, four lines of sums:
    /// that of row i and column j of the output is at i * pitch + j.
    fn sums(&self, x: &Map, grid: &Grid, mut each: impl FnMut(usize, &mut [i16])) {
        let fours = x.channels / FOUR;
        let n = (self.size(x)[0] * grid.pitch).next_multiple_of(BLOCK);
        let data = grid.lay_out(x, n);
        let slices = x.slices / self.groups.len();
        let places = (0..self.kernel * self.kernel)
            .map(|tap| grid.at(tap / self.kernel * self.dilation, tap % self.kernel * self.dilation));
        let lines = 0..slices * fours;
        let offsets: Vec<usize> =
            places.flat_map(|place| lines.clone().map(move |line| line * grid.line() + place)).collect();
        let mut sums = vec![0; self.pool * self.pool * FOUR * n];
        let mut done = 0;
        for (group, filters) in self.groups.iter().enumerate() {
            let x = &data[group * slices * fours * grid.line()..];
            for four in 0..filters.count() / FOUR {
                for (place, sums) in sums.chunks_exact_mut(FOUR * n).enumerate() {
                    filters.products(four, &x[place * grid.part()..], &offsets, sums);
                }
                each(done, &mut sums);
                done += 1;
            }
        }
    }

    /// The sums of all filters before pooling, [filters, H, W], and the height and width.
    pub fn accumulate(&self, x: &Map) -> (Vec<i32>, [usize; 2]) {
        let (grid, size) = (self.grid(x.size), self.size(x).map(|n| n * self.pool));
        let mut all = Vec::with_capacity(self.filters() * size[0] * size[1]);
        self.sums(x, &grid, |_, sums| {
            let n = sums.len() / (self.pool * self.pool * FOUR);
            for filter in 0..FOUR {
                for i in 0..size[0] {
                    all.extend((0..size[1]).map(|j| {
                        let place = i % self.pool * self.pool + j % self.pool;
                        let at = i / self.pool * grid.pitch + j / self.pool;
                        i32::from(sums[(place * FOUR + filter) * n + at])
                    }));
                }
            }
        });
        (all, size)
    }

    /// The signs of the largest sums of each window.
    pub fn signs(&self, x: &Map) -> Map {
        let Thresholds { slices, limits, flips } = self.signs.as_ref().expect("only the last sums are real");
        let (grid, filters) = (self.grid(x.size), self.filters());
        let mut map = Map::empty(*slices, filters, self.size(x));
        let [_, width] = map.size;
        let mut line = Vec::new();
        self.sums(x, &grid, |four, sums| {
            let (sums, others) = sums.split_at_mut(sums.len() / (self.pool * self.pool));
            for other in others.chunks_exact(sums.len()) {
                sums.iter_mut().zip(other).for_each(|(sum, &other)| *sum = other.max(*sum));
            }
            line.resize(sums.len() / FOUR, 0);
            let flips = (flips[four / 16] >> (four % 16 * FOUR) & 15) as u8;
            for slice in 0..*slices {
                // No sum is as large or as small as the extremes.
                let limits =
                    limits[slice * filters..][FOUR * four..].first_chunk::<FOUR>().expect("four filters");
                let limits = limits.map(|limit| limit.clamp(i16::MIN.into(), i16::MAX.into()) as i16);
                compare(sums, limits, flips, &mut line);
                let rows = map.line(slice, four).chunks_exact_mut(width);
                rows.zip(line.chunks_exact(grid.pitch))
                    .for_each(|(to, from)| to.copy_from_slice(&from[..width]));
            }
        });
        map
    }
}
