//! The neurons that energies are of, and the points on the sphere that stand for them.

use std::ops::Range;

use super::pair::PairEnergy;
use crate::gemm::scratch;
use crate::norm::{row_lengths, unit_rows_forward};
use crate::real::Element;

/// Neurons w, of which only the directions u = w / sqrt(|w|^2 + eps) count: rows of `d`; in a batch, `n` of them for
/// each matrix. A neuron without length (eps = 0) has no direction: u = 0.
#[derive(Clone, Copy, Debug)]
pub struct Neurons<'a, T> {
    /// The rows, `n` of `d` elements for each matrix.
    pub w: &'a [T],
    /// Added to every square length before its root.
    pub eps: f64,
    /// The rows of a matrix.
    pub n: usize,
    /// The elements of a row.
    pub d: usize,
}

impl<'a, T: Element> Neurons<'a, T> {
    /// Panics unless the slices have the sizes of `batch` matrices.
    pub(super) fn check(&self, batch: usize, lengths: &[f64]) {
        let Neurons { w, n, d, .. } = self;
        assert_eq!(w.len(), batch * n * d, "energy: {batch} times {n} neurons of {d}");
        assert_eq!(lengths.len(), batch * n, "energy: {batch} times {n} lengths");
    }

    /// Matrix `b` of a batch.
    pub(super) fn matrix(&self, b: usize) -> Neurons<'a, T> {
        let size = self.n * self.d;
        Neurons { w: &self.w[b * size..][..size], ..*self }
    }

    /// Writes sqrt(|w|^2 + eps) of every row.
    pub(super) fn measure(&self, lengths: &mut [f64]) {
        row_lengths(self.w, self.d, self.eps, lengths);
    }

    /// Calls `f` with the points of one matrix, given the lengths of its rows.
    ///
    /// The neurons themselves stand for their points if their `ordinary` lengths allow it; else copies of length 1 do.
    pub(super) fn with_points<O>(
        &self,
        lengths: &[f64],
        ordinary: bool,
        f: impl FnOnce(Points<'_, T>) -> O,
    ) -> O {
        let Neurons { w, eps, n, d } = *self;
        scratch::with(n, |inverse: &mut [f64]| {
            if ordinary {
                inverse.iter_mut().zip(lengths).for_each(|(inverse, &length)| *inverse = 1.0 / length);
                return f(Points { rows: w, inverse, lengths, eps, n, d });
            }
            scratch::with(n * d, |u: &mut [T]| {
                scratch::with(n, |lengths| unit_rows_forward(w, d, eps, u, lengths));
                inverse.fill(1.0);
                f(Points { rows: u, inverse, lengths, eps, n, d })
            })
        })
    }
}

impl PairEnergy {
    /// Whether neurons of these lengths can stand for their points: no square of theirs comes near the ends of the
    /// exponents, nor does the steepest slope, divided by two lengths.
    pub(super) fn ordinary<T: Element>(&self, lengths: &[f64]) -> bool {
        let (range, most) = if size_of::<T>() == size_of::<f32>() { (1e9, 1e34) } else { (1e60, 1e300) };
        let least = (self.steepest() / most).sqrt().max(1.0 / range);
        lengths.iter().all(|&length| length >= least && length <= range)
    }
}

/// Rows whose directions are the points u = row x inverse.
#[derive(Clone, Copy, Debug)]
pub(super) struct Points<'a, T> {
    pub rows: &'a [T],
    pub inverse: &'a [f64],
    /// sqrt(|w|^2 + eps).
    lengths: &'a [f64],
    eps: f64,
    pub n: usize,
    pub d: usize,
}

impl<'a, T: Element> Points<'a, T> {
    pub fn rows(&self, rows: Range<usize>) -> &'a [T] {
        &self.rows[rows.start * self.d..rows.end * self.d]
    }

    /// What point i lacks to length 1, 1 - |u|^2 = eps / (|w|^2 + eps), to full relative precision, however little it
    /// is: points that nearly coincide need it.
    pub fn lack(&self, i: usize) -> f64 {
        let length = self.lengths[i];
        if self.eps == 0.0 { 0.0 } else { self.eps / (length * length) }
    }

    /// Row i, and what makes it the point to the precision of f64.
    pub fn point(&self, i: usize) -> (&'a [T], f64) {
        let row = self.rows(i..i + 1);
        let square: f64 = row.iter().map(|v| v.to_f64() * v.to_f64()).sum();
        (row, ((1.0 - self.lack(i)) / square).sqrt())
    }
}
