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
mod rows;
#[cfg(test)]
mod tests;

pub use pair::PairEnergy;

use std::ops::Range;

use crate::gemm::{gemm, gram_upper, scratch};
use crate::par::{self, Shared};
use crate::real::Element;
use crate::simd;
use rows::{Mirror, Rows};

/// Rows and columns of the cosines held at a time.
const ROWS: usize = 256;
const COLS: usize = 1024;
/// Pairs that one thread takes at a time.
const GRAIN: usize = 1 << 13;
/// Matrices of a batch whose products take fewer multiply-adds than this are shared out whole among the threads.
const WHOLE: usize = 1 << 24;

impl PairEnergy {
    /// The sum of f over ordered pairs of the `n` rows of `u` (n x d), in half-space of the 2n points {u, -u}.
    ///
    /// # Panics
    /// If `u` does not have n d elements, or a field of `self` is out of its range.
    pub fn forward<T: Element>(&self, u: &[T], n: usize, d: usize) -> f64 {
        self.check_rows(u, n, d);
        let mut sum = 0.0;
        for i in (0..n).step_by(ROWS) {
            for j in (i..n).step_by(COLS) {
                let (rows, cols) = (ROWS.min(n - i), COLS.min(n - j));
                sum +=
                    scratch::with(rows * cols, |tile| self.tile(u, d, i..i + rows, j..j + cols, tile, false));
            }
        }
        self.multiplicity() * sum
    }

    /// As [`PairEnergy::forward`], and keeps the matrix of slopes (n x n), from which
    /// [`PairEnergy::backward_from_slopes`] is a single product. For n up to about a thousand.
    ///
    /// # Panics
    /// As [`PairEnergy::forward`], and if `slopes` does not have n n elements.
    pub fn forward_with_slopes<T: Element>(&self, u: &[T], n: usize, d: usize, slopes: &mut [T]) -> f64 {
        self.check_rows(u, n, d);
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
                        simd::dispatch(Rows { energy: self, u, d, at, cosines, slopes: true, sums });
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
    pub fn backward_from_slopes<T: Element>(
        &self,
        slopes: &[T],
        u: &[T],
        n: usize,
        d: usize,
        scale: T,
        du: &mut [T],
    ) {
        let scale = scale * T::from_f64(self.multiplicity());
        gemm(n, d, n, scale, slopes, false, u, false, T::ZERO, du);
    }

    /// Writes `scale` dE/du (n x d). Cosines are computed again, a block at a time.
    ///
    /// # Panics
    /// As [`PairEnergy::forward`], and if `du` does not have n d elements.
    pub fn backward<T: Element>(&self, u: &[T], n: usize, d: usize, scale: T, du: &mut [T]) {
        self.check_rows(u, n, d);
        assert_eq!(du.len(), n * d, "energy: a gradient of {n} x {d}");
        let scale = scale * T::from_f64(self.multiplicity());
        for i in (0..n).step_by(ROWS) {
            let rows = ROWS.min(n - i);
            for j in (0..n).step_by(COLS) {
                let cols = COLS.min(n - j);
                scratch::with(rows * cols, |tile| {
                    self.tile(u, d, i..i + rows, j..j + cols, tile, true);
                    let beta = if j == 0 { T::ZERO } else { T::ONE };
                    let (u, du) = (&u[j * d..(j + cols) * d], &mut du[i * d..(i + rows) * d]);
                    gemm(rows, d, cols, scale, tile, false, u, false, beta, du);
                });
            }
        }
    }

    /// How often each i < j counts: in both orders, and in half-space with both signs of the first point.
    fn multiplicity(&self) -> f64 {
        if self.half_space { 4.0 } else { 2.0 }
    }

    fn check_rows<T>(&self, u: &[T], n: usize, d: usize) {
        self.check();
        assert_eq!(u.len(), n * d, "energy: {n} rows of {d}");
    }

    /// The sum over the pairs i < j of two ranges of rows of `u`. With `slopes`, `tile` is left with their slopes.
    fn tile<T: Element>(
        &self,
        u: &[T],
        d: usize,
        rows: Range<usize>,
        cols: Range<usize>,
        tile: &mut [T],
        slopes: bool,
    ) -> f64 {
        let (m, n) = (rows.len(), cols.len());
        let (a, b) = (&u[rows.start * d..rows.end * d], &u[cols.start * d..cols.end * d]);
        gemm(m, n, d, T::ONE, a, false, b, true, T::ZERO, tile);
        scratch::with(m, |sums: &mut [f64]| {
            let out = Shared::new(sums);
            let together = (GRAIN / n).max(1);
            par::chunks(tile, together * n, |piece, cosines| {
                let first = piece * together;
                // SAFETY: one sum a row of the tile, cut as the tile is.
                let sums = unsafe { out.slice(first, cosines.len() / n) };
                let at = (rows.start + first, cols.start, n);
                simd::dispatch(Rows { energy: self, u, d, at, cosines, slopes, sums });
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
    pub fn forward_batch<T: Element>(
        &self,
        u: &[T],
        n: usize,
        d: usize,
        slopes: Option<&mut [T]>,
        sums: &mut [f64],
    ) {
        self.check_rows(u, sums.len() * n, d);
        let slopes = slopes.map(|slopes| {
            assert_eq!(slopes.len(), sums.len() * n * n, "energy: {} times {n} x {n} slopes", sums.len());
            Shared::new(slopes)
        });
        let (batch, out) = (sums.len(), Shared::new(sums));
        each(batch, n * n * d, |b| {
            let u = &u[b * n * d..][..n * d];
            let sum = match slopes {
                None => self.forward(u, n, d),
                // SAFETY: matrix b is this piece's alone.
                Some(slopes) => self.forward_with_slopes(u, n, d, unsafe { slopes.slice(b * n * n, n * n) }),
            };
            // SAFETY: as is number b.
            unsafe { *out.at(b) = sum };
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
        u: &[T],
        n: usize,
        d: usize,
        scales: &[T],
        du: &mut [T],
    ) {
        self.check_rows(u, scales.len() * n, d);
        assert_eq!(du.len(), u.len(), "energy: gradients of {n} x {d}");
        let du = Shared::new(du);
        each(scales.len(), n * n * d, |b| {
            let (own, scale) = (&u[b * n * d..][..n * d], scales[b]);
            // SAFETY: matrix b is this piece's alone.
            let du = unsafe { du.slice(b * n * d, n * d) };
            match slopes {
                None => self.backward(own, n, d, scale, du),
                Some(slopes) => {
                    self.backward_from_slopes(&slopes[b * n * n..][..n * n], own, n, d, scale, du)
                }
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
