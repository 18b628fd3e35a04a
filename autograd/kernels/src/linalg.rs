//! Factorisations of square matrices: LU, Cholesky, and what follows from them. All matrices are row-major.

use crate::par::{self, Shared};
use crate::real::{Arithmetic, Element, Real};
use crate::simd::{self, Kernel};

/// Multiply-adds that one thread does at a time.
const GRAIN: usize = 1 << 14;
/// Right-hand sides that one thread solves for at a time.
const COLUMNS: usize = 64;

/// Replaces the n x n matrix `a` by its factors P A = L U: U on and above the diagonal, L (with ones on the
/// diagonal, which are not stored) below it. Step k exchanged row k with row `pivots[k]`, the largest below.
///
/// # Errors
/// The column without a finite pivot other than 0: the matrix is singular, or not finite. A matrix that is
/// singular but for rounding passes; [`lu_pivot_ratio`] tells.
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
/// A ratio of a few n times the unit of rounding says that the matrix is singular to working precision, unless
/// its rows or columns differ in scale by as much.
///
/// # Panics
/// If `factors` does not have n n elements.
pub fn lu_pivot_ratio<T: Element>(factors: &[T], n: usize) -> T {
    assert_eq!(factors.len(), n * n, "lu_pivot_ratio: {n} x {n} factors");
    let sizes = || (0..n).map(|k| Real::abs(factors[k * n + k]));
    let smallest = sizes().reduce(Real::min);
    smallest.zip(sizes().reduce(Real::max)).map_or(T::ONE, |(smallest, largest)| smallest / largest)
}

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

/// How to read a triangular matrix; the other triangle is never looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Triangle {
    /// Whether it is the lower triangle that is stored, else the upper one.
    pub lower: bool,
    /// Whether the diagonal is ones, whatever is stored there.
    pub unit: bool,
    /// Whether its transpose is meant.
    pub transposed: bool,
}

impl Triangle {
    /// Replaces the n x m matrix `b` by the X with T X = B, T the triangle of the n x n matrix `t`.
    ///
    /// # Errors
    /// The first row whose diagonal element is 0 or not finite.
    ///
    /// # Panics
    /// If a slice does not have its size.
    pub fn solve<T: Element>(&self, t: &[T], n: usize, b: &mut [T], m: usize) -> Result<(), usize> {
        assert_eq!(t.len(), n * n, "triangular solve: {n} x {n} elements");
        assert_eq!(b.len(), n * m, "triangular solve: {n} x {m} right-hand sides");
        let usable = |i: usize| t[i * n + i] != T::ZERO && t[i * n + i].is_finite();
        if let Some(row) = (0..n).find(|&i| !self.unit && !usable(i)) {
            return Err(row);
        }
        self.substitute(t, n, b, m);
        Ok(())
    }

    /// [`Triangle::solve`] without a look at the diagonal.
    fn substitute<T: Element>(&self, t: &[T], n: usize, b: &mut [T], m: usize) {
        let at = |i: usize, k: usize| if self.transposed { t[k * n + i] } else { t[i * n + k] };
        let downwards = self.lower != self.transposed;
        let row = |i: usize| if downwards { i } else { n - 1 - i };
        let b = Shared::new(b);
        par::run(m.div_ceil(COLUMNS), |piece| {
            let from = piece * COLUMNS;
            let width = COLUMNS.min(m - from);
            for i in (0..n).map(row) {
                // SAFETY: pieces are disjoint in their columns, and rows i and k differ.
                let y = unsafe { b.slice(i * m + from, width) };
                for k in (0..n).map(row).take_while(|&k| k != i) {
                    // SAFETY: as above.
                    let x = unsafe { b.slice(k * m + from, width) };
                    simd::dispatch(Subtract { factor: at(i, k), x, y });
                }
                if !self.unit {
                    y.iter_mut().for_each(|y| *y = *y / at(i, i));
                }
            }
        });
    }
}

/// y -= factor x.
struct Subtract<'a, T> {
    factor: T,
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Element> Kernel for Subtract<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            *y = A::mul_add(-self.factor, x, *y);
        }
    }
}

/// x . y
struct Dot<'a, T> {
    x: &'a [T],
    y: &'a [T],
}

