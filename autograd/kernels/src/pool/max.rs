//! The maximum of each window, and its index.

use std::ops::Range;

use super::Pool2d;
use crate::par::{self, Shared};
use crate::real::{Arithmetic, Element};
use crate::simd::{self, Kernel};

impl Pool2d {
    /// Writes the largest element of each window and its flat index into `x`. The border is never selected. Of equal
    /// elements the first in row-major order is selected. A NaN is selected over every number, and of several NaNs the
    /// last, as in PyTorch.
    ///
    /// For fixed `winners`, the maximum is linear in x: `layout::take(x, winners)`.
    ///
    /// # Panics
    /// If a slice does not have its size, or `x` has more than 2^32 elements.
    pub fn max<T: Element>(&self, x: &[T], out: &mut [T], winners: &mut [u32]) {
        self.check(x.len(), out.len());
        assert_eq!(winners.len(), out.len(), "max pool: a winner for each output");
        assert!(x.len() <= 1 << 32, "max pool: {} elements are too many for 32-bit winners", x.len());
        let (area, [oh, ow], grain) = (self.input[0] * self.input[1], self.output(), self.grain());
        let winners = Shared::new(winners);
        par::chunks(out, grain * oh * ow, |piece, out| {
            // SAFETY: as long as out, and cut as out is.
            let winners = unsafe { winners.slice(piece * grain * oh * ow, out.len()) };
            let first = piece * grain * area;
            let x = &x[first..first + out.len() / (oh * ow) * area];
            simd::dispatch(Max { pool: self, x, first, out, winners });
        });
    }

    /// The adjoint of the maximum at fixed `winners`: zeroes `out` (shaped as the images), then adds each element of
    /// `g` at the index in `winners`, in order.
    ///
    /// # Panics
    /// If a slice does not have its size, or an index in `winners` lies outside its window's image.
    pub fn max_adjoint<T: Element>(&self, g: &[T], winners: &[u32], out: &mut [T]) {
        self.check(out.len(), g.len());
        assert_eq!(winners.len(), g.len(), "max pool: a winner for each output");
        let (area, [oh, ow], grain) = (self.input[0] * self.input[1], self.output(), self.grain());
        par::chunks(out, grain * area, |piece, out| {
            let windows = piece * grain * oh * ow..;
            let count = out.len() / area * oh * ow;
            let (g, winners) = (&g[windows.clone()][..count], &winners[windows][..count]);
            simd::dispatch(MaxAdjoint { pool: self, g, winners, first: piece * grain * area, out });
        });
    }
}

/// The maxima of whole planes, the first of which starts at element `first`.
struct Max<'a, T> {
    pool: &'a Pool2d,
    x: &'a [T],
    first: usize,
    out: &'a mut [T],
    winners: &'a mut [u32],
}

impl<T: Element> Kernel for Max<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Max { pool, x, first, out, winners } = self;
        let ([h, w], [oh, ow]) = (pool.input, pool.output());
        let outputs = out.chunks_exact_mut(ow).zip(winners.chunks_exact_mut(ow));
        for (row, (out, winners)) in outputs.enumerate() {
            let (plane, i) = (row / oh, row % oh);
            let base = plane * h * w;
            if pool.halves() {
                let start = base + 2 * i * w;
                let (top, bottom) = (&x[start..start + 2 * ow], &x[start + w..start + w + 2 * ow]);
                let (start, width) = ((first + start) as u32, w as u32);
                match ow {
                    16.. => max_of_halves::<T, 16>(top, bottom, start, width, out, winners),
                    8.. => max_of_halves::<T, 8>(top, bottom, start, width, out, winners),
                    4.. => max_of_halves::<T, 4>(top, bottom, start, width, out, winners),
                    _ => max_of_halves::<T, 1>(top, bottom, start, width, out, winners),
                }
                continue;
            }
            let windows = Windows { pool, x: &x[base..base + h * w], rows: pool.window(0, i) };
            let first = (first + base) as u32;
            match pool.stride[1] {
                1 => windows.row::<1>(first, out, winners),
                2 => windows.row::<2>(first, out, winners),
                _ => windows.singly(0..ow, first, out, winners),
            }
        }
    }
}

