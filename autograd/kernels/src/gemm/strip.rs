//! One strip of a matrix product: packs both operands, then computes the result block by block.

use std::ops::Range;

use super::pack::{self, Source};
use super::vector::{self, Kernel, Vector};
use super::{DEPTH, scratch, tile};
use crate::par;
use crate::real::Element;
use crate::simd::Level;

/// Products of fewer multiply-adds than this are done by the calling thread alone.
pub const SMALL: usize = 80 * 80 * 80;
/// Numbers that a piece of work packs, about.
const PACK: usize = 8192;
/// Bytes of a long operand that stay in the second-level cache beside a panel of the other.
const CACHED: usize = 1 << 18;

/// c = alpha a b + beta c with an m x k and a k x n operand, rows of c being `ldc` apart.
#[derive(Clone, Copy)]
pub struct Strip<T> {
    /// m, n and k.
    pub size: [usize; 3],
    /// alpha and beta.
    pub scale: [T; 2],
    /// The left operand.
    pub a: Source<T>,
    /// The right operand.
    pub b: Source<T>,
    /// The first number of the result.
    pub c: *mut T,
    /// Numbers from one row of the result to the next.
    pub ldc: usize,
    /// The column of the diagonal in the first row, if tiles that lie wholly to its left may be left out.
    pub diagonal: Option<isize>,
}

impl<T: Element> Strip<T> {
    /// Computes the strip with the instructions of `level`.
    ///
    /// # Safety
    /// The operands and the result must hold their matrices, and the machine must have the instructions.
    pub unsafe fn run(self, level: Level) {
        let ([m, n, k], (rows, cols)) = (self.size, vector::tile::<T>(level));
        let (lefts, rights) = (m.div_ceil(rows), n.div_ceil(cols));
        let left = lefts * rows * k;
        scratch::with(left + rights * cols * k, |memory: &mut [T]| {
            let (to_a, to_b) = memory.split_at_mut(left);
            let packed = Packed { strip: self, a: to_a.as_mut_ptr(), b: to_b.as_mut_ptr() };
            let job = |what| {
                // SAFETY: the caller's promise; jobs of a kind write disjoint parts.
                unsafe { vector::dispatch(level, Job { packed: &packed, what }) }
            };
            if m * n * k < SMALL {
                return job(What::All);
            }
            let few = |width: usize| (PACK / (width * k)).max(1);
            let (few_a, few_b) = (few(rows), few(cols));
            let first = lefts.div_ceil(few_a);
            par::run(first + rights.div_ceil(few_b), |i| match i.checked_sub(first) {
                None => job(What::Left(i * few_a..lefts.min((i + 1) * few_a))),
                Some(j) => job(What::Right(j * few_b..rights.min((j + 1) * few_b))),
            });
            // 128 x 128 blocks keep traffic low; smaller ones share a small result out evenly.
            let side = if m * n >= 16 * 128 * 128 { 128 } else { 64 };
            let (high, wide) = (side / rows, side / cols);
            let across = rights.div_ceil(wide);
            par::run(lefts.div_ceil(high) * across, |i| {
                let (i, j) = (i / across * high, i % across * wide);
                job(What::Multiply(i..lefts.min(i + high), j..rights.min(j + wide)));
            });
        });
    }
}

impl<T: Element> Strip<T> {
    /// The same, cut along the longer side of the result alone: every piece packs its part of the long operand for
    /// itself.
    ///
    /// # Safety
    /// As [`Strip::run`].
    pub unsafe fn run_long(self, level: Level) {
        let ([m, n, k], (rows, cols)) = (self.size, vector::tile::<T>(level));
        let (lefts, rights) = (m.div_ceil(rows), n.div_ceil(cols));
        let across = n >= m;
        // The short operand and the long one: panels and their width.
        let ((short, narrow), (long, wide)) =
            if across { ((lefts, rows), (rights, cols)) } else { ((rights, cols), (lefts, rows)) };
        let few = |bytes: usize, width: usize| (bytes / size_of::<T>() / (width * k).max(1)).max(1);
        scratch::with(short * narrow * k, |memory: &mut [T]| {
            let packed = Packed { strip: self, a: memory.as_mut_ptr(), b: memory.as_mut_ptr() };
            let job = |packed: &Packed<T>, what| {
                // SAFETY: the caller's promise; jobs of a kind write disjoint parts.
                unsafe { vector::dispatch(level, Job { packed, what }) }
            };
            let count = few(PACK * size_of::<T>(), narrow);
            par::run(short.div_ceil(count), |i| {
                let panels = i * count..short.min((i + 1) * count);
                job(&packed, if across { What::Left(panels) } else { What::Right(panels) });
            });
            let count = few(CACHED, wide).min(long.div_ceil(16));
            par::run(long.div_ceil(count), |i| {
                let panels = i * count..long.min((i + 1) * count);
                scratch::with(panels.len() * wide * k, |memory: &mut [T]| {
                    // Panels are found by their number from the first of all on.
                    let first = memory.as_mut_ptr().wrapping_sub(panels.start * wide * k);
                    let what = |panels| {
                        if across { What::Right(panels) } else { What::Left(panels) }
                    };
                    let own = packed.beside(first, across);
                    job(&own, what(panels.clone()));
                    let (i, j) = if across { (0..lefts, panels) } else { (panels, 0..rights) };
                    job(&own, What::Multiply(i, j));
                });
            });
        });
    }
}