impl<T: Element> Kernel for Dot<'_, T> {
    type Output = T;
    #[inline(always)]
    fn run<A: Arithmetic>(self) -> T {
        const LANES: usize = 16;
        let mut sums = [T::ZERO; LANES];
        let (x, x_tail) = self.x.as_chunks::<LANES>();
        let (y, y_tail) = self.y.as_chunks::<LANES>();
        for (x, y) in x.iter().zip(y) {
            for l in 0..LANES {
                sums[l] = A::mul_add(x[l], y[l], sums[l]);
            }
        }
        for ((sum, &x), &y) in sums.iter_mut().zip(x_tail).zip(y_tail) {
            *sum = A::mul_add(x, y, *sum);
        }
        sums.into_iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Key;

    const SIZES: [usize; 7] = [0, 1, 2, 3, 7, 65, 130];

    fn random<T: Element>(len: usize, seed: u64) -> Vec<T> {
        let mut x = vec![T::ZERO; len];
        Key::new(seed).fill_normal(&mut x);
        x
    }

    /// op(a) b for n x n and n x m.
    fn product<T: Element>(a: &[T], transposed: bool, b: &[T], n: usize, m: usize) -> Vec<T> {
        let mut out = vec![T::ZERO; n * m];
        for i in 0..n {
            for j in 0..m {
                let at = |k: usize| if transposed { a[k * n + i] } else { a[i * n + k] };
                out[i * m + j] = (0..n).map(|k| at(k) * b[k * m + j]).sum();
            }
        }
        out
    }

    fn assert_close<T: Element>(got: &[T], want: &[T], tolerance: f64, what: &str) {
        assert_eq!(got.len(), want.len());
        for (a, b) in got.iter().zip(want) {
            let (a, b) = (a.to_f64(), b.to_f64());
            assert!((a - b).abs() <= tolerance * (1.0 + b.abs()), "{what}: {a}, not {b}");
        }
    }

    /// A matrix whose condition stays below ten.
    fn tame<T: Element>(n: usize, seed: u64) -> Vec<T> {
        let mut a: Vec<T> = random(n * n, seed);
        let size = T::from_f64(3.0 * (n as f64).sqrt());
        // Off the diagonal, so that pivots move.
        (0..n).for_each(|i| a[i * n + (i + 1) % n] = a[i * n + (i + 1) % n] + size);
        a
    }

    fn lu_solves<T: Element>(tolerance: f64) {
        for n in SIZES {
            for m in [0, 1, 5, 70] {
                let a: Vec<T> = tame(n, 1);
                let x: Vec<T> = random(n * m, 2);
                let (mut factors, mut pivots) = (a.clone(), vec![0; n]);
                lu(&mut factors, n, &mut pivots).unwrap();
                for transposed in [false, true] {
                    let mut b = product(&a, transposed, &x, n, m);
                    lu_solve(&factors, &pivots, n, transposed, &mut b, m);
                    assert_close(&b, &x, tolerance, "solution");
                }
                let mut inverse = vec![T::NAN; n * n];
                lu_inverse(&factors, &pivots, n, &mut inverse);
                let unit: Vec<T> =
                    (0..n * n).map(|i| if i / n == i % n { T::ONE } else { T::ZERO }).collect();
                assert_close(&product(&a, false, &inverse, n, n), &unit, tolerance, "inverse");
            }
        }
    }

    #[test]
    fn lu_solves_and_inverts() {
        lu_solves::<f32>(1e-4);
        lu_solves::<f64>(1e-12);
    }

    fn determinant(a: &[f64], n: usize) -> f64 {
        let (mut factors, mut pivots) = (a.to_vec(), vec![0; n]);
        lu(&mut factors, n, &mut pivots).unwrap();
        let (sign, log) = lu_determinant(&factors, &pivots, n);
        sign * log.exp()
    }

    /// Laplace's expansion along the first row.
    fn laplace(a: &[f64], n: usize) -> f64 {
        if n == 0 {
            return 1.0;
        }
        let minor = |j: usize| -> Vec<f64> { (n..n * n).filter(|i| i % n != j).map(|i| a[i]).collect() };
        (0..n).map(|j| if j % 2 == 0 { 1.0 } else { -1.0 } * a[j] * laplace(&minor(j), n - 1)).sum()
    }

    #[test]
    fn determinants_have_their_sign() {
        for n in 0..6 {
            for seed in 0..8 {
                let a = random(n * n, 10 + seed);
                let want = laplace(&a, n);
                assert!((determinant(&a, n) - want).abs() < 1e-12 * (1.0 + want.abs()), "{n}");
            }
        }
    }

    #[test]
    fn singular_matrices_are_errors() {
        let mut pivots = [0; 3];
        // The second column is twice the first, and halves are exact.
        let mut twins = [1.0, 2.0, 3.0, 2.0, 4.0, 7.0, 4.0, 8.0, 1.0];
        assert_eq!(lu(&mut twins, 3, &mut pivots), Err(1));
        // Here thirds leave a rest.
        let mut twins = [1.0, 2.0, 3.0, 2.0, 4.0, 7.0, 3.0, 6.0, 1.0];
        let passed = lu(&mut twins, 3, &mut pivots).is_ok();
        assert!(!passed || lu_pivot_ratio(&twins, 3) < 1e-15);
        assert_eq!(lu_pivot_ratio(&[4.0f32, 1.0, 0.5, -2.0], 2), 0.5);
        assert_eq!(lu_pivot_ratio::<f32>(&[], 0), 1.0);
        assert_eq!(lu(&mut [0.0f32; 9], 3, &mut pivots), Err(0));
        assert_eq!(lu(&mut [1.0, 0.0, 0.0, f64::NAN], 2, &mut pivots[..2]), Err(1));
        assert_eq!(lu(&mut [f64::NAN, 1.0, 2.0, 1.0], 2, &mut pivots[..2]), Err(0));
    }

    fn cholesky_agrees<T: Element>(tolerance: f64) {
        for n in SIZES {
            let root: Vec<T> = random(n * n, 3);
            let mut a = product(&root, true, &root, n, n);
            (0..n).for_each(|i| a[i * n + i] = a[i * n + i] + T::from_f64(n as f64));
            let mut l = a.clone();
            // What is above the diagonal is not read.
            (0..n).for_each(|i| l[i * n + i + 1..(i + 1) * n].fill(T::NAN));
            cholesky(&mut l, n).unwrap();
            let transposed: Vec<T> = (0..n * n).map(|i| l[i % n * n + i / n]).collect();
            assert_close(&product(&l, false, &transposed, n, n), &a, tolerance, "L L'");
            assert!((0..n).all(|i| l[i * n + i + 1..(i + 1) * n].iter().all(|&v| v == T::ZERO)));
            let x: Vec<T> = random(n * 5, 4);
            let mut b = product(&a, false, &x, n, 5);
            cholesky_solve(&l, n, &mut b, 5);
            assert_close(&b, &x, 10.0 * tolerance, "solution");
            let (mut factors, mut pivots) = (a.clone(), vec![0; n]);
            lu(&mut factors, n, &mut pivots).unwrap();
            let (sign, log) = lu_determinant(&factors, &pivots, n);
            assert!(sign == T::ONE);
            assert_close(&[cholesky_log_determinant(&l, n)], &[log], tolerance, "log det");
        }
    }

    #[test]
    fn cholesky_factors_solves_and_measures() {
        cholesky_agrees::<f32>(1e-4);
        cholesky_agrees::<f64>(1e-12);
    }

    #[test]
    fn indefinite_matrices_are_errors() {
        assert_eq!(cholesky(&mut [1.0, 0.0, 0.0, -1.0], 2), Err(1));
        assert_eq!(cholesky(&mut [1.0f32, 0.0, 1.0, 1.0], 2), Err(1));
        assert_eq!(cholesky(&mut [f64::NAN], 1), Err(0));
    }

    #[test]
    fn triangles_are_solved_in_every_reading() {
        for n in SIZES {
            for bits in 0..8 {
                let triangle = Triangle { lower: bits & 1 > 0, unit: bits & 2 > 0, transposed: bits & 4 > 0 };
                let mut t: Vec<f64> = random(n * n, 5);
                t.iter_mut().for_each(|v| *v *= 0.1 / (n as f64).sqrt());
                (0..n).for_each(|i| t[i * n + i] += 2.0);
                let mut whole = t.clone();
                for i in 0..n {
                    for j in 0..n {
                        if i != j && (j < i) != triangle.lower {
                            whole[i * n + j] = 0.0;
                            t[i * n + j] = f64::NAN;
                        }
                    }
                    if triangle.unit {
                        whole[i * n + i] = 1.0;
                        t[i * n + i] = f64::NAN;
                    }
                }
                let x: Vec<f64> = random(n * 67, 6);
                let mut b = product(&whole, triangle.transposed, &x, n, 67);
                triangle.solve(&t, n, &mut b, 67).unwrap();
                assert_close(&b, &x, 1e-12, "triangle");
            }
        }
        let upper = Triangle { lower: false, unit: false, transposed: false };
        assert_eq!(upper.solve(&[1.0, 5.0, 0.0, 0.0], 2, &mut [1.0; 2], 1), Err(1));
    }

    #[test]
    fn results_do_not_depend_on_threads() {
        let _turn = simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
        let n = 301;
        let a: Vec<f64> = tame(n, 7);
        let mut square = product(&a, true, &a, n, n);
        (0..n).for_each(|i| square[i * n + i] += 1.0);
        let run = |threads| {
            par::set_threads(threads);
            let (mut factors, mut pivots, mut inverse) = (a.clone(), vec![0; n], vec![0.0; n * n]);
            lu(&mut factors, n, &mut pivots).unwrap();
            lu_inverse(&factors, &pivots, n, &mut inverse);
            let mut l = square.clone();
            cholesky(&mut l, n).unwrap();
            (factors, inverse, l)
        };
        let one = run(1);
        assert!(one == run(2) && one == run(7));
    }
}
