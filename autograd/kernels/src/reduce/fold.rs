//! Sum, log-sum-exp and norm of a row, and of columns side by side.

use std::marker::PhantomData;

use super::{Fold, WIDTH};
use crate::arrays::each;
use crate::cascade::{cascade, sum_of};
use crate::map::Map;
use crate::math::Math;
use crate::real::{Arithmetic, Element, Num, Real};

/// Parallel accumulators in a row: several registers, to hide the latency of addition.
const LANES: usize = 64;

/// x itself.
#[derive(Clone, Copy)]
pub(crate) struct Same;
impl Map<1> for Same {
    #[inline(always)]
    fn call<R: Real>(&self, [x]: [R; 1]) -> R {
        x
    }
}

/// x y.
#[derive(Clone, Copy)]
pub(crate) struct Product;
impl Map<2> for Product {
    #[inline(always)]
    fn call<R: Real>(&self, [x, y]: [R; 2]) -> R {
        x * y
    }
}

/// x^2.
#[derive(Clone, Copy)]
struct Square;
impl Map<1> for Square {
    #[inline(always)]
    fn call<R: Real>(&self, [x]: [R; 1]) -> R {
        x.clone() * x
    }
}

/// e^(x - y).
#[derive(Clone, Copy)]
pub(crate) struct ExpDifference;
impl Map<2> for ExpDifference {
    #[inline(always)]
    fn call<R: Real>(&self, [x, y]: [R; 2]) -> R {
        (x - y).exp()
    }
}

/// e^(x - y) for one y.
#[derive(Clone, Copy)]
struct ExpShifted<T>(T);
impl<T: Element> Map<1> for ExpShifted<T> {
    #[inline(always)]
    fn call<R: Real>(&self, [x]: [R; 1]) -> R {
        let y = x.c(self.0.to_f64());
        (x - y).exp()
    }
}

/// f of plain elements.
#[inline(always)]
pub(crate) fn of<T: Element, A: Arithmetic, const N: usize>(f: &impl Map<N>, x: [T; N]) -> T {
    f.call(each(x, Num::<T, A>::new)).0
}

/// K functions of N numbers.
pub(crate) trait Functions<T, const N: usize, const K: usize> {
    /// Must be `#[inline(always)]`: a closure would lose the instruction set of the loop around it.
    fn call(&self, x: [T; N]) -> [T; K];
}

/// A map in the arithmetic of an instruction set.
struct One<'a, F, A>(&'a F, PhantomData<A>);
impl<T: Element, F: Map<N>, A: Arithmetic, const N: usize> Functions<T, N, 1> for One<'_, F, A> {
    #[inline(always)]
    fn call(&self, x: [T; N]) -> [T; 1] {
        [of::<T, A, N>(self.0, x)]
    }
}

/// The sum of f over rows read side by side, equally long.
#[inline(always)]
pub(crate) fn row_sum<T: Element, A: Arithmetic, const N: usize>(f: &impl Map<N>, x: [&[T]; N]) -> T {
    let [sum] = row_sums::<T, N, 1, LANES>(x, One(f, PhantomData::<A>));
    sum
}

/// The sums of f over rows read side by side, equally long: L sums each, and a tree over them.
#[inline(always)]
pub(crate) fn row_sums<T: Element, const N: usize, const K: usize, const L: usize>(
    x: [&[T]; N],
    f: impl Functions<T, N, K>,
) -> [T; K] {
    let len = x[0].len();
    if len < L / 2 {
        // Too short for lanes to pay; neighbouring rows overlap instead.
        let mut sums = [T::ZERO; K];
        for i in 0..len {
            let v = f.call(each(x, |x| x[i]));
            for k in 0..K {
                sums[k] = sums[k] + v[k];
            }
        }
        return sums;
    }
    let blocks = each(x, |x| x.as_chunks::<L>().0);
    let mut sums = cascade!(
        len / L,
        [[T::ZERO; L]; K],
        |b, sums| {
            let block = each(blocks, |x| &x[b]);
            for l in 0..L {
                let v = f.call(each(block, |x| x[l]));
                for k in 0..K {
                    sums[k][l] = sums[k][l] + v[k];
                }
            }
        },
        add_lanes
    );
    let tail = len / L * L;
    for i in tail..len {
        let v = f.call(each(x, |x| x[i]));
        for k in 0..K {
            sums[k][i - tail] = sums[k][i - tail] + v[k];
        }
    }
    each(sums, |sums| tree(sums, |a, b| a + b))
}

/// a += b, lane by lane.
#[inline(always)]
pub(crate) fn add_lanes<T: Element, const L: usize, const K: usize>(a: &mut [[T; L]; K], b: &[[T; L]; K]) {
    for k in 0..K {
        for l in 0..L {
            a[k][l] = a[k][l] + b[k][l];
        }
    }
}

/// Combines a power of two of numbers, halving them again and again.
#[inline(always)]
pub(crate) fn tree<T: Copy, const N: usize>(mut v: [T; N], f: impl Fn(T, T) -> T) -> T {
    let mut half = N / 2;
    while half > 0 {
        for l in 0..half {
            v[l] = f(v[l], v[l + half]);
        }
        half /= 2;
    }
    v[0]
}

/// The largest element of a row, NaN if one is; -infinity for an empty row.
#[inline(always)]
pub(crate) fn row_max<T: Element, A: Arithmetic>(x: &[T]) -> T {
    let mut most = [-T::INFINITY; LANES];
    let (blocks, tail) = x.as_chunks::<LANES>();
    for block in blocks {
        for l in 0..LANES {
            most[l] = Math::max::<A>(most[l], block[l]);
        }
    }
    let mut last = -T::INFINITY;
    for &v in tail {
        last = Math::max::<A>(last, v);
    }
    if blocks.is_empty() { last } else { Math::max::<A>(last, tree(most, |a, b| Math::max::<A>(a, b))) }
}

