//! The rows, and the points on the sphere that represent them.

use std::ops::Range;

use super::{CosineFunction, Sums};
use crate::gemm::scratch;
use crate::norm::{row_lengths, unit_rows_forward};
use crate::real::Element;

/// Vectors w, of which only the directions u = w / sqrt(|w|^2 + eps) are used: rows of `d`; in a batch, `n` of them for
/// each matrix. A vector of length 0 (eps = 0) has no direction: u = 0.
#[derive(Clone, Copy, Debug)]
pub struct Vectors<'a, T> {
    /// The rows, `n` of `d` elements for each matrix.
    pub w: &'a [T],
    /// Added to every square length before its root.
    pub eps: f64,
    /// The rows of a matrix.
    pub n: usize,
    /// The elements of a row.
    pub d: usize,
}

impl<'a, T: Element> Vectors<'a, T> {
    /// Panics unless the slices have the sizes of `batch` matrices.
    pub(super) fn check(&self, batch: usize, lengths: &[f64]) {
        let Vectors { w, n, d, .. } = self;
        assert_eq!(w.len(), batch * n * d, "cosines: {batch} times {n} vectors of {d}");
        assert_eq!(lengths.len(), batch * n, "cosines: {batch} times {n} lengths");
    }

    /// Matrix `b` of a batch.
    pub(super) fn matrix(&self, b: usize) -> Vectors<'a, T> {
        let size = self.n * self.d;
        Vectors { w: &self.w[b * size..][..size], ..*self }
    }

    /// Writes sqrt(|w|^2 + eps) of every row.
    pub(super) fn measure(&self, lengths: &mut [f64]) {
        row_lengths(self.w, self.d, self.eps, lengths);
    }

    /// Calls `f` with the points of one matrix, given the lengths of its rows.
    ///
    /// The vectors themselves represent their points if their lengths are `ordinary`; else copies of length 1 do.
    pub(super) fn with_points<O>(
        &self,
        lengths: &[f64],
        ordinary: bool,
        f: impl FnOnce(Points<'_, T>) -> O,
    ) -> O {
        let Vectors { w, eps, n, d } = *self;
        scratch::with(n, |inverse: &mut [f64]| {
            if ordinary {
                inverse.iter_mut().zip(lengths).for_each(|(inverse, &length)| *inverse = 1.0 / length);
                return f(Points { rows: w, inverse, w, lengths, eps, n, d });
            }
            inverse.fill(1.0);
            scratch::with(n * d, |rows: &mut [T]| {
                scratch::with(n, |lengths| unit_rows_forward(w, d, eps, rows, lengths));
                f(Points { rows, inverse, w, lengths, eps, n, d })
            })
        })
    }
}

impl<F: CosineFunction> Sums<F> {
    /// Whether vectors of these lengths can represent their points: no square is near overflow or underflow, and
    /// neither is the steepest slope, divided by two lengths.
    pub(super) fn ordinary<T: Element>(&self, lengths: &[f64]) -> bool {
        let (range, most) = if size_of::<T>() == size_of::<f32>() { (1e9, 1e34) } else { (1e60, 1e300) };
        let least = (self.0.steepest() / most).sqrt().max(1.0 / range);
        lengths.iter().all(|&length| length >= least && length <= range)
    }
}

/// Rows that make the points u = row x inverse.
#[derive(Clone, Copy, Debug)]
pub(super) struct Points<'a, T> {
    pub rows: &'a [T],
    pub inverse: &'a [f64],
    /// The vectors themselves, and their lengths sqrt(|w|^2 + eps).
    w: &'a [T],
    lengths: &'a [f64],
    eps: f64,
    pub n: usize,
    pub d: usize,
}

impl<'a, T: Element> Points<'a, T> {
    pub fn rows(&self, rows: Range<usize>) -> &'a [T] {
        &self.rows[rows.start * self.d..rows.end * self.d]
    }

    /// The deficit of point i from length 1, 1 - |u|^2 = eps / (|w|^2 + eps), with the relative precision of the
    /// length. It is needed for points that nearly coincide.
    pub fn lack(&self, i: usize) -> f64 {
        match self.lengths[i] {
            // A vector of length 0: its point is the origin.
            0.0 => 1.0,
            _ if self.eps == 0.0 => 0.0,
            length => self.eps / (length * length),
        }
    }

    /// Point i, which must have a length, to the precision of f64.
    pub fn point(&self, i: usize) -> impl Iterator<Item = f64> + Clone + use<'a, T> {
        let length = self.lengths[i];
        let near = self.w[i * self.d..(i + 1) * self.d].iter().map(move |v| v.to_f64() / length);
        let square: f64 = near.clone().map(|v| v * v).sum();
        let rest = ((1.0 - self.lack(i)) / square).sqrt();
        near.map(move |v| v * rest)
    }
}