/// A row of windows of any size, over some rows of an image.
struct Windows<'a, T> {
    pool: &'a Pool2d,
    x: &'a [T],
    rows: Range<usize>,
}

impl<T: Element> Windows<'_, T> {
    /// The whole row, for windows S apart; `first` is the index of the image's first element.
    #[inline(always)]
    fn row<const S: usize>(&self, first: u32, out: &mut [T], winners: &mut [u32]) {
        let (w, k, p) = (self.pool.input[1], self.pool.kernel[1], self.pool.padding[1]);
        // Windows in here have all their columns in the image.
        let start = p.div_ceil(S).min(out.len());
        let end = ((w + p + S).saturating_sub(k) / S).clamp(start, out.len());
        match end - start {
            8.. => self.inside::<S, 8>(start..end, first, out, winners),
            4.. => self.inside::<S, 4>(start..end, first, out, winners),
            _ => self.singly(start..end, first, out, winners),
        }
        self.singly(0..start, first, out, winners);
        self.singly(end..out.len(), first, out, winners);
    }

    /// L or more windows, L at a time.
    #[inline(always)]
    fn inside<const S: usize, const L: usize>(
        &self,
        windows: Range<usize>,
        first: u32,
        out: &mut [T],
        winners: &mut [u32],
    ) {
        let (w, k, p) = (self.pool.input[1], self.pool.kernel[1], self.pool.padding[1]);
        let mut j = windows.start;
        loop {
            let corner = self.rows.start * w + j * S - p;
            let mut best: [T; L] = std::array::from_fn(|l| self.x[corner + l * S]);
            let mut at: [u32; L] = std::array::from_fn(|l| first + (corner + l * S) as u32);
            for r in 0..self.rows.len() {
                for c in 0..k {
                    let place = corner + r * w + c;
                    let line = &self.x[place..place + (L - 1) * S + 1];
                    for l in 0..L {
                        let v = line[l * S];
                        let wins = beats(v, best[l]);
                        best[l] = if wins { v } else { best[l] };
                        at[l] = if wins { first + (place + l * S) as u32 } else { at[l] };
                    }
                }
            }
            out[j..j + L].copy_from_slice(&best);
            winners[j..j + L].copy_from_slice(&at);
            if j + L == windows.end {
                return;
            }
            // The last windows may be computed twice.
            j = (j + L).min(windows.end - L);
        }
    }

    /// Windows one by one, without what lies outside of the image.
    #[inline(always)]
    fn singly(&self, windows: Range<usize>, first: u32, out: &mut [T], winners: &mut [u32]) {
        let w = self.pool.input[1];
        for j in windows {
            let columns = self.pool.window(1, j);
            let mut best = self.rows.start * w + columns.start;
            for r in self.rows.clone() {
                for at in r * w + columns.start..r * w + columns.end {
                    if beats(self.x[at], self.x[best]) {
                        best = at;
                    }
                }
            }
            (out[j], winners[j]) = (self.x[best], first + best as u32);
        }
    }
}

/// Whether `new` takes the place of the earlier `best`: larger, or NaN.
#[inline(always)]
#[allow(clippy::eq_op)] // only NaN differs from itself
fn beats<T: Element>(new: T, best: T) -> bool {
    new > best || new != new
}

/// One row of outputs of 2 x 2 windows, at least L, of which L are computed together; `start` is the index of the
/// first element of `top`.
#[inline(always)]
fn max_of_halves<T: Element, const L: usize>(
    top: &[T],
    bottom: &[T],
    start: u32,
    width: u32,
    out: &mut [T],
    winners: &mut [u32],
) {
    let mut j = 0;
    loop {
        let (top, bottom) = (&top[2 * j..2 * (j + L)], &bottom[2 * j..2 * (j + L)]);
        let (values, places) = (&mut out[j..j + L], &mut winners[j..j + L]);
        for l in 0..L {
            let start = start + 2 * (j + l) as u32;
            let (mut best, mut at) = (top[2 * l], start);
            let others = [(top[2 * l + 1], 1), (bottom[2 * l], width), (bottom[2 * l + 1], width + 1)];
            for (v, step) in others {
                let wins = beats(v, best);
                best = if wins { v } else { best };
                at = if wins { start + step } else { at };
            }
            (values[l], places[l]) = (best, at);
        }
        if j + L == out.len() {
            return;
        }
        // The last windows may be computed twice.
        j = (j + L).min(out.len() - L);
    }
}

