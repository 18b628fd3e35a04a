//! The Gram matrix of rows: symmetric, so that half of it is computed and the other half copied.

use std::ops::Range;

use crate::gemm::gram_upper;
use crate::par::{self, Shared};
use crate::real::{Arithmetic, Element};
use crate::simd::{self, Kernel};

/// c = a a', for a row-major n x k matrix a: as a product of matrices, in half its time. The result is exactly
/// symmetric.
///
/// # Panics
/// If `a` does not have n k elements or `c` n n.
pub fn gram<T: Element>(n: usize, k: usize, a: &[T], c: &mut [T]) {
    gram_upper(n, k, a, c);
    const ROWS: usize = 2 * Mirror::<()>::SIDE;
    let all = Shared::new(c);
    par::run(n.div_ceil(ROWS), |piece| {
        let rows = piece * ROWS..n.min((piece + 1) * ROWS);
        // The mirror images of different rows are different elements below the diagonal.
        simd::dispatch(Mirror { n, rows, all });
    });
}

/// Copies what some rows of an n x n matrix have on the right of the diagonal to its mirror images.
pub(crate) struct Mirror<T> {
    pub n: usize,
    pub rows: Range<usize>,
    pub all: Shared<T>,
}

impl Mirror<()> {
    /// Rows copied at a time: a line of the cache is 16 f32.
    pub const SIDE: usize = 16;
}

impl<T: Element> Kernel for Mirror<T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Mirror { n, rows, all } = self;
        for first in rows.clone().step_by(Mirror::SIDE) {
            let end = rows.end.min(first + Mirror::SIDE);
            for j in first + 1..n {
                for i in first..end.min(j) {
                    // SAFETY: inside the matrix; the creator of the kernel guarantees the mirror images.
                    unsafe { *all.at(j * n + i) = *all.at(i * n + j) };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemm::gemm;
    use crate::random::Key;

    #[test]
    fn is_the_product_with_its_transpose() {
        let _turn = simd::SETTINGS.lock().unwrap_or_else(|e| e.into_inner());
        for (n, k) in [(0, 3), (1, 0), (1, 5), (16, 3), (33, 70), (200, 90)] {
            let mut a = vec![0f64; n * k];
            Key::new(1).fill_normal(&mut a);
            let (mut want, mut got) = (vec![f64::NAN; n * n], vec![f64::NAN; n * n]);
            gemm(n, n, k, 1.0, &a, false, &a, true, 0.0, &mut want);
            gram(n, k, &a, &mut got);
            assert!(got.iter().zip(&want).all(|(g, w)| (g - w).abs() < 1e-12), "{n} x {k}");
            assert!((0..n * n).all(|at| got[at] == got[at % n * n + at / n]), "{n} x {k}");
            for threads in [1, 7] {
                par::set_threads(threads);
                let mut other = vec![f64::NAN; n * n];
                gram(n, k, &a, &mut other);
                assert!(other == got, "{n} x {k} on {threads} threads");
            }
        }
        par::set_threads(2);
    }
}
