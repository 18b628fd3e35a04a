//! Rows normalised to mean 0 and variance 1: layer norm (a row is an item's features), group norm (a row is a
//! group of channels of an item) and instance norm (a single channel). The scale and shift that follow are
//! ordinary products and sums, by element or by channel.

use super::moments::{Scaled, moments};
use crate::par::{self, Shared};
use crate::real::{Arithmetic, Element, Num, Real};
use crate::reduce::fold::{Product, Same, row_sum, safe};
use crate::simd::{self, Kernel};

/// Elements that one thread normalises at a time, in whole rows.
pub(super) const GRAIN: usize = 1 << 14;

/// y = (x - mean) rstd for each row of x, which is (rows, len), with rstd = 1 / sqrt(var + eps) and the biased
/// variance. `mean` and `rstd` get one number per row. Squares neither overflow nor underflow. A row of equal numbers
/// becomes zeros, even without an epsilon.
///
/// # Panics
/// If a slice has the wrong length.
pub fn row_norm_forward<T: Element>(
    x: &[T],
    len: usize,
    eps: T,
    mean: &mut [T],
    rstd: &mut [T],
    y: &mut [T],
) {
    let rows = mean.len();
    assert!(
        rstd.len() == rows && x.len() == rows * len && y.len() == x.len(),
        "row_norm_forward: x, y are (rows, len)"
    );
    if len == 0 {
        return;
    }
    let together = (GRAIN / len).max(1);
    let (mean, rstd) = (Shared::new(mean), Shared::new(rstd));
    par::chunks(y, together * len, |i, y| {
        let (first, count) = (i * together, y.len() / len);
        let x = &x[first * len..][..y.len()];
        // SAFETY: one mean and rstd for each row of y, whose chunks are disjoint.
        let (mean, rstd) = unsafe { (mean.slice(first, count), rstd.slice(first, count)) };
        simd::dispatch(Forward { x, len, eps, mean, rstd, y });
    });
}

struct Forward<'a, T> {
    x: &'a [T],
    len: usize,
    eps: T,
    mean: &'a mut [T],
    rstd: &'a mut [T],
    y: &'a mut [T],
}

impl<T: Element> Kernel for Forward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let rows = self.x.chunks_exact(self.len).zip(self.y.chunks_exact_mut(self.len));
        for ((x, y), (mean, rstd)) in rows.zip(self.mean.iter_mut().zip(self.rstd)) {
            let m = moments::<T, A>(x);
            let var = T::from_f64(m.var + self.eps.to_f64());
            if !safe(var) {
                (*mean, *rstd) = standardize_scaled(x, self.eps.to_f64(), y);
                continue;
            }
            *mean = T::from_f64(m.mean());
            *rstd = Num::<T, A>::new(var).rsqrt().0;
            let shift = T::from_f64(-m.offset * rstd.to_f64());
            for (y, &x) in y.iter_mut().zip(x) {
                *y = A::mul_add(x - m.centre, *rstd, shift);
            }
        }
    }
}

/// Writes the normalised row, for numbers whose squares overflow or underflow; returns the mean and 1 / sqrt(var +
/// eps).
#[cold]
#[inline(never)]
fn standardize_scaled<T: Element>(x: &[T], eps: f64, y: &mut [T]) -> (T, T) {
    let Scaled { x, scale, moments } = Scaled::new(x.iter().map(|x| x.to_f64()));
    let rstd = moments.rstd(eps.sqrt() / scale);
    for (y, x) in y.iter_mut().zip(x) {
        *y = T::from_f64(((x - moments.centre) - moments.offset) * rstd);
    }
    (T::from_f64(moments.mean() * scale), T::from_f64(rstd / scale))
}

/// The gradient with respect to x, from the normalised rows `y` and the gradient `g` of them:
/// dx = rstd (g - average g - y average (g y)), averages over the row.
///
/// # Panics
/// If a slice has the wrong length.
pub fn row_norm_backward<T: Element>(y: &[T], len: usize, rstd: &[T], g: &[T], dx: &mut [T]) {
    assert!(
        y.len() == rstd.len() * len && g.len() == y.len() && dx.len() == y.len(),
        "row_norm_backward: y, g and dx are (rows, len)"
    );
    if len == 0 {
        return;
    }
    let together = (GRAIN / len).max(1);
    par::chunks(dx, together * len, |i, dx| {
        let start = i * together * len;
        let (y, g) = (&y[start..][..dx.len()], &g[start..][..dx.len()]);
        simd::dispatch(Backward { y, len, rstd: &rstd[i * together..], g, dx });
    });
}

struct Backward<'a, T> {
    y: &'a [T],
    len: usize,
    rstd: &'a [T],
    g: &'a [T],
    dx: &'a mut [T],
}

impl<T: Element> Kernel for Backward<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let count = T::from_f64(self.len as f64);
        let rows = self.y.chunks_exact(self.len).zip(self.g.chunks_exact(self.len));
        for (((y, g), dx), &rstd) in rows.zip(self.dx.chunks_exact_mut(self.len)).zip(self.rstd) {
            let average = row_sum::<T, A, 1>(&Same, [g]) / count;
            let slope = row_sum::<T, A, 2>(&Product, [g, y]) / count;
            for ((dx, &g), &y) in dx.iter_mut().zip(g).zip(y) {
                *dx = (g - average - y * slope) * rstd;
            }
        }
    }
}
