//! Convolution of packed signs.

use kernels::binary::{Columns, bits, compare, dots};

use super::map::Map;

/// A binary convolution with a replicated border, followed by thresholds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conv {
    /// The filters of each group, in the order kernel position, slice, channel.
    pub groups: Vec<Columns>,
    /// Kernel size, stride, dilation; the same for height and width.
    pub kernel: usize,
    pub stride: usize,
    pub dilation: usize,
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

/// [`bits::append`], without its loop where the bits lie in one word.
#[inline]
fn put(row: &mut [u64], start: usize, from: &[u64], n: usize) {
    let (word, shift) = (start / 64, start % 64);
    if let ([bits], true) = (from, shift + n <= 64) {
        row[word] |= bits << shift;
    } else {
        bits::append(row, start, from, n);
    }
}

impl Conv {
    /// The number of filters.
    pub fn filters(&self) -> usize {
        self.groups.iter().map(Columns::count).sum()
    }

    /// The sums of products, filters of a pixel side by side, and the size of the map.
    pub fn accumulate(&self, x: &Map) -> (Vec<i32>, [usize; 2]) {
        let size = x.size.map(|n| n.div_ceil(self.stride));
        let (pixels, filters) = (size[0] * size[1], self.filters());
        let mut sums = vec![0; pixels * filters];
        let mut part = vec![0; pixels * filters / self.groups.len()];
        let mut rows = Vec::new();
        for (group, columns) in self.groups.iter().enumerate() {
            let slices = if self.groups.len() == x.slices { group..group + 1 } else { 0..x.slices };
            self.patches(x, slices, size, columns, &mut rows);
            if self.groups.len() == 1 {
                dots(&rows, columns, &mut sums);
                break;
            }
            dots(&rows, columns, &mut part);
            let n = columns.count();
            for (sums, part) in sums.chunks_exact_mut(filters).zip(part.chunks_exact(n)) {
                sums[group * n..][..n].copy_from_slice(part);
            }
        }
        (sums, size)
    }

    /// The signs under the kernel at each position of the output, as rows of words.
    fn patches(
        &self,
        x: &Map,
        slices: std::ops::Range<usize>,
        size: [usize; 2],
        columns: &Columns,
        rows: &mut Vec<u64>,
    ) {
        let (words, channels) = (columns.words(), x.channels);
        rows.clear();
        rows.resize(size[0] * size[1] * words, 0);
        let border = self.dilation * (self.kernel - 1) / 2;
        let at = |out: usize, tap: usize, axis: usize| {
            (out * self.stride + tap * self.dilation).saturating_sub(border).min(x.size[axis] - 1)
        };
        for (pixel, row) in rows.chunks_exact_mut(words).enumerate() {
            let (i, j) = (pixel / size[1], pixel % size[1]);
            let mut start = 0;
            for ki in 0..self.kernel {
                let line = at(i, ki, 0) * x.size[1];
                for kj in 0..self.kernel {
                    let from = line + at(j, kj, 1);
                    for slice in slices.clone() {
                        put(row, start, x.slice(from, slice), channels);
                        start += channels;
                    }
                }
            }
        }
    }

    /// The largest sum of each 2 x 2 window.
    pub fn max_pool(&self, sums: &[i32], size: [usize; 2]) -> (Vec<i32>, [usize; 2]) {
        let filters = self.filters();
        let half = size.map(|n| n / 2);
        let mut out = Vec::with_capacity(half[0] * half[1] * filters);
        for pixel in 0..half[0] * half[1] {
            let corner = 2 * (pixel / half[1]) * size[1] + 2 * (pixel % half[1]);
            let at = |offset: usize| &sums[(corner + offset) * filters..][..filters];
            let [a, b, c, d] = [at(0), at(1), at(size[1]), at(size[1] + 1)];
            out.extend((0..filters).map(|f| a[f].max(b[f]).max(c[f]).max(d[f])));
        }
        (out, half)
    }

    /// The signs of sums.
    pub fn signs(&self, (sums, size): (Vec<i32>, [usize; 2])) -> Map {
        let Thresholds { slices, limits, flips } = self.signs.as_ref().expect("only the last sums are real");
        let mut map = Map::empty(*slices, self.filters(), size);
        compare(&sums, limits, flips, *slices, &mut map.data);
        map
    }
}
