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
#[cfg(test)]
mod tests;

pub use pair::PairEnergy;

use std::ops::Range;

use crate::gemm::{gemm, scratch};
use crate::par::{self, Shared};
use crate::real::{Arithmetic, Element};
use crate::simd::{self, Kernel};
use pair::{ANY, LOG, ONE, TWO};

/// Rows and columns of the cosines held at a time.
const ROWS: usize = 256;
const COLS: usize = 1024;
/// Pairs that one thread takes at a time.
const GRAIN: usize = 1 << 13;

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
        assert_eq!(slopes.len(), n * n, "energy: {n} x {n} slopes");
        self.multiplicity() * self.tile(u, d, 0..n, 0..n, slopes, true)
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
        cosines(u, d, rows.clone(), cols.clone(), tile);
        // Near pairs sit out as orthogonal ones, and then take their own places.
        let near = self.near_pairs(u, d, rows.clone(), cols.clone(), tile);
        near.iter().for_each(|pair| tile[pair.at] = T::ZERO);
        let width = cols.len();
        let mut sum = self.sum(tile, width, rows.start as isize - cols.start as isize, slopes);
        let orthogonal = self.pair(0.0f64).0 * if self.half_space { 2.0 } else { 1.0 };
        for pair in near {
            if slopes {
                tile[pair.at] = pair.slope;
            }
            if cols.start + pair.at % width > rows.start + pair.at / width {
                sum += pair.f - orthogonal;
            }
        }
        sum
    }

    /// The sum over the pairs i < j of a tile of cosines with `cols` columns, row 0 of which has the diagonal
    /// (i = j) in column `diagonal`. With `slopes`, every cosine is replaced by its slope.
    ///
    /// The diagonal itself stands for half an antipodal pair, or for nothing.
    fn sum<T: Element>(&self, tile: &mut [T], cols: usize, diagonal: isize, slopes: bool) -> f64 {
        if tile.is_empty() {
            return 0.0;
        }
        let rows = tile.len() / cols;
        scratch::with(rows, |sums: &mut [f64]| {
            let out = Shared::new(sums);
            let rows_a_piece = (GRAIN / cols).max(1);
            par::chunks(tile, rows_a_piece * cols, |piece, tile| {
                let first = piece * rows_a_piece;
                // SAFETY: one sum a row of the tile, cut as the tile is.
                let sums = unsafe { out.slice(first, tile.len() / cols) };
                let diagonal = diagonal + first as isize;
                simd::dispatch(Rows { energy: self, tile, cols, diagonal, slopes, sums });
            });
            sums.iter().sum()
        })
    }
}

/// The products of two ranges of rows of `u`.
fn cosines<T: Element>(u: &[T], d: usize, rows: Range<usize>, cols: Range<usize>, out: &mut [T]) {
    let (m, n) = (rows.len(), cols.len());
    let (a, b) = (&u[rows.start * d..rows.end * d], &u[cols.start * d..cols.end * d]);
    gemm(m, n, d, T::ONE, a, false, b, true, T::ZERO, out);
}

/// Sums, and slopes if wanted, of some rows of a tile of cosines.
struct Rows<'a, T> {
    energy: &'a PairEnergy,
    tile: &'a mut [T],
    cols: usize,
    /// The column of the diagonal in the first row.
    diagonal: isize,
    slopes: bool,
    sums: &'a mut [f64],
}

impl<T: Element> Kernel for Rows<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        match self.energy.exponent() {
            LOG => self.with_exponent::<A, LOG>(),
            ONE => self.with_exponent::<A, ONE>(),
            TWO => self.with_exponent::<A, TWO>(),
            _ => self.with_exponent::<A, ANY>(),
        }
    }
}

impl<T: Element> Rows<'_, T> {
    #[inline(always)]
    fn with_exponent<A: Arithmetic, const S: u8>(self) {
        match (self.energy.angular, self.energy.half_space) {
            (false, false) => self.rows::<A, S, false, false>(),
            (false, true) => self.rows::<A, S, false, true>(),
            (true, false) => self.rows::<A, S, true, false>(),
            (true, true) => self.rows::<A, S, true, true>(),
        }
    }

    #[inline(always)]
    fn rows<A: Arithmetic, const S: u8, const ANGULAR: bool, const HALF: bool>(self) {
        let energy = self.energy;
        for (r, (row, sum)) in self.tile.chunks_exact_mut(self.cols).zip(self.sums).enumerate() {
            let diagonal = self.diagonal + r as isize;
            let own = row.get(diagonal as usize).copied();
            let (lower, upper) = row.split_at_mut((diagonal + 1).clamp(0, self.cols as isize) as usize);
            if self.slopes {
                replace::<T, A, S, ANGULAR, HALF>(energy, lower);
            }
            *sum = replace::<T, A, S, ANGULAR, HALF>(energy, upper);
            if let Some(square) = own {
                let (f, df) = match HALF {
                    true => energy.pair_as::<T, A, S, ANGULAR>(-snap(square)),
                    false => (T::ZERO, T::ZERO),
                };
                *sum += 0.5 * f.to_f64();
                row[diagonal as usize] = -df;
            }
        }
    }
}

/// A square length that is 1 up to rounding is 1: the angle to the antipode would lose half its digits.
#[inline(always)]
fn snap<T: Element>(square: T) -> T {
    let unit = (T::ONE - square).to_f64().abs() <= 16.0 * pair::epsilon::<T>();
    if unit { T::ONE } else { square }
}

/// Replaces cosines by slopes and returns the sum of the values.
#[inline(always)]
fn replace<T: Element, A: Arithmetic, const S: u8, const ANGULAR: bool, const HALF: bool>(
    energy: &PairEnergy,
    cosines: &mut [T],
) -> f64 {
    const LANES: usize = 16;
    let mut sums = [T::ZERO; LANES];
    let (blocks, tail) = cosines.as_chunks_mut::<LANES>();
    for block in blocks {
        for l in 0..LANES {
            let (f, df) = energy.both::<T, A, S, ANGULAR, HALF>(block[l]);
            block[l] = df;
            sums[l] = sums[l] + f;
        }
    }
    for (c, sum) in tail.iter_mut().zip(&mut sums) {
        let (f, df) = energy.both::<T, A, S, ANGULAR, HALF>(*c);
        *c = df;
        *sum = *sum + f;
    }
    sums.iter().map(|v| v.to_f64()).sum()
}
