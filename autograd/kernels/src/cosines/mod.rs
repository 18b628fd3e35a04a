//! Sums over pairs of rows of a function of their cosine, and the gradient of such a sum.
//!
//! The sum is over ordered pairs i != j of f(c_ij), with the cosines c_ij = u_i . u_j of the directions
//! u = w / n, n = sqrt(|w|^2 + eps), so with the symmetric matrix S of slopes f'(c_ij) its gradient is dE/du = 2 S u,
//! of which only the part orthogonal to u contributes: dE/dw = (2 S u - u (u . 2 S u)) / n. Because u_i . (S u)_i = r_i
//! is the sum over j of f'(c_ij) c_ij, which are already computed, the whole gradient is a single product,
//!
//!   dE/dW = 2 K W,   K = D^-1 (S - diag r) D^-1,   D = diag n,
//!
//! and the directions themselves are not formed, c_ij = w_i . w_j / (n_i n_j), unless lengths are too small or too large
//! for such products.
//!
//! With antipodes the points -u_i count as well: every pair contributes f(c) and f(-c), twice each, and every
//! row its antipodal pair, of cosine -|u_i|^2, which is not quite -1 if eps is not 0. Its slope f' is on the diagonal of
//! S with a minus, and takes part in r_i with |u_i|^2 times that: together, -f' (1 - |u_i|^2).
//!
//! The function is the caller's, a [`CosineFunction`].

mod function;
mod near;
mod points;
mod rows;
#[cfg(test)]
mod tests;

pub use function::{CosineFunction, Specialised, Visitor};
pub use points::Vectors;

use std::ops::Range;

use crate::gemm::{gemm, gram_upper, scratch};
use crate::gram::Mirror;
use crate::par::{self, Shared};
use crate::real::Element;
use crate::simd;
use points::Points;
use rows::Rows;

/// Rows of the cosines held at a time.
pub const ROWS: usize = 256;
/// Columns of the cosines held at a time.
pub const COLS: usize = 1024;
/// Pairs that one thread takes at a time.
const GRAIN: usize = 1 << 13;
/// Matrices of a batch whose products take fewer multiply-adds than this are distributed to the threads as a whole.
const WHOLE: usize = 1 << 24;

/// The sum of a function of cosines over pairs of rows.
#[derive(Clone, Copy, Debug)]
pub struct Sums<F>(pub F);

