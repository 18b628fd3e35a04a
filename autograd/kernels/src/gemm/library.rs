//! Products by another library, in blocks that threads share.
//!
//! The library computes each block on one thread. Where blocks begin follows from the sizes of the matrices alone, so
//! the results do not depend on the number of threads.

use super::pack::Source;
use super::strip::SMALL;
use super::{Backend, Part};
use crate::par::{self, Shared};
use crate::real::Element;

/// About this many blocks, for threads to share, of at least [`results`] results: each packs its part of both operands.
const BLOCKS: usize = 64;
/// Sides of blocks are multiples of this, which is a multiple of the register tiles of every library.
const STEP: usize = 48;

/// The least number of results of a block, with sums of length k: fewer for long sums.
fn results(k: usize) -> usize {
    ((1 << 24) / k.max(1)).clamp(STEP * STEP, 128 * 128)
}

/// Rows and columns of a block of an m x n result with sums of length k.
fn block([m, n, k]: [usize; 3]) -> [usize; 2] {
    if m * n * k < SMALL {
        return [m.max(1), n.max(1)];
    }
    let results = (m * n / BLOCKS).max(results(k));
    let side = |results: usize, most: usize| results.next_multiple_of(STEP).min(most);
    let rows = side(results.isqrt(), m);
    let cols = side(results / rows, n);
    [side((results / cols).max(1), m), cols]
}

/// c = alpha a b + beta c.
///
/// # Safety
/// The sources must hold m x k and k x n numbers, c must hold m x n.
pub(super) unsafe fn product<T: Element>(
    backend: Backend,
    [m, n, k]: [usize; 3],
    scale: [T; 2],
    a: Source<T>,
    b: Source<T>,
    c: &mut [T],
    part: Part,
) {
    let [rows, cols] = block([m, n, k]);
    let across = n.div_ceil(cols);
    let c = Shared::new(c);
    let operands = [a, b].map(Operand);
    par::run(m.div_ceil(rows) * across, |piece| {
        let (i, j) = (piece / across * rows, piece % across * cols);
        let size = [rows.min(m - i), cols.min(n - j), k];
        // Wholly to the left of the diagonal.
        if part == Part::Upper && j + size[1] <= i {
            return;
        }
        let [Operand(a), Operand(b)] = operands;
        // SAFETY: the block lies in c and in the operands; blocks of different pieces are disjoint.
        unsafe { multiply(backend, size, scale, a.skip(i, 0), b.skip(j, 0), c.at(i * n + j), n) }
    });
}

/// A source that may be used by several threads.
#[derive(Clone, Copy)]
struct Operand<T>(Source<T>);

// SAFETY: the numbers are only read.
unsafe impl<T: Sync> Sync for Operand<T> {}

/// One block, on this thread; rows of c are `ldc` apart.
///
/// # Safety
/// As [`product`].
unsafe fn multiply<T: Element>(
    backend: Backend,
    size: [usize; 3],
    [alpha, beta]: [T; 2],
    a: Source<T>,
    b: Source<T>,
    c: *mut T,
    ldc: usize,
) {
    // SAFETY: T is f32 or f64, as its size says; the rest is the caller's promise.
    unsafe {
        if size_of::<T>() == size_of::<f32>() {
            let scale = [alpha, beta].map(|v| std::mem::transmute_copy::<T, f32>(&v));
            single(backend, size, scale, a.cast(), b.cast(), c.cast(), ldc);
        } else {
            let scale = [alpha, beta].map(|v| std::mem::transmute_copy::<T, f64>(&v));
            double(backend, size, scale, a.cast(), b.cast(), c.cast(), ldc);
        }
    }
}

/// [`multiply`] for a type: the names of the libraries' functions.
macro_rules! multiply {
    ($name:ident, $t:ty, $matrixmultiply:ident, $cblas:ident) => {
        unsafe fn $name(
            backend: Backend,
            [m, n, k]: [usize; 3],
            [alpha, beta]: [$t; 2],
            a: Source<$t>,
            b: Source<$t>,
            c: *mut $t,
            ldc: usize,
        ) {
            #[cfg(feature = "blas")]
            if backend == Backend::Blas {
                use super::cblas::{Layout, int, left, right, $cblas};
                let ((a_order, lda), (b_order, ldb)) = (left(a, m, k), right(b, k, n));
                // SAFETY: the caller's promise.
                return unsafe {
                    $cblas(
                        Layout::RowMajor,
                        a_order,
                        b_order,
                        int(m),
                        int(n),
                        int(k),
                        alpha,
                        a.at,
                        lda,
                        b.at,
                        ldb,
                        beta,
                        c,
                        int(ldc),
                    )
                };
            }
            debug_assert_eq!(backend, Backend::Matrixmultiply);
            let [a_line, a_depth, b_line, b_depth, ldc] =
                [a.line, a.depth, b.line, b.depth, ldc].map(|n| n as isize);
            // SAFETY: the caller's promise.
            unsafe {
                matrixmultiply::$matrixmultiply(
                    m, k, n, alpha, a.at, a_line, a_depth, b.at, b_depth, b_line, beta, c, ldc, 1,
                )
            }
        }
    };
}
multiply!(single, f32, sgemm, cblas_sgemm);
multiply!(double, f64, dgemm, cblas_dgemm);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_have_whole_tiles_and_enough_work() {
        for m in [1, 47, 48, 100, 700, 5000, 131_072] {
            for n in [1, 47, 48, 100, 700, 5000, 131_072] {
                let [rows, cols] = block([m, n, 1000]);
                assert!((1..=m).contains(&rows) && (1..=n).contains(&cols), "{m} x {n}: {rows} x {cols}");
                assert!(rows == m || rows.is_multiple_of(STEP), "{m} x {n}: {rows} x {cols}");
                assert!(cols == n || cols.is_multiple_of(STEP), "{m} x {n}: {rows} x {cols}");
                let count = m.div_ceil(rows) * n.div_ceil(cols);
                assert!(
                    rows * cols >= results(1000).min(m * n) || m * n * 1000 < SMALL,
                    "{m} x {n}: {rows} x {cols}"
                );
                assert!(count <= 2 * BLOCKS, "{m} x {n}: {count} blocks of {rows} x {cols}");
            }
        }
        assert_eq!(block([0, 5, 9]), [1, 5]);
        assert_eq!(block([64, 576, 131_072]), [STEP, STEP]);
    }
}
