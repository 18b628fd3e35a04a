//! Pairwise hyperspherical energy of the rows of a matrix, block by block.
//!
//! The energy is a sum over ordered pairs i != j of a function f of the cosines c_ij = u_i . u_j, so with the
//! symmetric matrix S of slopes f'(c_ij) the gradient is a product: dE/du = 2 S u. Half-space energy counts the
//! points -u_i as well: every pair contributes f(c) and f(-c), twice each, and every row its antipodal pair, of
//! cosine -|u_i|^2, which is not quite -1 if rows were normalised with an epsilon.
//!
//! Lin et al., Regularizing Neural Networks via Minimizing Hyperspherical Energy, CVPR 2020, section 3.

mod near;
mod pair;
mod points;
mod rows;
#[cfg(test)]
mod tests;

pub use pair::PairEnergy;
pub use points::Points;

use std::ops::Range;

use crate::gemm::{gemm, gram_upper, scratch};
use crate::gram::Mirror;
use crate::par::{self, Shared};
use crate::real::Element;
use crate::simd;
use rows::Rows;

/// Rows and columns of the cosines held at a time.
const ROWS: usize = 256;
const COLS: usize = 1024;
/// Pairs that one thread takes at a time.
const GRAIN: usize = 1 << 13;
/// Matrices of a batch whose products take fewer multiply-adds than this are shared out whole among the threads.
const WHOLE: usize = 1 << 24;

impl PairEnergy {
    /// The sum of f over ordered pairs of the rows of a matrix, in half-space of the 2n points {u, -u}.
    ///
    /// # Panics
    /// If there are not n d elements of u or n of `lack`, or a field of `self` is out of its range.
    pub fn forward<T: Element>(&self, points: Points<T>) -> f64 {
        self.check(points, 1);
        let n = points.n;
        let mut sum = 0.0;
        for i in (0..n).step_by(ROWS) {
            for j in (i..n).step_by(COLS) {
                let (rows, cols) = (i..n.min(i + ROWS), j..n.min(j + COLS));
                sum +=
                    scratch::with(rows.len() * cols.len(), |tile| self.tile(points, rows, cols, tile, false));
            }
        }
        self.multiplicity() * sum
    }

    /// As [`PairEnergy::forward`], and keeps the matrix of slopes (n x n), from which
    /// [`PairEnergy::backward_from_slopes`] is a single product. For n up to about a thousand.
    ///
    /// # Panics
    /// As [`PairEnergy::forward`], and if `slopes` does not have n n elements.
    pub fn forward_with_slopes<T: Element>(&self, points: Points<T>, slopes: &mut [T]) -> f64 {
        self.check(points, 1);
        let Points { u, n, d, .. } = points;
        gram_upper(n, d, u, slopes);
        let rows = (GRAIN / n.max(1)).max(1).next_multiple_of(Mirror::<()>::SIDE);
        let sum = scratch::with(n, |sums: &mut [f64]| {
            let (all, out) = (Shared::new(slopes), Shared::new(sums));
            par::run(n.div_ceil(rows), |piece| {
                let range = piece * rows..n.min((piece + 1) * rows);
                // SAFETY: a piece has its own rows from the diagonal on, and below it their mirror images; and
                // their sums.
                unsafe {
                    for i in range.clone() {
                        let (cosines, sums) = (all.slice(i * n + i, n - i), out.slice(i, 1));
                        let at = (i, i, n - i);
                        simd::dispatch(Rows { energy: self, points, at, cosines, slopes: true, sums });
                    }
                    simd::dispatch(Mirror { n, rows: range, all });
                }
            });
            sums.iter().sum::<f64>()
        });
        self.multiplicity() * sum
    }

    /// Writes `scale` dE/du, given the slopes that [`PairEnergy::forward_with_slopes`] kept.
    ///
    /// # Panics
    /// If a slice does not have its size.
    pub fn backward_from_slopes<T: Element>(&self, slopes: &[T], points: Points<T>, scale: T, du: &mut [T]) {
        let Points { u, n, d, .. } = points;
        let scale = scale * T::from_f64(self.multiplicity());
        gemm(n, d, n, scale, slopes, false, u, false, T::ZERO, du);
    }

    /// As [`PairEnergy::forward_with_slopes`], and writes dE/du (n x d) instead of the slopes: less to keep where d is
    /// below n, and the slopes never leave the cache.
    ///
    /// # Panics
    /// As [`PairEnergy::forward`], and if `du` does not have n d elements.
    pub fn forward_with_gradient<T: Element>(&self, points: Points<T>, du: &mut [T]) -> f64 {
        scratch::with(points.n * points.n, |slopes: &mut [T]| {
            let sum = self.forward_with_slopes(points, slopes);
            self.backward_from_slopes(slopes, points, T::ONE, du);
            sum
        })
    }