/// The sum.
pub(super) struct Sum;

impl Fold for Sum {
    const EMPTY: f64 = 0.0;

    #[inline(always)]
    fn row<T: Element, A: Arithmetic>(x: &[T]) -> T {
        row_sum::<T, A, 1>(&Same, [x])
    }

    #[inline(always)]
    fn columns<T: Element, A: Arithmetic>(x: &[T], stride: usize, out: &mut [T]) {
        column_sums::<T, A>(&Same, x, stride, out);
    }
}

/// The sum of f(x) over each column. The last row may be short.
#[inline(always)]
fn column_sums<T: Element, A: Arithmetic>(f: &impl Map<1>, x: &[T], stride: usize, out: &mut [T]) {
    let width = out.len();
    out.fill(T::ZERO);
    let mut quads = x.chunks_exact(4 * stride);
    for quad in &mut quads {
        let (a, rest) = quad.split_at(stride);
        let (b, rest) = rest.split_at(stride);
        let (c, d) = rest.split_at(stride);
        let (a, b, c, d) = (&a[..width], &b[..width], &c[..width], &d[..width]);
        for j in 0..width {
            let [a, b, c, d] = each([a[j], b[j], c[j], d[j]], |v| of::<T, A, 1>(f, [v]));
            out[j] = out[j] + ((a + b) + (c + d));
        }
    }
    for row in quads.remainder().chunks(stride) {
        for (sum, &v) in out.iter_mut().zip(row) {
            *sum = *sum + of::<T, A, 1>(f, [v]);
        }
    }
}

/// ln of the sum of e^x.
pub(super) struct LogSumExp;

/// What to subtract before taking e^x: the maximum, unless that is infinite.
#[inline(always)]
fn shift<T: Element>(max: T) -> T {
    if max == T::INFINITY || max == -T::INFINITY { T::ZERO } else { max }
}

impl Fold for LogSumExp {
    const EMPTY: f64 = f64::NEG_INFINITY;

    #[inline(always)]
    fn row<T: Element, A: Arithmetic>(x: &[T]) -> T {
        let max = shift(row_max::<T, A>(x));
        Math::ln::<A>(row_sum::<T, A, 1>(&ExpShifted(max), [x])) + max
    }

    #[inline(always)]
    fn columns<T: Element, A: Arithmetic>(x: &[T], stride: usize, out: &mut [T]) {
        let width = out.len();
        let mut sums = [T::ZERO; WIDTH];
        let sums = &mut sums[..width];
        out.copy_from_slice(&x[..width]);
        for row in x.chunks(stride).skip(1) {
            for (max, &v) in out.iter_mut().zip(row) {
                *max = Math::max::<A>(*max, v);
            }
        }
        out.iter_mut().for_each(|max| *max = shift(*max));
        for row in x.chunks(stride) {
            for ((sum, &max), &v) in sums.iter_mut().zip(&*out).zip(row) {
                *sum = *sum + of::<T, A, 2>(&ExpDifference, [v, max]);
            }
        }
        for (out, &sum) in out.iter_mut().zip(&*sums) {
            *out = Math::ln::<A>(sum) + *out;
        }
    }
}

/// The Euclidean norm.
pub(super) struct Norm;

/// Whether a sum of squares is neither near overflow nor so small that squares were lost below it.
#[inline(always)]
pub(crate) fn safe<T: Element>(squares: T) -> bool {
    // 1e-24 is 14 decades above the smallest normal f32: even 1e7 entries whose squares underflow change nothing. f64
    // has room to spare.
    let (low, high) = if size_of::<T>() == 4 { (1e-24, 1e38) } else { (1e-270, 1e306) };
    squares > T::from_f64(low) && squares < T::from_f64(high)
}

/// The norm of numbers at least one of which is tiny, huge or not finite.
#[cold]
#[inline(never)]
fn scaled_norm<T: Element>(x: impl Iterator<Item = T> + Clone) -> T {
    let most = x.clone().map(Math::abs::<crate::real::Plain>).fold(T::ZERO, Math::max::<crate::real::Plain>);
    if !most.is_finite() || most == T::ZERO {
        return most;
    }
    let squares = sum_of(x.map(|v| (v / most) * (v / most)));
    most * Math::sqrt::<crate::real::Plain>(squares)
}

/// The norm of a row.
#[inline(always)]
pub(crate) fn row_norm<T: Element, A: Arithmetic>(x: &[T]) -> T {
    let squares = row_sum::<T, A, 1>(&Square, [x]);
    if safe(squares) { Math::sqrt::<A>(squares) } else { scaled_norm(x.iter().copied()) }
}

impl Fold for Norm {
    const EMPTY: f64 = 0.0;

    #[inline(always)]
    fn row<T: Element, A: Arithmetic>(x: &[T]) -> T {
        row_norm::<T, A>(x)
    }

    #[inline(always)]
    fn columns<T: Element, A: Arithmetic>(x: &[T], stride: usize, out: &mut [T]) {
        column_sums::<T, A>(&Square, x, stride, out);
        for (j, out) in out.iter_mut().enumerate() {
            *out = if safe(*out) {
                Math::sqrt::<A>(*out)
            } else {
                scaled_norm(x[j..].iter().step_by(stride).copied())
            };
        }
    }
}