/// What a forward pass saved for backward.
#[derive(Clone, Copy, Debug)]
pub enum Kept<'a, T> {
    /// Nothing.
    Nothing,
    /// K, n x n.
    Coefficients(&'a [T]),
    /// The gradient, n x d, not scaled yet.
    Gradient(&'a [T]),
}

/// # One matrix
impl<F: CosineFunction> Sums<F> {
    /// The sum of f over ordered pairs of the rows of a matrix, with antipodes of the 2n points {u, -u}, and the
    /// rows' lengths sqrt(|w|^2 + eps).
    ///
    /// # Panics
    /// If there are not n d numbers or n lengths.
    pub fn forward<T: Element>(&self, vectors: Vectors<T>, lengths: &mut [f64]) -> f64 {
        let n = vectors.n;
        let mut sum = 0.0;
        self.measured(vectors, lengths, |points| {
            scratch::with(n, |along: &mut [f64]| {
                for i in (0..n).step_by(ROWS) {
                    for j in (i..n).step_by(COLS) {
                        let (rows, cols) = (i..n.min(i + ROWS), j..n.min(j + COLS));
                        scratch::with(rows.len() * cols.len(), |tile| {
                            sum += self.tile(points, rows.clone(), cols, tile, false, &mut along[rows]);
                        });
                    }
                }
            });
        });
        self.multiplicity() * sum
    }

    /// As [`Sums::forward`], and keeps the matrix K of the gradient's coefficients (n x n), from which
    /// [`Sums::backward`] is a single product. For n up to about a thousand.
    ///
    /// # Panics
    /// As [`Sums::forward`], and if there are not n n coefficients.
    pub fn forward_with_coefficients<T: Element>(
        &self,
        vectors: Vectors<T>,
        lengths: &mut [f64],
        coefficients: &mut [T],
    ) -> f64 {
        self.measured(vectors, lengths, |points| self.coefficients(points, coefficients))
    }

    /// As [`Sums::forward_with_coefficients`], and writes the gradient (n x d) instead of the coefficients: less to
    /// keep where d is below n, and the coefficients remain in the cache. [`Sums::backward`] divides the gradient by
    /// lengths if dividing before scaling could leave the range of T.
    ///
    /// # Panics
    /// As [`Sums::forward`], and if `gradient` does not have n d elements.
    pub fn forward_with_gradient<T: Element>(
        &self,
        vectors: Vectors<T>,
        lengths: &mut [f64],
        gradient: &mut [T],
    ) -> f64 {
        self.measured(vectors, lengths, |points| {
            scratch::with(points.n * points.n, |coefficients: &mut [T]| {
                let sum = self.coefficients(points, coefficients);
                self.product(coefficients, points, T::ONE, gradient);
                sum
            })
        })
    }

    /// Writes `scale` dE/dW (n x d), given the vectors' lengths and what the forward pass saved. If nothing was saved,
    /// cosines are computed again, block by block.
    ///
    /// # Panics
    /// If a slice does not have its size.
    pub fn backward<T: Element>(
        &self,
        kept: Kept<'_, T>,
        vectors: Vectors<T>,
        lengths: &[f64],
        scale: T,
        dw: &mut [T],
    ) {
        let Vectors { n, d, .. } = vectors;
        vectors.check(1, lengths);
        assert_eq!(dw.len(), n * d, "cosines: a gradient of {n} x {d}");
        let ordinary = self.ordinary::<T>(lengths);
        if let Kept::Gradient(gradient) = kept {
            dw.iter_mut().zip(gradient).for_each(|(dw, &g)| *dw = scale * g);
        } else {
            vectors.with_points(lengths, ordinary, |points| match kept {
                Kept::Coefficients(k) => self.product(k, points, scale, dw),
                _ => self.gradient_by_blocks(points, scale, dw),
            });
        }
        if !ordinary {
            // At this point it is the gradient with respect to copies of length 1.
            for (row, &length) in dw.chunks_exact_mut(d.max(1)).zip(lengths) {
                let by = T::from_f64(length);
                row.iter_mut().for_each(|v| *v = if by > T::ZERO { *v / by } else { T::ZERO });
            }
        }
    }

    /// How often each i < j counts: in both orders, and with antipodes with both signs of the first point.
    fn multiplicity(&self) -> f64 {
        if self.0.antipodes() { 4.0 } else { 2.0 }
    }

    /// Writes the lengths of a matrix's vectors, and calls `f` with their points.
    fn measured<T: Element, O>(
        &self,
        vectors: Vectors<T>,
        lengths: &mut [f64],
        f: impl FnOnce(Points<T>) -> O,
    ) -> O {
        vectors.check(1, lengths);
        vectors.measure(lengths);
        vectors.with_points(lengths, self.ordinary::<T>(lengths), f)
    }

    /// Writes K and returns the sum over pairs.
    fn coefficients<T: Element>(&self, points: Points<T>, k: &mut [T]) -> f64 {
        let n = points.n;
        gram_upper(n, points.d, points.rows, k);
        let together = (GRAIN / n.max(1)).max(1).next_multiple_of(Mirror::<()>::SIDE);
        scratch::with(2 * n, |sums| {
            scratch::with(n.div_ceil(together) * n, |columns| {
                self.replace_products(points, together, k, sums.split_at_mut(n), columns)
            })
        })
    }

    /// Turns the upper triangle of W W' into all of K, `together` rows per piece. `sums` and `along` have one number
    /// per row, and `columns` one for each column and piece.
    fn replace_products<T: Element>(
        &self,
        points: Points<T>,
        together: usize,
        k: &mut [T],
        (sums, along): (&mut [f64], &mut [f64]),
        columns: &mut [T],
    ) -> f64 {
        let Points { n, inverse, .. } = points;
        along.fill(0.0);
        let (all, columns_of) = (Shared::new(k), Shared::new(columns));
        let (sums_of, along_of) = (Shared::new(sums), Shared::new(along));
        par::run(n.div_ceil(together), |piece| {
            let rows = piece * together..n.min((piece + 1) * together);
            // SAFETY: a piece has its own rows from the diagonal on, and below it their mirror images; and their
            // sums, and columns of its own.
            unsafe {
                let columns = columns_of.slice(piece * n, n);
                columns.fill(T::ZERO);
                for i in rows.clone() {
                    simd::dispatch(Rows {
                        f: self.0,
                        points,
                        at: (i, i, n - i),
                        products: all.slice(i * n + i, n - i),
                        both: false,
                        sums: sums_of.slice(i, 1),
                        along: along_of.slice(i, 1),
                        columns: &mut columns[i..],
                    });
                }
                simd::dispatch(Mirror { n, rows, all });
            }
        });
        for columns in columns.chunks_exact(n.max(1)) {
            along.iter_mut().zip(columns).for_each(|(r, c)| *r += c.to_f64());
        }
        for (i, &r) in along.iter().enumerate() {
            k[i * n + i] = k[i * n + i] - T::from_f64(r * inverse[i] * inverse[i]);
        }
        self.multiplicity() * sums.iter().sum::<f64>()
    }

    /// `scale` K W
    fn product<T: Element>(&self, coefficients: &[T], points: Points<T>, scale: T, dw: &mut [T]) {
        let Points { rows, n, d, .. } = points;
        let scale = scale * T::from_f64(self.multiplicity());
        gemm(n, d, n, scale, coefficients, false, rows, false, T::ZERO, dw);
    }

    /// `scale` K W without K as a whole.
    fn gradient_by_blocks<T: Element>(&self, points: Points<T>, scale: T, dw: &mut [T]) {
        let Points { n, d, inverse, .. } = points;
        let scale = scale * T::from_f64(self.multiplicity());
        let mut along = vec![0.0; n];
        for i in (0..n).step_by(ROWS) {
            let rows = i..n.min(i + ROWS);
            let dw = &mut dw[i * d..rows.end * d];
            for j in (0..n).step_by(COLS) {
                let cols = j..n.min(j + COLS);
                scratch::with(rows.len() * cols.len(), |tile| {
                    self.tile(points, rows.clone(), cols.clone(), tile, true, &mut along[rows.clone()]);
                    let beta = if j == 0 { T::ZERO } else { T::ONE };
                    let (m, k) = (rows.len(), cols.len());
                    gemm(m, d, k, scale, tile, false, points.rows(cols), false, beta, dw);
                });
            }
            for (i, dw) in rows.zip(dw.chunks_exact_mut(d.max(1))) {
                let r = scale * T::from_f64(along[i] * inverse[i] * inverse[i]);
                dw.iter_mut().zip(points.rows(i..i + 1)).for_each(|(dw, &w)| *dw = *dw - r * w);
            }
        }
    }

    /// The sum over the pairs i < j of two ranges of rows. With `both`, `tile` is left with all their coefficients,
    /// except for what `along` subtracts from the diagonal. Without, the contents of `tile` and `along` are
    /// unspecified.
    fn tile<T: Element>(
        &self,
        points: Points<T>,
        rows: Range<usize>,
        cols: Range<usize>,
        tile: &mut [T],
        both: bool,
        along: &mut [f64],
    ) -> f64 {
        let (m, n) = (rows.len(), cols.len());
        let (a, b) = (points.rows(rows.clone()), points.rows(cols.clone()));
        gemm(m, n, points.d, T::ONE, a, false, b, true, T::ZERO, tile);
        scratch::with(m, |sums: &mut [f64]| {
            let (out, along) = (Shared::new(sums), Shared::new(along));
            let together = (GRAIN / n).max(1);
            par::chunks(tile, together * n, |piece, products| {
                let (first, count) = (piece * together, products.len() / n);
                // SAFETY: a number of each for a row of the tile, cut as the tile is.
                let (sums, along) = unsafe { (out.slice(first, count), along.slice(first, count)) };
                let at = (rows.start + first, cols.start, n);
                scratch::with(n, |columns: &mut [T]| {
                    simd::dispatch(Rows { f: self.0, points, at, products, both, sums, along, columns });
                });
            });
            sums.iter().sum()
        })
    }
}

/// # A batch of matrices
impl<F: CosineFunction> Sums<F> {
    /// [`Sums::forward`] of each of `sums.len()` matrices; with `coefficients` (a matrix each, or none at all)
    /// [`Sums::forward_with_coefficients`].
    ///
    /// # Panics
    /// As these.
    pub fn forward_batch<T: Element>(
        &self,
        vectors: Vectors<T>,
        coefficients: Option<&mut [T]>,
        lengths: &mut [f64],
        sums: &mut [f64],
    ) {
        let (batch, Vectors { n, d, .. }) = (sums.len(), vectors);
        vectors.check(batch, lengths);
        let coefficients = coefficients.map(|coefficients| {
            assert_eq!(coefficients.len(), batch * n * n, "cosines: {batch} times {n} x {n} coefficients");
            Shared::new(coefficients)
        });
        let (lengths, out) = (Shared::new(lengths), Shared::new(sums));
        each(batch, n * n * d, |b| {
            // SAFETY: matrix b, its lengths and its sum are this piece's alone.
            unsafe {
                let (own, lengths) = (vectors.matrix(b), lengths.slice(b * n, n));
                *out.at(b) = match coefficients {
                    None => self.forward(own, lengths),
                    Some(all) => self.forward_with_coefficients(own, lengths, all.slice(b * n * n, n * n)),
                };
            }
        });
    }

    /// [`Sums::forward_with_gradient`] of each of `sums.len()` matrices.
    ///
    /// # Panics
    /// As this.
    pub fn forward_batch_with_gradients<T: Element>(
        &self,
        vectors: Vectors<T>,
        gradients: &mut [T],
        lengths: &mut [f64],
        sums: &mut [f64],
    ) {
        let (batch, Vectors { n, d, .. }) = (sums.len(), vectors);
        vectors.check(batch, lengths);
        assert_eq!(gradients.len(), batch * n * d, "cosines: {batch} gradients of {n} x {d}");
        let (gradients, lengths, out) = (Shared::new(gradients), Shared::new(lengths), Shared::new(sums));
        each(batch, n * n * d, |b| {
            // SAFETY: matrix b, its lengths and its sum are this piece's alone.
            unsafe {
                let (own, lengths) = (vectors.matrix(b), lengths.slice(b * n, n));
                *out.at(b) = self.forward_with_gradient(own, lengths, gradients.slice(b * n * d, n * d));
            }
        });
    }

    /// [`Sums::backward`] of each of `scales.len()` matrices, for each of which `kept` has its part.
    ///
    /// # Panics
    /// As this.
    pub fn backward_batch<T: Element>(
        &self,
        kept: Kept<'_, T>,
        vectors: Vectors<T>,
        lengths: &[f64],
        scales: &[T],
        dw: &mut [T],
    ) {
        let (batch, Vectors { n, d, .. }) = (scales.len(), vectors);
        vectors.check(batch, lengths);
        assert_eq!(dw.len(), batch * n * d, "cosines: {batch} gradients of {n} x {d}");
        let dw = Shared::new(dw);
        each(batch, n * n * d, |b| {
            let kept = match kept {
                Kept::Nothing => Kept::Nothing,
                Kept::Coefficients(all) => Kept::Coefficients(&all[b * n * n..][..n * n]),
                Kept::Gradient(all) => Kept::Gradient(&all[b * n * d..][..n * d]),
            };
            // SAFETY: matrix b is this piece's alone.
            let dw = unsafe { dw.slice(b * n * d, n * d) };
            self.backward(kept, vectors.matrix(b), &lengths[b * n..][..n], scales[b], dw);
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
