//! Softmax, log-softmax and cross-entropy over rows: tensors viewed as (rows, classes).
//!
//! Everything is taken relative to the largest entry of a row, so entries of +-1e4 and of -infinity are fine. A
//! row of -infinity alone, or with a +infinity or NaN, has no softmax: NaN.

mod cross_entropy;

pub use cross_entropy::{Targets, cross_entropy_backward, cross_entropy_forward};

use crate::cascade::cascade;
use crate::math::Math;
use crate::par;
use crate::real::{Arithmetic, Element};
use crate::reduce::fold::{ExpDifference, Product, Same, add_lanes, of, row_max, row_sum, tree};
use crate::simd::{self, Kernel};

/// Elements that one thread works on at a time, in whole rows.
const GRAIN: usize = 1 << 13;

/// Calls the kernel that `piece` makes for each group of rows of `out`: of the range of their elements and of
/// the rows themselves.
fn rows<T: Element>(out: &mut [T], classes: usize, piece: impl Fn(std::ops::Range<usize>, &mut [T]) + Sync) {
    if classes == 0 {
        return;
    }
    let together = (GRAIN / classes).max(1) * classes;
    par::chunks(out, together, |i, out| piece(i * together..i * together + out.len(), out));
}

/// e^x divided by its sum over the row.
///
/// # Panics
/// If the slices are not equally long, or not whole rows.
pub fn softmax_forward<T: Element>(x: &[T], classes: usize, y: &mut [T]) {
    check("softmax_forward", classes, &[x, y]);
    rows(y, classes, |range, y| simd::dispatch(Forward::<T, false> { x: &x[range], classes, y }));
}

/// ln of [`softmax_forward`].
///
/// # Panics
/// As [`softmax_forward`].
pub fn log_softmax_forward<T: Element>(x: &[T], classes: usize, y: &mut [T]) {
    check("log_softmax_forward", classes, &[x, y]);
    rows(y, classes, |range, y| simd::dispatch(Forward::<T, true> { x: &x[range], classes, y }));
}

fn check<T>(name: &str, classes: usize, slices: &[&[T]]) {
    let len = slices[0].len();
    assert!(slices.iter().all(|s| s.len() == len), "{name}: slices equally long");
    assert!(
        len == 0 || (classes > 0 && len.is_multiple_of(classes)),
        "{name}: whole rows of {classes} classes"
    );
}

struct Forward<'a, T, const LOG: bool> {
    x: &'a [T],
    classes: usize,
    y: &'a mut [T],
}

impl<T: Element, const LOG: bool> Kernel for Forward<'_, T, LOG> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        for (x, y) in self.x.chunks_exact(self.classes).zip(self.y.chunks_exact_mut(self.classes)) {
            if LOG {
                log_softmax::<T, A>(x, y);
            } else {
                let max = row_max::<T, A>(x);
                let sum = exponentials::<T, A>(x, max, Some(y));
                let scale = T::ONE / sum;
                y.iter_mut().for_each(|y| *y = *y * scale);
            }
        }
    }
}

#[inline(always)]
fn log_softmax<T: Element, A: Arithmetic>(x: &[T], y: &mut [T]) {
    let max = row_max::<T, A>(x);
    let log_sum = Math::ln::<A>(exponentials::<T, A>(x, max, None));
    for (y, &x) in y.iter_mut().zip(x) {
        *y = (x - max) - log_sum;
    }
}

/// Elements whose exponentials are taken together.
const LANES: usize = 32;

