//! A view: a shape with a signed stride for each axis, laid over a slice.

use crate::MAX_RANK;
use crate::par::{self, Shared};
use crate::real::Arithmetic;
use crate::simd::{self, Kernel};

/// Elements that one thread moves at a time.
const GRAIN: usize = 1 << 15;

/// Element (i, j, …) of a view of a slice `s` is `s[offset + i * strides[0] + j * strides[1] + …]`.
///
/// Unused leading axes have length 1. Axes of length 1 are dropped and neighbours joined where they can be, so
/// that the last axis is as long as possible.
pub(super) struct View {
    dims: [usize; MAX_RANK],
    strides: [isize; MAX_RANK],
    offset: usize,
}

const LAST: usize = MAX_RANK - 1;

impl View {
    /// From (length, stride) of each axis, the first one outermost.
    pub fn new(
        axes: impl DoubleEndedIterator<Item = (usize, isize)> + ExactSizeIterator,
        offset: usize,
    ) -> View {
        assert!(axes.len() <= MAX_RANK, "layout: {} axes, but at most {MAX_RANK} are possible", axes.len());
        let mut view = View { dims: [1; MAX_RANK], strides: [1; MAX_RANK], offset };
        let mut free = MAX_RANK;
        for (dim, stride) in axes.rev().filter(|&(dim, _)| dim != 1) {
            if free < MAX_RANK && stride == view.strides[free] * view.dims[free] as isize {
                view.dims[free] *= dim;
            } else {
                free -= 1;
                (view.dims[free], view.strides[free]) = (dim, stride);
            }
        }
        view
    }

    fn len(&self) -> usize {
        self.dims.iter().product()
    }

    /// Panics unless every element of the view lies in a slice of `len` elements. The view must not be empty.
    fn assert_inside(&self, len: usize) {
        let reach = |forward: bool| -> isize {
            let axes = self.dims.iter().zip(self.strides).filter(|&(_, s)| (s > 0) == forward);
            axes.map(|(&d, s)| (d as isize - 1) * s).sum()
        };
        let offset = self.offset as isize;
        assert!(
            offset + reach(false) >= 0 && offset + reach(true) < len as isize,
            "layout: the view stays inside its slice"
        );
    }

    /// Copies the view of `x` to the contiguous `out`.
    pub fn read<T: Copy + Send + Sync>(&self, x: &[T], out: &mut [T]) {
        assert_eq!(out.len(), self.len(), "layout: output of the given shape");
        if out.is_empty() {
            return;
        }
        self.assert_inside(x.len());
        let (inner, step) = (self.dims[LAST], self.strides[LAST]);
        // A long axis that is contiguous in x but not in out: a transposition.
        let across = (0..LAST).find(|&a| self.strides[a] == 1 && self.dims[a] >= TILE);
        if let Some(axis) = across.filter(|_| step != 1 && inner >= TILE) {
            return self.transpose(axis, x, out);
        }
        let rows = (GRAIN / inner).max(1);
        par::chunks(out, rows * inner, |piece, out| {
            let walk = self.rows(piece * rows);
            for (start, row) in walk.zip(out.chunks_exact_mut(inner)) {
                match step {
                    1 => row.copy_from_slice(&x[start..start + inner]),
                    0 => row.fill(x[start]),
                    _ => {
                        let mut at = start as isize;
                        for v in row {
                            *v = x[at as usize];
                            at += step;
                        }
                    }
                }
            }
        });
    }

    /// Copies the contiguous `x` to the places of the view in `out`. No two places may be the same: all strides
    /// must be those of distinct elements, as in a slice.
    pub fn write<T: Copy + Send + Sync>(&self, x: &[T], out: &mut [T]) {
        assert_eq!(x.len(), self.len(), "layout: input of the given shape");
        if x.is_empty() {
            return;
        }
        self.assert_inside(out.len());
        let (inner, step) = (self.dims[LAST], self.strides[LAST]);
        let rows = (GRAIN / inner).max(1);
        let out = Shared::new(out);
        par::run((x.len() / inner).div_ceil(rows), |piece| {
            let first = piece * rows;
            let x = &x[first * inner..x.len().min((first + rows) * inner)];
            for (start, row) in self.rows(first).zip(x.chunks_exact(inner)) {
                // SAFETY: assert_inside holds for out, and the places of the view are distinct.
                unsafe {
                    if step == 1 {
                        out.slice(start, inner).copy_from_slice(row);
                    } else {
                        for (i, v) in row.iter().enumerate() {
                            *out.at((start as isize + i as isize * step) as usize) = *v;
                        }
                    }
                }
            }
        });
    }

