//! Reductions over axes, in a fixed order.
//!
//! A tensor is reduced one run of neighbouring axes after the other, innermost first. So there is one loop to optimise:
//! x viewed as (outer, len, inner), reduced over len, where inner = 1 means rows. A long len is cut into blocks of a
//! fixed size whose results are reduced in turn: a tree that depends on the sizes alone, which also keeps rounding
//! errors small.

use std::borrow::Cow;

use crate::par;
use crate::real::{Arithmetic, Element};
use crate::simd::{self, Kernel};

mod extrema;
mod finite;
pub(crate) mod fold;
mod scan;

pub use extrema::{max, min};
pub use finite::all_finite;
pub use scan::{add_assign, cumsum, dot, sum_squares};

use fold::{LogSumExp, Norm, Sum};

/// Sums x, of shape `dims`, over the axes marked in `axes`; these axes are removed in `out`. An empty sum is 0.
///
/// # Panics
/// If the number of elements of `x` or `out` does not match its shape.
pub fn sum<T: Element>(x: &[T], dims: &[usize], axes: &[bool], out: &mut [T]) {
    reduce::<Sum, T>(x, dims, axes, out);
}

/// ln of the sum of e^x over the axes marked in `axes`, without overflow: rows of -infinity give -infinity,
/// rows with a +infinity give +infinity, empty rows -infinity.
///
/// # Panics
/// As [`sum`].
pub fn logsumexp<T: Element>(x: &[T], dims: &[usize], axes: &[bool], out: &mut [T]) {
    reduce::<LogSumExp, T>(x, dims, axes, out);
}

/// The Euclidean norm over the axes marked in `axes`. Squares of tiny entries do not underflow and those of huge ones
/// do not overflow: entries are scaled where needed.
///
/// # Panics
/// As [`sum`].
pub fn norm<T: Element>(x: &[T], dims: &[usize], axes: &[bool], out: &mut [T]) {
    reduce::<Norm, T>(x, dims, axes, out);
}

/// A reduction that may be applied to its own results: f(x, y, z) = f(f(x, y), f(z)).
trait Fold {
    /// The result for no elements.
    const EMPTY: f64;
    /// The result for the elements of a row.
    fn row<T: Element, A: Arithmetic>(x: &[T]) -> T;
    /// The results for columns: element j of row r is `x[r * stride + j]`. `out` has a result for each of at
    /// most [`WIDTH`] columns, there is at least one row, and the last of several may be short.
    fn columns<T: Element, A: Arithmetic>(x: &[T], stride: usize, out: &mut [T]);
}

/// Elements that one thread reduces at a time.
const GRAIN: usize = 1 << 15;
/// Columns that are reduced together: their results fit in the first-level cache.
const WIDTH: usize = 512;

/// The view (outer, len, inner) of one step: `len` is reduced.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Step {
    outer: usize,
    len: usize,
    inner: usize,
}

/// The steps that reduce `dims` over `axes`, first step first. None if nothing is reduced.
fn steps(dims: &[usize], axes: &[bool]) -> impl Iterator<Item = Step> {
    assert_eq!(dims.len(), axes.len(), "reduce: one mark for each axis");
    // From the innermost axis out; `outer` covers the axes not yet visited, `inner` the visited axes that are kept.
    let mut outer: usize = dims.iter().product();
    let mut inner = 1;
    let mut axis = dims.len();
    std::iter::from_fn(move || {
        let mut len = 1;
        while axis > 0 && (axes[axis - 1] || dims[axis - 1] == 1 || len == 1) {
            axis -= 1;
            outer /= dims[axis].max(1);
            *(if axes[axis] { &mut len } else { &mut inner }) *= dims[axis];
        }
        (len > 1).then_some(Step { outer, len, inner })
    })
}

/// Checks the sizes of a reduction.
fn check(x: usize, dims: &[usize], axes: &[bool], out: usize) {
    let kept = dims.iter().zip(axes).filter(|(_, reduced)| !**reduced).map(|(d, _)| d).product::<usize>();
    assert_eq!(x, dims.iter().product::<usize>(), "reduce: x has the shape {dims:?}");
    assert_eq!(out, kept, "reduce: out has the axes of {dims:?} that are kept, {axes:?} reduced");
}

fn reduce<F: Fold, T: Element>(x: &[T], dims: &[usize], axes: &[bool], out: &mut [T]) {
    check(x.len(), dims, axes, out.len());
    if x.is_empty() {
        return out.fill(T::from_f64(F::EMPTY));
    }
    let mut x = Cow::Borrowed(x);
    for step in steps(dims, axes) {
        if step.outer * step.inner == out.len() {
            return fold_step::<F, T>(&x, step, out);
        }
        let mut y = vec![T::ZERO; step.outer * step.inner];
        fold_step::<F, T>(&x, step, &mut y);
        x = Cow::Owned(y);
    }
    // Nothing was reduced: one row of columns.
    fold_step::<F, T>(&x, Step { outer: 1, len: 1, inner: out.len() }, out);
}

