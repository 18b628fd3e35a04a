//! Cholesky factorisation of symmetric positive definite matrices.

use super::{Dot, GRAIN, Triangle};
use crate::par;
use crate::real::{Element, Real};
use crate::simd;

/// Replaces the symmetric n x n matrix `a`, of which only the lower triangle is read, by the lower triangular L
/// with A = L L'; zeros above.
///
/// # Errors
/// The first row that makes the matrix not positive definite.
///
/// # Panics
/// If `a` does not have n n elements.
pub fn cholesky<T: Element>(a: &mut [T], n: usize) -> Result<(), usize> {
    assert_eq!(a.len(), n * n, "cholesky: {n} x {n} elements");
    for k in 0..n {
        let (above, below) = a.split_at_mut((k + 1) * n);
        let row = &mut above[k * n..];
        let square = row[k] - simd::dispatch(Dot { x: &row[..k], y: &row[..k] });
        if !(square > T::ZERO && square.is_finite()) {
            return Err(k);
        }
        let root = Real::sqrt(square);
        row[k] = root;
        row[k + 1..].fill(T::ZERO);
        let rows = (GRAIN / (k + 1)).max(1);
        par::chunks(below, rows * n, |_, below| {
            for other in below.chunks_exact_mut(n) {
                let known = simd::dispatch(Dot { x: &other[..k], y: &row[..k] });
                other[k] = (other[k] - known) / root;
            }
        });
    }
    Ok(())
}

/// Replaces the n x m matrix `b` by the X with A X = B, from the factor of [`cholesky`].
///
/// # Panics
/// If a slice does not have its size.
pub fn cholesky_solve<T: Element>(factor: &[T], n: usize, b: &mut [T], m: usize) {
    assert_eq!(factor.len(), n * n, "cholesky_solve: a factor of {n} x {n}");
    assert_eq!(b.len(), n * m, "cholesky_solve: {n} x {m} right-hand sides");
    for transposed in [false, true] {
        Triangle { lower: true, unit: false, transposed }.substitute(factor, n, b, m);
    }
}

/// log det A = 2 sum of log L_ii, from the factor of [`cholesky`].
///
/// # Panics
/// If `factor` does not have n n elements.
pub fn cholesky_log_determinant<T: Element>(factor: &[T], n: usize) -> T {
    assert_eq!(factor.len(), n * n, "cholesky_log_determinant: a factor of {n} x {n}");
    T::from_f64((0..n).map(|i| 2.0 * factor[i * n + i].to_f64().ln()).sum())
}
