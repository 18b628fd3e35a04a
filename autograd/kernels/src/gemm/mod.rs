//! Matrix products.

use std::any::TypeId;

use crate::par::{self, Shared};
use crate::real::Element;

/// Rows and columns of one piece of work. Fixed, so that results do not depend on the number of threads.
const PIECE: usize = 128;

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
    let (rsa, csa) = if a_transposed { (1, m) } else { (k, 1) };
    let (rsb, csb) = if b_transposed { (1, k) } else { (n, 1) };
    let out = Shared::new(c);
    let columns = n.div_ceil(PIECE);
    let pieces = if m * n * k < 32 * 32 * 32 { 1 } else { m.div_ceil(PIECE) * columns };
    par::run(pieces, |i| {
        let (rows, cols) = match pieces {
            1 => (0..m, 0..n),
            _ => (span(i / columns, m), span(i % columns, n)),
        };
        let (a, b) =
            (a[rows.start * rsa.min(a.len())..].as_ptr(), b[cols.start * csb.min(b.len())..].as_ptr());
        // SAFETY: piece i writes rows x cols of c only; the operands hold the elements by the asserts above.
        unsafe {
            product(
                (rows.len(), k, cols.len()),
                alpha,
                (a, rsa, csa),
                (b, rsb, csb),
                beta,
                (out.at(rows.start * n + cols.start), n),
            )
        }
    });
}

fn span(i: usize, len: usize) -> std::ops::Range<usize> {
    i * PIECE..((i + 1) * PIECE).min(len)
}

unsafe fn product<T: Element>(
    (m, k, n): (usize, usize, usize),
    alpha: T,
    (a, rsa, csa): (*const T, usize, usize),
    (b, rsb, csb): (*const T, usize, usize),
    beta: T,
    (c, rsc): (*mut T, usize),
) {
    let s = |x: usize| x as isize;
    // SAFETY: the caller's promise.
    unsafe {
        if TypeId::of::<T>() == TypeId::of::<f32>() {
            let (alpha, beta) = (alpha.to_f64() as f32, beta.to_f64() as f32);
            matrixmultiply::sgemm(
                m,
                k,
                n,
                alpha,
                a.cast(),
                s(rsa),
                s(csa),
                b.cast(),
                s(rsb),
                s(csb),
                beta,
                c.cast(),
                s(rsc),
                1,
            );
        } else {
            let (alpha, beta) = (alpha.to_f64(), beta.to_f64());
            matrixmultiply::dgemm(
                m,
                k,
                n,
                alpha,
                a.cast(),
                s(rsa),
                s(csa),
                b.cast(),
                s(rsb),
                s(csb),
                beta,
                c.cast(),
                s(rsc),
                1,
            );
        }
    }
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
            "batched: an operand of {len} elements is not 1 or {batch} times {one}"
        );
        if len == one { 0 } else { one }
    };
    let (sa, sb) = (stride(a.len(), m * k), stride(b.len(), k * n));
    if m * n == 0 || batch == 0 {
        return;
    }
    let group = (32 * 32 * 32 / (m * n * k.max(1))).max(1);
    par::chunks(c, group * m * n, |g, c| {
        for (j, c) in c.chunks_mut(m * n).enumerate() {
            let i = g * group + j;
            let (a, b) = (&a[i * sa..][..m * k], &b[i * sb..][..k * n]);
            gemm(m, n, k, alpha, a, a_transposed, b, b_transposed, beta, c);
        }
    });
}

#[cfg(test)]
mod tests;
