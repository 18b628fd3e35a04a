//! Running sums, inner products and accumulation.

use super::GRAIN;
use super::fold::{Product, Same, row_sum};
use crate::map::Map;
use crate::par;
use crate::real::{Arithmetic, Element};
use crate::simd::{self, Kernel};

/// The running sum along `len` of x viewed as (outer, len, inner), each result including its own element; from
/// the end backwards if `reverse`. The sum runs in order, so its rounding error grows with `len`.
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
            scan(x, inner, reverse, out);
        }
    });
}

fn scan<T: Element>(x: &[T], inner: usize, reverse: bool, out: &mut [T]) {
    let len = out.len() / inner;
    let row = |i: usize| if reverse { len - 1 - i } else { i };
    if inner == 1 {
        let mut sum = T::ZERO;
        for i in 0..len {
            sum = sum + x[row(i)];
            out[row(i)] = sum;
        }
        return;
    }
    out.copy_from_slice(x);
    for i in 1..len {
        let (this, previous) = (row(i) * inner, row(i - 1) * inner);
        let (low, high) = out.split_at_mut(this.max(previous));
        let (this, previous) =
            if reverse { (&mut low[this..], &high[..inner]) } else { (&mut high[..inner], &low[previous..]) };
        this.iter_mut().zip(previous).for_each(|(v, &p)| *v = *v + p);
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

/// The sum of squares, in the same tree. May overflow or vanish where [`super::norm`] does not.
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
