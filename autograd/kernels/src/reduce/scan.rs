//! Running sums, inner products and accumulation.

use super::GRAIN;
use super::fold::{Product, Same, row_sum};
use crate::map::Map;
use crate::par;
use crate::real::{Arithmetic, Element};
use crate::simd::{self, Kernel};

/// The running sum along `len` of x viewed as (outer, len, inner), each result including its own element; from
/// the end backwards if `reverse`. Sums are kept in f64, those of f64 with a correction, so that every result is as
/// accurate as [`super::sum`].
///
/// # Panics
/// If a slice does not have outer * len * inner elements.
pub fn cumsum<T: Element>(x: &[T], outer: usize, len: usize, inner: usize, reverse: bool, out: &mut [T]) {
    assert_eq!(x.len(), outer * len * inner, "cumsum: x is (outer, len, inner)");
    assert_eq!(out.len(), x.len(), "cumsum: out as long as x");
    let size = len * inner;
    if size == 0 {
        return;
    }
    let together = (GRAIN / size).max(1) * size;
    par::chunks(out, together, |i, out| {
        let x = &x[i * together..][..out.len()];
        for (x, out) in x.chunks_exact(size).zip(out.chunks_exact_mut(size)) {
            simd::dispatch(Scan { x, inner, reverse, out });
        }
    });
}

struct Scan<'a, T> {
    x: &'a [T],
    inner: usize,
    reverse: bool,
    out: &'a mut [T],
}

impl<T: Element> Kernel for Scan<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(mut self) {
        let mut column = 0;
        while column < self.inner {
            column += match self.inner - column {
                32.. => self.columns::<32>(column),
                8.. => self.columns::<8>(column),
                _ => self.columns::<1>(column),
            };
        }
    }
}

impl<T: Element> Scan<'_, T> {
    /// The running sums of L columns from `column` on. Returns L.
    #[inline(always)]
    fn columns<const L: usize>(&mut self, column: usize) -> usize {
        let corrected = size_of::<T>() == size_of::<f64>();
        let (mut sums, mut lost) = ([0.0; L], [0.0; L]);
        let len = self.x.len() / self.inner;
        for i in 0..len {
            let row = if self.reverse { len - 1 - i } else { i };
            let range = row * self.inner + column..row * self.inner + column + L;
            let (x, out) = (&self.x[range.clone()], &mut self.out[range]);
            for l in 0..L {
                let v = x[l].to_f64();
                let sum = sums[l] + v;
                let mut value = sum;
                if corrected {
                    // The rounding error of the sum (Knuth's TwoSum). It is NaN where the sum is infinite.
                    let share = sum - sums[l];
                    lost[l] += (sums[l] - (sum - share)) + (v - share);
                    value = if lost[l].is_nan() { sum } else { sum + lost[l] };
                }
                sums[l] = sum;
                out[l] = T::from_f64(value);
            }
        }
        L
    }
}

/// The inner product, in a fixed tree. 0 for empty slices.
///
/// # Panics
/// If the slices are not equally long.
pub fn dot<T: Element>(x: &[T], y: &[T]) -> T {
    assert_eq!(x.len(), y.len(), "dot: slices equally long");
    if x.len() <= GRAIN {
        return simd::dispatch(RowSum(&Product, [x, y]));
    }
    let mut partial = vec![T::ZERO; x.len().div_ceil(GRAIN)];
    par::chunks(&mut partial, 1, |i, out| {
        let range = i * GRAIN..((i + 1) * GRAIN).min(x.len());
        out[0] = simd::dispatch(RowSum(&Product, [&x[range.clone()], &y[range]]));
    });
    simd::dispatch(RowSum(&Same, [&partial[..]]))
}

/// The sum of squares, in the same tree. May overflow or underflow where [`super::norm`] does not.
pub fn sum_squares<T: Element>(x: &[T]) -> T {
    dot(x, x)
}

struct RowSum<'a, F, T, const N: usize>(&'a F, [&'a [T]; N]);

impl<F: Map<N>, T: Element, const N: usize> Kernel for RowSum<'_, F, T, N> {
    type Output = T;
    #[inline(always)]
    fn run<A: Arithmetic>(self) -> T {
        row_sum::<T, A, N>(self.0, self.1)
    }
}

/// `acc[i] += x[i]`.
///
/// # Panics
/// If the slices are not equally long.
pub fn add_assign<T: Element>(acc: &mut [T], x: &[T]) {
    assert_eq!(acc.len(), x.len(), "add_assign: slices equally long");
    if acc.len() <= GRAIN {
        return simd::dispatch(AddAssign { acc, x });
    }
    par::chunks(acc, GRAIN, |i, acc| {
        let x = &x[i * GRAIN..][..acc.len()];
        simd::dispatch(AddAssign { acc, x });
    });
}

struct AddAssign<'a, T> {
    acc: &'a mut [T],
    x: &'a [T],
}

impl<T: Element> Kernel for AddAssign<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        self.acc.iter_mut().zip(self.x).for_each(|(acc, &x)| *acc = *acc + x);
    }
}
