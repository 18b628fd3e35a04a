//! Maximum and minimum over axes, with their indices.

use std::borrow::Cow;

use super::{Cut, Run, Step, check, steps};
use crate::par::{self, Shared};
use crate::real::{Arithmetic, Element};
use crate::simd::{self, Kernel};

/// The maximum over the axes marked in `axes`, and in `winners` the index into x of the first element (in
/// row-major order) that has it. If there is a NaN, the first NaN is selected.
///
/// # Panics
/// If the sizes are not those of the shapes, if x has more than 2^32 elements, or if a result is the maximum of no
/// elements.
pub fn max<T: Element>(x: &[T], dims: &[usize], axes: &[bool], out: &mut [T], winners: &mut [u32]) {
    extremum::<true, T>(x, dims, axes, out, winners);
}

/// The minimum; otherwise as [`max()`].
///
/// # Panics
/// As [`max()`].
pub fn min<T: Element>(x: &[T], dims: &[usize], axes: &[bool], out: &mut [T], winners: &mut [u32]) {
    extremum::<false, T>(x, dims, axes, out, winners);
}

/// Values and the index into the original tensor of each; `None`: the values are the original tensor.
struct Pairs<'a, T: Element> {
    x: Cow<'a, [T]>,
    from: Option<Vec<u32>>,
}

fn extremum<const MAX: bool, T: Element>(
    x: &[T],
    dims: &[usize],
    axes: &[bool],
    out: &mut [T],
    winners: &mut [u32],
) {
    check(x.len(), dims, axes, out.len());
    assert_eq!(winners.len(), out.len(), "max, min: a winner for each result");
    assert!(x.len() as u64 <= 1 << 32, "max, min: winners are 32-bit indices");
    if out.is_empty() {
        return;
    }
    assert!(!x.is_empty(), "max, min: no elements to choose from in shape {dims:?}");
    let mut pairs = Pairs { x: Cow::Borrowed(x), from: None };
    for step in steps(dims, axes) {
        if step.outer * step.inner == out.len() {
            return best_step::<MAX, T>(&pairs, step, out, winners);
        }
        let n = step.outer * step.inner;
        let (mut y, mut from) = (vec![T::ZERO; n], vec![0; n]);
        best_step::<MAX, T>(&pairs, step, &mut y, &mut from);
        pairs = Pairs { x: Cow::Owned(y), from: Some(from) };
    }
    best_step::<MAX, T>(&pairs, Step { outer: 1, len: 1, inner: out.len() }, out, winners);
}

fn best_step<const MAX: bool, T: Element>(pairs: &Pairs<T>, step: Step, out: &mut [T], winners: &mut [u32]) {
    let cut = step.cut();
    if cut.blocks == 1 {
        return best_blocks::<MAX, T>(pairs, step, &cut, out, winners);
    }
    let n = step.outer * cut.blocks * step.inner;
    let (mut y, mut from) = (vec![T::ZERO; n], vec![0; n]);
    best_blocks::<MAX, T>(pairs, step, &cut, &mut y, &mut from);
    let pairs = Pairs { x: Cow::Owned(y), from: Some(from) };
    best_step::<MAX, T>(&pairs, Step { len: cut.blocks, ..step }, out, winners);
}

/// One result for each block: out is (outer, blocks, inner).
fn best_blocks<const MAX: bool, T: Element>(
    pairs: &Pairs<T>,
    step: Step,
    cut: &Cut,
    out: &mut [T],
    winners: &mut [u32],
) {
    let shared = Shared::new(winners);
    par::chunks(out, cut.chunk, |i, out| {
        let start = i * cut.chunk;
        // SAFETY: `winners` is as long as `out`, and the chunks of `out` are disjoint.
        let winners = unsafe { shared.slice(start, out.len()) };
        simd::dispatch(Blocks::<MAX, T> { pairs, step, cut, start, out, winners });
    });
}

struct Blocks<'a, const MAX: bool, T: Element> {
    pairs: &'a Pairs<'a, T>,
    step: Step,
    cut: &'a Cut,
    start: usize,
    out: &'a mut [T],
    winners: &'a mut [u32],
}

impl<const MAX: bool, T: Element> Kernel for Blocks<'_, MAX, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Blocks { pairs, step, cut, start, out, winners } = self;
        let (x, end) = (&pairs.x[..], start + out.len());
        for Run { results, first, rows } in step.runs(cut, start, end) {
            let (out, winners) = (&mut out[results.clone()], &mut winners[results]);
            if step.inner == 1 {
                let place;
                (out[0], place) = best_of_row::<MAX, T>(&x[first..first + rows]);
                winners[0] = (first + place) as u32;
            } else {
                let last = first + (rows - 1) * step.inner + out.len();
                best_of_columns::<MAX, T>(&x[first..last], step.inner, first, out, winners);
            }
            if let Some(original) = &pairs.from {
                winners.iter_mut().for_each(|w| *w = original[*w as usize]);
            }
        }
    }
}

/// Whether `new` replaces `old`, which came earlier.
#[inline(always)]
#[allow(clippy::eq_op)] // v != v: v is NaN
fn beats<const MAX: bool, T: Element>(new: T, old: T) -> bool {
    let better = if MAX { new > old } else { new < old };
    better | ((new != new) & (old == old))
}

/// The best element of a row that is not empty, and where it is.
#[inline(always)]
#[allow(clippy::eq_op)]
fn best_of_row<const MAX: bool, T: Element>(x: &[T]) -> (T, usize) {
    const LANES: usize = 32;
    let mut best = x[0];
    let (blocks, tail) = x.as_chunks::<LANES>();
    if !blocks.is_empty() {
        let mut lanes = [best; LANES];
        for block in blocks {
            for l in 0..LANES {
                lanes[l] = if beats::<MAX, T>(block[l], lanes[l]) { block[l] } else { lanes[l] };
            }
        }
        best = super::fold::tree(lanes, |a, b| if beats::<MAX, T>(b, a) { b } else { a });
    }
    for &v in tail {
        best = if beats::<MAX, T>(v, best) { v } else { best };
    }
    // The value is known; now its first place. -0 and 0 are equal: the value is that of the first.
    let is_best = |v: T| (v == best) | ((v != v) & (best != best));
    let block = blocks.iter().position(|block| block.iter().fold(false, |any, &v| any | is_best(v)));
    let start = block.unwrap_or(blocks.len()) * LANES;
    let place = start + x[start..].iter().position(|&v| is_best(v)).expect("the best is one of them");
    (x[place], place)
}

/// The best of each column and its index, counted from `first` at the first element of x.
#[inline(always)]
fn best_of_columns<const MAX: bool, T: Element>(
    x: &[T],
    stride: usize,
    first: usize,
    out: &mut [T],
    winners: &mut [u32],
) {
    let width = out.len();
    out.copy_from_slice(&x[..width]);
    winners.iter_mut().enumerate().for_each(|(j, w)| *w = (first + j) as u32);
    for (r, row) in x.chunks(stride).enumerate().skip(1) {
        let row = &row[..width];
        let base = (first + r * stride) as u32;
        let winners = &mut winners[..width];
        for j in 0..width {
            let wins = beats::<MAX, T>(row[j], out[j]);
            out[j] = if wins { row[j] } else { out[j] };
            winners[j] = if wins { base + j as u32 } else { winners[j] };
        }
    }
}
