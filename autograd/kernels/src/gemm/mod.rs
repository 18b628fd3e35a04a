//! Matrix products.
//!
//! On x86-64 with AVX2 or AVX-512 by the kernels here, elsewhere by the crate `matrixmultiply` (`backend`, `library`).
//!
//! The kernels pack both operands into panels, then tiles of the result are accumulated in registers (`tile`), with
//! a panel of the right operand in the first-level cache and a block of the left one in the second.

// Tiles of registers are indexed by constants, and closures would lose the instruction set.
#![allow(clippy::needless_range_loop)]

use crate::par::{self, Shared};
use crate::real::Element;
use crate::simd;
use pack::Source;
use strip::{SMALL, Strip};

pub use backend::{Backend, backend, backend_in_use, set_backend};

mod backend;
#[cfg(feature = "blas")]
mod cblas;
mod library;
pub(crate) mod pack;
pub(crate) mod scratch;
mod strip;
pub(crate) mod tile;
pub(crate) mod vector;

/// Steps of the sum between two visits to the result: a panel of the right operand is then 32 KB.
pub(crate) const DEPTH: usize = 256;
/// Packed numbers held at a time (16 MB of f32).
const PACKED: usize = 1 << 22;
/// The most lines of the shorter side that are packed at a time.
const STRIP: usize = 4096;

/// c = alpha op(a) op(b) + beta c, for row-major contiguous matrices.
///
/// op(a) is m x k (so `a` is k x m if `a_transposed`), op(b) is k x n (n x k if `b_transposed`), c is m x n.
/// With `beta` 0, what `c` held before does not matter, even NaN.
///
/// # Panics
/// If a slice does not have exactly as many elements as its matrix.
#[allow(clippy::too_many_arguments)]
pub fn gemm<T: Element>(
    m: usize,
    n: usize,
    k: usize,
    alpha: T,
    a: &[T],
    a_transposed: bool,
    b: &[T],
    b_transposed: bool,
    beta: T,
    c: &mut [T],
) {
    assert_eq!(a.len(), m * k, "gemm: the left operand has {m} x {k} elements");
    assert_eq!(b.len(), k * n, "gemm: the right operand has {k} x {n} elements");
    assert_eq!(c.len(), m * n, "gemm: the result has {m} x {n} elements");
    let (line, depth) = if a_transposed { (1, m) } else { (k, 1) };
    let a = Source { at: a.as_ptr(), line, depth };
    let (line, depth) = if b_transposed { (k, 1) } else { (1, n) };
    let b = Source { at: b.as_ptr(), line, depth };
    // SAFETY: the operands hold their matrices by the asserts above.
    unsafe { product([m, n, k], [alpha, beta], a, b, c, Part::All) }
}

/// The upper triangle of c = a a', with the diagonal, for a row-major n x k matrix a: half the work of [`gemm`].
/// Elements of c below the diagonal may be overwritten.
///
/// # Panics
/// As [`gemm`].
pub(crate) fn gram_upper<T: Element>(n: usize, k: usize, a: &[T], c: &mut [T]) {
    assert_eq!(a.len(), n * k, "gram: the operand has {n} x {k} elements");
    assert_eq!(c.len(), n * n, "gram: the result has {n} x {n} elements");
    let a = Source { at: a.as_ptr(), line: k, depth: 1 };
    // SAFETY: the operand holds its matrix by the assert above.
    unsafe { product([n, n, k], [T::ONE, T::ZERO], a, a, c, Part::Upper) }
}

/// Which part of a result is computed.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    All,
    /// The diagonal and what is to its right.
    Upper,
}

/// `batch` products c\[i\] = alpha op(a\[i\]) op(b\[i\]) + beta c\[i\], each as in [`gemm`].
///
/// An operand that holds a single matrix instead of `batch` of them is used for every product.
///
/// # Panics
/// If a slice has neither one matrix nor `batch` matrices; the result must have `batch`.
#[allow(clippy::too_many_arguments)]
pub fn batched<T: Element>(
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    alpha: T,
    a: &[T],
    a_transposed: bool,
    b: &[T],
    b_transposed: bool,
    beta: T,
    c: &mut [T],
) {
    assert_eq!(c.len(), batch * m * n, "batched: the result has {batch} x {m} x {n} elements");
    let stride = |len: usize, one: usize| {
        assert!(
            len == batch * one || len == one,
            "batched: {len} elements are neither 1 nor {batch} times {one}"
        );
        if len == one { 0 } else { one }
    };
    let (sa, sb) = (stride(a.len(), m * k), stride(b.len(), k * n));
    let one = |i: usize, c: &mut [T]| {
        let (a, b) = (&a[i * sa..][..m * k], &b[i * sb..][..k * n]);
        gemm(m, n, k, alpha, a, a_transposed, b, b_transposed, beta, c);
    };
    if m * n == 0 {
        return;
    }
    if m * n * k >= SMALL {
        // Each product is large enough for all threads.
        c.chunks_mut(m * n).enumerate().for_each(|(i, c)| one(i, c));
    } else {
        let group = SMALL / (m * n * k).max(1);
        par::chunks(c, group * m * n, |g, c| {
            c.chunks_mut(m * n).enumerate().for_each(|(j, c)| one(g * group + j, c));
        });
    }
}

/// c = alpha a b + beta c, by the backend in use.
///
/// # Safety
/// The sources must hold m x k and k x n numbers.
unsafe fn product<T: Element>(
    size: [usize; 3],
    scale: [T; 2],
    a: Source<T>,
    b: Source<T>,
    c: &mut [T],
    part: Part,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match backend_in_use() {
            Backend::Auto | Backend::Own => own(size, scale, a, b, c, part),
            other => library::product(other, size, scale, a, b, c, part),
        }
    }
}

/// [`product`] by the kernels of this crate, strip by strip and slab by slab of the sum.
///
/// # Safety
/// As [`product`].
unsafe fn own<T: Element>(
    [m, n, k]: [usize; 3],
    [alpha, mut beta]: [T; 2],
    a: Source<T>,
    b: Source<T>,
    c: &mut [T],
    part: Part,
) {
    let level = simd::level();
    // The shorter side is packed as a whole, up to a size; whole slabs, so that the sums are those of one strip.
    let (high, wide) = if n >= m { (STRIP, n) } else { (m, STRIP) };
    let slab = (PACKED / m.min(n).clamp(1, STRIP) / DEPTH).max(1) * DEPTH;
    let c = Shared::new(c);
    // A sum of no terms is written, too.
    for p in (0..k.max(1)).step_by(slab) {
        for i in (0..m).step_by(high.max(1)) {
            for j in (0..n).step_by(wide.max(1)) {
                let size = [high.min(m - i), wide.min(n - j), slab.min(k - p)];
                let diagonal = (part == Part::Upper).then_some(i as isize - j as isize);
                // SAFETY: the strip lies in c and the sources; level is what the machine has.
                unsafe {
                    let (a, b, c) = (a.skip(i, p), b.skip(j, p), c.at(i * n + j));
                    Strip { size, scale: [alpha, beta], a, b, c, ldc: n, diagonal }.run(level);
                }
            }
        }
        beta = T::ONE;
    }
}

#[cfg(test)]
mod tests;