/// A strip and where its operands are packed, panel by panel.
struct Packed<T> {
    strip: Strip<T>,
    a: *mut T,
    b: *mut T,
}

// SAFETY: jobs on disjoint panels write through the pointers; others only read what was written before.
unsafe impl<T: Sync> Sync for Packed<T> {}

struct Job<'a, T> {
    packed: &'a Packed<T>,
    what: What,
}

/// A piece of work; ranges count panels.
enum What {
    /// Packs panels of the left operand.
    Left(Range<usize>),
    /// Packs panels of the right operand.
    Right(Range<usize>),
    /// Computes a block of the result.
    Multiply(Range<usize>, Range<usize>),
    /// Everything.
    All,
}

impl<T: Element> Kernel<T> for Job<'_, T> {
    #[inline(always)]
    unsafe fn run<V: Vector<T>, const R: usize>(self) {
        let [m, n, _] = self.packed.strip.size;
        let (lefts, rights) = (0..m.div_ceil(R), 0..n.div_ceil(2 * V::LANES));
        // SAFETY: inherited.
        unsafe {
            match self.what {
                What::Left(panels) => self.packed.left::<V, R>(panels),
                What::Right(panels) => self.packed.right::<V>(panels),
                What::Multiply(lefts, rights) => self.packed.multiply::<V, R>(lefts, rights),
                What::All => {
                    self.packed.left::<V, R>(lefts.clone());
                    self.packed.right::<V>(rights.clone());
                    self.packed.multiply::<V, R>(lefts, rights);
                }
            }
        }
    }
}

impl<T: Element> Packed<T> {
    /// The same with the right operand packed elsewhere, or the left one.
    fn beside(&self, other: *mut T, right: bool) -> Packed<T> {
        let (a, b) = if right { (self.a, other) } else { (other, self.b) };
        Packed { strip: self.strip, a, b }
    }

    #[inline(always)]
    unsafe fn left<V: Vector<T>, const R: usize>(&self, panels: Range<usize>) {
        let ([m, _, k], a) = (self.strip.size, self.strip.a);
        for i in panels {
            // SAFETY: inherited.
            unsafe {
                pack::left::<T, V, R>(a.skip(i * R, 0), R.min(m - i * R), k, self.a.wrapping_add(i * R * k))
            }
        }
    }

    #[inline(always)]
    unsafe fn right<V: Vector<T>>(&self, panels: Range<usize>) {
        let ([_, n, k], wide) = (self.strip.size, 2 * V::LANES);
        for j in panels {
            let (from, cols) = (self.strip.b.skip(j * wide, 0), wide.min(n - j * wide));
            // SAFETY: inherited.
            unsafe {
                let to = self.b.wrapping_add(j * wide * k);
                if cols <= V::LANES {
                    pack::right::<T, V, 1>(from, cols, k, to);
                } else {
                    pack::right::<T, V, 2>(from, cols, k, to);
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn multiply<V: Vector<T>, const R: usize>(&self, lefts: Range<usize>, rights: Range<usize>) {
        let Strip { size: [m, n, k], scale: [alpha, mut beta], ldc, diagonal, .. } = self.strip;
        let wide = 2 * V::LANES;
        let left_out = |i, j| diagonal.is_some_and(|at| (j * wide + wide) as isize <= (i * R) as isize + at);
        // A sum of nothing is still written.
        for from in (0..k.max(1)).step_by(DEPTH) {
            let depth = DEPTH.min(k - from);
            for j in rights.clone() {
                let cols = wide.min(n - j * wide);
                for i in lefts.clone() {
                    if left_out(i, j) {
                        continue;
                    }
                    let (size, scale) = ([R.min(m - i * R), cols], [alpha, beta]);
                    // SAFETY: inherited; packed panels hold k steps.
                    unsafe {
                        let (a, b) =
                            (self.a.wrapping_add((i * k + from) * R), self.b.wrapping_add(j * wide * k));
                        let c = self.strip.c.add(i * R * ldc + j * wide);
                        if cols <= V::LANES {
                            block::<T, V, R, 1>(depth, a, b.add(from * V::LANES), scale, size, c, ldc);
                        } else {
                            block::<T, V, R, 2>(depth, a, b.add(from * wide), scale, size, c, ldc);
                        }
                    }
                }
            }
            beta = T::ONE;
        }
    }
}

/// One tile of the result from a panel of each operand.
#[inline(always)]
unsafe fn block<T: Element, V: Vector<T>, const R: usize, const W: usize>(
    k: usize,
    a: *const T,
    b: *const T,
    scale: [T; 2],
    size: [usize; 2],
    c: *mut T,
    ldc: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut sum = tile::zero::<T, V, R, W>();
        tile::accumulate(&mut sum, k, tile::rows(a, 1), R, b, W * V::LANES);
        tile::blend(&mut sum, scale, size, c, ldc);
    }
}
