//! Packing: operands are rearranged into panels, in the order in which the innermost loop reads them.

use super::vector::{Vector, transposed};
use crate::real::Element;

/// Where an operand's numbers lie: `line` apart across the panels, `depth` apart along the sum. One is 1.
#[derive(Clone, Copy)]
pub struct Source<T> {
    /// The first number.
    pub at: *const T,
    /// Numbers between neighbours across panels (rows of the left operand, columns of the right).
    pub line: usize,
    /// Numbers between neighbours along the sum.
    pub depth: usize,
}

impl<T> Source<T> {
    /// The operand without its first `line` lines and `depth` steps of the sum.
    pub fn skip(self, line: usize, depth: usize) -> Self {
        Source { at: self.at.wrapping_add(line * self.line + depth * self.depth), ..self }
    }

    /// The same numbers, as those of another type.
    pub fn cast<U>(self) -> Source<U> {
        Source { at: self.at.cast(), line: self.line, depth: self.depth }
    }
}

/// One panel of the left operand, k x R: its first `lines` lines; the others keep stale values.
///
/// # Safety
/// The source must hold `lines` x `k` numbers, `to` must have room for R x `k`; the machine must have the
/// instruction set of `V`.
#[inline(always)]
pub unsafe fn left<T: Element, V: Vector<T>, const R: usize>(
    from: Source<T>,
    lines: usize,
    k: usize,
    to: *mut T,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut done = 0;
        if lines == R && from.line == 1 {
            for p in 0..k {
                to.add(p * R).cast::<[T; R]>().write(from.at.add(p * from.depth).cast::<[T; R]>().read());
            }
            done = k;
        } else if lines == R && from.depth == 1 {
            while done + V::LANES <= k {
                let mut rows = [V::splat(T::ZERO); R];
                for i in 0..R {
                    rows[i] = V::load(from.at.add(i * from.line + done));
                }
                let columns = transposed::<T, V, R>(rows);
                for i in 0..R {
                    columns[i].store(to.add(done * R + i * V::LANES));
                }
                done += V::LANES;
            }
        }
        singly(from, lines, R, done..k, to);
    }
}

/// One panel of the right operand, k x W registers: its first `lines` lines; the others keep stale values.
///
/// # Safety
/// As [`left`], with room for W `LANES` x `k`.
#[inline(always)]
pub unsafe fn right<T: Element, V: Vector<T>, const W: usize>(
    from: Source<T>,
    lines: usize,
    k: usize,
    to: *mut T,
) {
    let width = W * V::LANES;
    // SAFETY: the caller's promise.
    unsafe {
        let mut done = 0;
        if lines == width && from.line == 1 {
            for p in 0..k {
                for j in 0..W {
                    V::load(from.at.add(p * from.depth + j * V::LANES))
                        .store(to.add(p * width + j * V::LANES));
                }
            }
            done = k;
        } else if lines == width && from.depth == 1 {
            while done + V::LANES <= k {
                for j in 0..W {
                    let (line, to) = (j * V::LANES * from.line, to.add(done * width + j * V::LANES));
                    V::transpose(from.at.add(line + done), from.line, to, width);
                }
                done += V::LANES;
            }
        }
        singly(from, lines, width, done..k, to);
    }
}

/// Panels of the right operand, two registers wide, one after another: `lines` lines. A last panel of one register or
/// less has only one.
///
/// # Safety
/// As [`right`], with room for every panel begun.
#[inline(always)]
pub unsafe fn rights<T: Element, V: Vector<T>>(from: Source<T>, lines: usize, k: usize, to: *mut T) {
    let wide = 2 * V::LANES;
    // SAFETY: the caller's promise.
    unsafe {
        let mut panel = 0;
        if from.line == 1 {
            // Step by step of the sum, through all panels: whole stretches of memory are read.
            for p in 0..k {
                for j in 0..lines / wide {
                    let (from, to) =
                        (from.at.add(p * from.depth + j * wide), to.add(j * k * wide + p * wide));
                    V::load(from).store(to);
                    V::load(from.add(V::LANES)).store(to.add(V::LANES));
                }
            }
            panel = lines / wide;
        }
        while panel * wide < lines {
            let (from, lines, to) =
                (from.skip(panel * wide, 0), wide.min(lines - panel * wide), to.add(panel * k * wide));
            if lines <= V::LANES {
                right::<T, V, 1>(from, lines, k, to);
            } else {
                right::<T, V, 2>(from, lines, k, to);
            }
            panel += 1;
        }
    }
}

/// A panel of any width, number by number. The results of lines beyond the last are discarded.
#[inline(always)]
unsafe fn singly<T: Element>(
    from: Source<T>,
    lines: usize,
    width: usize,
    k: std::ops::Range<usize>,
    to: *mut T,
) {
    for p in k {
        for i in 0..lines {
            // SAFETY: the caller's promise.
            unsafe { *to.add(p * width + i) = *from.at.add(i * from.line + p * from.depth) }
        }
    }
}