    /// Where the runs along the last axis start, from the run with number `first` on; endless.
    fn rows(&self, first: usize) -> Rows<'_> {
        let mut rest = first;
        let mut index = [0; MAX_RANK];
        let mut at = self.offset as isize;
        for a in (0..LAST).rev() {
            index[a] = rest % self.dims[a];
            rest /= self.dims[a];
            at += index[a] as isize * self.strides[a];
        }
        Rows { view: self, index, at }
    }

    /// The copy of a view whose axis `axis` has stride 1 in `x`: for every index of the other axes, a matrix
    /// is transposed.
    fn transpose<T: Copy + Send + Sync>(&self, axis: usize, x: &[T], out: &mut [T]) {
        let out_strides = super::strides(&self.dims).0;
        let (rows, cols) = (self.dims[axis], self.dims[LAST]);
        // The axes that number the matrices, and where each lies in x and in out.
        let mut dims = self.dims;
        (dims[axis], dims[LAST]) = (1, 1);
        let plane = |mut number: usize| {
            let (mut from, mut to) = (self.offset as isize, 0);
            for a in (0..MAX_RANK).rev() {
                let i = number % dims[a];
                number /= dims[a];
                from += i as isize * self.strides[a];
                to += i * out_strides[a];
            }
            (from, to)
        };
        let stripe = (GRAIN / cols).next_multiple_of(BLOCK);
        let stripes = rows.div_ceil(stripe);
        let planes: usize = dims.iter().product();
        let out = Shared::new(out);
        par::run(planes * stripes, |piece| {
            let (from, to) = plane(piece / stripes);
            let first = piece % stripes * stripe;
            simd::dispatch(Transpose {
                x,
                from: from + first as isize,
                from_stride: self.strides[LAST],
                out,
                to: to + first * out_strides[axis],
                to_stride: out_strides[axis],
                rows: stripe.min(rows - first),
                cols,
            });
        });
    }
}

struct Rows<'a> {
    view: &'a View,
    index: [usize; MAX_RANK],
    at: isize,
}

impl Iterator for Rows<'_> {
    type Item = usize;
    #[inline]
    fn next(&mut self) -> Option<usize> {
        let start = self.at;
        for a in (0..LAST).rev() {
            self.index[a] += 1;
            self.at += self.view.strides[a];
            if self.index[a] < self.view.dims[a] {
                break;
            }
            self.at -= self.index[a] as isize * self.view.strides[a];
            self.index[a] = 0;
        }
        Some(start as usize)
    }
}

/// Side of the square that is transposed in registers.
const TILE: usize = 8;
/// Side of the square that is transposed at a time, so that its cache lines remain in the cache.
const BLOCK: usize = 128;

/// `out[to + i * to_stride + j] = x[from + j * from_stride + i]` for i < rows, j < cols.
struct Transpose<'a, T> {
    x: &'a [T],
    from: isize,
    from_stride: isize,
    out: Shared<T>,
    to: usize,
    to_stride: usize,
    rows: usize,
    cols: usize,
}

impl<T: Copy> Kernel for Transpose<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let whole_rows = self.rows / TILE * TILE;
        let whole_cols = self.cols / TILE * TILE;
        for i0 in (0..whole_rows).step_by(BLOCK) {
            for j0 in (0..whole_cols).step_by(BLOCK) {
                for j in (j0..whole_cols.min(j0 + BLOCK)).step_by(TILE) {
                    for i in (i0..whole_rows.min(i0 + BLOCK)).step_by(TILE) {
                        self.tile(i, j);
                    }
                }
            }
        }
        self.single(0..whole_rows, whole_cols..self.cols);
        self.single(whole_rows..self.rows, 0..self.cols);
    }
}

impl<T: Copy> Transpose<'_, T> {
    #[inline(always)]
    fn tile(&self, i: usize, j: usize) {
        let start = self.from + i as isize;
        let rows: [[T; TILE]; TILE] = std::array::from_fn(|l| {
            let row = (start + (j + l) as isize * self.from_stride) as usize;
            *self.x[row..].first_chunk().expect("inside the view")
        });
        for l in 0..TILE {
            // SAFETY: inside the view's matrix in out, whose pieces and matrices are disjoint.
            let out = unsafe { self.out.slice(self.to + (i + l) * self.to_stride + j, TILE) };
            out.copy_from_slice(&rows.each_ref().map(|row| row[l]));
        }
    }

    #[inline(always)]
    fn single(&self, rows: std::ops::Range<usize>, cols: std::ops::Range<usize>) {
        for i in rows {
            for j in cols.clone() {
                let v = self.x[(self.from + i as isize + j as isize * self.from_stride) as usize];
                // SAFETY: as in tile.
                unsafe { *self.out.at(self.to + i * self.to_stride + j) = v };
            }
        }
    }
}
