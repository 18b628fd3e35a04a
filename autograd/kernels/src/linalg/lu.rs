//! LU factorisation with partial pivoting.

use super::{GRAIN, Subtract, Triangle};
use crate::par;
use crate::real::{Element, Real};
use crate::simd;

/// Replaces the n x n matrix `a` by its factors P A = L U: U on and above the diagonal, L (with ones on the
/// diagonal, which are not stored) below it. Step k exchanged row k with row `pivots[k]`, the largest below.
///
/// # Errors
/// The column without a finite pivot other than 0: the matrix is singular, or not finite. A matrix that is singular up
/// to rounding gives no error; [`rcond`] and [`lu_pivot_ratio`] detect it.
///
/// # Panics
/// If a slice does not have its size.
pub fn lu<T: Element>(a: &mut [T], n: usize, pivots: &mut [usize]) -> Result<(), usize> {
    assert_eq!(a.len(), n * n, "lu: {n} x {n} elements");
    assert_eq!(pivots.len(), n, "lu: {n} pivots");
    for k in 0..n {
        let size = |i: usize| Real::abs(a[i * n + k]);
        let largest = (k + 1..n).fold(k, |best, i| if size(i) > size(best) { i } else { best });
        let pivot = a[largest * n + k];
        if pivot == T::ZERO || !pivot.is_finite() {
            return Err(k);
        }
        pivots[k] = largest;
        let (above, below) = a.split_at_mut((k + 1) * n);
        let row = &mut above[k * n..];
        if largest > k {
            row.swap_with_slice(&mut below[(largest - k - 1) * n..][..n]);
        }
        let rows = (GRAIN / (n - k)).max(1);
        par::chunks(below, rows * n, |_, below| {
            for other in below.chunks_exact_mut(n) {
                other[k] = other[k] / pivot;
                let factor = other[k];
                simd::dispatch(Subtract { factor, x: &row[k + 1..], y: &mut other[k + 1..] });
            }
        });
    }
    Ok(())
}

/// Replaces the n x m matrix `b` by the X with A X = B, or A' X = B if `transposed`, from the factors of [`lu`].
///
/// # Panics
/// If a slice does not have its size.
pub fn lu_solve<T: Element>(
    factors: &[T],
    pivots: &[usize],
    n: usize,
    transposed: bool,
    b: &mut [T],
    m: usize,
) {
    assert_eq!(factors.len(), n * n, "lu_solve: {n} x {n} factors");
    assert_eq!(pivots.len(), n, "lu_solve: {n} pivots");
    assert_eq!(b.len(), n * m, "lu_solve: {n} x {m} right-hand sides");
    let [lower, upper] =
        [(true, true), (false, false)].map(|(lower, unit)| Triangle { lower, unit, transposed });
    let exchange = |b: &mut [T], k: usize| (0..m).for_each(|j| b.swap(k * m + j, pivots[k] * m + j));
    if transposed {
        upper.substitute(factors, n, b, m);
        lower.substitute(factors, n, b, m);
        (0..n).rev().for_each(|k| exchange(b, k));
    } else {
        (0..n).for_each(|k| exchange(b, k));
        lower.substitute(factors, n, b, m);
        upper.substitute(factors, n, b, m);
    }
}

/// 1 / (|A| |A^-1|) for the n x n matrix `a`, where |A| is the largest sum of absolute values in a column; 0 if it is
/// singular or not finite, 1 if n is 0.
///
/// # Panics
/// If `a` does not have n n elements.
pub fn rcond<T: Element>(a: &[T], n: usize) -> T {
    let norm = |a: &[T]| {
        let sum = |j: usize| (0..n).map(|i| a[i * n + j].to_f64().abs()).sum::<f64>();
        (0..n).map(sum).fold(0.0, f64::max)
    };
    if n == 0 {
        return T::ONE;
    }
    let (mut factors, mut pivots, mut inverse) = (a.to_vec(), vec![0; n], vec![T::ZERO; n * n]);
    if lu(&mut factors, n, &mut pivots).is_err() {
        return T::ZERO;
    }
    lu_inverse(&factors, &pivots, n, &mut inverse);
    let product = norm(a) * norm(&inverse);
    if product.is_finite() { T::from_f64(1.0 / product) } else { T::ZERO }
}

/// Writes the inverse of the matrix with the factors of [`lu`].
///
/// # Panics
/// If a slice does not have its size.
pub fn lu_inverse<T: Element>(factors: &[T], pivots: &[usize], n: usize, out: &mut [T]) {
    assert_eq!(out.len(), n * n, "lu_inverse: {n} x {n} elements");
    out.fill(T::ZERO);
    (0..n).for_each(|i| out[i * n + i] = T::ONE);
    lu_solve(factors, pivots, n, false, out, n);
}

/// The determinant of the matrix with the factors of [`lu`], as its sign (1 or -1) and log |det A|.
///
/// # Panics
/// If a slice does not have its size.
pub fn lu_determinant<T: Element>(factors: &[T], pivots: &[usize], n: usize) -> (T, T) {
    assert_eq!(factors.len(), n * n, "lu_determinant: {n} x {n} factors");
    assert_eq!(pivots.len(), n, "lu_determinant: {n} pivots");
    let (mut negative, mut log) = (false, 0.0);
    for k in 0..n {
        let pivot = factors[k * n + k].to_f64();
        negative ^= (pivot < 0.0) ^ (pivots[k] != k);
        log += pivot.abs().ln();
    }
    (if negative { -T::ONE } else { T::ONE }, T::from_f64(log))
}

/// The smallest pivot over the largest, in size, from the factors of [`lu`]; 1 if n is 0.
///
/// A ratio of a few n times the unit roundoff means that the matrix is singular to working precision, unless its rows
/// or columns differ in scale by as much.
///
/// # Panics
/// If `factors` does not have n n elements.
pub fn lu_pivot_ratio<T: Element>(factors: &[T], n: usize) -> T {
    assert_eq!(factors.len(), n * n, "lu_pivot_ratio: {n} x {n} factors");
    let sizes = || (0..n).map(|k| Real::abs(factors[k * n + k]));
    let smallest = sizes().reduce(Real::min);
    smallest.zip(sizes().reduce(Real::max)).map_or(T::ONE, |(smallest, largest)| smallest / largest)
}
