//! Rows divided by their length.

use super::layer::GRAIN;
use crate::par::{self, Shared};
use crate::real::{Arithmetic, Element};
use crate::reduce::fold::{Product, row_norm, row_sum};
use crate::simd::{self, Kernel};

/// u = w / n with n = sqrt(|w|^2 + eps) for each row of w, which is (rows, len); `n` gets one number per row. Squares
/// of tiny and huge rows neither underflow nor overflow. With eps = 0, u of a row of zeros is 0.
///
/// # Panics
/// If a slice has the wrong length.
pub fn unit_rows_forward<T: Element>(w: &[T], len: usize, eps: f64, u: &mut [T], n: &mut [T]) {
    let rows = n.len();
    assert!(w.len() == rows * len && u.len() == w.len(), "unit_rows_forward: w and u are (rows, len)");
    if len == 0 {
        return n.fill(T::from_f64(eps.sqrt()));
    }
    let together = (GRAIN / len).max(1);
    let n = Shared::new(n);
    par::chunks(u, together * len, |i, u| {
        let first = i * together;
        let w = &w[first * len..][..u.len()];
        // SAFETY: one length for each row of u, whose chunks are disjoint.
        let n = unsafe { n.slice(first, u.len() / len) };
        simd::dispatch(Forward { w, len, eps, u, n });
    });
}

/// n = sqrt(|w|^2 + eps) for each row of w, which is (rows, len), without the rows themselves.
///
/// # Panics
/// If a slice has the wrong length.
pub fn row_lengths<T: Element>(w: &[T], len: usize, eps: f64, n: &mut [f64]) {
    assert!(w.len() == n.len() * len, "row_lengths: w is (rows, len)");
    let together = (GRAIN / len.max(1)).max(1);
    par::chunks(n, together, |i, n| {
        let w = &w[i * together * len..][..n.len() * len];
        simd::dispatch(Lengths { w, len, eps, n });
    });
}

struct Lengths<'a, T> {
    w: &'a [T],
    len: usize,
    eps: f64,
    n: &'a mut [f64],
}

impl<T: Element> Kernel for Lengths<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        for (i, n) in self.n.iter_mut().enumerate() {
            *n = length::<T, A>(&self.w[i * self.len..][..self.len], self.eps);
        }
    }
}

/// sqrt(|w|^2 + eps)
#[inline(always)]
fn length<T: Element, A: Arithmetic>(w: &[T], eps: f64) -> f64 {
    row_norm::<T, A>(w).to_f64().hypot(eps.sqrt())
}

struct Forward<'a, T> {
    w: &'a [T],
    len: usize,
    eps: f64,
    u: &'a mut [T],
    n: &'a mut [T],
}

impl<T: Element> Kernel for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let rows = self.w.chunks_exact(self.len).zip(self.u.chunks_exact_mut(self.len));
        for ((w, u), n) in rows.zip(self.n) {
            *n = T::from_f64(length::<T, A>(w, self.eps));
            let by = divisor(*n);
            for (u, &w) in u.iter_mut().zip(w) {
                *u = w / by;
            }
        }
    }
}

/// The length to divide by. A row of length 0 is all zeros, and remains zeros.
#[inline(always)]
fn divisor<T: Element>(n: T) -> T {
    if n == T::ZERO { T::ONE } else { n }
}

/// dw = (g - u (u . g)) / n for the gradient `g` of u, which is g / n - w (w . g) / n^3 for any eps. A row with n = 0
/// gets 0.
///
/// # Panics
/// If a slice has the wrong length.
pub fn unit_rows_backward<T: Element>(u: &[T], len: usize, n: &[T], g: &[T], dw: &mut [T]) {
    assert!(
        u.len() == n.len() * len && g.len() == u.len() && dw.len() == u.len(),
        "unit_rows_backward: u, g and dw are (rows, len)"
    );
    if len == 0 {
        return;
    }
    let together = (GRAIN / len).max(1);
    par::chunks(dw, together * len, |i, dw| {
        let start = i * together * len;
        let (u, g) = (&u[start..][..dw.len()], &g[start..][..dw.len()]);
        simd::dispatch(Backward { u, len, n: &n[i * together..], g, dw });
    });
}

struct Backward<'a, T> {
    u: &'a [T],
    len: usize,
    n: &'a [T],
    g: &'a [T],
    dw: &'a mut [T],
}

impl<T: Element> Kernel for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let rows = self.u.chunks_exact(self.len).zip(self.g.chunks_exact(self.len));
        for (((u, g), dw), &n) in rows.zip(self.dw.chunks_exact_mut(self.len)).zip(self.n) {
            if n == T::ZERO {
                dw.fill(T::ZERO);
                continue;
            }
            let along = row_sum::<T, A, 2>(&Product, [u, g]);
            for ((dw, &u), &g) in dw.iter_mut().zip(u).zip(g) {
                *dw = (g - u * along) / n;
            }
        }
    }
}