/// The adjoint over whole planes, the first of which starts at element `first`.
struct MaxAdjoint<'a, T> {
    pool: &'a Pool2d,
    g: &'a [T],
    winners: &'a [u32],
    first: usize,
    out: &'a mut [T],
}

impl<T: Element> Kernel for MaxAdjoint<'_, T> {
    type Output = ();
    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let MaxAdjoint { pool, g, winners, first, out } = self;
        let ([h, w], [oh, ow]) = (pool.input, pool.output());
        for (plane, out) in out.chunks_exact_mut(h * w).enumerate() {
            let first = first + plane * h * w;
            let windows = plane * oh * ow..(plane + 1) * oh * ow;
            let (g, winners) = (&g[windows.clone()], &winners[windows]);
            if pool.halves() {
                let mut lost = false;
                for (i, (g, winners)) in g.chunks_exact(ow).zip(winners.chunks_exact(ow)).enumerate() {
                    let rows = &mut out[2 * i * w..2 * (i + 1) * w];
                    let start = (first + 2 * i * w) as u32;
                    lost |= match ow {
                        8.. => spread_over_halves::<T, 16>(g, winners, start, rows),
                        4.. => spread_over_halves::<T, 8>(g, winners, start, rows),
                        _ => spread_over_halves::<T, 2>(g, winners, start, rows),
                    };
                }
                assert!(!lost, "max pool: a winner lies outside its window");
                out[2 * oh * w..].fill(T::ZERO);
                continue;
            }
            out.fill(T::ZERO);
            for (&g, &winner) in g.iter().zip(winners) {
                let at = (winner as usize).wrapping_sub(first);
                assert!(at < out.len(), "max pool: winner {winner} lies outside its image");
                out[at] = out[at] + g;
            }
        }
    }
}

/// Writes two rows of the adjoint for 2 x 2 windows, W elements of both at a time, of which a row has at least as many;
/// the first element has index `start`. Returns whether an index in `winners` was not in its window.
#[inline(always)]
fn spread_over_halves<T: Element, const W: usize>(
    g: &[T],
    winners: &[u32],
    start: u32,
    rows: &mut [T],
) -> bool {
    let width = rows.len() / 2;
    let (top, bottom) = rows.split_at_mut(width);
    top[2 * g.len()..].fill(T::ZERO);
    bottom[2 * g.len()..].fill(T::ZERO);
    let mut lost = false;
    let mut j = 0;
    loop {
        let (values, places) = (&g[j..j + W / 2], &winners[j..j + W / 2]);
        let start = start + 2 * j as u32;
        // The maximum's position is unpredictable, so there are no branches. Plain loops vectorise in every build.
        let (mut twice, mut at) = ([T::ZERO; W], [0; W]);
        for e in 0..W {
            twice[e] = values[e / 2];
            at[e] = places[e / 2].wrapping_sub(start);
        }
        let (mut upper, mut lower) = ([T::ZERO; W], [T::ZERO; W]);
        for e in 0..W {
            upper[e] = if at[e] == e as u32 { twice[e] } else { T::ZERO };
            lower[e] = if at[e] == (width + e) as u32 { twice[e] } else { T::ZERO };
        }
        top[2 * j..2 * j + W].copy_from_slice(&upper);
        bottom[2 * j..2 * j + W].copy_from_slice(&lower);
        for (l, place) in places.iter().enumerate() {
            let at = place.wrapping_sub(start + 2 * l as u32);
            lost |= (at > 1) & (at.wrapping_sub(width as u32) > 1);
        }
        if j + W / 2 == g.len() {
            return lost;
        }
        j = (j + W / 2).min(g.len() - W / 2);
    }
}