    /// Writes `scale` dE/du (n x d). Cosines are computed again, a block at a time.
    ///
    /// # Panics
    /// As [`PairEnergy::forward`], and if `du` does not have n d elements.
    pub fn backward<T: Element>(&self, points: Points<T>, scale: T, du: &mut [T]) {
        self.check(points, 1);
        let Points { n, d, .. } = points;
        assert_eq!(du.len(), n * d, "energy: a gradient of {n} x {d}");
        let scale = scale * T::from_f64(self.multiplicity());
        for i in (0..n).step_by(ROWS) {
            let rows = i..n.min(i + ROWS);
            let du = &mut du[i * d..rows.end * d];
            for j in (0..n).step_by(COLS) {
                let cols = j..n.min(j + COLS);
                scratch::with(rows.len() * cols.len(), |tile| {
                    self.tile(points, rows.clone(), cols.clone(), tile, true);
                    let beta = if j == 0 { T::ZERO } else { T::ONE };
                    let (m, k) = (rows.len(), cols.len());
                    gemm(m, d, k, scale, tile, false, points.rows(cols), false, beta, du);
                });
            }
        }
    }

    /// How often each i < j counts: in both orders, and in half-space with both signs of the first point.
    fn multiplicity(&self) -> f64 {
        if self.half_space { 4.0 } else { 2.0 }
    }

    fn check<T: Element>(&self, points: Points<T>, batch: usize) {
        self.check_fields();
        points.check(batch);
    }

    /// The sum over the pairs i < j of two ranges of rows. With `slopes`, `tile` is left with their slopes.
    fn tile<T: Element>(
        &self,
        points: Points<T>,
        rows: Range<usize>,
        cols: Range<usize>,
        tile: &mut [T],
        slopes: bool,
    ) -> f64 {
        let (m, n) = (rows.len(), cols.len());
        let (a, b) = (points.rows(rows.clone()), points.rows(cols.clone()));
        gemm(m, n, points.d, T::ONE, a, false, b, true, T::ZERO, tile);
        scratch::with(m, |sums: &mut [f64]| {
            let out = Shared::new(sums);
            let together = (GRAIN / n).max(1);
            par::chunks(tile, together * n, |piece, cosines| {
                let first = piece * together;
                // SAFETY: one sum a row of the tile, cut as the tile is.
                let sums = unsafe { out.slice(first, cosines.len() / n) };
                let at = (rows.start + first, cols.start, n);
                simd::dispatch(Rows { energy: self, points, at, cosines, slopes, sums });
            });
            sums.iter().sum()
        })
    }
}

/// # A batch of matrices
impl PairEnergy {
    /// [`PairEnergy::forward`] of each of `sums.len()` matrices; with `slopes` (a matrix each, or none at all)
    /// [`PairEnergy::forward_with_slopes`].
    ///
    /// # Panics
    /// As these.
    pub fn forward_batch<T: Element>(&self, points: Points<T>, slopes: Option<&mut [T]>, sums: &mut [f64]) {
        let (batch, n) = (sums.len(), points.n);
        self.check(points, batch);
        let slopes = slopes.map(|slopes| {
            assert_eq!(slopes.len(), batch * n * n, "energy: {batch} times {n} x {n} slopes");
            Shared::new(slopes)
        });
        let out = Shared::new(sums);
        each(batch, n * n * points.d, |b| {
            let own = points.matrix(b);
            let sum = match slopes {
                None => self.forward(own),
                // SAFETY: matrix b is this piece's alone.
                Some(slopes) => self.forward_with_slopes(own, unsafe { slopes.slice(b * n * n, n * n) }),
            };
            // SAFETY: as is number b.
            unsafe { *out.at(b) = sum };
        });
    }

    /// [`PairEnergy::forward_with_gradient`] of each of `sums.len()` matrices.
    ///
    /// # Panics
    /// As this.
    pub fn forward_batch_with_gradients<T: Element>(
        &self,
        points: Points<T>,
        du: &mut [T],
        sums: &mut [f64],
    ) {
        let Points { n, d, .. } = points;
        self.check(points, sums.len());
        assert_eq!(du.len(), points.u.len(), "energy: gradients of {n} x {d}");
        let (batch, du, out) = (sums.len(), Shared::new(du), Shared::new(sums));
        each(batch, n * n * d, |b| {
            // SAFETY: matrix b and number b are this piece's alone.
            unsafe { *out.at(b) = self.forward_with_gradient(points.matrix(b), du.slice(b * n * d, n * d)) };
        });
    }

    /// [`PairEnergy::backward`] of each of `scales.len()` matrices; with `slopes`
    /// [`PairEnergy::backward_from_slopes`].
    ///
    /// # Panics
    /// As these.
    pub fn backward_batch<T: Element>(
        &self,
        slopes: Option<&[T]>,
        points: Points<T>,
        scales: &[T],
        du: &mut [T],
    ) {
        let Points { n, d, .. } = points;
        self.check(points, scales.len());
        assert_eq!(du.len(), points.u.len(), "energy: gradients of {n} x {d}");
        let du = Shared::new(du);
        each(scales.len(), n * n * d, |b| {
            let (own, scale) = (points.matrix(b), scales[b]);
            // SAFETY: matrix b is this piece's alone.
            let du = unsafe { du.slice(b * n * d, n * d) };
            match slopes {
                None => self.backward(own, scale, du),
                Some(slopes) => self.backward_from_slopes(&slopes[b * n * n..][..n * n], own, scale, du),
            }
        });
    }
}

/// Calls `f` for each of `count` matrices, which take `work` multiply-adds each.
fn each(count: usize, work: usize, f: impl Fn(usize) + Sync) {
    if work < WHOLE {
        par::run(count, f);
    } else {
        (0..count).for_each(f);
    }
}
