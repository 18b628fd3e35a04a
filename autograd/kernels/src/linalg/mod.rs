//! Factorisations of matrices, and what follows from them. All matrices are row-major.

mod cholesky;
mod complete;
mod jacobi;
mod lu;
#[cfg(test)]
mod tests;
mod triangle;

pub use cholesky::{cholesky, cholesky_log_determinant, cholesky_solve};
pub use complete::diagonalise;
pub use jacobi::{eigh, svd};
pub use lu::{lu, lu_determinant, lu_inverse, lu_pivot_ratio, lu_solve, rcond};
pub use triangle::Triangle;

use crate::real::{Arithmetic, Element};
use crate::simd::Kernel;

/// Multiply-adds that one thread does at a time.
const GRAIN: usize = 1 << 14;

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