/// How a step is cut: `block` of its `len` elements are reduced at once, for `chunk` results at a time.
struct Cut {
    block: usize,
    blocks: usize,
    chunk: usize,
}

impl Step {
    fn cut(self) -> Cut {
        let block = (GRAIN / self.inner.min(WIDTH)).min(self.len);
        let chunk = GRAIN / block;
        // Whole rows of columns where they are narrow, so that neighbours in memory are read together.
        let chunk = if self.inner < chunk { chunk - chunk % self.inner } else { chunk };
        Cut { block, blocks: self.len.div_ceil(block), chunk }
    }

    /// The runs that make up the results `start..end` of this step cut into blocks.
    #[inline(always)]
    fn runs(self, cut: &Cut, start: usize, end: usize) -> Runs<'_> {
        Runs { step: self, cut, start, at: start, end }
    }
}

/// Neighbouring results that come from the same rows: one block, at most [`WIDTH`] columns.
struct Run {
    /// Where they are among the requested results.
    results: std::ops::Range<usize>,
    /// Where the first element of the first of them is in x.
    first: usize,
    /// How many rows there are, each `inner` elements after the one before.
    rows: usize,
}

struct Runs<'a> {
    step: Step,
    cut: &'a Cut,
    start: usize,
    at: usize,
    end: usize,
}

impl Iterator for Runs<'_> {
    type Item = Run;
    #[inline(always)]
    fn next(&mut self) -> Option<Run> {
        let Runs { step: Step { len, inner, .. }, cut, start, at, end } = *self;
        if at >= end {
            return None;
        }
        let (item, column) = (at / inner, at % inner);
        let (outer, block) = (item / cut.blocks, item % cut.blocks);
        let row = block * cut.block;
        let width = (inner - column).min(end - at).min(WIDTH);
        self.at += width;
        Some(Run {
            results: at - start..at - start + width,
            first: (outer * len + row) * inner + column,
            rows: cut.block.min(len - row),
        })
    }
}

fn fold_step<F: Fold, T: Element>(x: &[T], step: Step, out: &mut [T]) {
    let cut = step.cut();
    if cut.blocks == 1 {
        return fold_blocks::<F, T>(x, step, &cut, out);
    }
    let mut partial = vec![T::ZERO; step.outer * cut.blocks * step.inner];
    fold_blocks::<F, T>(x, step, &cut, &mut partial);
    fold_step::<F, T>(&partial, Step { len: cut.blocks, ..step }, out);
}

/// One result for each block: out is (outer, blocks, inner).
fn fold_blocks<F: Fold, T: Element>(x: &[T], step: Step, cut: &Cut, out: &mut [T]) {
    par::chunks(out, cut.chunk, |i, out| {
        let start = i * cut.chunk;
        simd::dispatch(Blocks::<F, T> { x, step, cut, start, out, fold: std::marker::PhantomData });
    });
}

struct Blocks<'a, F, T> {
    x: &'a [T],
    step: Step,
    cut: &'a Cut,
    start: usize,
    out: &'a mut [T],
    fold: std::marker::PhantomData<F>,
}

impl<F: Fold, T: Element> Kernel for Blocks<'_, F, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Blocks { x, step, cut, start, out, .. } = self;
        let end = start + out.len();
        if step.inner == 1 && cut.blocks == 1 {
            for (row, out) in x[start * step.len..end * step.len].chunks_exact(step.len).zip(out) {
                *out = F::row::<T, A>(row);
            }
            return;
        }
        for Run { results, first, rows } in step.runs(cut, start, end) {
            let out = &mut out[results];
            let x = &x[first..first + (rows - 1) * step.inner + out.len()];
            if step.inner == 1 {
                out[0] = F::row::<T, A>(x);
            } else if out.len() == step.inner && 2 * step.inner <= WIDTH && x.len() >= 2 * WIDTH {
                // Narrow rows without gaps: several of them side by side make a wide one.
                let mut wide = [T::ZERO; WIDTH];
                let wide = &mut wide[..WIDTH / step.inner * step.inner];
                F::columns::<T, A>(x, wide.len(), wide);
                F::columns::<T, A>(wide, step.inner, out);
            } else {
                F::columns::<T, A>(x, step.inner, out);
            }
        }
    }
}

#[cfg(test)]
mod tests;
