//! Rows normalised to mean 0 and variance 1: layer norm (a row is an item's features), group norm (a row is a
//! group of channels of an item) and instance norm (a single channel). The scale and shift that follow are
//! ordinary products and sums, by element or by channel.

use crate::map::Map;
use crate::par::{self, Shared};
use crate::real::{Arithmetic, Element, Num, Real};
use crate::reduce::fold::{Product, Same, row_sum};
use crate::simd::{self, Kernel};

/// Elements that one thread normalises at a time, in whole rows.
pub(super) const GRAIN: usize = 1 << 14;

/// y = (x - mean) rstd for each row of x, which is (rows, len), with rstd = 1 / sqrt(var + eps) and the biased
/// variance. `mean` and `rstd` get a number for each row.
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
        let count = T::from_f64(self.len as f64);
        let rows = self.x.chunks_exact(self.len).zip(self.y.chunks_exact_mut(self.len));
        for ((x, y), (mean, rstd)) in rows.zip(self.mean.iter_mut().zip(self.rstd)) {
            *mean = row_sum::<T, A, 1>(&Same, [x]) / count;
            let var = row_sum::<T, A, 1>(&SquareFrom(*mean), [x]) / count;
            *rstd = Num::<T, A>::new(var + self.eps).rsqrt().0;
            for (y, &x) in y.iter_mut().zip(x) {
                *y = (x - *mean) * *rstd;
            }
        }
    }
}

/// (x - centre)^2.
#[derive(Clone, Copy)]
struct SquareFrom<T>(T);
impl<T: Element> Map<1> for SquareFrom<T> {
    #[inline(always)]
    fn call<R: Real>(&self, [x]: [R; 1]) -> R {
        let d = x.clone() - x.c(self.0.to_f64());
        d.clone() * d
    }
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