/// The sum of e^(x - max) over a row, and its terms in `y`. Short rows are filled up with e^-infinity = 0, so that ten
/// classes cost little more than one.
#[inline(always)]
fn exponentials<T: Element, A: Arithmetic>(x: &[T], max: T, mut y: Option<&mut [T]>) -> T {
    let [sums] = cascade!(
        x.len().div_ceil(LANES),
        [[T::ZERO; LANES]],
        |i, sums| {
            let [sums] = sums;
            let start = i * LANES;
            let n = LANES.min(x.len() - start);
            let mut lanes = [-T::INFINITY; LANES];
            match x[start..].first_chunk::<LANES>() {
                Some(x) => lanes = *x,
                None => lanes[..n].copy_from_slice(&x[start..]),
            }
            let mut terms = [T::ZERO; LANES];
            for l in 0..LANES {
                terms[l] = of::<T, A, 2>(&ExpDifference, [lanes[l], max]);
            }
            for l in 0..LANES {
                sums[l] = sums[l] + terms[l];
            }
            match y.as_mut().map(|y| &mut y[start..]) {
                // With a constant length, the copy is a few stores.
                Some(y) if n == LANES => y[..LANES].copy_from_slice(&terms),
                Some(y) => y[..n].copy_from_slice(&terms[..n]),
                None => {}
            }
        },
        add_lanes
    );
    tree(sums, |a, b| a + b)
}

/// Replaces the gradient of entry `at` of a row by minus the sum of the others: those of a row sum to 0.
///
/// It is the more accurate form where the entry has most of the probability p, since 1 - p has fewer correct digits
/// than the sum of the other probabilities.
#[inline(always)]
fn balance<T: Element, A: Arithmetic>(dx: &mut [T], at: usize) {
    dx[at] = T::ZERO;
    dx[at] = -row_sum::<T, A, 1>(&Same, [dx]);
}

/// Of probabilities above this, 1 - p loses more than two bits. No row has two of them.
const SURE: f64 = 0.75;
/// ln [`SURE`]
const LN_SURE: f64 = -0.287_682_072_451_780_9;

/// The entry of a row that is above `bound`, if there is one.
#[inline(always)]
fn above<T: Element>(y: &[T], bound: f64) -> Option<usize> {
    let bound = T::from_f64(bound);
    // Without an early exit, so that the loop vectorises.
    let any = y.iter().fold(false, |any, &y| any | (y > bound));
    if any { y.iter().position(|&y| y > bound) } else { None }
}

/// dx = y (g - sum (g y)) for the output `y` of [`softmax_forward`] and the gradient `g` of it.
///
/// # Panics
/// As [`softmax_forward`].
pub fn softmax_backward<T: Element>(y: &[T], g: &[T], classes: usize, dx: &mut [T]) {
    check("softmax_backward", classes, &[y, g, dx]);
    rows(dx, classes, |range, dx| {
        simd::dispatch(Backward::<T, false> { y: &y[range.clone()], g: &g[range], classes, dx });
    });
}

/// dx = g - e^y sum g for the output `y` of [`log_softmax_forward`] and the gradient `g` of it.
///
/// # Panics
/// As [`softmax_forward`].
pub fn log_softmax_backward<T: Element>(y: &[T], g: &[T], classes: usize, dx: &mut [T]) {
    check("log_softmax_backward", classes, &[y, g, dx]);
    rows(dx, classes, |range, dx| {
        simd::dispatch(Backward::<T, true> { y: &y[range.clone()], g: &g[range], classes, dx });
    });
}

struct Backward<'a, T, const LOG: bool> {
    y: &'a [T],
    g: &'a [T],
    classes: usize,
    dx: &'a mut [T],
}

impl<T: Element, const LOG: bool> Kernel for Backward<'_, T, LOG> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let rows = self.y.chunks_exact(self.classes).zip(self.g.chunks_exact(self.classes));
        for ((y, g), dx) in rows.zip(self.dx.chunks_exact_mut(self.classes)) {
            if LOG {
                let sum = row_sum::<T, A, 1>(&Same, [g]);
                exponentials::<T, A>(y, T::ZERO, Some(dx));
                for (dx, &g) in dx.iter_mut().zip(g) {
                    *dx = g - *dx * sum;
                }
                if let Some(at) = above(y, LN_SURE) {
                    balance::<T, A>(dx, at);
                }
            } else {
                let sum = row_sum::<T, A, 2>(&Product, [g, y]);
                for ((dx, &g), &y) in dx.iter_mut().zip(g).zip(y) {
                    *dx = y * (g - sum);
                }
                if let Some(at) = above(y, SURE) {
                    balance::<T, A>(dx, at);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
